"""The summary against Keras's: the same layers, shapes, counts and totals."""

import re

import keras
import numpy as np
import pytest

from lamina import keras as ours


def rows(model, **kwargs):
    """Return the cells of each row of a summary and the lines below the table."""
    found = []
    model.summary(print_fn=found.append, line_length=200, **kwargs)
    lines = "".join(found).splitlines()
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[:1] in "│┃"]
    header, *rest = cells
    keep = [i for i, name in enumerate(header) if name != "FLOPs"]
    totals = [line for line in lines if "params:" in line]
    return [[row[i] for i in keep] for row in [header, *rest]], totals


def chain(k):
    return k.Sequential(
        [
            k.layers.Input((6,)),
            k.layers.Dense(5),
            k.layers.BatchNormalization(),
            k.layers.Dropout(0.5),
            k.layers.Dense(2),
        ]
    )


def unbuilt(k):
    return k.Sequential([k.layers.Dense(5), k.layers.Dense(2)])


def residual(k):
    inputs = k.layers.Input((4,))
    x = k.layers.Dense(4)(inputs)
    x = k.layers.Add()([inputs, x])
    return k.Model(inputs, [k.layers.Dense(2)(x), x + 1])


def shared(k):
    inputs = k.layers.Input((4,))
    layer = k.layers.Dense(4)
    return k.Model(inputs, layer(layer(inputs)))


def plain_functional(k):
    inputs = k.layers.Input((4,))
    return k.Model(inputs, k.layers.Dense(2)(k.layers.Flatten()(inputs)))


def nested(k):
    inner = k.Sequential([k.layers.Input((4,)), k.layers.Dense(3), k.layers.Dense(2)])
    return k.Sequential([k.layers.Input((4,)), inner, k.layers.Dense(1)])


def frozen(k):
    model = chain(k)
    model.layers[0].trainable = False
    return model


def fitted(k):
    model = chain(k)
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 6)), np.zeros((4, 2)), verbose=0)
    return model


@pytest.mark.parametrize("make", [chain, unbuilt, residual, shared, plain_functional, nested, frozen, fitted])
@pytest.mark.parametrize("arguments", [{}, {"show_trainable": True}, {"expand_nested": True}])
def test_summaries_say_the_same(make, arguments, monkeypatch):
    monkeypatch.setenv("COLUMNS", "204")
    keras.utils.clear_session()
    ours.utils.clear_session()
    theirs = rows(make(keras), **arguments)
    mine = rows(make(ours), **arguments)
    assert mine == theirs
