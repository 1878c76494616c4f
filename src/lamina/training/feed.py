"""Data as blocks of batches. Rows stay where the user has them; a block is gathered on the host while one trains.

On a CPU the device reads the block where the host wrote it. On another device the arrays go there once and a block is
gathered there, from row numbers.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np

from lamina._types import Numpy, Tree
from lamina.training.arrays import device_dtype
from lamina.training.steps import Block, Rows

BLOCK_BYTES = 16 << 20  # of one block; an epoch of a large set is many blocks, so that memory stays small
BLOCK_BATCHES = 1024
INDEX_ROWS = 1 << 16  # row numbers of a block
COPIED_BYTES = 64 << 20  # most that is copied for all rows to be handed over in the types of the program
KEPT_BYTES = 64 << 20  # of data that is read in the same order each time and may stay on the device


class Feed(Protocol):
    """What a loop needs of data.

    Attributes:
        steps: Batches in an epoch, or None if only its end will tell.
        padded: Whether short batches are filled up, with the real rows told by `Block.rows`.
    """

    steps: int | None
    padded: bool

    def start_epoch(self) -> None:
        """Begin an epoch: shuffle."""

    def block(self, count: int) -> Block | None:
        """Return the next batches, at most `count`, or None at the end of the epoch."""

    def release(self, block: Block) -> None:
        """Say that the device has finished with a block."""

    def hand_over(self, types: tuple[Any, ...] | None) -> None:
        """Give all rows, as arrays of these types, and row numbers from now on: the program gathers the batches.

        None: give batches again.
        """

    def peek(self) -> Tree:
        """Return shapes and types of the first batch."""

    def mark(self, done: int) -> dict[str, Any]:
        """Return a place as plain values and arrays: so many batches into the epoch, or, for 0, the end of one.

        With it comes `about`: what it is a place of.

        A feed whose places can only be reached by reading has neither `next` nor `goto`.
        """


def aligned(shape: Sequence[int], dtype: Any) -> Numpy:
    """Return an uninitialised array that starts at a multiple of 64 bytes, so that a CPU device need not copy it."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    whole: Numpy = buffer[start : start + size].view(dtype).reshape(shape)
    return whole


def on_cpu() -> bool:
    """Return whether the default device is a CPU."""
    return bool(jax.devices()[0].platform == "cpu")


