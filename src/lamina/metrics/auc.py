"""The area under a curve of two rates over all thresholds."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, registry
from lamina._types import Array, Arrays, Config, Shape
from lamina.errors import invalid
from lamina.metrics import thresholds as at
from lamina.metrics.base import Metric, divide_no_nan, shape_of, total_dtype
from lamina.metrics.thresholds import AUCCurve, AUCSummationMethod
from lamina.variables import to_array, values

_NAMES = ("true_positives", "false_positives", "true_negatives", "false_negatives")


@registry.export("metrics")
class AUC(Metric):
    """The area under the ROC, precision-recall or precision-recall-gain curve, at evenly spaced thresholds.

    Args:
        num_thresholds: How many thresholds, at least 2. More follow the curve more closely.
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation", "majoring" or "minoring".
        name: Name in the logs.
        dtype: Type of the result.
        thresholds: Thresholds in [0, 1] instead of evenly spaced ones; 0 and 1 are added.
        multi_label: Whether each column has a curve of its own; the result is the mean of their areas.
        num_labels: Number of columns, to make the totals before the first batch.
        label_weights: Weights of the columns.
        from_logits: Whether predictions are logits instead of probabilities.

    Raises:
        InvalidArgumentError: If an argument is not one of these.
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str | AUCCurve = "ROC",
        summation_method: str | AUCSummationMethod = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, name=name)
        self.curve = at.member(AUCCurve, curve, "curve")
        self.summation_method = at.member(AUCSummationMethod, summation_method, "summation method")
        inner = self._inner_thresholds(num_thresholds, thresholds)
        self._init_from_thresholds = thresholds is not None
        self._even = thresholds is None or at.evenly_spaced([0.0, *inner, 1.0])
        self._thresholds = np.array([0.0 - config.epsilon(), *inner, 1.0 + config.epsilon()])
        self.num_thresholds = len(self._thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, np.float32).tolist()
        self.from_logits = self._from_logits = from_logits
        self._built = False
        if num_labels and not multi_label:
            raise invalid(
                "`num_labels` is needed only when `multi_label` is True.",
                owner=f"AUC `{self.name}`",
                received=f"num_labels={num_labels}",
            )
        if not multi_label or num_labels:
            self._build((None, num_labels))

    def _inner_thresholds(self, num_thresholds: int, thresholds: Sequence[float] | None) -> list[float]:
        if thresholds is not None:
            return sorted(at.parse(list(thresholds), owner=f"AUC `{self.name}`"))
        if num_thresholds <= 1:
            raise invalid(
                "Argument `num_thresholds` must be an integer > 1.",
                owner=f"AUC `{self.name}`",
                received=f"num_thresholds={num_thresholds}",
            )
        return [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]

    @property
    def thresholds(self) -> list[float]:
        """The thresholds, from just below 0 to just above 1."""
        return [float(threshold) for threshold in self._thresholds]

    def _build(self, shape: Shape) -> None:
        size: tuple[int, ...] = (self.num_thresholds,)
        if self.multi_label:
            if len(shape) != 2:
                raise invalid(
                    f"`y_pred` must have rank 2 when `multi_label=True`. Found rank {len(shape)}. Full shape received "
                    f"for `y_pred`: {shape}",
                    owner=f"AUC `{self.name}`",
                )
            size = (self.num_thresholds, int(shape[1] or 0))
        for name in _NAMES:
            setattr(self, name, self.add_variable(size, None, total_dtype(), name=name))
        self._built = True

    def _build_for(self, *args: Any, **kwargs: Any) -> None:
        if not self._built:
            self._build(shape_of(kwargs["y_pred"] if "y_pred" in kwargs else args[1]))

    def update(self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Arrays:
        found = at.counts(
            ("tp", "fp", "tn", "fn"),
            y_true,
            jax.nn.sigmoid(to_array(y_pred, total_dtype())) if self._from_logits else y_pred,
            self._thresholds,
            even=self._even,
            sample_weight=sample_weight,
            multi_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights,
        )
        return tuple([total + count for total, count in zip(totals, found, strict=True)])

    def compute(self, totals: Arrays) -> Array:
        if self.curve == AUCCurve.PR and self.summation_method == AUCSummationMethod.INTERPOLATION:
            return self._over_labels(interpolated_pr_areas(totals))
        x, y = curve_points(totals, self.curve)
        return self._over_labels((x[:-1] - x[1:]) * heights(y, self.summation_method))

    def interpolate_pr_auc(self) -> Array:
        """Return the area under the precision-recall curve, interpolated as Davis and Goadrich (2006) do."""
        return self._over_labels(interpolated_pr_areas(values(self.variables)))

    def _over_labels(self, areas: Array) -> Array:
        """Sum the areas between thresholds; with `multi_label` return the weighted mean over the labels."""
        if not self.multi_label:
            return jnp.sum(areas)
        by_label = jnp.sum(areas, axis=0)
        if self.label_weights is None:
            return jnp.mean(by_label)
        weights = jnp.asarray(self.label_weights, by_label.dtype)
        return divide_no_nan(jnp.sum(by_label * weights), jnp.sum(weights))

    def get_config(self) -> Config:
        """Return the constructor's arguments; `thresholds` only where they were given, as Keras writes it."""
        own = self._own_config()
        del own["thresholds"]
        own.update(curve=self.curve.value, summation_method=self.summation_method.value)
        if self._init_from_thresholds:
            own["thresholds"] = self.thresholds[1:-1]
        return own


def heights(y: Array, method: AUCSummationMethod) -> Array:
    """Return the height of a curve between each two thresholds. Shapes: `(thresholds, ...)`; one less."""
    if method == AUCSummationMethod.INTERPOLATION:
        return (y[:-1] + y[1:]) / 2.0
    return jnp.minimum(y[:-1], y[1:]) if method == AUCSummationMethod.MINORING else jnp.maximum(y[:-1], y[1:])


def curve_points(totals: Arrays, curve: AUCCurve) -> tuple[Array, Array]:
    """Return the two rates of a curve. Shapes: all `(thresholds, ...)`."""
    tp, fp, tn, fn = totals
    recall = divide_no_nan(tp, tp + fn)
    if curve == AUCCurve.ROC:
        return divide_no_nan(fp, fp + tn), recall
    if curve == AUCCurve.PR:
        return recall, divide_no_nan(tp, tp + fp)
    # Flach and Kull, "Precision-recall-gain curves", 2015: the rates relative to calling everything positive.
    scale = divide_no_nan(tp + fn, tn + fp)
    recall_gain = jnp.where(tp == 0, 0.0, 1.0 - scale * divide_no_nan(fn, tp))
    precision_gain = jnp.where(tp == 0, 1.0, 1.0 - scale * divide_no_nan(fp, tp))
    return jnp.maximum(recall_gain, 0.0), precision_gain


def interpolated_pr_areas(totals: Arrays) -> Array:
    """Return the areas between thresholds under the precision-recall curve, with positives interpolated linearly.

    Precision itself is not linear between two thresholds: Davis and Goadrich, "The relationship between
    precision-recall and ROC curves", 2006.

    Shapes: totals `(thresholds, ...)`; result one less.
    """
    tp, fp, _, fn = totals
    positives = tp + fp
    slope = divide_no_nan(tp[:-1] - tp[1:], jnp.maximum(positives[:-1] - positives[1:], 0))
    intercept = tp[1:] - slope * positives[1:]
    ratio = jnp.where(
        (positives[:-1] > 0) & (positives[1:] > 0), divide_no_nan(positives[:-1], jnp.maximum(positives[1:], 0)), 1.0
    )
    area = slope * (tp[:-1] - tp[1:] + intercept * jnp.log(ratio))
    return divide_no_nan(area, jnp.maximum(tp[1:] + fn[1:], 0))
