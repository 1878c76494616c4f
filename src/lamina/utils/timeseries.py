"""Windows of a series, in batches."""

import math
from typing import Any

import numpy as np

from lamina import registry
from lamina._types import Numpy
from lamina.errors import invalid
from lamina.training.dataset import PyDataset


class Windows(PyDataset):
    """Batches of windows of a series.

    Args:
        data: The series.
        targets: What belongs to the window that begins at each place, or None.
        starts: Where the windows begin.
        offsets: Places of a window, from its beginning.
        batch_size: Windows in a batch; None: single windows.
        random: What turns the order of the windows over before each epoch, or None.
    """

    def __init__(
        self, data: Numpy, targets: Numpy | None, starts: Numpy, offsets: Numpy, batch_size: int | None, random: Any
    ) -> None:
        super().__init__()
        self.data, self.targets, self.starts, self.offsets = data, targets, starts, offsets
        self.batch_size, self.random = batch_size, random

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if self.batch_size is None:
            place: Any = self.starts[index]
        else:
            place = self.starts[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.data[np.asarray(place)[..., None] + self.offsets]
        return x if self.targets is None else (x, self.targets[place])

    def on_epoch_end(self) -> None:
        if self.random is not None:
            self.random.shuffle(self.starts)


@registry.export("utils")
def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Windows:
    """Return the windows of a series as a `PyDataset`, for `fit`, `evaluate` and `predict`.

    Shapes:
        data: `(times, ...)`
        targets: `(times, ...)`, `targets[i]` for the window that begins at `i`; or None
        each batch: `(batch, sequence_length, ...)`, or a pair of it and of targets `(batch, ...)`

    Args:
        data: The series.
        targets: The targets.
        sequence_length: Entries in a window.
        sequence_stride: Times between the beginnings of two windows.
        sampling_rate: Times between two entries of a window.
        batch_size: Windows in a batch; None: single windows.
        shuffle: Whether the windows come in another order in each epoch.
        seed: Where that order starts from.
        start_index: The first time that is used.
        end_index: The time before which it ends.
        format: Kept for Keras scripts.

    Raises:
        InvalidArgumentError: If a number is not between those allowed.
    """
    del format
    series = np.asarray(data)
    rows = len(series)
    first, last = start_index or 0, rows if end_index is None else end_index
    allowed = (
        ("start_index", first, 0, rows - 1),
        ("end_index", last, max(1, first + 1), rows),
        ("sampling_rate", sampling_rate, 1, rows - 1),
        ("sequence_stride", sequence_stride, 1, rows - 1),
        ("sequence_length", sequence_length, 1, rows),
    )
    for name, value, least, most in allowed:
        if not least <= value <= most:
            limit = "lower than the length of the data" if value > most else f"higher than {least - 1}"
            raise invalid(
                f"`{name}` must be {limit}.",
                owner="timeseries_dataset_from_array",
                received=f"{name}={value}, for data of length {rows}",
            )
    count = last - first - (sequence_length - 1) * sampling_rate
    wanted = None if targets is None else np.asarray(targets)[first:last]
    count = count if wanted is None else min(count, len(np.asarray(targets)))
    starts = np.arange(0, max(0, count), sequence_stride)
    random = None
    if shuffle:
        random = np.random.RandomState(np.random.randint(int(1e6)) if seed is None else seed)  # noqa: NPY002 - Keras's
        random.shuffle(starts)
    offsets = np.arange(sequence_length) * sampling_rate
    return Windows(series[first:last], wanted, starts, offsets, batch_size, random)
