"""How far predictions stay from the wrong side, as metrics: each is the mean of the loss of the same name."""

from typing import Any

from lamina import losses, registry
from lamina.metrics.reduction import MeanMetricWrapper


@registry.export("metrics")
class Hinge(MeanMetricWrapper):
    """The mean of `max(1 - y_true * y_pred, 0)` for targets of -1 or 1; 0 counts as -1.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


@registry.export("metrics")
class SquaredHinge(MeanMetricWrapper):
    """The mean of `max(1 - y_true * y_pred, 0)^2` for targets of -1 or 1; 0 counts as -1.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


@registry.export("metrics")
class CategoricalHinge(MeanMetricWrapper):
    """The mean of `max(1 + largest wrong score - right score, 0)` for one-hot targets.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)
