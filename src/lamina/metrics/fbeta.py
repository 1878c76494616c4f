"""The F-beta score: precision and recall of each class in one number."""

from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array, Arrays, Shape
from lamina.errors import invalid
from lamina.metrics.base import Metric, same_rank, shape_of, total_dtype
from lamina.variables import to_array

_AVERAGES = (None, "micro", "macro", "weighted")
_NAMES = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


@registry.export("metrics")
class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall, `(1 + beta^2) p r / (beta^2 p + r)`, of each class.

    Args:
        average: None for one score a class; "macro" for their mean; "weighted" for their mean by number of true
            targets; "micro" for the score over all classes together.
        beta: How many times as much recall counts as precision.
        threshold: A prediction above it is positive. None: the largest of a row is.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If an argument is not one of these.
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        _check(f"{type(self).__name__} `{self.name}`", average, beta, threshold)
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self._built = False

    def _build(self, y_true_shape: Shape, y_pred_shape: Shape) -> None:
        received = f"Received input shapes: y_pred.shape={y_pred_shape} and y_true.shape={y_true_shape}."
        wanted = "FBetaScore expects 2D inputs with shape (batch_size, output_dim)"
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2:
            raise invalid(f"{wanted}. {received}")
        if y_pred_shape[-1] is None or y_true_shape[-1] is None:
            raise invalid(f"{wanted}, with output_dim fully defined (not None). {received}")
        if y_pred_shape[-1] != y_true_shape[-1]:
            raise invalid(f"{wanted} alike. {received}", fix="one-hot encode the targets where they are class numbers.")
        shape = () if self.average == "micro" else (y_pred_shape[-1],)
        for name in _NAMES:
            setattr(self, name, self.add_variable(shape, None, total_dtype(self.dtype), name=name))
        self._built = True

    def _build_for(self, *args: Any, **kwargs: Any) -> None:
        if not self._built:
            y_true, y_pred = (kwargs[n] if n in kwargs else args[i] for i, n in enumerate(("y_true", "y_pred")))
            self._build(*map(shape_of, same_rank(y_true, y_pred)))

    def update(self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Arrays:
        dtype = totals[0].dtype.name
        true, scores = same_rank(to_array(y_true, dtype), to_array(y_pred, dtype))
        if self.threshold is None:
            positive = (scores >= jnp.max(scores, axis=-1, keepdims=True)) & (jnp.abs(scores) > 1e-9)
        else:
            positive = scores > self.threshold
        pred = positive.astype(dtype)
        weight = jnp.ones((), dtype) if sample_weight is None else to_array(sample_weight, dtype)
        if weight.ndim == 1:
            weight = weight[:, None]
        axis = None if self.average == "micro" else 0
        found = (pred * true, pred * (1 - true), (1 - pred) * true, true)
        sums = [jnp.sum(jnp.where(weight == 0, jnp.zeros((), dtype), part * weight), axis=axis) for part in found]
        return tuple([total + part for total, part in zip(totals, sums, strict=True)])

    def compute(self, totals: Arrays) -> Array:
        tp, fp, fn, weights = totals
        epsilon, square = config.epsilon(), self.beta**2
        precision = tp / (tp + fp + epsilon)
        recall = tp / (tp + fn + epsilon)
        score = precision * recall / (square * precision + recall + epsilon) * (1 + square)
        if self.average == "weighted":
            return jnp.sum(score * weights / (jnp.sum(weights) + epsilon))
        return score if self.average is None else jnp.mean(score)


def _check(owner: str, average: Any, beta: Any, threshold: Any) -> None:
    if average not in _AVERAGES:
        raise invalid(
            "Invalid `average` argument value. Expected one of: {None, 'micro', 'macro', 'weighted'}.",
            owner=owner,
            received=f"average={average}",
        )
    if not isinstance(beta, float):
        raise invalid(
            "Invalid `beta` argument value. It should be a Python float.",
            owner=owner,
            received=f"beta={beta} of type '{type(beta)}'",
        )
    if not beta > 0.0:
        raise invalid("Invalid `beta` argument value. It should be > 0.", owner=owner, received=f"beta={beta}")
    if threshold is None:
        return
    if not isinstance(threshold, float):
        raise invalid(
            "Invalid `threshold` argument value. It should be a Python float.",
            owner=owner,
            received=f"threshold={threshold} of type '{type(threshold)}'",
        )
    if not 0.0 < threshold <= 1.0:
        raise invalid(
            "Invalid `threshold` argument value. It should verify 0 < threshold <= 1.",
            owner=owner,
            received=f"threshold={threshold}",
        )


@registry.export("metrics")
class F1Score(FBetaScore):
    """The harmonic mean of precision and recall of each class: the F-beta score with beta = 1.

    Args:
        average: None for one score a class; "macro" for their mean; "weighted" for their mean by number of true
            targets; "micro" for the score over all classes together.
        threshold: A prediction above it is positive. None: the largest of a row is.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If an argument is not one of these.
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)
