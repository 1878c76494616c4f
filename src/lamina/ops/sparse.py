"""JAX's sparse arrays (BCOO) in operations: they stay sparse where zeros stay zeros, and become dense elsewhere."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.ops.basics import as_floats
from lamina.ops.define import axes

# Keras's class names. Of what is elementwise, what is 0 at 0.
_KEPT = """
    Absolute Arcsin Arcsinh Arctan Arctanh Cast Cbrt Ceil Conjugate Copy Deg2rad Erf Expm1 Floor Imag Log1p Negative
    Rad2deg Real Relu Relu6 Round Sign Sin Sinh Sqrt Square StopGradient Tan Tanh Trunc
"""
KEPT = frozenset(_KEPT.split())
_LINEAR = frozenset(["Cast", "Conjugate", "Copy", "Imag", "Negative", "Real", "StopGradient"])
_UNARY = frozenset(["Digitize", "ExpandDims", "Mean", "Reshape", "Squeeze", "Sum", "Transpose"])
_BOTH = frozenset(["Add", "Matmul", "Maximum", "Minimum", "Subtract"])
_DIVISIONS = frozenset(["Divide", "TrueDivide"])


def stays_sparse(name: str, args: Sequence[Any]) -> bool:
    """Return whether the stand-in for the result of an operation, by Keras's class name, is that of a sparse array."""
    if name == "Concatenate" and args:
        return all(getattr(one, "sparse", False) for one in args[0])
    first, second = (getattr(one, "sparse", False) is True for one in (*args, None, None)[:2])
    if name in KEPT or name in _UNARY:
        return first
    if name in _BOTH:
        return first and second
    if name == "Multiply":
        return first or second
    return name in _DIVISIONS and first and not second


