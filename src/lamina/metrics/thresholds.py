"""Counting right and wrong predictions at many thresholds at once, in one pass over the predictions."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config
from lamina._types import Array, Arrays, Numpy
from lamina.errors import invalid
from lamina.losses.base import squeeze_or_expand_to_same_rank
from lamina.metrics.base import total_dtype
from lamina.variables import to_array

NEG_INF = -1e10

E = TypeVar("E", bound=StrEnum)


class AUCCurve(StrEnum):
    """The curve under which an area is taken."""

    ROC = "ROC"
    PR = "PR"
    PRGAIN = "PRGAIN"


class AUCSummationMethod(StrEnum):
    """How the area between two thresholds is taken: between, above or below the curve's points."""

    INTERPOLATION = "interpolation"
    MAJORING = "majoring"
    MINORING = "minoring"


def member(kind: type[E], value: Any, noun: str) -> E:
    """Return the member of an enum that a name stands for, in any case, or raise `InvalidArgumentError`."""
    for known in kind:
        if isinstance(value, str) and value.lower() == known.value.lower():
            return known
    allowed = ", ".join(f'"{known.value}"' for known in kind)
    raise invalid(f'Invalid AUC {noun} value: "{value}". Expected values are [{allowed}].')


def parse(thresholds: Any, default: float = 0.5, owner: str | None = None) -> list[float]:
    """Return thresholds as a list: of a number, a list, or `default` for None.

    Raises:
        InvalidArgumentError: If one lies outside [0, 1].
    """
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, list | tuple | np.ndarray) else [thresholds]
    wrong = [t for t in found if t is None or not 0 <= t <= 1]
    if wrong:
        raise invalid(
            "Threshold values must be in [0, 1].",
            owner=owner,
            received=f"{wrong}",
            fix="pass probabilities; for logits set the activation of the last layer to sigmoid.",
        )
    return found


def evenly_spaced(thresholds: Sequence[float] | Numpy) -> bool:
    """Return whether three thresholds or more go from 0 to 1 in equal steps."""
    if len(thresholds) < 3:
        return False
    even = np.arange(len(thresholds), dtype=np.float32) / (len(thresholds) - 1)
    return bool(np.allclose(thresholds, even, atol=config.epsilon()))


def counts(
    parts: Sequence[str],
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float] | Numpy,
    *,
    even: bool = False,
    top_k: int | None = None,
    class_id: int | None = None,
    sample_weight: Any = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> Arrays:
    """Return the weighted numbers of true and false positives and negatives at each threshold.

    A prediction above a threshold is positive. Every element counts by itself, or with `multi_label` every column.

    Shapes: `y_true` and `y_pred` `(batch, ...)`, with `multi_label` `(batch, labels)`; weights `(batch,)` or alike;
    results `(thresholds,)`, with `multi_label` `(thresholds, labels)`.

    Args:
        parts: Which numbers: of "tp", "fp", "tn", "fn", in the order of the results.
        y_true: Targets; what is not 0 is true.
        y_pred: Predictions, in [0, 1].
        thresholds: The thresholds.
        even: Whether they are evenly spaced from 0 to 1: then predictions are sorted into buckets, in time linear in
            predictions plus thresholds instead of their product.
        top_k: Only so many of the largest predictions of a row can be positive.
        class_id: Only this column counts.
        sample_weight: Weights of the rows or elements.
        multi_label: Whether each column counts by itself.
        label_weights: Weights of the columns where they are counted together.

    Raises:
        InvalidArgumentError: If the shapes do not fit.
    """
    labels, scores, weight = _aligned(y_true, y_pred, sample_weight, top_k, class_id)
    if label_weights is not None:
        by_label = jnp.broadcast_to(to_array(label_weights, scores.dtype.name), scores.shape)
        weight = by_label if weight is None else weight * by_label
    if weight is None:
        weight = jnp.ones_like(scores)
    if not multi_label:
        labels, scores, weight = labels.reshape(-1), scores.reshape(-1), weight.reshape(-1)
    if even:
        positives = thresholds[0] < 0.0 or thresholds[-1] > 1.0
        return _bucketed(parts, labels, scores, weight, len(thresholds), positives)
    return _compared(parts, labels, scores, weight, np.asarray(thresholds, scores.dtype))


