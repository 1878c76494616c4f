"""What every optimizer does beside its rule, as pure functions of arrays: clipping, averaging, accumulating."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina._types import Array


def clip_by_norm(gradient: Array, limit: float) -> Array:
    """Return the gradient, scaled down so that its L2 norm is at most `limit`. NaN spreads."""
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient)))
    return gradient * (limit / jnp.maximum(norm, limit))


def global_norm(gradients: Sequence[Array | None]) -> Array:
    """Return the L2 norm of all gradients as one vector."""
    return jnp.sqrt(sum([jnp.sum(jnp.square(g)) for g in gradients if g is not None], start=jnp.float32(0)))


def clip_by_global_norm(gradients: Sequence[Array | None], limit: float) -> list[Array | None]:
    """Return the gradients, scaled by one factor so that their common L2 norm is at most `limit`.

    A norm that is not finite makes every gradient NaN.
    """
    norm = global_norm(gradients)
    scale = limit * jnp.minimum(1.0 / norm, 1.0 / limit) + (norm - norm)
    return [None if g is None else g * scale.astype(g.dtype) for g in gradients]


def clip_by_value(gradient: Array, limit: float) -> Array:
    """Return the gradient with each element held in [-limit, limit]."""
    return jnp.clip(gradient, -limit, limit)


def moving_average(average: Array, param: Array, momentum: float, started: Array) -> Array:
    """Return `momentum average + (1 - momentum) param`; at the first step, before `started`, the parameter itself."""
    keep = started.astype(param.dtype) * momentum
    return average * keep + param * (1 - keep)


def decay(param: Array, weight_decay: float, rate: Array) -> Array:
    """Return the parameter less `weight_decay * rate` of it."""
    return param - param * (weight_decay * rate).astype(param.dtype)


def clip(grads: Sequence[Any], norm: float | None, common: float | None, value: float | None) -> list[Any]:
    """Return the gradients, each clipped by its norm, all by their common norm, or each element by its value.

    A limit of None or zero is none. A gradient may be None.
    """
    if norm:
        return [None if g is None else clip_by_norm(jnp.asarray(g), norm) for g in grads]
    if common:
        return clip_by_global_norm([None if g is None else jnp.asarray(g) for g in grads], common)
    if value:
        return [None if g is None else clip_by_value(jnp.asarray(g), value) for g in grads]
    return list(grads)
