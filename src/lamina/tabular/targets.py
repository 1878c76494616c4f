"""Targets and weights: read from any library, checked, and brought into one order."""

from typing import Any, NamedTuple

import numpy as np

from lamina._types import Numpy
from lamina.errors import did_you_mean, invalid
from lamina.tabular import cells
from lamina.tabular.encoded import Encoded

_LARGEST = 1e100  # the square of a target, summed over all rows, stays finite
FEW = 100  # up to so many rows, a row of weight 3 is three rows


def array(y: Any) -> Numpy:
    """A target of any library as a NumPy array."""
    if type(y).__module__.partition(".")[0] == "pyarrow" and not hasattr(y, "columns"):
        y = y.to_numpy(zero_copy_only=False) if hasattr(y, "is_valid") and hasattr(y, "buffers") else y.to_numpy()
    elif hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if np.ma.isMaskedArray(y):
        y = np.ma.filled(y.astype(np.float64), np.nan)
    return np.asarray(y)


def plain(y: Any, what: str = "y") -> Numpy:
    """A target or weights as a NumPy array of one axis; of texts, numbers, booleans.

    Raises:
        InvalidArgumentError: If it has more axes.
    """
    found = array(y)
    if found.ndim != 1:
        raise invalid(
            f"{what} should be a 1d array, got an array of shape {found.shape} instead.",
            fix=f"pass one value for each row: `{what}.ravel()` if it has one column.",
        )
    if found.dtype == object and all(isinstance(cell, bool | np.bool_) for cell in found):
        return found.astype(bool)
    return found


def no_gaps(y: Numpy, what: str = "y") -> None:
    """Refuse a target with missing or infinite values.

    Raises:
        InvalidArgumentError: If it has any; the text says how many and where the first is.
    """
    if y.dtype.kind == "c":
        raise invalid("Complex data not supported.", owner=what, fix="predict its parts with a model each.")
    if y.dtype.kind == "f":
        gone, endless = np.isnan(y), np.isinf(y)
    elif y.dtype.kind == "M":
        raise invalid(
            "A target of dates cannot be predicted as it is.", owner=what, fix="convert it to a number, such as days."
        )
    else:
        gone = (
            np.fromiter((cells.missing(cell) for cell in y), bool, len(y)) if y.dtype == object else np.zeros(1, bool)
        )
        endless = np.zeros(1, bool)
    for rows, word in ((gone, "NaN"), (endless, "infinity or a value too large for dtype('float64')")):
        if rows.any():
            raise invalid(
                f"Input {what} contains {word}.",
                received=f"{int(rows.sum()):,} of {len(y):,} rows, the first is row {int(np.flatnonzero(rows)[0])}",
                fix="drop these rows of the table and of the target: a network cannot learn from a row without one.",
            )


class Labels(NamedTuple):
    """Classes and, for each row, the place of its own among them."""

    classes: Numpy
    places: Numpy


def labels(y: Numpy, weight: Numpy | None, what: str = "y") -> Labels:
    """The classes of a target, in order.

    Raises:
        InvalidArgumentError: If rows that count have one class only, or labels cannot be ordered.
    """
    try:
        classes, places = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise invalid(
            "Labels must be all texts or all numbers.", owner=what, received=f"the types {kinds}",
            fix="convert them: `y.astype(str)`.",
        ) from None  # fmt: skip
    seen = places if weight is None else places[weight > 0]
    if len(np.unique(seen)) < 2:
        rows = f"n_samples={len(y)}, " if len(y) == 1 else ""
        raise invalid(
            "A classifier can't train when only one class is present.",
            received=f"{rows}{what} is {classes[seen[0]].item() if len(seen) else None!r} in each row that counts",
            fix="pass rows of at least two classes.",
        )
    return Labels(classes, places.reshape(-1).astype(np.int32))


def values(y: Numpy, what: str = "y") -> Numpy:
    """The numbers of a target.

    Raises:
        InvalidArgumentError: If they are no numbers, or all equal.
    """
    try:
        numbers = y.astype(np.float64)
    except (TypeError, ValueError):
        raise invalid(
            "A regression's target must be of numbers.", owner=what, received=f"{y[0]!r}",
            fix="convert it to numbers, or use `DenseClassifier`.",
        ) from None  # fmt: skip
    no_gaps(numbers, what)
    if np.abs(numbers).max() > _LARGEST:
        raise invalid(
            f"The target must lie within ±{_LARGEST:g}.", owner=what, received=f"{np.abs(numbers).max():g}",
            fix="divide it by a power of ten.",
        )  # fmt: skip
    if len(numbers) == 1:
        raise invalid("A regression needs at least two rows.", received="n_samples=1", fix="pass more rows.")
    if (numbers == numbers[0]).all():
        raise invalid(
            "The target is constant: there is nothing to learn.", owner=what, received=f"{numbers[0]:g} in each row",
            fix="check that this is the column you mean.",
        )  # fmt: skip
    return numbers


