"""Rounding to the steps of a quantization that can be trained, as TensorFlow's operation of this name does."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lamina import registry
from lamina._types import Array
from lamina.ops.dispatch import operation


@registry.export("quantizers")
@operation("keras.src.quantizers.quantizers", "FakeQuantWithMinMaxVars")
def fake_quant_with_min_max_vars(
    inputs: Any,
    min_vals: Any,
    max_vals: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> Array:
    """Return `inputs` rounded to one of `2**num_bits` values from about `min_vals` to about `max_vals`.

    Gradients pass where `inputs` is in the range, and go to the ends of the range elsewhere.

    Args:
        inputs: Floats.
        min_vals: The least value, or one for each channel.
        max_vals: The largest value, or one for each channel.
        num_bits: Size of a whole number.
        narrow_range: Whether the least whole number is 1 rather than 0.
        axis: The axis of the channels; None for one range for all.
    """
    x = jnp.asarray(inputs)
    return _fake(x, jnp.asarray(min_vals), jnp.asarray(max_vals), int(num_bits), narrow_range, axis)


def _nudged(low: Array, high: Array, bits: int, narrow: bool) -> tuple[Array, Array, Array, Array]:
    """Return the range moved so that 0 is one of the values, the size of a step, and its inverse."""
    dtype = jnp.promote_types(low.dtype, jnp.float32)
    low, high = low.astype(dtype), high.astype(dtype)
    least, most = int(narrow), (1 << bits) - 1
    step, inverse = (high - low) / (most - least), (most - least) / (high - low)
    zero = jnp.round(jnp.clip(least - low / step, least, most))
    return (least - zero) * step, (most - zero) * step, step, inverse


def _spread(values: Array, x: Array, axis: int | None) -> Array:
    """Return one value for each channel in a shape that fits `x`."""
    if axis is None or values.ndim != 1:
        return values
    return values.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _fake(x: Array, low: Array, high: Array, bits: int, narrow: bool, axis: int | None) -> Array:
    return _forward(x, low, high, bits, narrow, axis)[0]


def _forward(x: Array, low: Array, high: Array, bits: int, narrow: bool, axis: int | None) -> tuple[Array, Any]:
    least, most, step, inverse = (_spread(v, x, axis) for v in _nudged(low, high, bits, narrow))
    zero = jnp.floor(-least * inverse + 0.5)
    moved = jnp.clip(x.astype(least.dtype), least, most) - least
    result = jnp.floor(moved * inverse - zero + 0.5) * step
    return result.astype(x.dtype), (x, low, high, least, most)


def _backward(bits: int, narrow: bool, axis: int | None, kept: Any, upstream: Array) -> tuple[Array, Array, Array]:
    x, low, high, least, most = kept
    summed = tuple(i for i in range(x.ndim) if axis is None or i != axis % x.ndim)

    def at_end(mask: Array, end: Array) -> Array:
        return jnp.sum(jnp.where(mask, upstream, 0), axis=summed).reshape(end.shape).astype(end.dtype)

    inside = jnp.where((x >= least) & (x <= most), upstream, 0)
    return inside, at_end(x <= least, low), at_end(x >= most, high)


_fake.defvjp(_forward, _backward)
