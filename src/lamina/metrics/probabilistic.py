"""Distances between distributions, as metrics: each is the mean of the loss of the same name."""

from typing import Any

from lamina import losses, registry
from lamina.metrics.base import shape_of
from lamina.metrics.reduction import MeanMetricWrapper, masked_weight
from lamina.variables import to_array


@registry.export("metrics")
class KLDivergence(MeanMetricWrapper):
    """The mean Kullback-Leibler divergence, `sum(y_true * log(y_true / y_pred))`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


@registry.export("metrics")
class Poisson(MeanMetricWrapper):
    """The mean Poisson loss, `y_pred - y_true * log(y_pred)`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


@registry.export("metrics", "bce", "BCE")
class BinaryCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of predictions for 0 or 1.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        from_logits: Whether predictions are logits instead of probabilities.
        label_smoothing: Share by which targets are moved towards 0.5.
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(
            losses.binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


@registry.export("metrics")
class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of predicted classes against one-hot targets.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        from_logits: Whether predictions are logits instead of probabilities.
        label_smoothing: Share by which targets are moved towards equal ones.
        axis: Axis of the classes.
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(
            losses.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@registry.export("metrics")
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of predicted classes against numbers of classes.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
        from_logits: Whether predictions are logits instead of probabilities.
        ignore_class: Number of a class whose samples have no loss, or None.
        axis: Axis of the classes.
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(
            losses.sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def _weight(self, y_true: Any, y_pred: Any, sample_weight: Any, dtype: str) -> Any:
        if self.ignore_class is not None and sample_weight is not None:  # Keras leaves them out of weighted means only
            labels = to_array(y_true)
            if labels.ndim == len(shape_of(y_pred)) and labels.shape[-1] == 1:
                labels = labels[..., 0]
            sample_weight = masked_weight(sample_weight, labels != self.ignore_class, dtype)
        return super()._weight(y_true, y_pred, sample_weight, dtype)
