"""The share of samples whose prediction is right: as numbers, at a threshold, by class, among the first k classes."""

from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array, Config
from lamina.errors import positive_integer
from lamina.losses.base import squeeze_or_expand_to_same_rank
from lamina.metrics.reduction import MeanMetricWrapper
from lamina.variables import to_array


def accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return 1 where a prediction equals its target and 0 elsewhere. Shapes: all alike."""
    y_pred = to_array(y_pred)
    y_true = to_array(y_true, y_pred.dtype.name)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    return jnp.equal(y_true, y_pred).astype(config.floatx())


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """Return 1 where a prediction lies on its target's side of `threshold` and 0 elsewhere. Shapes: all alike."""
    y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true), to_array(y_pred))
    classes = jnp.greater(y_pred, to_array(threshold)).astype(y_true.dtype)
    return jnp.equal(y_true, classes).astype(config.floatx())


def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return 1 where the largest prediction is at the largest target and 0 elsewhere.

    Shapes: `(batch, ..., classes)`; result `(batch, ...)`.
    """
    return _same_class(jnp.argmax(to_array(y_true), axis=-1), to_array(y_pred), squeeze_any=True)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return 1 where the largest prediction is at the target's number and 0 elsewhere.

    Shapes: targets `(batch, ...)` or `(batch, ..., 1)`, predictions `(batch, ..., classes)`; result `(batch, ...)`.
    """
    matches = _same_class(to_array(y_true), to_array(y_pred), squeeze_any=False)
    return jnp.squeeze(matches, -1) if matches.ndim > 1 and matches.shape[-1] == 1 else matches


def _same_class(labels: Array, y_pred: Array, squeeze_any: bool) -> Array:
    """Return the matches in the shape of the labels. Classes are compared as they are, never in a 16-bit type."""
    shape = labels.shape
    squeezed = labels.ndim == y_pred.ndim and (squeeze_any or shape[-1:] == (1,))
    if squeezed:
        labels = jnp.squeeze(labels, -1)
    classes = jnp.argmax(y_pred, axis=-1)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        labels, classes = labels.astype("float32"), classes.astype("float32")
    matches = (labels == classes).astype(config.floatx())
    return matches.reshape(shape) if squeezed else matches


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """Return 1 where the largest target is among the `k` largest predictions and 0 elsewhere.

    Shapes: `(batch, ..., classes)`; result `(batch, ...)`.
    """
    return _among_top_k(jnp.argmax(to_array(y_true), axis=-1), to_array(y_pred), k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Array:
    """Return 1 where the target's number is among the `k` largest predictions and 0 elsewhere.

    Shapes: targets `(batch, ...)`, predictions `(batch, ..., classes)`; result `(batch, ...)`.

    Args:
        y_true: Numbers of classes.
        y_pred: Scores, or with `from_sorted_ids` the numbers of classes, the likeliest first.
        k: How many classes count.
        from_sorted_ids: Whether the predictions are numbers of classes.
    """
    y_true, y_pred = to_array(y_true), to_array(y_pred)
    if not from_sorted_ids:
        return _among_top_k(y_true.astype("int32"), y_pred, k)
    labels, ids = y_true.reshape(-1).astype(y_pred.dtype), y_pred.reshape(-1, y_pred.shape[-1])
    matches = jnp.any(labels[:, None] == ids[:, :k], axis=1)
    return matches.astype(config.floatx()).reshape(y_true.shape)


def _among_top_k(labels: Array, y_pred: Array, k: int) -> Array:
    """Return whether fewer than `k` scores are larger than the label's own. A NaN there is no match."""
    scores = y_pred.reshape(-1, y_pred.shape[-1])
    own = jnp.take_along_axis(scores, labels.reshape(-1, 1), axis=-1)
    own = jnp.where(jnp.isnan(own), -jnp.inf, own)
    matches = 1 + jnp.sum(scores > own, axis=-1) <= k
    return matches.astype(config.floatx()).reshape(labels.shape)


@registry.export("metrics", "acc")
class Accuracy(MeanMetricWrapper):
    """The share of predictions that equal their targets.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


@registry.export("metrics")
class BinaryAccuracy(MeanMetricWrapper):
    """The share of predictions on their targets' side of a threshold.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        threshold: A prediction above it stands for 1, else for 0.
    """

    _direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


@registry.export("metrics")
class CategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest prediction is at the 1 of a one-hot target.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


@registry.export("metrics")
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest prediction is at the target's number.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


@registry.export("metrics")
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples with the 1 of a one-hot target among the `k` largest predictions.

    Args:
        k: How many classes count.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If `k` is not a positive integer.
    """

    _direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        self.k = positive_integer(k, "k", owner=type(self).__name__)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=self.k)


@registry.export("metrics")
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples with the target's number among the `k` largest predictions.

    Args:
        k: How many classes count.
        name: Name in the logs.
        dtype: Type of the result.
        from_sorted_ids: Whether the predictions are numbers of classes, the likeliest first, instead of scores.

    Raises:
        InvalidArgumentError: If `k` is not a positive integer.
    """

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        self.k = positive_integer(k, "k", owner=type(self).__name__)
        self.from_sorted_ids = from_sorted_ids
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=self.k, from_sorted_ids=from_sorted_ids)

    def get_config(self) -> Config:
        """Return the constructor's arguments; `from_sorted_ids` only where it is set, as Keras writes it."""
        own = self._own_config()
        if not self.from_sorted_ids:
            del own["from_sorted_ids"]
        return own
