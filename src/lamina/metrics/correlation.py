"""How closely predictions follow their targets, sample by sample."""

from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array
from lamina.losses.base import squeeze_or_expand_to_same_rank
from lamina.metrics.reduction import MeanMetricWrapper
from lamina.variables import to_array


def _same_type_and_rank(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = to_array(y_pred)
    y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true, y_pred.dtype.name), y_pred)
    return y_true, y_pred


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Return Pearson's correlation along `axis`, in [-1, 1]; NaN where one side is constant.

    Shapes: `(batch, ..., features)`; result without `axis`.
    """
    y_true, y_pred = _same_type_and_rank(y_true, y_pred)
    true = y_true - jnp.mean(y_true, axis=axis, keepdims=True)
    pred = y_pred - jnp.mean(y_pred, axis=axis, keepdims=True)
    true = true / jnp.std(true, axis=axis, keepdims=True)
    pred = pred / jnp.std(pred, axis=axis, keepdims=True)
    return jnp.mean(true * pred, axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Return Lin's concordance correlation along `axis`, in [-1, 1]: 1 on the line y_true = y_pred.

    2 cov / (var_true + var_pred + (mean_true - mean_pred)^2), Lin, Biometrics 45 (1989).

    Shapes: `(batch, ..., features)`; result without `axis`.
    """
    y_true, y_pred = _same_type_and_rank(y_true, y_pred)
    true_mean = jnp.mean(y_true, axis=axis, keepdims=True)
    pred_mean = jnp.mean(y_pred, axis=axis, keepdims=True)
    true_variance = jnp.var(y_true - true_mean, axis=axis, keepdims=True)
    pred_variance = jnp.var(y_pred - pred_mean, axis=axis, keepdims=True)
    covariance = (y_true - true_mean) * (y_pred - pred_mean)
    norm = true_variance + pred_variance + jnp.square(true_mean - pred_mean)
    return jnp.mean(2 * covariance / (norm + config.epsilon()), axis=axis)


@registry.export("metrics")
class PearsonCorrelation(MeanMetricWrapper):
    """The mean of the samples' Pearson correlations.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        axis: Axis of the features.
    """

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


@registry.export("metrics")
class ConcordanceCorrelation(MeanMetricWrapper):
    """The mean of the samples' concordance correlations.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        axis: Axis of the features.
    """

    _direction = "up"

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis
