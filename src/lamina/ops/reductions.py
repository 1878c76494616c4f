"""Functions that make one number of many along axes, under Keras's names."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina.ops.basics import as_floats, finfo
from lamina.ops.define import MATH, NUMPY, Axis, axes, reduction, together, type_name
from lamina.ops.dispatch import operation

all = reduction("all", jnp.all, "whether every element is true")
amax = reduction("amax", jnp.max, "the largest element")
amin = reduction("amin", jnp.min, "the smallest element")
any = reduction("any", jnp.any, "whether at least one element is true")
median = reduction("median", jnp.median, "the middle one of the sorted elements", floats=True)
ptp = reduction("ptp", jnp.ptp, "the largest element minus the smallest")
std = reduction("std", jnp.std, "the standard deviation", floats=True)
sum = reduction("sum", jnp.sum, "the sum")

nanargmax = reduction("nanargmax", jnp.nanargmax, "the index of the largest element that is not NaN")
nanargmin = reduction("nanargmin", jnp.nanargmin, "the index of the smallest element that is not NaN")
nanmax = reduction("nanmax", jnp.nanmax, "the largest element that is not NaN")
nanmean = reduction("nanmean", jnp.nanmean, "the mean of what is not NaN")
nanmedian = reduction("nanmedian", jnp.nanmedian, "the median of what is not NaN")
nanmin = reduction("nanmin", jnp.nanmin, "the smallest element that is not NaN")
nanprod = reduction("nanprod", jnp.nanprod, "the product of what is not NaN")
nanstd = reduction("nanstd", jnp.nanstd, "the standard deviation of what is not NaN")
nansum = reduction("nansum", jnp.nansum, "the sum of what is not NaN")
nanvar = reduction("nanvar", jnp.nanvar, "the variance of what is not NaN")


@operation(NUMPY)
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean along axes. It is taken in float32 at least; integers give floats."""
    x = as_floats(x)
    return jnp.mean(x, axes(axis), dtype=_wide(x), keepdims=keepdims).astype(x.dtype)


@operation(NUMPY)
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the variance along axes: the mean square distance from the mean, taken in float32 at least."""
    x = as_floats(x)
    found = jnp.var(x, axes(axis), dtype=_wide(x), keepdims=keepdims)
    return found if jnp.issubdtype(x.dtype, jnp.complexfloating) else found.astype(x.dtype)


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


@operation(NUMPY)
def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the largest element along axes, at least `initial`."""
    return jnp.max(jnp.asarray(x), axis=axes(axis), keepdims=keepdims, initial=initial)


@operation(NUMPY)
def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the smallest element along axes, at most `initial`."""
    return jnp.min(jnp.asarray(x), axis=axes(axis), keepdims=keepdims, initial=initial)


@operation(NUMPY)
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """Return the product along axes."""
    return jnp.prod(jnp.asarray(x), axis=axes(axis), keepdims=keepdims, dtype=type_name(dtype))


@operation(NUMPY)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the first largest element along an axis; 0.0 counts as larger than -0.0."""
    return jnp.argmax(_ordered(jnp.asarray(x)), axis=axis, keepdims=keepdims)


@operation(NUMPY)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the first smallest element along an axis; -0.0 counts as smaller than 0.0."""
    return jnp.argmin(_ordered(jnp.asarray(x)), axis=axis, keepdims=keepdims)


def _ordered(x: jax.Array) -> jax.Array:
    """Return floats with the smallest normal number below 0 in place of -0.0, which Keras does on a CPU."""
    if not jnp.issubdtype(x.dtype, jnp.floating) or not x.ndim or jax.default_backend() != "cpu":
        return x
    x = x.astype(_wide(x))
    return jnp.where((x == 0) & jnp.signbit(x), -finfo(x.dtype).tiny, x)


@operation(NUMPY)
def average(x: Any, axis: Axis = None, weights: Any = None) -> Any:
    """Return the weighted mean along axes."""
    if weights is None:
        return jnp.average(as_floats(x), axes(axis))
    x, weights = together(x, weights)
    return jnp.average(x, axes(axis), weights)


@operation(NUMPY)
def count_nonzero(x: Any, axis: Axis = None) -> Any:
    """Return how many elements along axes are not zero, int32."""
    return jnp.count_nonzero(jnp.asarray(x), axis=axes(axis)).astype(jnp.int32)


@operation(NUMPY, "AllClose")
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Return whether two arrays differ nowhere by more than `atol + rtol * abs(x2)`."""
    return jnp.allclose(jnp.asarray(x1), jnp.asarray(x2), rtol, atol, equal_nan)


@operation(MATH)
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return `log(sum(exp(x)))` along axes, without overflow."""
    return jax.nn.logsumexp(as_floats(x), axis=axes(axis), keepdims=keepdims)


@operation(NUMPY)
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return running sums along an axis, by default of all elements in a row."""
    return jnp.cumsum(jnp.asarray(x), axis=axis, dtype=type_name(dtype))


@operation(NUMPY)
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return running products along an axis, by default of all elements in a row."""
    return jnp.cumprod(jnp.asarray(x), axis=axis, dtype=type_name(dtype))


def _one(axis: Any) -> Any:
    return axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis


@operation(NUMPY)
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return running sums along an axis; NaN counts as 0."""
    return jnp.nancumsum(jnp.asarray(x), axis=_one(axis), dtype=type_name(dtype))


@operation(NUMPY)
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return running products along an axis; NaN counts as 1."""
    return jnp.nancumprod(jnp.asarray(x), axis=_one(axis), dtype=type_name(dtype))


@operation(NUMPY)
def quantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return what a share `q` of the elements along axes lies below; for several shares a first axis of them.

    Args:
        x: The array.
        q: One share or several, from 0 to 1.
        axis: Along which axes. None: over all elements.
        method: Between two elements: 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.
        keepdims: Whether the axes stay, with size 1.
    """
    return jnp.quantile(as_floats(x), as_floats(q), axes(axis), method=method, keepdims=keepdims)


@operation(NUMPY)
def percentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return `quantile` for `q` in percent, from 0 to 100."""
    return jnp.percentile(as_floats(x), as_floats(q), axes(axis), method=method, keepdims=keepdims)


@operation(NUMPY)
def nanquantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return `quantile` of what is not NaN."""
    return jnp.nanquantile(as_floats(x), as_floats(q), axes(axis), method=method, keepdims=keepdims)


@operation(NUMPY)
def nanpercentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return `percentile` of what is not NaN."""
    return jnp.nanpercentile(as_floats(x), as_floats(q), axes(axis), method=method, keepdims=keepdims)