def applied(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operation gives for arguments of which at least one is a sparse array."""
    name = getattr(function, "keras_place", ("", ""))[1]
    plain: Callable[..., Any] = function.__wrapped__  # type: ignore[attr-defined]
    x = args[0] if args else None
    found = None
    if name in KEPT and is_sparse(x):
        found = _mapped(plain, x if name in _LINEAR else _unique(x), args[1:], kwargs)
    elif name in _RULES:
        found = _RULES[name](*args, **kwargs)
    elif name in _PAIRS and len(args) == 2:
        found = _PAIRS[name](plain, *args)
    return plain(*dense(args), **dense(kwargs)) if found is None else found


def is_sparse(x: Any) -> bool:
    """Return whether a value is one of JAX's sparse arrays."""
    return type(x).__name__ == "BCOO"


def dense(values: Any) -> Any:
    """Return a structure of values with dense arrays in place of sparse ones."""
    if is_sparse(values):
        return values.todense()
    if isinstance(values, dict):
        return {key: dense(value) for key, value in values.items()}
    return type(values)([dense(value) for value in values]) if type(values) in (list, tuple) else values


def _with(x: Any, data: Any) -> Any:
    from jax.experimental.sparse import BCOO

    return BCOO((data, x.indices), shape=x.shape, indices_sorted=x.indices_sorted, unique_indices=x.unique_indices)


def _unique(x: Any) -> Any:
    """Return a sparse array without places that are there twice, whose values add up."""
    if x.unique_indices:
        return x
    from jax.experimental import sparse

    traced = isinstance(x.indices, jax.core.Tracer)
    return sparse.bcoo_sum_duplicates(x, nse=x.nse if traced else None)


def _mapped(function: Callable[..., Any], x: Any, rest: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return _with(x, function(x.data, *rest, **kwargs))


# ---- one sparse array. A rule returns None where the result is dense.


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    from jax.experimental import sparse

    if not is_sparse(x) or x.n_dense:
        return None
    along = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    along = tuple(sorted(one % x.ndim for one in along))
    found = sparse.bcoo_reduce_sum(x, axes=along)
    return _expand_dims(found, along) if keepdims and along else found


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    found = _sum(_with(x, as_floats(x.data)), axis, keepdims) if is_sparse(x) else None
    return None if found is None else _with(found, found.data / (x.size / max(1, found.size)))


def _expand_dims(x: Any, axis: Any) -> Any:
    from jax.experimental import sparse

    if not is_sparse(x):
        return None
    places = axes(axis) if isinstance(axis, list | tuple) else (axis,)
    rank = x.ndim + len(places)
    new = {one % rank for one in places}
    kept = [one for one in range(rank) if one not in new]
    sizes = iter(x.shape)
    shape = tuple(1 if one in new else next(sizes) for one in range(rank))
    return sparse.bcoo_broadcast_in_dim(x, shape=shape, broadcast_dimensions=kept)


def _reshape(x: Any, newshape: Any) -> Any:
    from jax.experimental import sparse

    if not is_sparse(x) or x.n_dense:
        return None
    sizes = [-1 if size is None else size for size in (newshape if isinstance(newshape, list | tuple) else (newshape,))]
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.size // max(1, math.prod(size for size in sizes if size != -1))
    return sparse.bcoo_reshape(x, new_sizes=tuple(sizes))


def _squeeze(x: Any, axis: Any = None) -> Any:
    from jax.experimental import sparse

    if not is_sparse(x):
        return None
    chosen = [i for i, size in enumerate(x.shape) if size == 1] if axis is None else axis
    chosen = chosen if isinstance(chosen, list | tuple) else (chosen,)
    return sparse.bcoo_squeeze(x, dimensions=tuple(one % x.ndim for one in chosen))


def _transpose(x: Any, axes: Any = None) -> Any:
    from jax.experimental import sparse

    if not is_sparse(x) or x.n_dense:
        return None
    return sparse.bcoo_transpose(x, permutation=tuple(axes or reversed(range(x.ndim))))


def _digitize(x: Any, bins: Any) -> Any:
    from lamina.ops.indexing import digitize

    if not is_sparse(x) or isinstance(bins, jax.core.Tracer) or (len(bins) and not bins[0] > 0):
        return None  # a zero is in another bin than the first
    return _with(_unique(x), digitize(_unique(x).data, bins))


def _concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    from jax.experimental import sparse

    if not all(is_sparse(x) and not x.n_dense for x in xs):
        return None
    return sparse.bcoo_concatenate(list(xs), dimension=axis % xs[0].ndim)


def _convert(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Any:
    del ragged
    if sparse is False:
        return None
    return x if dtype is None else _with(x, x.data.astype(dtype))


# ---- two arrays, at least one of them sparse


def _union(function: Callable[..., Any], x1: Any, x2: Any) -> Any:
    if not (is_sparse(x1) and is_sparse(x2)) or (x1.n_dense, x1.shape) != (x2.n_dense, x2.shape):
        return None
    if x1.indices is x2.indices:
        first, second = _unique(x1), _unique(x2)
    else:
        first, second = _together(x1, x2), _together(x2, x1, behind=False)
    return _with(first, function(first.data, second.data))


def _together(x: Any, other: Any, behind: bool = True) -> Any:
    """Return `x` with zeros where only the other has values. Both get the same indices: they are sorted."""
    from jax.experimental.sparse import BCOO

    zeros = jnp.zeros_like(other.data, dtype=x.dtype)
    pairs = ((x.data, zeros), (x.indices, other.indices))
    data, indices = (jnp.concatenate(pair if behind else pair[::-1]) for pair in pairs)
    return _unique(BCOO((data, indices), shape=x.shape))


def _multiply(function: Callable[..., Any], x1: Any, x2: Any) -> Any:
    sparse, other = (x1, x2) if is_sparse(x1) else (x2, x1)
    at_places = _at(sparse, dense(other))
    return None if at_places is None else _with(sparse, function(sparse.data, at_places))


def _divide(function: Callable[..., Any], x1: Any, x2: Any) -> Any:
    if not is_sparse(x1) or is_sparse(x2):
        return None
    traced = isinstance(x2, jax.core.Tracer)
    if not traced and bool(jnp.any((jnp.asarray(x2) == 0) | jnp.isnan(jnp.asarray(x2)))):
        return None  # 0 / 0 is not 0
    at_places = _at(x1, x2)
    return None if at_places is None else _with(x1, function(x1.data, at_places))


def _at(sparse: Any, other: Any) -> Any:
    """Return a dense array's values at the places of a sparse one; a scalar as it is; None if the sparse one grows."""
    if not jnp.ndim(other):
        return other
    if jnp.broadcast_shapes(jnp.shape(other), sparse.shape) != sparse.shape:
        return None
    from jax.experimental.sparse import bcoo_extract

    return bcoo_extract(sparse, jnp.broadcast_to(jnp.asarray(other), sparse.shape)).data


def _matmul(function: Callable[..., Any], x1: Any, x2: Any) -> Any:
    from jax.experimental import sparse

    if min(jnp.ndim(x1), jnp.ndim(x2)) < 2:
        return None
    laid = [
        sparse.bcoo_update_layout(x, n_batch=x.ndim - 2, n_dense=0, on_inefficient=None) if is_sparse(x) else x
        for x in (x1, x2)
    ]
    kind = jnp.result_type(*[x.dtype for x in laid])
    return sparse.sparsify(jnp.matmul)(*[x.astype(kind) for x in laid])


_RULES: dict[str, Callable[..., Any]] = {
    "Concatenate": _concatenate,
    "ConvertToTensor": _convert,
    "Digitize": _digitize,
    "ExpandDims": _expand_dims,
    "Mean": _mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Sum": _sum,
    "Transpose": _transpose,
}
_PAIRS: dict[str, Callable[..., Any]] = {
    "Add": _union,
    "Divide": _divide,
    "Matmul": _matmul,
    "Maximum": _union,
    "Minimum": _union,
    "Multiply": _multiply,
    "Subtract": _union,
    "TrueDivide": _divide,
}
