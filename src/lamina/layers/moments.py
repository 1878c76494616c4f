"""Mean and variance of data that come in batches, on the host."""

import numpy as np

from lamina._types import Numpy

_CHUNK = 1 << 20  # numbers that are copied to float64 at a time


class Moments:
    """Mean and variance in float64 of all that was added; several axes may keep their own.

    The variances of two parts are joined by the formula of Chan, Golub and LeVeque (1979), which does not cancel
    where the mean is large.

    Args:
        keep: Axes that keep their own mean and variance.
    """

    def __init__(self, keep: tuple[int, ...]) -> None:
        self.keep = keep
        self.count = 0
        self.mean: Numpy = np.zeros(())
        self._squares: Numpy = np.zeros(())

    @property
    def variance(self) -> Numpy:
        """The variance, divided by the count."""
        return self._squares / max(self.count, 1)

    def add(self, batch: Numpy) -> None:
        """Take in one more batch, a piece at a time so that no second copy of it is needed."""
        if 0 in self.keep or batch.ndim == 0:
            self._add(batch.astype(np.float64))
            return
        step = max(1, _CHUNK // max(1, batch[:1].size))
        for start in range(0, batch.shape[0], step):
            self._add(batch[start : start + step].astype(np.float64))

    def _add(self, piece: Numpy) -> None:
        axes = tuple(axis for axis in range(piece.ndim) if axis not in self.keep)
        count = int(np.prod([piece.shape[axis] for axis in axes]))
        if not count:
            return
        mean = piece.mean(axis=axes)
        squares = np.square(piece - piece.mean(axis=axes, keepdims=True)).sum(axis=axes)
        total = self.count + count
        shift = mean - self.mean
        self._squares = self._squares + squares + np.square(shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total
