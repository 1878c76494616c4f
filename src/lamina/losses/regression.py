"""Losses for numbers: how far predictions are from targets. Each function averages over the last axis."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array, ArrayLike
from lamina.errors import invalid
from lamina.losses.base import LossFunctionWrapper, squeeze_or_expand_to_same_rank
from lamina.ops.basics import as_floats, unit


def pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array]:
    """Return targets and predictions as arrays of one type and rank.

    Raises:
        InvalidArgumentError: If the shapes differ. NumPy would stretch `(batch, 1)` over `(batch, outputs)` and every
            output would learn the same target.
    """
    predictions = as_floats(y_pred)
    targets = jnp.asarray(y_true, predictions.dtype)
    targets, predictions = squeeze_or_expand_to_same_rank(targets, predictions)
    if config.strict() and targets.shape != predictions.shape and targets.ndim:
        raise invalid(
            "Arguments `y_true` and `y_pred` must have the same shape.",
            received=f"y_true.shape={targets.shape}, y_pred.shape={predictions.shape}",
            fix="give the last layer as many units as a target has numbers, or reshape the targets.",
        )
    return targets, predictions


@registry.export("losses", "mse", "MSE")
def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `(y_true - y_pred) ** 2` over the last axis.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.square(y_true - y_pred), axis=-1)


@registry.export("losses", "mae", "MAE")
def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `abs(y_true - y_pred)` over the last axis.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.abs(y_true - y_pred), axis=-1)


@registry.export("losses", "mape", "MAPE")
def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return 100 times the mean of `abs((y_true - y_pred) / y_true)` over the last axis. A target of 0 counts as 1e-7.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    size = jnp.maximum(jnp.abs(y_true), jnp.asarray(config.epsilon(), y_pred.dtype))
    return 100.0 * jnp.mean(jnp.abs((y_true - y_pred) / size), axis=-1)


@registry.export("losses", "msle", "MSLE")
def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `(log(y_true + 1) - log(y_pred + 1)) ** 2` over the last axis. Below 0 counts as 1e-7.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    floor = jnp.asarray(config.epsilon(), y_pred.dtype)
    predicted, wanted = (jnp.log(jnp.maximum(y, floor) + 1.0) for y in (y_pred, y_true))
    return jnp.mean(jnp.square(predicted - wanted), axis=-1)


@registry.export("losses")
def huber(y_true: ArrayLike, y_pred: ArrayLike, delta: float = 1.0) -> Array:
    """Return the mean over the last axis of half the squared error, growing linearly where the error exceeds `delta`.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    limit = jnp.asarray(delta, y_pred.dtype)
    error = y_pred - y_true
    size = jnp.abs(error)
    return jnp.mean(jnp.where(size <= limit, 0.5 * jnp.square(error), limit * size - 0.5 * jnp.square(limit)), axis=-1)


@registry.export("losses", "logcosh")
def log_cosh(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `log(cosh(y_pred - y_true))` over the last axis, without overflow.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = y_pred - y_true
    log_two = jnp.log(jnp.asarray(2.0, error.dtype))
    return jnp.mean(error + jax.nn.softplus(error * -2.0) - log_two, axis=-1)


@registry.export("losses")
def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> Array:
    """Return minus the cosine of the angle between targets and predictions: -1 where they point the same way.

    Shapes: targets and predictions `(batch, ..., outputs)`, result without `axis`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return -jnp.sum(unit(y_true, axis) * unit(y_pred, axis), axis=axis)


@registry.export("losses")
def poisson(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the mean of `y_pred - y_true * log(y_pred)` over the last axis: minus the log-likelihood of counts.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(y_pred - y_true * jnp.log(y_pred + jnp.asarray(config.epsilon(), y_pred.dtype)), axis=-1)


_MEAN = "sum_over_batch_size"


@registry.export("losses")
class MeanSquaredError(LossFunctionWrapper):
    """The mean of `(y_true - y_pred) ** 2`."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(mean_squared_error, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class MeanAbsoluteError(LossFunctionWrapper):
    """The mean of `abs(y_true - y_pred)`."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(mean_absolute_error, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class MeanAbsolutePercentageError(LossFunctionWrapper):
    """100 times the mean of `abs((y_true - y_pred) / y_true)`."""

    def __init__(
        self, reduction: str | None = _MEAN, name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ):
        super().__init__(mean_absolute_percentage_error, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """The mean of `(log(y_true + 1) - log(y_pred + 1)) ** 2`."""

    def __init__(
        self, reduction: str | None = _MEAN, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ):
        super().__init__(mean_squared_logarithmic_error, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between targets and predictions along `axis`."""

    _beyond_keras = ("dtype", "axis")

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ):
        super().__init__(cosine_similarity, name=name, reduction=reduction, dtype=dtype, axis=axis)
        self.axis = axis


@registry.export("losses")
class Huber(LossFunctionWrapper):
    """Half the squared error up to an error of `delta`, linear beyond (Huber 1964)."""

    _beyond_keras = ("dtype", "delta")

    def __init__(
        self, delta: float = 1.0, reduction: str | None = _MEAN, name: str | None = "huber_loss", dtype: Any = None
    ):
        super().__init__(huber, name=name, reduction=reduction, dtype=dtype, delta=delta)
        self.delta = delta


@registry.export("losses")
class LogCosh(LossFunctionWrapper):
    """The mean of `log(cosh(y_pred - y_true))`: squared for small errors, linear for large ones."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "log_cosh", dtype: Any = None):
        super().__init__(log_cosh, name=name, reduction=reduction, dtype=dtype)


@registry.export("losses")
class Poisson(LossFunctionWrapper):
    """The mean of `y_pred - y_true * log(y_pred)`, for targets that are counts."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "poisson", dtype: Any = None):
        super().__init__(poisson, name=name, reduction=reduction, dtype=dtype)