def _aligned(
    y_true: Any, y_pred: Any, sample_weight: Any, top_k: int | None, class_id: int | None
) -> tuple[Array, Array, Array | None]:
    """Return labels, scores and weights in one shape."""
    dtype = total_dtype()
    scores, labels = squeeze_or_expand_to_same_rank(to_array(y_pred, dtype), to_array(y_true).astype(bool))
    if scores.shape != labels.shape:
        raise invalid(
            "`y_true` and `y_pred` must have the same shape.",
            received=f"y_true.shape={labels.shape} and y_pred.shape={scores.shape}",
            fix="one-hot encode the targets where they are numbers of classes.",
        )
    weight = None if sample_weight is None else _of_rank(to_array(sample_weight, dtype), scores.ndim)
    if top_k is not None:
        scores = _keep_top_k(scores, top_k)
    if class_id is not None:
        if scores.ndim == 1:
            raise invalid(
                "When class_id is provided, y_pred must be a 2D array with shape (num_samples, num_classes), found "
                f"shape: {scores.shape}"
            )
        if weight is not None and weight.ndim == scores.ndim and weight.shape[-1] == scores.shape[-1]:
            weight = weight[..., class_id, None]
        labels, scores = labels[..., class_id, None], scores[..., class_id, None]
    if weight is not None:
        weight = _broadcast(weight, scores.shape)
    return labels, scores, weight


def _of_rank(weight: Array, rank: int) -> Array:
    """Return weights whose axes are the first ones of a shape with `rank` axes."""
    if weight.ndim == rank + 1 and weight.shape[-1] == 1:
        return jnp.squeeze(weight, -1)
    if 0 < weight.ndim < rank:
        return weight.reshape(weight.shape + (1,) * (rank - weight.ndim))
    return weight


def _broadcast(weight: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(weight, shape)
    except ValueError:
        raise invalid(
            "`sample_weight` must have one weight for each sample, or the shape of `y_pred`.",
            received=f"sample_weight.shape={weight.shape} for predictions of shape {shape}",
        ) from None


def _keep_top_k(scores: Array, k: int) -> Array:
    """Return scores with all but the `k` largest of the last axis set to a very negative number."""
    classes = scores.shape[-1]
    if k > classes:
        raise invalid("`top_k` must not exceed the number of classes.", received=f"top_k={k} for {classes} classes")
    _, best = jax.lax.top_k(scores, k)
    kept = jnp.sum(jax.nn.one_hot(best, classes, dtype=scores.dtype), axis=-2)
    return jnp.where(kept > 0, scores, NEG_INF)


def _compared(parts: Sequence[str], labels: Array, scores: Array, weight: Array, thresholds: Numpy) -> Arrays:
    """Count by comparing every prediction with every threshold. XLA fuses it: no array of that size is made."""
    positive = scores[None] > thresholds.reshape(-1, *[1] * scores.ndim)
    hit = {"tp": labels & positive, "fp": ~labels & positive, "tn": ~labels & ~positive, "fn": labels & ~positive}
    return tuple([jnp.sum(jnp.where(hit[part], weight, 0), axis=1) for part in parts])


def _bucketed(
    parts: Sequence[str], labels: Array, scores: Array, weight: Array, thresholds: int, all_positive: bool
) -> Arrays:
    """Count by sorting predictions into the buckets between thresholds, and summing buckets from the top.

    The buckets are open below and closed above, as a prediction must be greater than a threshold. With `all_positive`
    the first threshold lies below 0. One scatter serves true and false labels of all columns, and both kinds of count.
    """
    columns = scores.shape[1] if scores.ndim == 2 else 1
    bucket = jnp.ceil(jnp.clip(scores, 0.0, 1.0) * (thresholds - 1)) - 1
    bucket = jnp.where(jnp.isnan(scores), -1, jnp.maximum(bucket, 0) if all_positive else bucket).astype("int32")
    row = labels.astype("int32") * columns + jnp.arange(columns) if scores.ndim == 2 else labels.astype("int32")
    size = 2 * columns * thresholds
    index = jnp.where(bucket < 0, size, row * thresholds + bucket)  # out of range: in no bucket
    sums = jax.ops.segment_sum(weight.reshape(-1), index.reshape(-1), size).reshape(2, columns, thresholds)
    above = jnp.flip(jnp.cumsum(jnp.flip(sums, -1), -1), -1)
    fp, tp = above[0].T, above[1].T  # (thresholds, columns)
    if scores.ndim == 1:
        fp, tp = fp[:, 0], tp[:, 0]
    positives = jnp.sum(jnp.where(labels, weight, 0), axis=0)
    negatives = jnp.sum(jnp.where(labels, 0, weight), axis=0)
    found = {"tp": tp, "fp": fp, "tn": negatives - fp, "fn": positives - tp}
    return tuple([found[part] for part in parts])
