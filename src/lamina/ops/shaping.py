"""Functions that move, join and cut arrays, under Keras's names."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InvalidArgumentError, invalid
from lamina.ops.define import CORE, NUMPY, axes, checked_axis, single, whole_number
from lamina.ops.dispatch import operation

fliplr = single("fliplr", jnp.fliplr, "an array with its second axis in reverse order")
flipud = single("flipud", jnp.flipud, "an array with its first axis in reverse order")
ravel = single("ravel", jnp.ravel, "all elements as one axis")


def _arrays(xs: Sequence[Any]) -> list[jax.Array]:
    return [jnp.asarray(x) for x in xs]


# ---- joined


@operation(NUMPY)
def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays one behind the other along an axis that they have."""
    if axis is None:
        raise invalid("`axis` must be of type `int`.", received="axis=None", fix="`ravel` the arrays before.")
    return jnp.concatenate(_arrays(xs), axis)


@operation(NUMPY)
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """Return `x1` and behind it `x2` along an axis, by default both as one axis."""
    return jnp.append(jnp.asarray(x1), jnp.asarray(x2), axis)


@operation(NUMPY)
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays joined along a new axis."""
    return jnp.stack(_arrays(x), axis)


@operation(NUMPY)
def hstack(xs: Sequence[Any]) -> Any:
    """Return arrays side by side: along the second axis, vectors along their only one."""
    return jnp.hstack(_arrays(xs))


@operation(NUMPY)
def vstack(xs: Sequence[Any]) -> Any:
    """Return arrays one below the other: along the first axis, vectors as rows."""
    return jnp.vstack(_arrays(xs))


@operation(NUMPY)
def dstack(xs: Sequence[Any]) -> Any:
    """Return arrays joined along the third axis."""
    return jnp.dstack(_arrays(xs))


# ---- cut


@operation(NUMPY)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Return parts of an array as a list: so many of equal size, or cut before these indices.

    Raises:
        InvalidArgumentError: If the size is not a multiple of the number of parts.
    """
    x = jnp.asarray(x)
    axis, parts = checked_axis(axis, x.ndim), indices_or_sections
    if isinstance(parts, int) and parts > 0 and x.shape[axis] % parts:
        raise _uneven(x, axis, parts)
    return list(jnp.split(x, parts if isinstance(parts, int) else tuple(parts), axis))


def _uneven(x: jax.Array, axis: int, parts: int) -> InvalidArgumentError:
    return invalid(
        "`x` size on given `axis` must be divisible by `indices_or_sections` when `indices_or_sections` is an int.",
        received=f"{x.shape[axis]} and {parts}",
        fix="use `array_split` for parts of nearly equal size.",
    )


@operation(NUMPY)
def array_split(x: Any, indices_or_sections: int, axis: int = 0) -> Any:
    """Return so many parts of an array as a list, of equal size or, the last ones, one less."""
    whole_number(axis, "axis")
    if whole_number(indices_or_sections, "indices_or_sections") <= 0:
        problem = "Argument `indices_or_sections` must be a positive integer."
        raise invalid(problem, received=f"indices_or_sections={indices_or_sections}")
    return list(jnp.array_split(jnp.asarray(x), indices_or_sections, axis))


