"""Numbers by which an epoch is chosen, and the temperature of probabilities: NumPy in double precision."""

import numpy as np

from lamina._types import Numpy


def log_softmax(outputs: Numpy) -> Numpy:
    """Logarithms of the probabilities. Shapes: rows classes."""
    shifted: Numpy = outputs - outputs.max(1, keepdims=True)
    chances: Numpy = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return chances


def softmax(outputs: Numpy) -> Numpy:
    """Probabilities. Shapes: rows classes."""
    return np.exp(log_softmax(outputs))


def metric(name: str, outputs: Numpy, target: Numpy, weight: Numpy) -> float:
    """What is to become small on rows held back: "squared", "log_loss", "accuracy" (the error), "auc" (1 - area).

    Shapes:
        outputs: rows outputs
        target: rows outputs, or rows 1 with numbers of classes
        weight: rows
    """
    outputs, weight = outputs.astype(np.float64), weight.astype(np.float64)
    if not np.isfinite(outputs).all():
        return float("inf")
    if weight.sum() <= 0:
        weight = np.ones_like(weight)
    if name == "squared":
        return float(np.average(((outputs - target) ** 2).mean(1), weights=weight))
    classes = target[:, 0].astype(np.int64)
    if name == "accuracy":
        return float(np.average(outputs.argmax(1) != classes, weights=weight))
    if name == "auc":
        return 1.0 - area(outputs, classes, weight)
    return float(np.average(-log_softmax(outputs)[np.arange(len(classes)), classes], weights=weight))


def area(outputs: Numpy, classes: Numpy, weight: Numpy) -> float:
    """The area under the curve; for more than two classes the mean over classes of one against the rest."""
    chances = softmax(outputs)
    which = [1] if outputs.shape[1] == 2 else range(outputs.shape[1])
    areas = [_area(chances[:, c], classes == c, weight) for c in which]
    found = [a for a in areas if a is not None]
    return float(np.mean(found)) if found else 0.5


def _area(score: Numpy, positive: Numpy, weight: Numpy) -> float | None:
    """The part of pairs in the right order, ties counting half; None without pairs."""
    _, place = np.unique(score, return_inverse=True)
    ups = np.bincount(place, weight * positive)
    downs = np.bincount(place, weight * ~positive)
    if not ups.sum() or not downs.sum():
        return None
    below = np.cumsum(downs) - downs / 2
    return float((ups * below).sum() / (ups.sum() * downs.sum()))


def temperature(outputs: Numpy, classes: Numpy, weight: Numpy) -> float:
    """What the outputs are to be divided by for the least log loss, between 1/4 and 4 (Guo et al. 2017)."""
    outputs, target = outputs.astype(np.float64), classes.reshape(-1, 1)
    low, high = np.log(0.25), np.log(4.0)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(30):
        left, right = high - golden * (high - low), low + golden * (high - low)
        losses = [metric("log_loss", outputs / np.exp(t), target, weight) for t in (left, right)]
        low, high = (low, right) if losses[0] <= losses[1] else (left, high)
    return float(np.exp((low + high) / 2))
