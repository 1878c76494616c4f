"""Operations on masks, for arrays and for stand-ins."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina._types import Array
from lamina.ops.dispatch import operation

_NUMPY = "keras.src.ops.numpy"


@operation(_NUMPY, "Any")
def any_of(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """Return whether any entry along `axis` is true."""
    return jnp.any(jnp.asarray(x), axis, keepdims=keepdims)


@operation(_NUMPY)
def expand_dims(x: Any, axis: int) -> Array:
    """Return `x` with one more axis, of size 1."""
    return jnp.expand_dims(jnp.asarray(x), axis)


@operation(_NUMPY)
def zeros_like(x: Any, dtype: Any = None) -> Array:
    """Return zeros of the shape of `x`."""
    return jnp.zeros_like(jnp.asarray(x), dtype)


@operation(_NUMPY)
def ones_like(x: Any, dtype: Any = None) -> Array:
    """Return ones of the shape of `x`."""
    return jnp.ones_like(jnp.asarray(x), dtype)


@operation(_NUMPY)
def concatenate(xs: Sequence[Any], axis: int = 0) -> Array:
    """Return arrays one behind the other along `axis`."""
    return jnp.concatenate([jnp.asarray(x) for x in xs], axis)
