"""Keras's data adapters with their own constructors: lamina's feeds, read batch by batch."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lamina.training import arrays, checks, stream
from lamina.training.dataset import Batches
from lamina.training.dataset import PyDataset as PyDataset
from lamina.training.feed import ArrayFeed


def class_weight_to_sample_weights(y: Any, class_weight: dict[int, float]) -> Any:
    """Return the weight of each row."""
    return checks.class_weights(arrays.to_host(y, "y"), class_weight)


def _shortened(batch: Any) -> Any:
    return tuple(part for part in batch if part is not None)


class _Adapter:
    def get_jax_iterator(self) -> Iterator[Any]:
        return iter(self)  # type: ignore[call-overload, no-any-return]

    get_numpy_iterator = get_jax_iterator

    def on_epoch_begin(self) -> None:
        pass

    def on_epoch_end(self) -> None:
        pass


class ArrayDataAdapter(_Adapter):
    """Batches of arrays."""

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = 32,
        steps: Any = None,
        shuffle: Any = False,
        class_weight: Any = None,
    ) -> None:
        x, y, weight = (arrays.to_host(a, n) for a, n in ((x, "x"), (y, "y"), (sample_weight, "sample_weight")))
        if class_weight is not None:
            weight = checks.class_weights(y, class_weight)
        rows = len(jax.tree.leaves(x)[0])
        self.batch_size = batch_size
        self.feed = ArrayFeed((x, y, weight), min(batch_size, rows), shuffle=shuffle, padded=False)
        self.num_batches = self.feed.steps
        self.partial_batch_size = rows % batch_size
        self.has_partial_batch = bool(self.partial_batch_size)

    def __iter__(self) -> Iterator[Any]:
        self.feed.start_epoch()
        while block := self.feed.block(1):
            size = int(block.rows[0])
            yield _shortened(jax.tree.map(lambda a, size=size: np.array(a[0][:size]), block.data))
            self.feed.release(block)


class GeneratorDataAdapter(_Adapter):
    """Batches of a generator."""

    def __init__(self, generator: Any) -> None:
        first = next(generator, None)
        if first is None:
            raise stream.empty("the data")
        self.batches = itertools.chain([first], generator)

    def __iter__(self) -> Iterator[Any]:
        return (_shortened(stream.unpack(batch)) for batch in self.batches)


class PyDatasetAdapter(_Adapter):
    """Batches of a `PyDataset`."""

    def __init__(self, x: Any, class_weight: Any = None, shuffle: bool = False) -> None:
        self.batches, self.class_weight = Batches(x, shuffle), class_weight

    def on_epoch_begin(self) -> None:
        self.batches.begin()

    def on_epoch_end(self) -> None:
        self.batches.end()

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches():
            if isinstance(batch, dict):
                yield batch
                continue
            x, y, weight = stream.unpack(batch)
            if self.class_weight is not None:
                weight = class_weight_to_sample_weights(y, self.class_weight)
            yield _shortened((x, y, weight))
