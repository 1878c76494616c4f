"""What a table is to a network: three arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Encoded(NamedTuple):
    """A table as arrays, a row for each of its rows.

    Shapes:
        numeric: rows numbers, scaled and clipped, with nothing missing
        onehot: rows columns, of the categories that are few, scaled in the same way
        codes: rows categories, those that are many; 0 is an unknown or missing one
        sizes: how many codes each column of `codes` has, 0 included
    """

    numeric: NDArray[np.float32]
    onehot: NDArray[np.float32]
    codes: NDArray[np.int32]
    sizes: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return int(self.numeric.shape[0])

    def take(self, rows: NDArray[np.integer] | slice) -> "Encoded":
        """The same columns of some rows."""
        return Encoded(self.numeric[rows], self.onehot[rows], self.codes[rows], self.sizes)
