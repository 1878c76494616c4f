"""True and false positives and negatives, and the rates made of them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import registry
from lamina._types import Array, Arrays
from lamina.errors import invalid, positive_integer
from lamina.metrics import thresholds as at
from lamina.metrics.base import Metric, divide_no_nan, total_dtype


class _Counts(Metric):
    """Base of metrics whose totals are numbers of right and wrong predictions at some thresholds."""

    _parts: ClassVar[tuple[str, ...]] = ()  # "tp", "fp", "tn", "fn", in the order of the variables
    _attributes: ClassVar[dict[str, str]] = {
        "tp": "true_positives", "fp": "false_positives", "tn": "true_negatives", "fn": "false_negatives",
    }  # fmt: skip

    def __init__(self, thresholds: Any, default: float, name: str | None, dtype: Any) -> None:
        super().__init__(dtype=dtype, name=name)
        self.init_thresholds = thresholds
        self.thresholds = at.parse(thresholds, default, owner=f"{type(self).__name__} `{self.name}`")
        self._even = at.evenly_spaced(self.thresholds)
        self.top_k: int | None = None
        self.class_id: int | None = None

    def _add_counts(self) -> None:
        for part in self._parts:
            name = self._attributes[part]
            setattr(self, name, self.add_variable((len(self.thresholds),), None, total_dtype(), name=name))

    def update(self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Arrays:
        found = at.counts(
            self._parts,
            y_true,
            y_pred,
            self.thresholds,
            even=self._even,
            top_k=self.top_k,
            class_id=self.class_id,
            sample_weight=sample_weight,
        )
        return tuple([total + count for total, count in zip(totals, found, strict=True)])

    def _one_or_all(self, result: Array) -> Array:
        return result[0] if len(self.thresholds) == 1 else result

    def _argument(self, name: str, cls: type) -> Any:
        return self.init_thresholds if name == "thresholds" else super()._argument(name, cls)


class _Count(_Counts):
    """Base of the four metrics that report one number."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, 0.5, name, dtype)
        self.accumulator = self.add_variable((len(self.thresholds),), None, total_dtype(), name="accumulator")

    def compute(self, totals: Arrays) -> Array:
        return self._one_or_all(totals[0])


@registry.export("metrics")
class TruePositives(_Count):
    """The (weighted) number of predictions above the threshold whose target is true.

    Args:
        thresholds: One threshold, or a list, in [0, 1]. Default: 0.5.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("tp",)


@registry.export("metrics")
class FalsePositives(_Count):
    """The (weighted) number of predictions above the threshold whose target is false.

    Args:
        thresholds: One threshold, or a list, in [0, 1]. Default: 0.5.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("fp",)


@registry.export("metrics")
class TrueNegatives(_Count):
    """The (weighted) number of predictions not above the threshold whose target is false.

    Args:
        thresholds: One threshold, or a list, in [0, 1]. Default: 0.5.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("tn",)


@registry.export("metrics")
class FalseNegatives(_Count):
    """The (weighted) number of predictions not above the threshold whose target is true.

    Args:
        thresholds: One threshold, or a list, in [0, 1]. Default: 0.5.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("fn",)


class _Share(_Counts):
    """Base of precision and recall: the first total as a share of both."""

    _direction = "up"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(thresholds, 0.5 if top_k is None else at.NEG_INF, name, dtype)
        self.top_k = None if top_k is None else positive_integer(top_k, "top_k", owner=f"{type(self).__name__}")
        self.class_id = class_id
        self._add_counts()

    def compute(self, totals: Arrays) -> Array:
        return self._one_or_all(divide_no_nan(totals[0], totals[0] + totals[1]))


