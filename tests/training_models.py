"""Small models and data for the tests of training, and what must not change when a call is refused."""

import numpy as np

from lamina import layers, models, optimizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
CLASSES = RNG.integers(0, 3, 64)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
SIGNS = (Y > 0).astype("float32")

KINDS = {  # units and activation of the last layer, loss
    "regression": (1, None, "mse"),
    "three outputs": (3, None, "mse"),
    "classes": (3, "softmax", "sparse_categorical_crossentropy"),
    "one-hot": (3, "softmax", "categorical_crossentropy"),
    "binary": (1, "sigmoid", "binary_crossentropy"),
    "three binary": (3, "sigmoid", "binary_crossentropy"),
    "one class": (1, None, "sparse_categorical_crossentropy"),
    "one class one-hot": (1, None, "categorical_crossentropy"),
}


def model_of(kind="regression", optimizer=None, loss=None, metrics=None):
    units, activation, own_loss = KINDS[kind]
    model = models.Sequential(
        [layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(units, activation=activation)]
    )
    model.compile(optimizer or optimizers.Adam(0.01), loss or own_loss, metrics=metrics)
    return model


def snapshot(model):
    """Copies of all that a refused call must leave alone."""
    slots = [v.numpy() for v in model.optimizer.variables] if model.optimizer is not None else []
    return [w.copy() for w in model.get_weights()], slots, model.column_names


def unchanged(model, before):
    now = snapshot(model)
    return now[2] == before[2] and all(
        len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        for a, b in zip(now[:2], before[:2], strict=True)
    )


def replaced(array, place, value):
    array = array.copy()
    array[place] = value
    return array
