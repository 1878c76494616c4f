"""Regularizers and constraints against Keras itself: values, gradients, configs in both directions."""

import jax
import keras
import numpy as np
import pytest

from lamina import constraints, regularizers

X = np.random.default_rng(5).normal(size=(5, 3)).astype("float32")
REGULARIZERS = [
    ("L1", {}),
    ("L1", {"l1": 0.5}),
    ("L2", {}),
    ("L2", {"l2": 0.3}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("L1L2", {"l2": 0.2}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]
CONSTRAINTS = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.5, "axis": 1}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5, "rate": 0.7, "axis": 1}),
]


@pytest.mark.parametrize(("name", "arguments"), REGULARIZERS, ids=str)
def test_penalties_and_their_gradients_are_those_of_keras(name, arguments):
    ours, theirs = (getattr(m, name)(**arguments) for m in (regularizers, keras.regularizers))
    (mine, my_gradient), (his, his_gradient) = jax.jit(lambda x: [jax.value_and_grad(f)(x) for f in (ours, theirs)])(X)
    np.testing.assert_allclose(mine, his, rtol=1e-6)
    np.testing.assert_allclose(my_gradient, his_gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("name", "arguments"), CONSTRAINTS, ids=str)
def test_constrained_weights_are_those_of_keras(name, arguments):
    ours, theirs = (getattr(m, name)(**arguments) for m in (constraints, keras.constraints))
    for w in (X, X * 1e-9, X * 0, X * 100):
        np.testing.assert_array_equal(ours(w), theirs(w))


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "arguments"),
    [(regularizers, keras.regularizers, *case) for case in REGULARIZERS]
    + [(constraints, keras.constraints, *case) for case in CONSTRAINTS],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_configs_go_to_keras_and_back(ours, theirs, name, arguments):
    mine, his = getattr(ours, name)(**arguments), getattr(theirs, name)(**arguments)
    there = keras.saving.deserialize_keras_object(ours.serialize(mine))
    here = ours.deserialize(keras.saving.serialize_keras_object(his))
    assert type(there) is type(his)
    assert type(here) is type(mine)
    for one, other in ((there.get_config(), his.get_config()), (here.get_config(), mine.get_config())):
        assert one.keys() == other.keys()
        for key, value in one.items():  # Keras keeps some factors in float32
            assert value == pytest.approx(other[key], rel=1e-6) if isinstance(value, float) else value == other[key]


@pytest.mark.parametrize(("ours", "theirs"), [(regularizers, keras.regularizers), (constraints, keras.constraints)])
def test_nothing_of_keras_is_missing(ours, theirs):
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