def weights(sample_weight: Any, rows: int) -> Numpy | None:
    """How much each row counts, or None for all alike.

    Raises:
        InvalidArgumentError: If there is not one for each row, or one is negative, NaN or infinite, or all are 0.
    """
    if sample_weight is None:
        return None
    given = array(sample_weight)
    try:
        found = np.full(rows, float(given)) if given.ndim == 0 else plain(given, "sample_weight").astype(np.float64)
    except (TypeError, ValueError) as error:
        raise invalid(f"Sample weights must be 1D array or scalar, of numbers. {error}") from None
    if len(found) != rows:
        raise invalid(
            "`sample_weight` must have one value for each row.", received=f"{len(found)} weights for {rows} rows"
        )
    if not np.isfinite(found).all() or (found < 0).any():
        worst = int(np.flatnonzero(~np.isfinite(found) | (found < 0))[0])
        raise invalid(
            "`sample_weight` must be finite and not negative.",
            received=f"{found[worst]} in row {worst}",
            fix="use 0 for rows that shall not count.",
        )
    if not found.any():
        raise invalid("Sample weights must contain at least one non-zero number.", received="zero for each row")
    return found


def of_classes(class_weight: Any, labels: Labels, weight: Numpy | None) -> Numpy | None:
    """Weights of rows, with those of their classes in them.

    Args:
        class_weight: None, "balanced" (each class counts as much as another), or a dict with labels as keys.
        labels: Classes and places.
        weight: Weights of rows.

    Raises:
        InvalidArgumentError: If it is another text, or has a key that is no label, or a negative weight.
    """
    if class_weight is None:
        return weight
    classes = labels.classes.tolist()
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise invalid(
                "`class_weight` must be None, 'balanced' or a dict.", received=f"class_weight={class_weight!r}"
            )
        sums = np.bincount(labels.places, weight, len(classes))
        factors = np.where(sums > 0, sums.sum() / (len(classes) * np.maximum(sums, 1e-300)), 0.0)
    else:
        for key, value in class_weight.items():
            if key not in classes:
                raise invalid(
                    f"`class_weight` has the key {key!r}, which is no label of y.",
                    fix=did_you_mean(str(key), map(str, classes)),
                )
            if not value >= 0:
                raise invalid("A class weight must not be negative.", received=f"{key!r}: {value!r}")
        factors = np.array([float(class_weight.get(label, 1.0)) for label in classes])
    found = factors[labels.places]
    return found if weight is None else np.asarray(found * weight)


class Examples(NamedTuple):
    """Encoded rows with their targets and weights."""

    encoded: Encoded
    target: Numpy
    weight: Numpy | None


def ordered(encoded: Encoded, target: Numpy, weight: Numpy | None) -> Examples:
    """The rows that count, in an order that depends on what they hold alone: it is the same however they came.

    A row of weight 0 is left out. Among few rows, one of a whole weight is repeated: the two are the same.
    """
    rows = np.arange(len(target))
    if weight is not None:
        rows = rows[weight > 0]
        whole = bool((weight == np.round(weight)).all()) and float(weight.sum()) <= FEW
        if whole:
            rows, weight = np.repeat(rows, weight[rows].astype(np.int64)), None
        elif (weight[rows] == weight[rows[0]]).all():
            weight = None
    keys = _digests(encoded, np.asarray(target), weight)
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return Examples(encoded.take(rows), target[rows], None if weight is None else weight[rows])


def _digests(encoded: Encoded, target: Numpy, weight: Numpy | None) -> Numpy:
    """A number for each row, equal for equal rows and else almost surely not."""
    parts = [*encoded[:3], target.astype(np.float64)[:, None]]
    if weight is not None:
        parts.append(weight[:, None])
    random = np.random.Generator(np.random.PCG64(5))
    total = np.zeros(len(target), np.uint64)
    for part in parts:
        words = np.ascontiguousarray(part).view(np.uint32)
        factors = random.integers(1 << 63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        step = max(1, (1 << 20) // max(1, words.shape[1]))
        for start in range(0, len(words), step):  # the products take twice the memory of the table: some rows at a time
            block = slice(start, start + step)
            total[block] += (words[block] * factors).sum(1, dtype=np.uint64)
    return total
