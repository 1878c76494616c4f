"""Models for the tests of other frameworks' files, with numbers that differ in every layer."""

import numpy as np

from lamina import Dense, Input, Sequential, layers

FEATURES = 5
ROWS = np.random.default_rng(7).normal(size=(64, FEATURES)).astype("float32")


def stirred(model, seed=3):
    """Give every weight a number of its own, variances positive ones."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        low, high = (0.5, 2.0) if "variance" in variable.name or "gamma" in variable.name else (-0.7, 0.7)
        variable.assign(rng.uniform(low, high, variable.shape).astype("float32"))
    return model


def chain(*inner, features=FEATURES):
    return stirred(Sequential([Input((features,)), *inner], name="net"))


def plain():
    return chain(
        Dense(8, activation="relu"), layers.Dropout(0.3), Dense(6, activation="tanh"), Dense(3, activation="softmax")
    )


def normalized():
    return chain(
        Dense(7, use_bias=False), layers.BatchNormalization(epsilon=1e-2, momentum=0.8), layers.ReLU(),
        layers.BatchNormalization(scale=False), layers.BatchNormalization(center=False, scale=False), Dense(4),
        layers.PReLU(), Dense(2, activation="sigmoid"),
    )  # fmt: skip


def activated(names):
    inner = []
    for name in names:
        inner += [Dense(4), layers.Activation(name)]
    return chain(*inner, Dense(2))


def outputs(model, x=ROWS):
    return np.asarray(model(x, training=False))
