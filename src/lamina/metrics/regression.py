"""How far predicted numbers are from their targets."""

from typing import Any

import jax.numpy as jnp

from lamina import losses, registry
from lamina._types import Array, Arrays
from lamina.losses.base import squeeze_or_expand_to_same_rank
from lamina.metrics.reduction import Mean, MeanMetricWrapper
from lamina.variables import to_array


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Return the cosine of the angle between targets and predictions: 1 for the same direction, 0 for a zero vector.

    Shapes: `(batch, ..., features)`; result without `axis`.
    """
    return -losses.cosine_similarity(y_true, y_pred, axis=axis)  # the loss is its negative


@registry.export("metrics", "mse", "MSE")
class MeanSquaredError(MeanMetricWrapper):
    """The mean of `(y_true - y_pred)^2`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


@registry.export("metrics", "mae", "MAE")
class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of `|y_true - y_pred|`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


@registry.export("metrics", "mape", "MAPE")
class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean of `100 |y_true - y_pred| / |y_true|`, in percent.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


@registry.export("metrics", "msle", "MSLE")
class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean of `(log(y_true + 1) - log(y_pred + 1))^2`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


@registry.export("metrics")
class LogCoshError(MeanMetricWrapper):
    """The mean of `log(cosh(y_pred - y_true))`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


@registry.export("metrics")
class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angle between targets and predictions.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        axis: Axis of the vectors.
    """

    _direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)
        self.axis = axis


@registry.export("metrics")
class RootMeanSquaredError(Mean):
    """The root of the mean of `(y_true - y_pred)^2`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update(  # type: ignore[override]  # a mean takes values, its subclasses targets: as in Keras
        self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Arrays:
        dtype = totals[0].dtype.name
        true, pred = squeeze_or_expand_to_same_rank(to_array(y_true, dtype), to_array(y_pred, dtype))
        return super().update(totals, jnp.square(pred - true), sample_weight)

    def compute(self, totals: Arrays) -> Array:
        return jnp.sqrt(super().compute(totals))
