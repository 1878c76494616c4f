"""Numbers brought to one scale: by the middle half of them, then bent so that none lies outside (-3, 3).

Source: "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data", arXiv 2407.04491, section 3.
"""

import numpy as np

from lamina._types import Numpy

_LARGE = 1e150  # differences and squares of numbers below it are finite


def quantiles(values: Numpy, weight: Numpy | None, places: tuple[float, ...]) -> Numpy:
    """Quantiles of numbers among which none is missing; a whole weight counts as so many equal numbers.

    Without weights: NumPy's linear ones.
    """
    if weight is None:
        return np.asarray(np.quantile(values, places))
    order = np.argsort(values, kind="stable")
    values, weight, least = values[order], weight[order], weight.min()
    ends = np.cumsum(weight / least if least < 1 else weight)
    wanted = np.asarray(places) * max(ends[-1] - 1, 0.0)
    low, part = np.floor(wanted), wanted - np.floor(wanted)
    last = len(values) - 1
    below = values[np.minimum(np.searchsorted(ends, low, side="right"), last)]
    above = values[np.minimum(np.searchsorted(ends, low + 1, side="right"), last)]
    return np.asarray(below + (above - below) * part)


def scale(values: Numpy, weight: Numpy | None = None) -> tuple[float, float]:
    """The median of numbers and what to multiply the distance from it by; 0 if all are equal.

    The factor is one over the distance between the quartiles; if that is 0, two over the whole range. Infinities
    and missing numbers do not count.
    """
    real = np.isfinite(values)
    if weight is not None:
        real &= weight > 0
        weight = weight[real]
    values = np.clip(values[real], -_LARGE, _LARGE)
    if not len(values):
        return 0.0, 0.0
    low, median, high = (float(q) for q in quantiles(values, weight, (0.25, 0.5, 0.75)))
    if high > low:
        return median, 1 / (high - low)
    spread = float(values.max() - values.min())
    return median, 2 / spread if spread > 0 else 0.0


def clipped(values: Numpy, middle: Numpy, factor: Numpy) -> Numpy:
    """Numbers as a network takes them, in (-3, 3); infinities at the ends, NaN stays.

    Shapes: values `rows columns`, middle and factor `columns`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        x = (np.clip(values, -_LARGE, _LARGE) - middle) * factor
        x = np.clip(x, -1e6, 1e6)
        return np.asarray(x / np.sqrt(1 + (x / 3) ** 2), np.float32)
