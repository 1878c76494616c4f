"""Arrays out of nothing or of values, under Keras's names."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config
from lamina._types import Array, Numpy
from lamina.errors import InvalidTypeError, invalid, message
from lamina.ops.define import CORE, NUMPY, Function, named, type_name
from lamina.ops.dispatch import operation

# ---- from a shape


def zeros(shape: Any, dtype: Any = None) -> Array:
    """Return an array of zeros, by default of type `config.floatx()`."""
    return jnp.zeros(shape, type_name(dtype) or config.floatx())


def ones(shape: Any, dtype: Any = None) -> Array:
    """Return an array of ones, by default of type `config.floatx()`."""
    return jnp.ones(shape, type_name(dtype) or config.floatx())


def empty(shape: Any, dtype: Any = None) -> Array:
    """Return an array whose values do not matter: zeros."""
    return jnp.empty(shape, type_name(dtype) or config.floatx())


@operation(NUMPY)
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Array:
    """Return an array of one value, by default of type `config.floatx()`."""
    return jnp.full(shape, jnp.asarray(fill_value), type_name(dtype) or config.floatx())


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Return a matrix of `N` rows and `M` columns with ones on its `k`-th diagonal.

    Raises:
        InvalidTypeError: If a size is not a whole number.
    """
    for name, value, or_none in (("N", N, ""), ("M", M, ", or `None`")):
        if isinstance(value, float) or jnp.issubdtype(getattr(value, "dtype", jnp.int32), jnp.floating):
            kinds = f"an integer, an integer tensor{or_none}" if or_none else "an integer or an integer tensor"
            raise InvalidTypeError(message(f"Argument `{name}` must be {kinds}.", received=f"{name}={value!r}"))
    return jnp.eye(N, M, k, type_name(dtype) or config.floatx())


def identity(n: int, dtype: Any = None) -> Array:
    """Return a square matrix with ones on its diagonal."""
    return jnp.identity(n, type_name(dtype) or config.floatx())


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Return a matrix with ones on and below its `k`-th diagonal."""
    return jnp.tri(N, M, k, type_name(dtype) or config.floatx())


# ---- rows of numbers


@operation(NUMPY)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Array:
    """Return numbers from `start` up to and without `stop`, or from 0 up to `start`. Floats if one of them is."""
    if dtype is None:
        given = [x for x in (start, stop, step) if x is not None]
        dtype = config.floatx() if _python_floats(given) else jnp.result_type(*given)
    return jnp.arange(start, stop, step, type_name(dtype))


def _python_floats(values: Sequence[Any]) -> bool:
    """Return whether Python floats decide the type of a result: there is one, and no array."""
    return any(isinstance(x, float) for x in values) and not any(hasattr(x, "dtype") for x in values)


@operation(NUMPY)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Return `num` numbers at equal distances from `start` to `stop`.

    Args:
        start: The first number, or an array of them.
        stop: The last number.
        num: How many.
        endpoint: Whether `stop` is among them.
        retstep: Whether the distance is returned, too.
        dtype: Type of the result. Default: a float type.
        axis: Where the numbers are in the result, if `start` or `stop` is an array.
    """
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    return jnp.linspace(start, stop, num, endpoint, retstep, type_name(dtype), axis=axis)


@operation(NUMPY)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0
) -> Array:
    """Return `base` to the power of `num` numbers at equal distances from `start` to `stop`."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    return jnp.logspace(start, stop, num, endpoint, base, type_name(dtype), axis)


@operation(NUMPY)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Array:
    """Return `num` numbers from `start` to `stop`, each the same multiple of the one before."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    return jnp.geomspace(start, stop, num, endpoint, type_name(dtype), axis)


@operation(NUMPY)
def meshgrid(*x: Any, indexing: str = "xy") -> list[Array]:
    """Return the coordinates of the points of a grid, an array for each vector.

    Args:
        *x: The coordinates along each axis; all elements of an array in a row.
        indexing: 'xy': the first vector runs along the second axis; 'ij': along the first.
    """
    if indexing not in ("xy", "ij"):
        raise invalid("Valid values for `indexing` are 'xy' and 'ij'.", received=f"indexing={indexing!r}")
    return list(jnp.meshgrid(*[jnp.ravel(jnp.asarray(one)) for one in x], indexing=indexing))