@operation(NUMPY)
def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """Return `split` along the second axis, of a vector along its only one."""
    x = jnp.asarray(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@operation(NUMPY)
def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """Return `split` along the first axis."""
    return split(x, indices_or_sections, 0)


@operation(NUMPY)
def dsplit(x: Any, indices_or_sections: Any) -> Any:
    """Return `split` along the third axis."""
    return split(x, indices_or_sections, 2)


@operation(CORE)
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """Return the entries along an axis as a list of arrays without it.

    Args:
        x: The array.
        num: How many entries there are, needed only for a stand-in that does not say.
        axis: Along which axis.

    Raises:
        InvalidArgumentError: If there is no such axis, or not that many entries.
    """
    x = jnp.asarray(x)
    axis = checked_axis(axis, x.ndim)
    if num is not None and num != x.shape[axis]:
        raise invalid("`num` must be the size of the axis.", received=f"num={num}, x.shape={x.shape}, axis={axis}")
    return [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]


# ---- turned


@operation(NUMPY)
def expand_dims(x: Any, axis: Any) -> Any:
    """Return an array with new axes of size 1 at these places of the result."""
    return jnp.expand_dims(jnp.asarray(x), axes(axis))


@operation(NUMPY)
def transpose(x: Any, axes: Any = None) -> Any:
    """Return an array with its axes in another order, by default the reverse.

    Raises:
        InvalidArgumentError: If `axes` does not name each axis once.
    """
    x = jnp.asarray(x)
    if axes is not None:
        _check_order(axes, x)
    return jnp.transpose(x, axes)


def _check_order(axes: Any, x: jax.Array) -> None:
    given, rank = f"axes={axes}, x.shape={x.shape}", x.ndim
    if len(axes) != rank:
        raise invalid("`axes` must be a list of the same length as the input shape.", received=given)
    if any(not -rank <= axis < rank for axis in axes):
        raise invalid(f"Each axis in `axes` must be an integer in [-{rank}, {rank}).", received=given)
    if len({axis % rank for axis in axes}) < rank:
        raise invalid("`axes` must be a valid permutation of the axes.", received=given)


@operation(NUMPY)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return an array with two axes exchanged."""
    x = jnp.asarray(x)
    return jnp.swapaxes(x, checked_axis(axis1, x.ndim), checked_axis(axis2, x.ndim))


@operation(NUMPY)
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Return an array with axes moved from some places to others."""
    return jnp.moveaxis(jnp.asarray(x), axes(source), axes(destination))


@operation(NUMPY)
def flip(x: Any, axis: Any = None) -> Any:
    """Return an array in reverse order along axes, by default along all."""
    return jnp.flip(jnp.asarray(x), axes(axis))


@operation(NUMPY)
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Return an array turned `k` times by 90 degrees in the plane of two axes.

    Raises:
        InvalidArgumentError: If it has fewer than two axes, or the two are the same.
    """
    array = jnp.asarray(array)
    if array.ndim < 2:
        raise invalid("Input array must have at least 2 dimensions.", received=f"array.ndim={array.ndim}")
    if len(axes) != 2 or axes[0] == axes[1]:
        raise invalid(f"Invalid axes: {axes}. Axes must be a tuple of two different dimensions.")
    return jnp.rot90(array, k, tuple(axes))


@operation(NUMPY)
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Return an array shifted along axes; what leaves at one end comes in at the other."""
    return jnp.roll(jnp.asarray(x), axes(shift), axes(axis))


# ---- made larger


@operation(NUMPY)
def tile(x: Any, repeats: Any) -> Any:
    """Return an array laid out several times along each axis."""
    return jnp.tile(jnp.asarray(x), repeats)


@operation(NUMPY)
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Return an array with each entry along an axis several times in a row."""
    fixed = np.asarray(repeats) if isinstance(repeats, list | tuple) else repeats  # known while a step is traced
    return jnp.repeat(jnp.asarray(x), fixed, axis)


@operation(NUMPY)
def broadcast_to(x: Any, shape: Any) -> Any:
    """Return an array repeated to a larger shape."""
    return jnp.broadcast_to(jnp.asarray(x), tuple(shape))


@operation(NUMPY)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Return an array with entries added at the ends of its axes.

    Args:
        x: The array.
        pad_width: How many before and behind: `((before, behind), ...)` for each axis, one pair or one number for all.
        mode: 'constant', or 'reflect', 'symmetric', 'edge', 'wrap', ...: what is added.
        constant_values: What to add with mode 'constant'. Default 0.

    Raises:
        InvalidArgumentError: If `constant_values` is given with another mode.
    """
    if constant_values is None:
        return jnp.pad(jnp.asarray(x), pad_width, mode)
    if mode != "constant":
        problem = "Argument `constant_values` can only be provided when `mode == 'constant'`."
        raise invalid(problem, received=f"mode={mode}")
    return jnp.pad(jnp.asarray(x), pad_width, mode, constant_values=constant_values)


# ---- diagonals


@operation(NUMPY)
def diag(x: Any, k: int = 0) -> Any:
    """Return the `k`-th diagonal of a matrix, or a matrix with this diagonal."""
    return jnp.diag(jnp.asarray(x), k)


@operation(NUMPY)
def diagflat(x: Any, k: int = 0) -> Any:
    """Return a matrix with all elements on its `k`-th diagonal."""
    return jnp.diagflat(jnp.asarray(x), k)


@operation(NUMPY)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return diagonals of matrices that two axes span, as the last axis.

    Raises:
        InvalidArgumentError: If the two axes are the same.
    """
    x = jnp.asarray(x)
    if x.ndim and axis1 % x.ndim == axis2 % x.ndim:
        raise invalid("`axis1` and `axis2` cannot be the same.", received=f"axis1={axis1}, axis2={axis2}")
    return jnp.diagonal(x, offset, axis1, axis2)


@operation(NUMPY)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the sums of diagonals of matrices that two axes span."""
    return jnp.trace(jnp.asarray(x), offset, axis1, axis2)


@operation(NUMPY)
def tril(x: Any, k: int = 0) -> Any:
    """Return matrices with zeros above the `k`-th diagonal."""
    return jnp.tril(jnp.asarray(x), k)


@operation(NUMPY)
def triu(x: Any, k: int = 0) -> Any:
    """Return matrices with zeros below the `k`-th diagonal."""
    return jnp.triu(jnp.asarray(x), k)
