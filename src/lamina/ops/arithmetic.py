"""Arithmetic on arrays and stand-ins: what the operators of a `KerasTensor` do. Numbers take the array's type."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lamina.ops.dispatch import operation

_NUMPY = "keras.src.ops.numpy"


def _pair(function: Callable[..., Any], name: str, class_name: str | None = None) -> Callable[..., Any]:
    def compute(x1: Any, x2: Any) -> Any:
        x1, x2 = (x if isinstance(x, int | float | bool | complex) else jnp.asarray(x) for x in (x1, x2))
        return function(x1, x2)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"Return `{name}` of two arrays, elementwise."
    return operation(_NUMPY, class_name)(compute)


def _single(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def compute(x: Any) -> Any:
        return function(jnp.asarray(x))

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"Return `{name}` of an array, elementwise."
    return operation(_NUMPY)(compute)


add = _pair(jnp.add, "add")
subtract = _pair(jnp.subtract, "subtract")
multiply = _pair(jnp.multiply, "multiply")
true_divide = _pair(jnp.true_divide, "true_divide")
divide = _pair(jnp.true_divide, "divide")
floor_divide = _pair(jnp.floor_divide, "floor_divide")
mod = _pair(jnp.mod, "mod")
power = _pair(jnp.power, "power")
maximum = _pair(jnp.maximum, "maximum")
minimum = _pair(jnp.minimum, "minimum")
logical_and = _pair(jnp.logical_and, "logical_and")
logical_or = _pair(jnp.logical_or, "logical_or")
logical_xor = _pair(jnp.logical_xor, "logical_xor")
equal = _pair(jnp.equal, "equal")
not_equal = _pair(jnp.not_equal, "not_equal")
less = _pair(jnp.less, "less")
less_equal = _pair(jnp.less_equal, "less_equal")
greater = _pair(jnp.greater, "greater")
greater_equal = _pair(jnp.greater_equal, "greater_equal")
negative = _single(jnp.negative, "negative")
absolute = _single(jnp.abs, "absolute")
logical_not = _single(jnp.logical_not, "logical_not")


@operation(_NUMPY)
def matmul(x1: Any, x2: Any) -> Any:
    """Return the matrix product. Shapes: `(..., rows, inner)`, `(..., inner, columns)` give `(..., rows, columns)`."""
    return jnp.matmul(jnp.asarray(x1), jnp.asarray(x2))


@operation(_NUMPY, "GetItem")
def get_item(x: Any, key: Any) -> Any:
    """Return `x[key]`."""
    return jnp.asarray(x)[key]


@operation(_NUMPY)
def reshape(x: Any, newshape: Any) -> Any:
    """Return `x` with another shape of the same size."""
    return jnp.reshape(jnp.asarray(x), newshape)


@operation(_NUMPY)
def squeeze(x: Any, axis: Any = None) -> Any:
    """Return `x` without axes of size 1."""
    return jnp.squeeze(jnp.asarray(x), axis)


BINARY: dict[str, Callable[..., Any]] = {
    "add": add, "sub": subtract, "mul": multiply, "truediv": true_divide, "floordiv": floor_divide, "mod": mod,
    "pow": power, "matmul": matmul, "and": logical_and, "or": logical_or, "xor": logical_xor,
}  # fmt: skip
COMPARISON: dict[str, Callable[..., Any]] = {
    "ne": not_equal, "lt": less, "le": less_equal, "gt": greater, "ge": greater_equal,
}  # fmt: skip
UNARY: dict[str, Callable[..., Any]] = {"neg": negative, "abs": absolute, "invert": logical_not}
ROWWISE = frozenset({*BINARY.values(), *COMPARISON.values(), *UNARY.values(), maximum, minimum, divide} - {matmul})
