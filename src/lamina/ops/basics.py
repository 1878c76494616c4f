"""The few array functions that losses, activations, regularizers and constraints share."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina import config
from lamina._types import Array, ArrayLike

finfo: Any = jnp.finfo  # limits of a float type; JAX has no types for it
iinfo: Any = jnp.iinfo


def as_floats(x: ArrayLike) -> Array:
    """Return `x` as an array of a float type: integers become `config.floatx()`."""
    array = jnp.asarray(x)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(config.floatx())


def unit(x: Array, axis: int) -> Array:
    """Return `x` scaled to length 1 along `axis`; what is shorter than 1e-7 is scaled by 1e7 only, 0 stays 0."""
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    epsilon = config.epsilon()
    long = square > epsilon**2
    scale = jax.lax.rsqrt(jnp.where(long, square, 1))  # the derivative of rsqrt at 0 is not finite
    most = min(1.0 / epsilon, float(finfo(x.dtype).max))  # float16 ends below 1e7
    return x * jnp.where(long, scale, jnp.asarray(most, x.dtype))
