"""Models and data for the tests of the native kernels, and one fit of them on either engine."""

import numpy as np
import pytest

import lamina
from lamina import layers, losses, models, optimizers
from lamina.native import library

needs_kernels = pytest.mark.skipif(not library.available(), reason=f"native kernels: {library.why_not()}")
needs_tiles = pytest.mark.skipif("amx" not in library.usable(), reason="this processor has no tiles of bfloat16")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((101, 7)).astype("float32")  # 101 rows: the last batch of 16 has five
OUTPUTS = 3
LABELS = RNG.integers(0, OUTPUTS, 101)
ONE_HOT = np.eye(OUTPUTS, dtype="float32")[LABELS]
SIGNS = (RNG.random((101, OUTPUTS)) > 0.5).astype("float32")
REAL = RNG.standard_normal((101, OUTPUTS)).astype("float32")
WEIGHTS = RNG.random(101).astype("float32")

ACTIVATIONS = ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "selu", "elu")
LOSSES = {  # loss, last activation, targets, metrics
    "labels, logits": (lambda: losses.SparseCategoricalCrossentropy(from_logits=True), None, LABELS, ["accuracy"]),
    "labels": ("sparse_categorical_crossentropy", "softmax", LABELS, ["accuracy"]),
    "one-hot, logits": (
        lambda: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), None, ONE_HOT, ["accuracy"]
    ),
    "one-hot": ("categorical_crossentropy", "softmax", ONE_HOT, ["accuracy"]),
    "binary, logits": (lambda: losses.BinaryCrossentropy(from_logits=True), None, SIGNS, ["binary_accuracy"]),
    "binary": ("binary_crossentropy", "sigmoid", SIGNS, ["accuracy", "mse"]),
    "one binary": ("binary_crossentropy", "sigmoid", LABELS % 2, ["accuracy"]),
    "squares": ("mse", None, REAL, ["mae"]),
    "absolute": (lambda: losses.MeanAbsoluteError(reduction="sum"), "tanh", REAL, ["mse"]),
}  # fmt: skip
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: optimizers.Adam(0.01),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 20)),
}


def network(activation="relu", last=None, outputs=OUTPUTS, dropout=0.0, widths=(33, 18), dtype=None):
    inner = []
    if dropout:
        inner.append(layers.Dropout(dropout / 2, dtype=dtype))
    for units in widths:
        inner.append(layers.Dense(units, activation=activation, dtype=dtype))
        if dropout:
            inner.append(layers.Dropout(dropout, dtype=dtype))
    return models.Sequential([layers.Input((7,)), *inner, layers.Dense(outputs, activation=last, dtype=dtype)])


def fit(
    engine,
    activation="relu",
    loss="labels, logits",
    optimizer="adam",
    dropout=0.0,
    weighted=False,
    dtype=None,
    **options,
):
    """Return the history of a fit and the weights after it."""
    lamina.set_random_seed(3)
    made, last, y, measured = LOSSES[loss]
    outputs = y.shape[1] if y.ndim > 1 and y.shape[1] == OUTPUTS else _outputs(loss)
    model = network(activation, last, outputs, dropout, dtype=dtype)
    model.compile(
        OPTIMIZERS[optimizer](), made() if callable(made) else made, metrics=measured,
        weighted_metrics=measured if weighted else None, engine=engine,
    )  # fmt: skip
    options = {"batch_size": 16, "epochs": 3, "validation_data": (X[:30], y[:30]), **options}
    history = model.fit(X, y, sample_weight=WEIGHTS if weighted else None, verbose=0, **options).history
    return history, model.get_weights()


def _outputs(loss):
    return 1 if loss == "one binary" else OUTPUTS


def assert_same(one, other, tolerance=2e-5):
    for name in one[0]:
        np.testing.assert_allclose(one[0][name], other[0][name], rtol=tolerance, atol=tolerance, err_msg=name)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance)
