"""Activations against Keras itself: values and gradients, also at the kinks and far out."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import activations

CASES = [
    ("celu", {}),
    ("celu", {"alpha": 0.3}),
    ("elu", {}),
    ("elu", {"alpha": 2.5}),
    ("exponential", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("glu", {}),
    ("glu", {"axis": 0}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 1.0}),
    ("hard_sigmoid", {}),
    ("hard_silu", {}),
    ("hard_tanh", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("linear", {}),
    ("log_sigmoid", {}),
    ("log_softmax", {}),
    ("log_softmax", {"axis": 0}),
    ("mish", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 6}),
    ("relu", {"max_value": 1.5}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"negative_slope": 0.2, "max_value": 6.0}),
    ("relu", {"negative_slope": 0.2, "max_value": 2.0, "threshold": 0.5}),
    ("relu", {"negative_slope": 0.2, "threshold": -1.0}),
    ("relu6", {}),
    ("selu", {}),
    ("sigmoid", {}),
    ("silu", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 0.1}),
    ("softmax", {}),
    ("softmax", {"axis": 0}),
    ("softplus", {}),
    ("softsign", {}),
    ("sparse_plus", {}),
    ("sparse_sigmoid", {}),
    ("squareplus", {}),
    ("squareplus", {"b": 1.0}),
    ("tanh", {}),
    ("tanh_shrink", {}),
    ("threshold", {"threshold": 0.5, "default_value": -3.0}),
]
RNG = np.random.default_rng(7)
KINKS = [[0.0, -0.0, 0.5, -0.5, 1.0, -1.0], [3.0, -3.0, 6.0, -6.0, 2.0, 1.5]]
FAR = [[-100.0, 100.0, 30.0, -30.0, 1e-8, 5.0], [85.0, -85.0, 1e-30, -1e-8, -20.0, 17.0]]
X = np.concatenate([RNG.normal(size=(10, 6)) * 2, KINKS, FAR]).astype("float32")
WEIGHTS = RNG.normal(size=X.shape).astype("float32")


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=[f"{n}-{a}" for n, a in CASES])
def test_values_and_gradients_are_those_of_keras(name, arguments):
    def value_and_gradient(module, x):
        def total(x):
            y = getattr(module, name)(x, **arguments)
            return jnp.sum(y * WEIGHTS[: y.shape[0], : y.shape[1]]), y

        (_, y), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(x))
        return y, gradient

    mine, his = value_and_gradient(activations, X), value_and_gradient(keras.activations, X)
    np.testing.assert_allclose(mine[0], his[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(mine[1], his[1], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (1, 2), (2, 3, 4)])
@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "sigmoid", "tanh"])
def test_every_shape_and_float64_give_what_keras_gives(name, shape):
    x = RNG.normal(size=shape)
    mine, his = (getattr(m, name)(x) for m in (activations, keras.activations))
    assert mine.dtype == his.dtype
    np.testing.assert_array_equal(mine, his)


@pytest.mark.parametrize("axis", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_several_axes_are_taken_together_as_in_keras(name, axis):
    x = RNG.normal(size=(4, 3, 8)).astype("float32")
    mine, his = (getattr(m, name)(x, axis=axis) for m in (activations, keras.activations))
    np.testing.assert_allclose(mine, his, rtol=1e-6, atol=1e-7)


def test_sparsemax_is_that_of_keras_where_one_entry_wins():
    x = np.float32([[1.0, 2.5, 0.5], [3.0, -1.0, 1.0]])
    np.testing.assert_array_equal(activations.sparsemax(x), keras.activations.sparsemax(x))


def test_sparsemax_of_keras_does_not_add_up_to_1_and_ours_does():
    x = np.float32([[1.0, 0.8, -1.0]])  # Keras 3.15.1 sums the running sums
    assert abs(float(np.sum(keras.activations.sparsemax(x))) - 1) > 0.1
    np.testing.assert_allclose(np.sum(activations.sparsemax(x)), 1, rtol=1e-6)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES} | {"sparsemax"}))
def test_names_are_the_same_in_keras_and_here(name):
    function = getattr(activations, name)
    assert activations.serialize(function) == keras.activations.serialize(getattr(keras.activations, name))
    assert keras.activations.get(activations.serialize(function)) is getattr(keras.activations, name)
    dictionary = keras.saving.serialize_keras_object(getattr(keras.activations, name))
    assert activations.get(dictionary) is function


def test_there_is_no_activation_in_keras_that_is_missing_here():
    public = {name for name in dir(keras.activations) if not name.startswith("_")}
    assert public <= set(dir(activations))
