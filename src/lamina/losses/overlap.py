"""Losses of overlap: one number for a whole batch, or for what `axis` leaves. They know no single samples."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array, ArrayLike
from lamina.losses.base import LossFunctionWrapper
from lamina.ops.basics import as_floats

Axis = int | Sequence[int] | None


def _prepared(y_true: ArrayLike, y_pred: ArrayLike, axis: Axis) -> tuple[Array, Array, Any]:
    y_pred = as_floats(y_pred)
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    return jnp.asarray(y_true, y_pred.dtype), y_pred, axes


@registry.export("losses")
def dice(y_true: ArrayLike, y_pred: ArrayLike, axis: Axis = None) -> Array:
    """Return `1 - 2 * shared / (wanted + predicted)`, each of them a sum over `axis` (Sørensen-Dice).

    Shapes: targets and predictions alike, result without `axis`; None sums over everything.
    """
    y_true, y_pred, axes = _prepared(y_true, y_pred, axis)
    shared = jnp.sum(y_true * y_pred, axis=axes)
    return 1 - 2.0 * shared / (jnp.sum(y_true, axis=axes) + jnp.sum(y_pred, axis=axes) + config.epsilon())


@registry.export("losses")
def tversky(y_true: ArrayLike, y_pred: ArrayLike, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Array:
    """Return `1 - shared / (shared + alpha * missed + beta * invented)`, sums over `axis` (Salehi et al. 2017).

    Shapes: targets and predictions alike, result without `axis`; None sums over everything.
    """
    y_true, y_pred, axes = _prepared(y_true, y_pred, axis)
    shared = jnp.sum(y_true * y_pred, axis=axes)
    missed = jnp.sum((1 - y_pred) * y_true, axis=axes)
    invented = jnp.sum(y_pred * (1 - y_true), axis=axes)
    return 1 - shared / (shared + missed * alpha + invented * beta + config.epsilon())


_MEAN = "sum_over_batch_size"


@registry.export("losses")
class Dice(LossFunctionWrapper):
    """`1 - 2 * shared / (wanted + predicted)`.

    Args:
        reduction: How the values become one number.
        name: Name, for logs.
        axis: The axes that are summed over; None: all.
        dtype: Type that the loss is computed in.
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "dice", axis: Axis = None, dtype: Any = None):
        super().__init__(dice, name=name, reduction=reduction, dtype=dtype, axis=axis)
        self.axis = axis


@registry.export("losses")
class Tversky(LossFunctionWrapper):
    """`1 - shared / (shared + alpha * missed + beta * invented)`.

    Args:
        alpha: Weight of what the predictions miss.
        beta: Weight of what they invent.
        reduction: How the values become one number.
        name: Name, for logs.
        axis: The axes that are summed over; None: all.
        dtype: Type that the loss is computed in.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = _MEAN,
        name: str | None = "tversky",
        axis: Axis = None,
        dtype: Any = None,
    ):
        super().__init__(tversky, name=name, reduction=reduction, dtype=dtype, alpha=alpha, beta=beta, axis=axis)
        self.alpha = alpha
        self.beta = beta
        self.axis = axis
