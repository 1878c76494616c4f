"""Models for the tests of other frameworks' files: each with what it is called, and inputs that suit it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import layers, serialization
from lamina.interop.net import Net
from lamina.models import Model, Sequential

ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "mish", "glu",
    "sigmoid", "hard_sigmoid", "log_sigmoid", "sparse_sigmoid", "tanh", "tanh_shrink", "hard_tanh", "hard_shrink",
    "soft_shrink", "exponential", "softplus", "sparse_plus", "squareplus", "softsign", "softmax", "log_softmax",
    "sparsemax",
)  # fmt: skip


def net_of(model: Any) -> Net:
    """Return a model as plain data, through JSON, as a file would have it."""
    weights: dict[str, tuple[np.ndarray, ...]] = {}

    def collect(owner: Any, prefix: str) -> None:
        for layer in owner.layers:
            if isinstance(layer, Model):
                collect(layer, f"{prefix}{layer.name}/")
            elif layer.weights:
                weights[prefix + layer.name] = tuple(np.asarray(w) for w in layer.weights)

    collect(model, "")
    return Net(json.loads(json.dumps(serialization.serialize(model))), weights)


def randomized(model: Any, seed: int = 0) -> Any:
    """Return the model with random numbers in every weight, positive where a variance must be."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.4, weight.shape)
        if "variance" in weight.path or "gamma" in weight.path or "scale" in weight.path:
            values = np.abs(values) + 0.5
        weight.assign(values.astype(weight.dtype))
    return model


def batch(model: Any, rows: int, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 2, (rows, *x.shape[1:])).astype(np.float32) for x in model.inputs]


def predictions(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    found = model.predict(inputs[0] if len(inputs) == 1 else inputs, verbose=0)
    return [np.asarray(y) for y in (found if isinstance(found, list) else [found])]


def _stack(*inner: Any, shape: tuple[int, ...] = (6,)) -> Sequential:
    return Sequential([layers.Input(shape), *inner])


def digits() -> Sequential:
    """Return the demo's kind of network, smaller."""
    return _stack(
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(24),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
        shape=(8, 8),
    )


def several() -> Model:
    """Return a functional model with two inputs, two outputs, a shared layer, a model inside and array functions."""
    a, b = layers.Input((5,), name="left"), layers.Input((7,), name="right")
    shared = layers.Dense(4, activation="tanh", name="shared")
    inner = Sequential(
        [layers.Input((4,)), layers.Dense(4, activation="relu"), layers.LayerNormalization()], name="inner"
    )
    one, other = shared(layers.Dense(5)(a)), shared(layers.Dense(5)(b))
    both = layers.Concatenate()([inner(one), inner(other), one])
    merged = layers.Average()([one, other, layers.Multiply()([one, other])])
    merged = layers.Subtract()([layers.Maximum()([merged, one]), layers.Minimum()([other, one])])
    first = layers.Dense(3, activation="softmax", name="kind")(both)
    return Model([a, b], [first, layers.Dense(1, name="size")(merged * 2.0 + one)])


MODELS: dict[str, Callable[[], Any]] = {
    "digits": digits,
    "several": several,
    "normalizations": lambda: _stack(
        layers.Dense(8, use_bias=False),
        layers.LayerNormalization(epsilon=1e-5),
        layers.Dense(8),
        layers.BatchNormalization(center=False),
        layers.RMSNormalization(),
        layers.Dense(8, activation="relu"),
        layers.BatchNormalization(scale=False),
        layers.GroupNormalization(groups=4),
        layers.UnitNormalization(),
        layers.Dense(3),
    ),
    "activation layers": lambda: _stack(
        layers.Dense(8),
        layers.LeakyReLU(0.1),
        layers.Dense(8),
        layers.PReLU(),
        layers.Dense(8),
        layers.ELU(0.7),
        layers.Dense(8),
        layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2),
        layers.Dense(8, activation=layers.LeakyReLU(0.3)),
        layers.Softmax(),
    ),
    "higher rank": lambda: _stack(
        layers.Normalization(axis=-1),
        layers.Dense(5, activation="relu"),
        layers.Permute((2, 1)),
        layers.LayerNormalization(axis=[1, 2]),
        layers.EinsumDense("abc,cd->abd", output_shape=(5, 6), bias_axes="d", activation="gelu"),
        layers.Reshape((3, -1)),
        layers.BatchNormalization(axis=1),
        layers.Flatten(),
        layers.Dense(2, activation="sigmoid"),
        shape=(3, 4),
    ),
    "one output of a middle layer": lambda: _middle(),
    "broadcast": lambda: _broadcast(),
}


def _middle() -> Model:
    x = layers.Input((4,), name="x")
    h = layers.Dense(3, activation="relu", name="hidden")(x)
    return Model(x, [h, layers.Dense(2, name="end")(h), h])


def _broadcast() -> Model:
    x = layers.Input((3, 4), name="x")
    y = layers.Input((4,), name="y")
    gate = layers.Dense(1, activation="sigmoid")(y)
    summed = layers.Add()([layers.Dense(4)(x), y])
    return Model([x, y], layers.Dense(2)(layers.Flatten()(layers.Multiply()([summed, layers.RepeatVector(3)(gate)]))))
