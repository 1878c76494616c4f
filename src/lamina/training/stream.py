"""Data that comes batch by batch: generators, `PyDataset`s, loaders. Batches of one shape share a dispatch."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, describe, invalid, warn
from lamina.training import arrays
from lamina.training.dataset import Batches, is_dataset
from lamina.training.feed import BLOCK_BATCHES, BLOCK_BYTES, aligned
from lamina.training.steps import Block

Check = Callable[[Tree, str], Tree]
_ARRAYS = ("__array__", "toarray", "todense", "to_numpy")  # what has one of these is one array


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """Return `(x, y, sample_weight)` of what a generator gave.

    Raises:
        InvalidArgumentError: If it is a tuple of another length, or a list that could be either.
    """
    if isinstance(batch, list):
        batch = tuple(batch)
    if not isinstance(batch, tuple):
        return batch, None, None
    if 1 <= len(batch) <= 3:
        return (*batch, *[None] * (3 - len(batch)))
    raise invalid(
        "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`.",
        owner="a batch",
        received=f"a tuple of length {len(batch)}",
        fix="put several inputs into one list or dict: `([x1, x2], y)`.",
    )


class StreamFeed:
    """Blocks of batches that an iterator gives.

    Args:
        source: An iterator or a function that returns a fresh iterator for each epoch.
        steps: Batches in an epoch; None: until it ends.
        check: Called with each batch `(x, y, sample_weight)` of NumPy arrays and its label; returns it made ready.
        padded: Whether shorter batches are filled up to the first one's rows.
        name: What to call the data in a message.
        continues: Whether the next epoch goes on where the last one stopped, and starts over only at the end.
        restarts: Whether each epoch is a run of its own, as each validation of a fit is.
    """

    def __init__(
        self,
        source: Any,
        steps: int | None,
        *,
        check: Check,
        padded: bool,
        name: str = "the data",
        continues: bool = False,
        restarts: bool = False,
    ) -> None:
        self.steps, self.padded, self.ran_dry = steps, padded, False
        self._source, self._check, self._name = source, check, name
        self._continues, self._length = continues, getattr(source, "length", None)
        self._restarts, self._begun, self._opened = restarts, False, False
        self._read_from_it = 0  # batches that the present iterator gave
        self._iterator: Iterator[Any] | None = None
        self._waiting: list[Tree] = []  # batches read but not given out
        self._taken, self._number, self._size = 0, 0, 0
        self._finished = False
        self._failure: Exception | None = None  # met while a block was filled; raised once its batches are trained

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left and nothing can be read again."""
        return self._finished and not callable(self._source)

    def start_epoch(self) -> None:
        """Begin an epoch: ask a source that can start anew for a fresh iterator."""
        self._taken, self._finished = 0, False
        if self._restarts and self._opened:
            self.restart()
        self._opened = True
        self._begin()
        over = self._length is not None and self._read_from_it >= self._length
        if self._iterator is None or (callable(self._source) and not self._waiting and (over or not self._continues)):
            self._start()

    def mark(self, done: int) -> dict[str, Any]:
        """Return what the place is one of: it is reached again only by reading."""
        del done
        return {"about": {"batches": self.steps}}

    def _start(self) -> None:
        self._iterator = iter(self._source() if callable(self._source) else self._source)
        self._read_from_it = 0

    def _begin(self) -> None:
        if not self._begun and isinstance(self._source, Batches):
            self._source.begin()
        self._begun = True

    def restart(self) -> None:
        """Forget what was read and end the epoch, as Keras does after a look at the first batch.

        Nothing happens to a source that cannot be read again by number.
        """
        if isinstance(self._source, Batches):
            self._waiting, self._iterator, self._number, self._begun = [], None, 0, False
            self._source.end()

    def peek(self) -> Tree:
        """Return shapes and types of the first batch, which is kept for the first step.

        Raises:
            InvalidArgumentError: If there is none.
        """
        self._begin()
        if self._iterator is None:
            self._start()
        if not self._waiting:
            first = self._read()
            if first is None:
                raise empty(self._name)
            self._waiting.append(first)
        first = self._waiting[0]
        self._size = max(self._size, len(jax.tree.leaves(first)[0]))
        return jax.tree.map(lambda a: arrays.spec(a, None), first)

    def _read(self) -> Tree | None:
        """Return the next batch, checked, or None at the end."""
        assert self._iterator is not None
        try:
            batch = next(self._iterator)
        except StopIteration:
            if callable(self._source):
                self._iterator = None
            return None
        self._read_from_it += 1
        label = f"batch {self._number}"
        self._number += 1
        if batch is None:
            raise invalid("The generator yielded None.", owner=label, fix="let it yield `(x, y)` batches of arrays.")
        x, y, weight = unpack(batch)
        try:
            ready = (arrays.to_host(x, "x"), arrays.to_host(y, "y"), arrays.to_host(weight, "sample_weight"))
            arrays.check_lengths(x=ready[0], y=ready[1], sample_weight=ready[2])
            return self._check(ready, label)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"In {label} of {self._name}: {error}") from error

    def block(self, count: int) -> Block | None:
        """Return the next batches of one shape, at most `count`, or None at the end of the epoch."""
        if self.steps is not None:
            count = min(count, self.steps - self._taken)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if count <= 0 or self._finished:
            self._ended_early()
            self._close()
            return None
        batches: list[Tree] = []
        limit = count
        while len(batches) < limit:
            try:
                batch = self._waiting.pop(0) if self._waiting else self._read()
            except Exception as error:
                if not batches:
                    raise
                self._failure = error
                break
            if batch is None:
                self._finished = True
                break
            if batches and not self._alike(batches[0], batch):
                self._waiting.insert(0, batch)
                break
            batches.append(batch)
            if len(batches) == 1:
                limit = min(count, self._capacity(batch))
        if not batches:
            self._ended_early()
            self._close()
            return None
        self._taken += len(batches)
        return self._stack(batches)

    def _ended_early(self) -> None:
        self.ran_dry = self.steps is not None and self._taken < self.steps

    def _close(self) -> None:
        if self._begun and isinstance(self._source, Batches):
            self._source.end()
        self._begun = False

    def _alike(self, one: Tree, other: Tree) -> bool:
        """Return whether two batches may share a block: the same shapes, but for rows where those are filled up."""
        leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
        if len(leaves) != len(others):
            return False
        pairs = zip(leaves, others, strict=True)
        start = 1 if self.padded else 0
        fits = all(a.shape[start:] == b.shape[start:] and a.dtype == b.dtype for a, b in pairs)
        return fits and (not self.padded or len(jax.tree.leaves(other)[0]) <= self._size)

    def _capacity(self, batch: Tree) -> int:
        leaves = jax.tree.leaves(batch)
        rows = len(leaves[0])
        self._size = max(self._size, rows) if self.padded else rows
        size = int(sum(a[:1].size * device_size(a) for a in leaves)) * self._size
        return max(1, min(BLOCK_BATCHES, BLOCK_BYTES // max(1, size)))

    def _stack(self, batches: list[Tree]) -> Block:
        capacity = self._capacity(batches[0])
        size = self._size
        real = np.full(capacity, size, np.int32)

        def stack(*parts: Numpy) -> Numpy:
            buffer = aligned((capacity, size, *parts[0].shape[1:]), arrays.device_dtype(parts[0]))
            for k, part in enumerate(parts):
                buffer[k, : len(part)] = part
                if len(part) < size:
                    buffer[k, len(part) :] = part[np.arange(size - len(part)) % len(part)]
                    real[k] = len(part)
            return buffer

        return Block(jax.tree.map(stack, *batches), real, len(batches))

    def hand_over(self, types: tuple[Any, ...] | None) -> None:
        """A stream has no rows to pick from."""

    def release(self, block: Block) -> None:
        """Nothing: each block has memory of its own."""


def device_size(array: Numpy) -> int:
    """Return the bytes of one element on the device."""
    return int(arrays.device_dtype(array).itemsize)


def empty(name: str) -> InvalidArgumentError:
    """Return the error for a source that gives no batch."""
    return invalid(
        "When passing a Python generator to a model, the generator must yield at least one batch. "
        "Received an empty generator.",
        owner=name,
        fix="let it yield `(x, y)` batches. One that has been read to its end must be made anew.",
    )


def warn_ran_dry(taken: int, wanted: int | None, epoch: int | None = None, verb: str = "training") -> None:
    """Warn that the data ended before an epoch did, or before the last one.

    Args:
        taken: Batches that came.
        wanted: Batches that were asked for, or None.
        epoch: The last epoch that is trained, if training stops.
        verb: What is interrupted.
    """
    of = f" of {wanted}" if wanted else ""
    warn(
        f"Your input ran out of data; interrupting {verb}. It gave {taken}{of} batches"
        + (f" in epoch {epoch + 1}, the last that is trained" if epoch is not None else "")
        + ". Make sure that your dataset or generator can generate at least `steps_per_epoch * epochs` batches"
        + (" (for a validation, `validation_steps` in each epoch)" if verb != "training" else "")
        + ". You may need to use the `.repeat()` function when building your dataset; "
        "a `PyDataset` starts over by itself."
    )


def source_of(data: Any, name: str = "x", shuffle: Any = False) -> Any:
    """Return what `StreamFeed` reads for a generator, iterator, `PyDataset` or loader; None for anything else.

    Args:
        data: What the user handed over.
        name: What to call it in a message.
        shuffle: Whether a `PyDataset` gives its batches in another order each epoch.
    """
    if is_dataset(data):
        return Batches(data, bool(shuffle))
    if hasattr(data, "__next__"):
        return data
    if isinstance(data, list | tuple | dict | range) or any(hasattr(data, name) for name in _ARRAYS):
        return None
    if hasattr(data, "__iter__") and not isinstance(data, str | bytes):
        return lambda: iter(data)
    if isinstance(data, str | bytes) or callable(data):
        raise invalid(
            "Unrecognized data type.", owner=f"`{name}`", received=describe(data), fix="pass arrays or a generator."
        )
    return None
