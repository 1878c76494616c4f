"""The coefficient of determination: what share of the targets' variance the predictions explain."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import registry
from lamina._types import Array, Arrays, Shape
from lamina.errors import invalid
from lamina.metrics.base import Metric, divide_no_nan, same_rank, shape_of, total_dtype
from lamina.variables import to_array

_AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


@registry.export("metrics")
class R2Score(Metric):
    """The share of the targets' variance that predictions explain: 1 is perfect, 0 no better than the mean.

    `1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2)` for each output. The second sum is kept about the running
    mean (Chan, Golub and LeVeque, 1979), so that targets far from zero keep their precision in float32.

    Args:
        class_aggregation: "uniform_average" for the mean over outputs, "variance_weighted_average" for the mean
            weighted by their variances, None for one score an output.
        num_regressors: Number of independent regressors, for the adjusted score; 0 for the plain one.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If an argument is not one of these.
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = f"R2Score `{self.name}`"
        if class_aggregation not in _AGGREGATIONS:
            raise invalid(
                f"Invalid value for argument `class_aggregation`. Expected one of {_AGGREGATIONS}.",
                owner=owner,
                received=f"class_aggregation={class_aggregation}",
            )
        if num_regressors < 0:
            raise invalid(
                "Invalid value for argument `num_regressors`. Expected a value >= 0.",
                owner=owner,
                received=f"num_regressors={num_regressors}",
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), None, total_dtype(), name="num_samples")
        self._built = False

    def _build(self, y_true_shape: Shape, y_pred_shape: Shape) -> None:
        received = f"Received input shapes: y_pred.shape={y_pred_shape} and y_true.shape={y_true_shape}."
        wanted = "R2Score expects 2D inputs with shape (batch_size, output_dim)"
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2:
            raise invalid(f"{wanted}. {received}")
        if y_pred_shape[-1] is None or y_true_shape[-1] is None:
            raise invalid(f"{wanted}, with output_dim fully defined (not None). {received}")
        shape = (y_pred_shape[-1],)
        self.squared_sum = self.add_variable(shape, None, total_dtype(), name="squared_sum")
        self.sum = self.add_variable(shape, None, total_dtype(), name="sum")
        self.total_mse = self.add_variable(shape, None, total_dtype(), name="residual")
        self.count = self.add_variable(shape, None, total_dtype(), name="count")
        self._built = True

    def _build_for(self, *args: Any, **kwargs: Any) -> None:
        if not self._built:
            y_true, y_pred = (kwargs[n] if n in kwargs else args[i] for i, n in enumerate(("y_true", "y_pred")))
            self._build(*map(shape_of, same_rank(y_true, y_pred)))

    def update(self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Arrays:
        samples, deviations, total, residual, count = totals
        dtype = total.dtype.name
        true, pred = same_rank(to_array(y_true, dtype), to_array(y_pred, dtype))
        weight = jnp.ones((), dtype) if sample_weight is None else to_array(sample_weight, dtype)
        weight = jnp.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, true.shape)
        absent = weight == 0
        true, pred = jnp.where(absent, 0, true), jnp.where(absent, 0, pred)
        batch_total, batch_count = jnp.sum(weight * true, axis=0), jnp.sum(weight, axis=0)
        first = count == 0
        centre = divide_no_nan(jnp.where(first, batch_total, total), jnp.where(first, batch_count, count))
        offset = true - centre
        moved = jnp.sum(weight * offset, axis=0)
        new_count = count + batch_count
        return (
            samples + jnp.sum(~absent),
            deviations + jnp.sum(weight * jnp.square(offset), axis=0) - divide_no_nan(jnp.square(moved), new_count),
            total + batch_total,
            residual + jnp.sum(weight * jnp.square(true - pred), axis=0),
            new_count,
        )

    def compute(self, totals: Arrays) -> Array:
        samples, deviations, total, residual, count = totals
        step = float(np.finfo(deviations.dtype).eps) * total / count  # what float32 cannot tell from the mean
        deviations = jnp.where(deviations <= count * jnp.square(step), 0, deviations)
        scores = 1 - residual / deviations
        scores = jnp.where(jnp.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = jnp.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = jnp.sum(deviations * scores) / jnp.sum(deviations)
        return self._adjusted(scores, samples) if self.num_regressors else scores

    def _adjusted(self, scores: Array, samples: Array) -> Array:
        """Return the score for as many regressors, or as it is where there are not enough samples."""
        spare = samples - self.num_regressors - 1
        if not isinstance(spare, jax.core.Tracer) and spare <= 0:
            few = "More independent predictors than datapoints in adjusted"
            reason = "Division by zero in Adjusted" if spare == 0 else few
            warnings.warn(f"{reason} R2 score. Falling back to standard R2 score.", stacklevel=2)
        adjusted = 1 - (1 - scores) * (samples - 1) / jnp.where(spare > 0, spare, 1)
        return jnp.where(spare > 0, adjusted, scores)
