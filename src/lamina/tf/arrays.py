"""Functions of arrays under TensorFlow's names, with its arguments. The work is done by `lamina.ops`."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import ops
from lamina._types import Shape
from lamina.tf.types import float32, int32, narrow

# ---- arrays out of values


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """Return a value as an array, repeated to `shape` if that is given."""
    del name
    array = ops.convert_to_tensor(value, narrow(dtype))
    if shape is None:
        return array
    return jnp.broadcast_to(array, tuple(shape)) if array.size == 1 else array.reshape(tuple(shape))


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return a value as an array."""
    return constant(value, dtype, name=name)


def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Any:
    """Return an array of zeros."""
    del name
    return jnp.zeros(shape, narrow(dtype))


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Any:
    """Return an array of ones."""
    del name
    return jnp.ones(shape, narrow(dtype))


def fill(dims: Any, value: Any, name: str | None = None) -> Any:
    """Return an array of one value."""
    del name
    return jnp.full(dims, value)


def eye(num_rows: int, num_columns: int | None = None, dtype: Any = float32, name: str | None = None) -> Any:
    """Return a matrix with ones on its diagonal."""
    del name
    return jnp.eye(num_rows, num_columns, dtype=narrow(dtype))


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None) -> Any:
    """Return numbers from `start` (0 if it is alone) up to and without `limit`."""
    del name
    return jnp.arange(start, limit, delta, narrow(dtype)) if limit is not None else jnp.arange(0, start, delta)


def linspace(start: Any, stop: Any, num: int, name: str | None = None, axis: int = 0) -> Any:
    """Return `num` numbers at equal distances, both ends among them."""
    del name
    return jnp.linspace(start, stop, num, axis=axis)


def zeros_like(input: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return zeros in the shape of an array."""
    del name
    return ops.zeros_like(input, dtype=narrow(dtype))


def ones_like(input: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return ones in the shape of an array."""
    del name
    return ops.ones_like(input, dtype=narrow(dtype))


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """Return, for each class number, `on_value` (1) at its place and `off_value` (0) elsewhere."""
    del name
    hot = ops.one_hot(indices, depth, axis=-1 if axis is None else axis, dtype=narrow(dtype or float32))
    if on_value is None and off_value is None:
        return hot
    return ops.where(ops.cast(hot, "bool"), 1 if on_value is None else on_value, 0 if off_value is None else off_value)


# ---- products and reductions


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None) -> Any:
    """Return the matrix product."""
    del name
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    b = ops.swapaxes(b, -1, -2) if transpose_b else b
    return ops.matmul(a, b)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """Return the sum of products over chosen axes."""
    del name
    return ops.tensordot(a, b, axes=axes)


def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the mean along axes."""
    del name
    return ops.mean(input_tensor, axis=axis, keepdims=keepdims)


def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the sum along axes."""
    del name
    return ops.sum(input_tensor, axis=axis, keepdims=keepdims)


def reduce_max(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the largest element along axes."""
    del name
    return ops.max(input_tensor, axis=axis, keepdims=keepdims)


def reduce_min(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the smallest element along axes."""
    del name
    return ops.min(input_tensor, axis=axis, keepdims=keepdims)


def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the product along axes."""
    del name
    return ops.prod(input_tensor, axis=axis, keepdims=keepdims)


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return whether all elements along axes are true."""
    del name
    return ops.all(input_tensor, axis=axis, keepdims=keepdims)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return whether any element along axes is true."""
    del name
    return ops.any(input_tensor, axis=axis, keepdims=keepdims)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the standard deviation along axes."""
    del name
    return ops.std(input_tensor, axis=axis, keepdims=keepdims)


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the variance along axes."""
    del name
    return ops.var(input_tensor, axis=axis, keepdims=keepdims)


def argmax(input: Any, axis: int | None = None, output_type: Any = int32, name: str | None = None) -> Any:
    """Return the index of the largest element along an axis, by default the first."""
    del name
    return ops.cast(ops.argmax(input, axis=0 if axis is None else axis), narrow(output_type))


def argmin(input: Any, axis: int | None = None, output_type: Any = int32, name: str | None = None) -> Any:
    """Return the index of the smallest element along an axis, by default the first."""
    del name
    return ops.cast(ops.argmin(input, axis=0 if axis is None else axis), narrow(output_type))


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the norm of vectors or matrices along axes, by default of all elements."""
    del name
    if ord == "euclidean":
        return ops.sqrt(ops.sum(ops.square(tensor), axis=axis, keepdims=keepdims))
    return ops.norm(tensor, ord=ord, axis=axis, keepdims=keepdims)


# ---- shapes and types


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """Return an array in another type."""
    del name
    return ops.cast(x, narrow(dtype))


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """Return an array in another shape of the same size."""
    del name
    return ops.reshape(tensor, tuple(shape) if isinstance(shape, list) else shape)


def transpose(a: Any, perm: Any = None, name: str | None = None) -> Any:
    """Return an array with its axes in another order, by default the reverse."""
    del name
    return ops.transpose(a, axes=perm)


def expand_dims(input: Any, axis: int, name: str | None = None) -> Any:
    """Return an array with a new axis of size 1."""
    del name
    return ops.expand_dims(input, axis)


def squeeze(input: Any, axis: Any = None, name: str | None = None) -> Any:
    """Return an array without axes of size 1."""
    del name
    return ops.squeeze(input, tuple(axis) if isinstance(axis, list) else axis)


def concat(values: Sequence[Any], axis: int, name: str | None = None) -> Any:
    """Return arrays joined along an axis that they have."""
    del name
    return ops.concatenate(values, axis=axis)


def stack(values: Sequence[Any], axis: int = 0, name: str | None = None) -> Any:
    """Return arrays joined along a new axis."""
    del name
    return ops.stack(values, axis=axis)


def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    """Return an array laid out several times along each axis."""
    del name
    return ops.tile(input, multiples)


def gather(params: Any, indices: Any, axis: int = 0, name: str | None = None) -> Any:
    """Return the entries at `indices` along an axis."""
    del name
    return ops.take(params, indices, axis=axis)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """Return elements of `x` where `condition` holds and of `y` elsewhere."""
    del name
    return ops.where(condition, x, y)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Return each element, but at least the one and at most the other."""
    del name
    return ops.clip(t, clip_value_min, clip_value_max)


def identity(input: Any, name: str | None = None) -> Any:
    """Return an array as it is."""
    del name
    return ops.convert_to_tensor(input)


def shape(input: Any) -> Shape:
    """Return the shape."""
    found: Shape = ops.shape(input)
    return found


def size(input: Any) -> int:
    """Return the number of elements."""
    return int(jnp.size(input))


def rank(input: Any) -> int:
    """Return the number of axes."""
    return len(shape(input))
