"""8-bit floats with a scale that follows the largest values of the last steps ("delayed scaling")."""

from typing import Any

import jax.numpy as jnp

from lamina import registry
from lamina._types import Array
from lamina.ops.basics import finfo

LARGEST = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0}


@registry.export("quantizers")
def compute_float8_scale(amax: Any, scale: Any, dtype_max: Any, margin: int = 0) -> Array:
    """Return the scale by which `amax` must be divided to become the largest float, or the old one if it is 0 or inf.

    Args:
        amax: The largest absolute value seen.
        scale: The scale so far.
        dtype_max: The largest float of the type.
        margin: Number of powers of two to leave free.
    """
    amax, old = jnp.asarray(amax), 1 / jnp.asarray(scale)
    factor = jnp.where((amax > 0) & jnp.isfinite(amax), jnp.asarray(dtype_max) / amax / 2**margin, old)
    return 1 / factor


@registry.export("quantizers")
def compute_float8_amax_history(x: Any, amax_history: Any) -> Array:
    """Return the history, one step older, with the largest absolute value of `x` in front."""
    history = jnp.asarray(amax_history)
    return jnp.roll(history, -1).at[0].set(jnp.max(jnp.abs(jnp.asarray(x))).astype(history.dtype))


@registry.export("quantizers")
def quantize_and_dequantize(inputs: Any, scale: Any, quantized_dtype: str, compute_dtype: str) -> Array:
    """Return `inputs` rounded to what an 8-bit float times `scale` can hold.

    Args:
        inputs: Floats.
        scale: What one unit of the 8-bit float is worth.
        quantized_dtype: 'float8_e4m3fn' or 'float8_e5m2'.
        compute_dtype: Type of the result.
    """
    unit = jnp.asarray(scale).astype(compute_dtype)
    largest = jnp.asarray(float(finfo(quantized_dtype).max), compute_dtype)
    small = jnp.clip(jnp.asarray(inputs) / unit, -largest, largest).astype(quantized_dtype)
    return small.astype(compute_dtype) * unit
