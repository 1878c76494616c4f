"""How good predictions are: the scores and tables of a report."""

from typing import NamedTuple

import numpy as np

from lamina._types import Numpy

_BINS = 15


def log_loss(probabilities: Numpy, places: Numpy) -> float:
    """The mean of minus the logarithm of the probability of the true class."""
    true = probabilities[np.arange(len(places)), places]
    return float(-np.log(np.clip(true, 1e-15, 1)).mean())


def auc(scores: Numpy, positive: Numpy) -> float:
    """The share of pairs of a positive and a negative row in the right order, ties as half; NaN without pairs."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


class Calibration(NamedTuple):
    """Rows in bins of how sure a model is.

    Shapes: each `bins`
    """

    said: Numpy
    true: Numpy
    rows: Numpy

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance between what was said and what was true, by rows."""
        return float(np.abs(self.said - self.true) @ self.rows / max(1, self.rows.sum()))


def calibration(probabilities: Numpy, places: Numpy) -> Calibration:
    """What a model said and what was true: of the second of two classes, or of the class that was the likeliest."""
    if probabilities.shape[1] == 2:
        said, true = probabilities[:, 1], places == 1
    else:
        said, true = probabilities.max(1), probabilities.argmax(1) == places
    bins = np.minimum((said * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    used = rows > 0
    mean = [np.bincount(bins, values, _BINS)[used] / rows[used] for values in (said, true.astype(float))]
    return Calibration(mean[0], mean[1], rows[used])


def of_classes(probabilities: Numpy, places: Numpy) -> dict[str, float]:
    """Scores of a classification by name."""
    classes = probabilities.shape[1]
    areas = [auc(probabilities[:, place], places == place) for place in ([1] if classes == 2 else range(classes))]
    real = [area for area in areas if area == area]
    return {
        "accuracy": float((probabilities.argmax(1) == places).mean()),
        "log loss": log_loss(probabilities, places),
        "AUC": float(np.mean(real)) if real else float("nan"),
        "calibration error": calibration(probabilities, places).error,
    }


def of_values(found: Numpy, wanted: Numpy) -> dict[str, float]:
    """Scores of a regression by name."""
    wrong = found - wanted
    spread = float(((wanted - wanted.mean()) ** 2).mean())
    return {
        "R²": float(1 - (wrong**2).mean() / spread) if spread else float("nan"),
        "RMSE": float(np.sqrt((wrong**2).mean())),
        "mean absolute error": float(np.abs(wrong).mean()),
    }


def confusion(probabilities: Numpy, places: Numpy) -> Numpy:
    """How many rows of each class were taken for which. Shapes: `true predicted`."""
    classes = probabilities.shape[1]
    return np.bincount(places * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)
