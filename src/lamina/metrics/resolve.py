"""Which metric a name in `compile` means: for "accuracy" and "crossentropy" the shapes decide."""

from typing import Any

from lamina import registry
from lamina._types import Shape
from lamina.errors import invalid
from lamina.metrics.accuracy import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from lamina.metrics.base import Metric
from lamina.metrics.lookup import get
from lamina.metrics.probabilistic import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from lamina.metrics.reduction import MeanMetricWrapper

_BY_SHAPE: dict[str, tuple[type[Metric], type[Metric], type[Metric]]] = {
    "accuracy": (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy),
    "acc": (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy),
    "crossentropy": (BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy),
    "ce": (BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy),
}


def is_binary_or_sparse_categorical(y_true_shape: Shape, y_pred_shape: Shape) -> tuple[bool, bool]:
    """Return whether there is one output, and whether targets are numbers of classes instead of one-hot."""
    true_last, pred_last = (shape[-1] if shape else None for shape in (y_true_shape, y_pred_shape))
    several = pred_last is not None and pred_last > 1
    return pred_last == 1, len(y_true_shape) < len(y_pred_shape) or (true_last == 1 and several)


def resolve(identifier: Any, y_true_shape: Shape, y_pred_shape: Shape, y_true_dtype: Any = None) -> Metric:
    """Return the metric that an entry of `compile(metrics=...)` means, named as it was asked for.

    Args:
        identifier: A name, a function, a class, a config or a metric.
        y_true_shape: Shape of the targets, batch axis first.
        y_pred_shape: Shape of the predictions.
        y_true_dtype: Type of the targets. Keras's rule, which this is, looks at shapes alone.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    del y_true_dtype
    if identifier is None:
        raise invalid("Expected metric, received `None`", fix="leave it out of `metrics`.")
    choices = _BY_SHAPE.get(identifier.lower()) if isinstance(identifier, str) else None
    if choices is not None:
        is_binary, is_sparse = is_binary_or_sparse_categorical(y_true_shape, y_pred_shape)
        return choices[0 if is_binary else 1 if is_sparse else 2](name=identifier)
    found = get(identifier)
    metric = found if isinstance(found, Metric) else MeanMetricWrapper(found)
    metric.name = identifier if isinstance(identifier, str) else _name_of(found)
    return metric


def _name_of(thing: Any) -> str:
    name = getattr(thing, "name", None)
    if name is not None:
        return str(name)
    return registry.snake_case(getattr(thing, "__name__", type(thing).__name__))
