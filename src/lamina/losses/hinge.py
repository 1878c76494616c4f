"""Hinge losses: nothing to pay for what is right by a margin. Targets are -1 and 1, or 0 and 1."""

from typing import Any

import jax.numpy as jnp

from lamina import registry
from lamina._types import Array, ArrayLike
from lamina.losses.base import LossFunctionWrapper
from lamina.ops.basics import as_floats


def _margin(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return `max(1 - y_true * y_pred, 0)`; targets that are all 0 or 1 become -1 or 1 first."""
    y_pred = as_floats(y_pred)
    y_true = jnp.asarray(y_true, y_pred.dtype)
    binary = jnp.all((y_true == 0) | (y_true == 1))
    y_true = jnp.where(binary, 2.0 * y_true - 1.0, y_true)
    return jnp.maximum(1.0 - y_true * y_pred, 0.0)


@registry.export("losses")
def hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `max(1 - y_true * y_pred, 0)` over the last axis.

    Shapes: targets (-1 and 1, or 0 and 1) and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    return jnp.mean(_margin(y_true, y_pred), axis=-1)


@registry.export("losses")
def squared_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `max(1 - y_true * y_pred, 0) ** 2` over the last axis.

    Shapes: targets (-1 and 1, or 0 and 1) and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    return jnp.mean(jnp.square(_margin(y_true, y_pred)), axis=-1)


@registry.export("losses")
def categorical_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return `max(wrong - right + 1, 0)`: the highest score of a wrong class against that of the right one.

    Shapes: one-hot targets and scores `(batch, ..., classes)`, result `(batch, ...)`.
    """
    y_pred = as_floats(y_pred)
    y_true = jnp.asarray(y_true, y_pred.dtype)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


_MEAN = "sum_over_batch_size"


@registry.export("losses")
class Hinge(LossFunctionWrapper):
    """The mean of `max(1 - y_true * y_pred, 0)`."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "hinge", dtype: Any = None):
        super().__init__(hinge, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class SquaredHinge(LossFunctionWrapper):
    """The mean of `max(1 - y_true * y_pred, 0) ** 2`."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(squared_hinge, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class CategoricalHinge(LossFunctionWrapper):
    """`max(wrong - right + 1, 0)`: the highest score of a wrong class against that of the right one."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(categorical_hinge, name=name, reduction=reduction, dtype=dtype)