@registry.export("metrics")
class Precision(_Share):
    """The share of positive predictions whose target is true; 0 if there is none.

    Args:
        thresholds: A prediction above it is positive. One, or a list for a list of results. Default: 0.5, or with
            `top_k` none.
        top_k: Only so many of the largest predictions of a row can be positive.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("tp", "fp")


@registry.export("metrics")
class Recall(_Share):
    """The share of true targets whose prediction is positive; 0 if there is none.

    Args:
        thresholds: A prediction above it is positive. One, or a list for a list of results. Default: 0.5, or with
            `top_k` none.
        top_k: Only so many of the largest predictions of a row can be positive.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If a threshold lies outside [0, 1].
    """

    _parts = ("tp", "fn")


class _BestUnderConstraint(_Counts):
    """Base of metrics that report the best of one rate where another is at least some value."""

    _direction = "up"
    _parts = ("tp", "fp", "tn", "fn")

    def __init__(
        self, wanted: str, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any
    ) -> None:
        owner = type(self).__name__
        if not 0 <= value <= 1:
            raise invalid(
                f"Argument `{wanted}` must be in the range [0, 1].", owner=owner, received=f"{wanted}={value}"
            )
        if num_thresholds <= 0:
            raise invalid(
                "Argument `num_thresholds` must be an integer > 0.",
                owner=owner,
                received=f"num_thresholds={num_thresholds}",
            )
        even = num_thresholds > 1
        super().__init__([i / (num_thresholds - 1) for i in range(num_thresholds)] if even else [0.5], 0.5, name, dtype)
        self._even = even
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        self._add_counts()

    def _best(self, constrained: Array, dependent: Array) -> Array:
        return jnp.max(jnp.where(constrained >= self.value, dependent, 0), initial=0)


@registry.export("metrics")
class SensitivityAtSpecificity(_BestUnderConstraint):
    """The best share of true targets found, at any threshold that keeps the specificity.

    Args:
        specificity: Share of false targets that must stay negative.
        num_thresholds: How many thresholds are tried.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If `specificity` lies outside [0, 1] or `num_thresholds` is below 1.
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.specificity = specificity
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)

    def compute(self, totals: Arrays) -> Array:
        tp, fp, tn, fn = totals
        return self._best(divide_no_nan(tn, tn + fp), divide_no_nan(tp, tp + fn))


@registry.export("metrics")
class SpecificityAtSensitivity(_BestUnderConstraint):
    """The best share of false targets that stay negative, at any threshold that keeps the sensitivity.

    Args:
        sensitivity: Share of true targets that must be found.
        num_thresholds: How many thresholds are tried.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If `sensitivity` lies outside [0, 1] or `num_thresholds` is below 1.
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.sensitivity = sensitivity
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)

    def compute(self, totals: Arrays) -> Array:
        tp, fp, tn, fn = totals
        return self._best(divide_no_nan(tp, tp + fn), divide_no_nan(tn, tn + fp))


@registry.export("metrics")
class PrecisionAtRecall(_BestUnderConstraint):
    """The best precision at any threshold that keeps the recall.

    Args:
        recall: Share of true targets that must be found.
        num_thresholds: How many thresholds are tried.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If `recall` lies outside [0, 1] or `num_thresholds` is below 1.
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.recall = recall
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)

    def compute(self, totals: Arrays) -> Array:
        tp, fp, _, fn = totals
        return self._best(divide_no_nan(tp, tp + fn), divide_no_nan(tp, tp + fp))


@registry.export("metrics")
class RecallAtPrecision(_BestUnderConstraint):
    """The best recall at any threshold that keeps the precision.

    Args:
        precision: Share of positive predictions that must be right.
        num_thresholds: How many thresholds are tried.
        class_id: Only this class counts.
        name: Name in the logs.
        dtype: Type of the result.

    Raises:
        InvalidArgumentError: If `precision` lies outside [0, 1] or `num_thresholds` is below 1.
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.precision = precision
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)

    def compute(self, totals: Arrays) -> Array:
        tp, fp, _, fn = totals
        return self._best(divide_no_nan(tp, tp + fp), divide_no_nan(tp, tp + fn))
