"""Data sets whose batches are asked for by number, so that several threads can make them ready at the same time."""

import itertools
import random
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lamina import registry
from lamina.errors import describe, invalid


@registry.export("utils")
class PyDataset:
    """A data set that gives batches by number. Subclass it with `__getitem__` and `__len__`, and pass it to `fit`.

    `self[i]` returns batch `i` as `x`, `(x, y)` or `(x, y, sample_weight)`; `len(self)` is the number of batches. A
    subclass may write `num_batches` instead of `__len__` (None: without end), `on_epoch_begin` and `on_epoch_end`.

    Args:
        workers: Number of threads that make batches ready while the model trains. 1: none, each when it is needed.
        use_multiprocessing: Kept for Keras scripts: threads are used all the same, and a warning says so.
        max_queue_size: How many batches may be ready and waiting.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self._workers = workers
        self._use_multiprocessing = use_multiprocessing
        self._max_queue_size = max_queue_size

    def _setting(self, name: str, default: Any) -> Any:
        if name not in self.__dict__:
            warnings.warn(
                "Your `PyDataset` class should call `super().__init__(**kwargs)` in its constructor. `**kwargs` can "
                "include `workers`, `use_multiprocessing`, `max_queue_size`.",
                stacklevel=3,
            )
            self.__dict__[name] = default
        return self.__dict__[name]

    @property
    def workers(self) -> int:
        """Number of threads."""
        return int(self._setting("_workers", 1))

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = value

    @property
    def use_multiprocessing(self) -> bool:
        """Whether processes were asked for."""
        return bool(self._setting("_use_multiprocessing", False))

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        self._use_multiprocessing = value

    @property
    def max_queue_size(self) -> int:
        """How many batches may be ready and waiting."""
        return int(self._setting("_max_queue_size", 10))

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._max_queue_size = value

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a `__getitem__(self, index)` that returns a batch.")

    def __iter__(self) -> Iterator[Any]:
        try:
            count = self.num_batches
        except NotImplementedError:
            count = None
        for index in itertools.count() if count is None else range(count):
            yield self[index]

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None: without end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            f"{type(self).__name__} needs a `__len__` or the property `num_batches`: how many batches it has."
        )

    def on_epoch_begin(self) -> None:
        """Do nothing: a subclass may make itself ready for an epoch."""

    def on_epoch_end(self) -> None:
        """Do nothing: a subclass may, say, shuffle."""


def is_dataset(data: Any) -> bool:
    """Return whether data is a `PyDataset`, of this library or of Keras, or looks like one."""
    if isinstance(data, PyDataset):
        return True
    counted = hasattr(data, "__len__") or hasattr(type(data), "num_batches")
    return hasattr(data, "__getitem__") and counted and hasattr(data, "on_epoch_end")


class Batches:
    """What a run reads of a `PyDataset`: calling it starts over.

    Args:
        data: The data set.
        shuffle: Whether the batches come in another order each time.

    Attributes:
        length: Number of batches; None: without end.
    """

    def __init__(self, data: Any, shuffle: bool = False) -> None:
        self.data, self.shuffle = data, bool(shuffle)
        count = data.num_batches if hasattr(type(data), "num_batches") else len(data)
        self.length: int | None = None if count is None else int(count)
        if self.length is not None and self.length < 1:
            raise invalid("There are no batches.", owner=type(data).__name__, received=f"a length of {self.length}")

    def begin(self) -> None:
        """Tell the data set that an epoch begins."""
        if hasattr(self.data, "on_epoch_begin"):
            self.data.on_epoch_begin()

    def end(self) -> None:
        """Tell the data set that an epoch has ended."""
        self.data.on_epoch_end()

    def _order(self) -> Iterator[int]:
        if self.length is None:
            return itertools.count()
        order = list(range(self.length))
        if self.shuffle:
            random.shuffle(order)  # the stream that Keras draws from
        return iter(order)

    def __call__(self) -> Iterator[Any]:
        """Return the batches, from the first; threads make them ready if the data set asks for more than one."""
        workers = int(getattr(self.data, "workers", 1) or 0)
        if getattr(self.data, "use_multiprocessing", False) and workers > 0:
            warnings.warn(
                f"{type(self.data).__name__}: `use_multiprocessing` is ignored, its batches are made by {workers} "
                "threads. NumPy lets several run at once; what is slow in pure Python is better prepared beforehand.",
                stacklevel=2,
            )
        if workers > 1:
            return _ahead(self.data, self._order(), workers, max(1, int(getattr(self.data, "max_queue_size", 10))))
        return (_whole(self.data, index) for index in self._order())


def _ahead(data: Any, order: Iterator[int], workers: int, waiting: int) -> Iterator[Any]:
    """Yield batches in order while threads make the next ones ready. An error comes where its batch would have."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix=type(data).__name__)
    queue: deque[Future[Any]] = deque()
    try:
        for index in order:
            queue.append(pool.submit(_whole, data, index))
            if len(queue) > waiting:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _whole(data: Any, index: int) -> Any:
    batch = data[index]
    if isinstance(batch, list):
        batch = tuple(batch)
    if isinstance(batch, tuple) and not 1 <= len(batch) <= 3:
        raise invalid(
            "`__getitem__` must return a batch as `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`.",
            owner=f"{type(data).__name__}, batch {index}",
            received=describe(batch),
        )
    return batch
