"""JAX's sparse arrays in operations: the numbers are those of dense arrays, and what may stay sparse does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.sparse import BCOO

from lamina import KerasTensor, ops

X = np.array([[0.5, 0, -2, 0], [0, 0, 3, 1], [0, 0, 0, 0]], "float32")
Y = np.array([[1, 2, 0, 0], [0, 0, -1, 0], [0, 4, 0, 0]], "float32")
FULL = np.arange(1, 13, dtype="float32").reshape(3, 4)


def sparse(x):
    return BCOO.fromdense(jnp.asarray(x))


def twice():
    """Return an array with a place that is there twice: 1 + 2 at the first."""
    return BCOO((jnp.array([1.0, 2.0, 5.0]), jnp.array([[0, 0], [0, 0], [1, 2]])), shape=(2, 3))


UNARY = {
    "square": (ops.square, True), "tanh": (ops.tanh, True), "negative": (ops.negative, True), "relu": (ops.relu, True),
    "exp": (ops.exp, False), "cos": (ops.cos, False), "sum": (ops.sum, True), "max": (ops.max, False),
    "sum along": (lambda x: ops.sum(x, axis=-1, keepdims=True), True),
    "mean along": (lambda x: ops.mean(x, axis=(0,)), True),
    "reshape": (lambda x: ops.reshape(x, (2, -1)), True),
    "expand": (lambda x: ops.squeeze(ops.expand_dims(x, (0, -1)), 0), True),
    "transpose": (ops.transpose, True),
    "concatenate": (lambda x: ops.concatenate([x, x], axis=-1), True),
    "beside a dense one": (lambda x: ops.concatenate([x, np.ones((3, 1), "float32")], axis=1), False),
    "digitize": (lambda x: ops.digitize(x, [0.1, 1.5]), True),
    "digitize below 0": (lambda x: ops.digitize(x, [-1.0, 1.5]), False),
    "cast": (lambda x: ops.cast(x, "int32"), True),
    "tensor": (ops.convert_to_tensor, True),
    "dense tensor": (lambda x: ops.convert_to_tensor(x, sparse=False), False),
}  # fmt: skip


@pytest.mark.parametrize(("function", "stays"), UNARY.values(), ids=UNARY)
def test_one_array(function, stays):
    found = function(sparse(X))
    np.testing.assert_allclose(ops.convert_to_numpy(found), np.asarray(function(X)), rtol=1e-6)
    assert isinstance(found, BCOO) == stays


@pytest.mark.parametrize("name", ["add", "subtract", "maximum", "minimum", "multiply", "divide"])
@pytest.mark.parametrize("kinds", ["sparse sparse", "sparse dense", "dense sparse", "sparse number"])
def test_two_arrays(name, kinds):
    first, second = kinds.split()
    x = sparse(X) if first == "sparse" else FULL
    y = {"sparse": sparse(Y), "dense": FULL, "number": 2.0}[second]
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(X if first == "sparse" else FULL, Y if second == "sparse" else y)
    found = getattr(ops, name)(x, y)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-6)
    union = kinds == "sparse sparse" and name != "divide"
    shared = name == "multiply" or (name == "divide" and first == "sparse" and second != "sparse")
    assert isinstance(found, BCOO) == (union or shared)
    if second != "number":
        stand_ins = [KerasTensor(X.shape, sparse=kind == "sparse") for kind in (first, second)]
        assert getattr(ops, name)(*stand_ins).sparse == (union or shared)


def test_zero_by_zero_is_not_lost():
    assert np.isnan(np.asarray(ops.divide(sparse(X), np.zeros_like(X)))).any()


def test_places_that_are_there_twice_add_up_before_they_are_mapped():
    np.testing.assert_allclose(ops.convert_to_numpy(ops.square(twice())), [[9, 0, 0], [0, 0, 25]])


@pytest.mark.parametrize("other", [sparse(Y).T, jnp.asarray(Y.T)])
def test_products_of_matrices(other):
    np.testing.assert_allclose(ops.convert_to_numpy(ops.matmul(sparse(X), other)), X @ Y.T, rtol=1e-6)


def test_a_compiled_function_may_use_them():
    found = jax.jit(lambda x, y: ops.sum(ops.maximum(ops.square(x), y)))(sparse(X), sparse(Y))
    np.testing.assert_allclose(ops.convert_to_numpy(found), np.maximum(X**2, Y).sum(), rtol=1e-6)


def test_stand_ins_say_what_is_sparse():
    x = KerasTensor((None, 4), sparse=True)
    assert ops.square(x).sparse
    assert ops.transpose(x).sparse
    assert not ops.exp(x).sparse
    assert not (x + KerasTensor((None, 4))).sparse
    assert ops.concatenate([x, x]).sparse
    assert not ops.concatenate([x, KerasTensor((None, 4))]).sparse


def test_a_sparse_array_is_a_tensor():
    assert ops.is_tensor(sparse(X))
    np.testing.assert_array_equal(ops.convert_to_numpy(sparse(X)), X)
