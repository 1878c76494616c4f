"""From a row of a table to a function: its name, what computes it, what it returns. The arguments are Keras's."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from lamina import config
from lamina.errors import InvalidTypeError, invalid, message
from lamina.ops.basics import as_floats
from lamina.ops.dispatch import operation

NUMPY, MATH, CORE = "keras.src.ops.numpy", "keras.src.ops.math", "keras.src.ops.core"
NN, LINALG = "keras.src.ops.nn", "keras.src.ops.linalg"

Function = Callable[..., Any]
Axis = int | Sequence[int] | None


def named(function: Function, name: str, returns: str) -> Function:
    """Return a function under another name, with a docstring that says what it returns.

    It belongs to the module that calls the caller: that is where `pickle` and `help` look for it.
    """
    function.__name__ = function.__qualname__ = name
    function.__module__ = sys._getframe(2).f_globals["__name__"]
    function.__doc__ = f"Return {returns}."
    return function


def single(
    name: str,
    function: Function,
    returns: str,
    *,
    floats: bool = False,
    module: str = NUMPY,
    class_name: str | None = None,
) -> Function:
    """Return the operation `name(x)`.

    Args:
        name: Keras's name.
        function: Computes it from an array.
        returns: End of the docstring's "Return ...".
        floats: Whether integers become floats first.
        module: Keras's module of the operation.
        class_name: Keras's class name. Default: the name in CamelCase.
    """
    convert: Function = as_floats if floats else jnp.asarray

    def compute(x: Any) -> Any:
        return function(convert(x))

    return operation(module, class_name)(named(compute, name, returns))


def pair(name: str, function: Function, returns: str, *, floats: bool = False) -> Function:
    """Return the operation `name(x1, x2)`. Python numbers take the type of the array."""

    def compute(x1: Any, x2: Any) -> Any:
        return function(*together(x1, x2)) if floats else function(plain(x1), plain(x2))

    return operation(NUMPY)(named(compute, name, returns))


def together(*values: Any) -> list[Any]:
    """Return arrays of the one float type that holds them all: an integer follows the floats that are there."""
    arrays = [jnp.asarray(value) for value in values]
    kind = jnp.result_type(*arrays)
    return [x.astype(kind if jnp.issubdtype(kind, jnp.inexact) else config.floatx()) for x in arrays]


def bits(name: str, function: Function, returns: str) -> Function:
    """Return the operation `name(x, y)`: what Keras calls the arguments of operations on bits."""

    def compute(x: Any, y: Any) -> Any:
        return function(plain(x), plain(y))

    return operation(NUMPY)(named(compute, name, returns))


def reduction(name: str, function: Function, returns: str, *, floats: bool = False) -> Function:
    """Return the operation `name(x, axis=None, keepdims=False)`."""
    convert: Function = as_floats if floats else jnp.asarray

    def compute(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        return function(convert(x), axis=axes(axis), keepdims=keepdims)

    return operation(NUMPY)(named(compute, name, f"{returns} along one or more axes, or over all elements"))


def plain(x: Any) -> Any:
    """Return an array, or a Python number as it is: its type then follows that of the other operand."""
    return x if isinstance(x, int | float | complex) else jnp.asarray(x)


def axes(axis: Any) -> Any:
    """Return one axis or several in the form that JAX takes."""
    return tuple(axis) if isinstance(axis, list) else axis


def checked_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the front, or raise `InvalidArgumentError` if there is none such."""
    if not -rank <= axis < rank:
        raise invalid(f"axis {axis} is out of bounds for an array of {rank} axes.", received=f"axis={axis}")
    return axis % rank


def type_name(dtype: Any) -> Any:
    """Return the name of a type, e.g. 'float32' for `float`; None stays None."""
    if dtype is None:
        return None
    name = dtype.__name__ if isinstance(dtype, type) else str(dtype)
    known = {"int": "int32", "float": config.floatx(), "bool": "bool"}.get(name)
    return known or jnp.dtype(dtype).name


def whole_number(value: Any, name: str) -> int:
    """Return `value` if it is an `int`, or raise `InvalidTypeError`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(message(f"Argument `{name}` must be of type `int`.", received=f"{name}={value!r}"))
    return value
