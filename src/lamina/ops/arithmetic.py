"""Arithmetic on arrays and stand-ins: what the operators of a `KerasTensor` do. Numbers take the array's type."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.errors import invalid
from lamina.ops.define import NUMPY, pair, single
from lamina.ops.dispatch import operation

add = pair("add", jnp.add, "`x1 + x2`")
subtract = pair("subtract", jnp.subtract, "`x1 - x2`")
multiply = pair("multiply", jnp.multiply, "`x1 * x2`")
true_divide = pair("true_divide", jnp.true_divide, "`x1 / x2`; integers give floats")
divide = pair("divide", jnp.true_divide, "`x1 / x2`; integers give floats")
floor_divide = pair("floor_divide", jnp.floor_divide, "`x1 // x2`, rounded down")
mod = pair("mod", jnp.mod, "the rest of `x1 // x2`, with the sign of `x2`")
power = pair("power", jnp.power, "`x1 ** x2`")
maximum = pair("maximum", jnp.maximum, "the larger of two elements; NaN if one is")
minimum = pair("minimum", jnp.minimum, "the smaller of two elements; NaN if one is")
logical_and = pair("logical_and", jnp.logical_and, "where both are true")
logical_or = pair("logical_or", jnp.logical_or, "where at least one is true")
logical_xor = pair("logical_xor", jnp.logical_xor, "where exactly one is true")
equal = pair("equal", jnp.equal, "where `x1 == x2`")
not_equal = pair("not_equal", jnp.not_equal, "where `x1 != x2`")
less = pair("less", jnp.less, "where `x1 < x2`")
less_equal = pair("less_equal", jnp.less_equal, "where `x1 <= x2`")
greater = pair("greater", jnp.greater, "where `x1 > x2`")
greater_equal = pair("greater_equal", jnp.greater_equal, "where `x1 >= x2`")
negative = single("negative", jnp.negative, "`-x`")
absolute = single("absolute", jnp.abs, "the absolute value of each element")
logical_not = single("logical_not", jnp.logical_not, "where an element is not true")


@operation(NUMPY)
def matmul(x1: Any, x2: Any) -> Any:
    """Return the matrix product; two int8 arrays give int32.

    Shapes: `(..., rows, inner)`, `(..., inner, columns)` give `(..., rows, columns)`.
    """
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    small = x1.dtype == jnp.int8 and x2.dtype == jnp.int8
    return jnp.matmul(x1, x2, preferred_element_type=jnp.int32 if small else None)


@operation(NUMPY, "GetItem")
def get_item(x: Any, key: Any) -> Any:
    """Return `x[key]`.

    Raises:
        InvalidArgumentError: If a whole number in `key` is beyond its axis, which JAX would move to the end.
    """
    x = jnp.asarray(x)
    _check_key(key if isinstance(key, tuple) else (key,), x.shape)
    return x[key]


def _check_key(parts: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    if not all(part is None or part is Ellipsis or type(part) in (int, slice) for part in parts):
        return  # arrays as indices
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis = len(shape) - sum(later is not None for later in parts[i + 1 :])
        elif part is not None:
            if isinstance(part, int) and axis < len(shape) and not -shape[axis] <= part < shape[axis]:
                problem = f"index {part} is out of bounds for axis {axis} of size {shape[axis]}."
                raise invalid(problem, received=f"key={parts}")
            axis += 1


@operation(NUMPY)
def reshape(x: Any, newshape: int | Sequence[int | None]) -> Any:
    """Return `x` with another shape of the same size.

    Args:
        x: The array.
        newshape: The shape; one size may be -1 or None and follows from the others.

    Raises:
        InvalidArgumentError: If a size is below -1, or more than one is to follow from the others.
    """
    whole: Any = (newshape,) if not np.ndim(newshape) else newshape  # type: ignore[arg-type]
    sizes = [-1 if size is None else size for size in whole]
    given = f"newshape={newshape}"
    if any(isinstance(size, int) and size < -1 for size in sizes):
        problem = "Each dimension in `newshape` must be a non-negative integer, or `-1` for a single unknown dimension."
        raise invalid(problem, received=given)
    if sizes.count(-1) > 1:
        raise invalid("There must be at most one unknown dimension (-1) in `newshape`.", received=given)
    return jnp.reshape(jnp.asarray(x), sizes)


@operation(NUMPY)
def squeeze(x: Any, axis: Any = None) -> Any:
    """Return `x` without axes of size 1."""
    return jnp.squeeze(jnp.asarray(x), tuple(axis) if isinstance(axis, list) else axis)


BINARY: dict[str, Callable[..., Any]] = {
    "add": add, "sub": subtract, "mul": multiply, "truediv": true_divide, "floordiv": floor_divide, "mod": mod,
    "pow": power, "matmul": matmul, "and": logical_and, "or": logical_or, "xor": logical_xor,
}  # fmt: skip
COMPARISON: dict[str, Callable[..., Any]] = {
    "ne": not_equal, "lt": less, "le": less_equal, "gt": greater, "ge": greater_equal,
}  # fmt: skip
UNARY: dict[str, Callable[..., Any]] = {"neg": negative, "abs": absolute, "invert": logical_not}