class ArrayFeed:
    """Blocks of arrays in memory.

    Args:
        data: Tree `(x, y, sample_weight)` of NumPy arrays with equal numbers of rows, or None in their place.
        batch_size: Rows in a batch.
        shuffle: True: all rows anew each epoch; "batch": the rows of each batch; False: in order.
        padded: Whether the short last batch is filled up to `batch_size` rows.
        steps_per_epoch: Batches in an epoch, if not all: the next epoch goes on where this one ends.
        resident: Whether arrays are kept on the device. Default: on every device but a CPU.
        keep: Whether blocks may be kept for the next epoch, where it reads them in the same order and number.
    """

    def __init__(
        self,
        data: Tree,
        batch_size: int,
        *,
        shuffle: bool | str = False,
        padded: bool = True,
        steps_per_epoch: int | None = None,
        resident: bool | None = None,
        keep: bool = False,
    ) -> None:
        self.data, self.batch_size, self.shuffle, self.padded = data, batch_size, shuffle, padded
        arrays = jax.tree.leaves(data)
        self.rows = len(arrays[0])
        self.batches = -(-self.rows // batch_size)
        self.steps: int | None = steps_per_epoch or self.batches
        self.ran_dry = False
        self._partial = self.rows % batch_size
        self._next = self._first = self.batches  # of the batch to come, and of the epoch's first
        self._end = 0
        self._order: Numpy | None = None
        self._drawn_from: Any = None  # the stream of random numbers before that order was drawn
        row_bytes = sum(max(1, a[:1].size) * device_dtype(a).itemsize for a in arrays)
        self._capacity = max(1, min(BLOCK_BATCHES, BLOCK_BYTES // max(1, row_bytes * batch_size)))
        self._resident = (not on_cpu()) if resident is None else resident
        self._on_device: Tree = None
        self._kept: dict[int, Block] | None = (
            {} if keep and not shuffle and row_bytes * self.rows <= KEPT_BYTES else None
        )
        self._free: list[Tree] = []
        self._handed: Tree = None
        self._gathers = self._capacity

    def hand_over(self, types: tuple[Any, ...] | None) -> None:
        """Give all rows and row numbers from now on, unless that would take a large copy. See `Feed`."""
        self._handed, self._capacity = None, self._gathers
        if types is None:
            return
        pairs = [(a, dtype) for part, dtype in zip(self.data, types, strict=True) for a in jax.tree.leaves(part)]
        copied = sum(a.size * np.dtype(t).itemsize for a, t in pairs if a.dtype != t or not a.flags.c_contiguous)
        if copied <= COPIED_BYTES and all(isinstance(a, np.ndarray) for a, _ in pairs):
            self._handed = tuple(
                jax.tree.map(lambda a, dtype=dtype: np.ascontiguousarray(a, dtype), part)
                for part, dtype in zip(self.data, types, strict=True)
            )
            # Not the number of batches: another number of rows must not be another program.
            self._capacity = max(1, INDEX_ROWS // self.batch_size)

    def start_epoch(self) -> None:
        """Draw the order of the rows, as Keras does: one `np.random.permutation` an epoch."""
        if self._next >= self.batches:
            self._next = 0
            self._drawn_from = np.random.get_state() if self.shuffle else None  # noqa: NPY002 - Keras's stream
            self._order = self.draw()
        self._first = self._next
        wanted = self.steps or self.batches
        self._end = min(self.batches, self._next + wanted)
        self.ran_dry = self._end - self._next < wanted

    def mark(self, done: int) -> dict[str, Any]:
        """Return a place: the number of the next batch, and where the order of the rows came from."""
        following = self._first + done if done else self._next
        found: dict[str, Any] = {"next": following, "first": following - done, "end": self._end}
        if self._drawn_from is not None:
            kind, keys, position, *rest = self._drawn_from
            found |= {"keys": np.asarray(keys), "drawn": [kind, int(position), int(rest[0]), float(rest[1]).hex()]}
        found["about"] = {"rows": self.rows, "batch_size": self.batch_size, "shuffle": self.shuffle}
        return found

    @property
    def inside(self) -> bool:
        """Whether an epoch has begun and is not over."""
        return self._next < self._end

    def goto(self, mark: dict[str, Any]) -> None:
        """Go to a marked place. The stream of random numbers is left somewhere."""
        if "drawn" in mark:
            kind, position, has_gauss, gauss = mark["drawn"]
            self._drawn_from = (kind, mark["keys"], position, has_gauss, float.fromhex(gauss))
            np.random.set_state(self._drawn_from)  # noqa: NPY002 - Keras's stream
            self._order = self.draw()
        self._next, self._first, self._end = mark["next"], mark["first"], mark["end"]

    def draw(self) -> Numpy | None:
        """Return a new order of the rows, or None for the order that they have."""
        if not self.shuffle:
            return None
        if self.shuffle == "batch":
            starts = range(0, self.rows, self.batch_size)
            return np.concatenate(
                [np.random.permutation(min(self.batch_size, self.rows - s)) + s for s in starts]  # noqa: NPY002
            )
        return np.random.permutation(self.rows)  # noqa: NPY002 - Keras's stream

    def draw_to_look(self) -> None:
        """Draw what Keras draws to look at the first batch, before the first fit after a `compile`."""
        if self.shuffle == "batch":
            np.random.permutation(min(self.batch_size, self.rows))  # noqa: NPY002 - Keras's stream
        else:
            self.draw()

    def peek(self) -> Tree:
        """Return shapes and types of the first batch."""
        size = self.batch_size if self.padded else min(self.batch_size, self.rows)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((size, *a.shape[1:]), device_dtype(a)), self.data)

    def block(self, count: int) -> Block | None:
        """Return the next batches, at most `count`, or None at the end of the epoch."""
        count = min(count, self._capacity, self._end - self._next)
        if count <= 0:
            return None
        last_is_short = self._partial and self._next + count == self.batches
        if last_is_short and not self.padded:
            if count > 1:
                count -= 1
            else:
                return self._short()
        start = self._next
        self._next += count
        if self._kept is not None:
            return self._kept_block(start, count)
        return self._gather(start, count)

    def _kept_block(self, start: int, count: int) -> Block:
        """Return a block of data that is always read in this order: put on the device once, then used again."""
        kept = self._kept
        assert kept is not None
        block = kept.get(start)
        if block is None or block.count < count:
            block = self._gather(start, count)
            if not isinstance(block.data, Rows):
                block = block._replace(data=jax.tree.map(jax.numpy.array, block.data))
            kept[start] = block
        return block._replace(count=count)

    def _short(self) -> Block:
        """Return the short last batch by itself, in its own shape."""
        rows = slice(self._next * self.batch_size, self.rows)
        index = np.arange(self.rows)[rows] if self._order is None else self._order[rows]
        self._next += 1
        data = jax.tree.map(lambda a: np.ascontiguousarray(a[index], device_dtype(a))[None], self.data)
        return Block(data, np.array([self._partial], np.int32), 1)

    def _gather(self, start: int, count: int) -> Block:
        size = self.batch_size
        first, last = start * size, min((start + count) * size, self.rows)
        index = np.arange(first, last) if self._order is None else self._order[first:last]
        real = np.full(self._capacity, size, np.int32)
        missing = count * size - len(index)
        if missing:
            real[count - 1] = size - missing
            # Copies of real rows: what is finite for those stays finite here, and counts for nothing.
            index = np.concatenate([index, np.resize(index[(count - 1) * size :], missing)])
        if self._handed is not None:
            numbers = index.astype(np.int32).reshape(count, size)
            return Block(Rows(self._handed, numbers), real, count)
        if self._resident:
            return Block(self._take_on_device(index, count), real, count)
        buffers = self._free.pop() if self._free else jax.tree.map(self._buffer, self.data)
        jax.tree.map(lambda a, buffer: _fill(a, buffer, index), self.data, buffers)
        return Block(buffers, real, count)

    def _buffer(self, array: Numpy) -> Numpy:
        return aligned((self._capacity, self.batch_size, *array.shape[1:]), device_dtype(array))

    def _all_rows(self) -> Tree:
        if self._on_device is None:
            self._on_device = jax.tree.map(lambda a: jax.device_put(np.asarray(a, device_dtype(a))), self.data)
        return self._on_device

    def _take_on_device(self, index: Numpy, count: int) -> Tree:
        rows = self._all_rows()
        bucket = min(self._capacity, 1 << (count - 1).bit_length())
        padded = np.zeros((bucket, self.batch_size), np.int32)
        padded.reshape(-1)[: len(index)] = index
        return jax.tree.map(lambda a: _take(a, padded), rows)

    def release(self, block: Block) -> None:
        """Use the memory of a block again."""
        leaves = jax.tree.leaves(block.data)
        if (
            self._kept is None
            and not self._resident
            and self._handed is None
            and len(self._free) < 2
            and leaves[0].shape[0] == self._capacity
        ):
            self._free.append(block.data)


@jax.jit
def _take(array: Any, index: Any) -> Any:
    return jax.numpy.take(array, index, axis=0)


def _fill(array: Numpy, buffer: Numpy, index: Numpy) -> None:
    """Write the rows `index` of `array` to the start of `buffer`, cast to its type."""
    flat = buffer.reshape((-1, *array.shape[1:]))[: len(index)]
    if array.dtype == buffer.dtype:
        np.take(array, index, axis=0, out=flat, mode="clip")
    else:
        flat[...] = array[index]
