"""The fully connected product: the heart of the library."""

from typing import Any

import jax
import jax.numpy as jnp


def dense(x: Any, kernel: Any, bias: Any = None) -> jax.Array:
    """Return `x @ kernel + bias`.

    Shapes:
        x: `(*batch, inputs)`
        kernel: `(inputs, units)`
        bias: `(units,)` or None
        result: `(*batch, units)`
    """
    product = jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
    return product if bias is None else jnp.add(product, bias)