def _window(name: str, function: Function) -> Function:
    def compute(x: int) -> Any:
        return function(int(x)).astype(config.floatx())

    return named(compute, name, f"the {name.capitalize()} window of `x` points")


bartlett = _window("bartlett", jnp.bartlett)
blackman = _window("blackman", jnp.blackman)
hamming = _window("hamming", jnp.hamming)
hanning = _window("hanning", jnp.hanning)


def kaiser(x: int, beta: Any) -> Array:
    """Return the Kaiser window of `x` points, narrower for a larger `beta`."""
    return jnp.kaiser(int(x), beta).astype(config.floatx())


# ---- like another array


@operation(NUMPY)
def zeros_like(x: Any, dtype: Any = None) -> Array:
    """Return zeros in the shape and, by default, the type of an array."""
    return jnp.zeros_like(jnp.asarray(x), type_name(dtype))


@operation(NUMPY)
def ones_like(x: Any, dtype: Any = None) -> Array:
    """Return ones in the shape and, by default, the type of an array."""
    return jnp.ones_like(jnp.asarray(x), type_name(dtype))


@operation(NUMPY)
def empty_like(x: Any, dtype: Any = None) -> Array:
    """Return values that do not matter in the shape and, by default, the type of an array."""
    return jnp.empty_like(jnp.asarray(x), type_name(dtype))


@operation(NUMPY)
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Array:
    """Return one value in the shape and, by default, the type of an array."""
    return jnp.full_like(jnp.asarray(x), jnp.asarray(fill_value), type_name(dtype))


# ---- from values, and back


@operation(NUMPY)
def array(x: Any, dtype: Any = None) -> Array:
    """Return a value as a JAX array that shares no memory with it."""
    return jnp.array(x, type_name(dtype))


@operation(CORE)
def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Array:
    """Return a value as a JAX array that shares no memory with it.

    Args:
        x: Anything that becomes an array: numbers, lists, NumPy arrays, variables.
        dtype: Type of the array. Default: that of the value; float64 becomes float32.
        sparse: False makes a sparse array dense; otherwise it stays as it is.
        ragged: Kept for Keras scripts; True is refused, as by Keras on JAX.
    """
    if ragged:
        raise invalid("`ragged=True` is not supported with jax backend.")
    del sparse
    kind = type_name(dtype)
    if isinstance(x, jax.Array) and (kind is None or x.dtype == kind):
        return x
    return jnp.array(x, kind)  # a copy: on a CPU JAX may otherwise share an aligned buffer


def convert_to_numpy(x: Any) -> Numpy:
    """Return a value as a NumPy array of its own."""
    return np.array(x.todense() if hasattr(x, "todense") else x)


@operation(NUMPY)
def view(x: Any, dtype: Any = None) -> Array:
    """Return the same bits read as another type; the size of the last axis changes with the size of the type."""
    return jnp.asarray(x).view(type_name(dtype))


# ---- about an array


def is_tensor(x: Any) -> bool:
    """Return whether a value is a JAX array, dense or sparse."""
    return isinstance(x, jax.Array) or type(x).__name__ == "BCOO"


def shape(x: Any) -> tuple[int | None, ...]:
    """Return the shape of an array or stand-in: None for a size that is not known."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def dtype(x: Any) -> str:
    """Return the name of the type of an array or stand-in, e.g. 'float32'."""
    return str(type_name(x.dtype)) if hasattr(x, "dtype") else jnp.asarray(x).dtype.name


def ndim(x: Any) -> int:
    """Return the number of axes of an array or stand-in."""
    return len(shape(x))


@operation(NUMPY)
def size(x: Any) -> Any:
    """Return the number of elements."""
    return jnp.size(jnp.asarray(x))
