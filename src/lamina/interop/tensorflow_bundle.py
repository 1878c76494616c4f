"""Checkpoints of TensorFlow: a table of names (`.index`) and the numbers (`.data-...`), read without TensorFlow.

The table is LevelDB's (https://github.com/google/leveldb/blob/main/doc/table_format.md); its entries are messages of
`tensor_bundle.proto`, and what belongs to what is said by `trackable_object_graph.proto`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message
from lamina.files.paths import source_of
from lamina.interop import protobuf

MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_INDEX_LIMIT = 64 << 20
_ENTRIES, _KEY = 200_000, 8192
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
TYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool", 14: "bfloat16",
    17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
_STRING = 7


@dataclass(frozen=True)
class Entry:
    """Where an array lies."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


@dataclass
class Node:
    """An object of a checkpoint: what it holds by name, and the keys of its own arrays."""

    children: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    full_name: str = ""


class Bundle:
    """The arrays of a checkpoint by key, looked through but not read.

    Args:
        prefix: The path without `.index`.

    Raises:
        FileFormatError: If the table is damaged.
    """

    def __init__(self, prefix: str) -> None:
        self.source = source_of(f"{prefix}.index")
        self._prefix = prefix
        self._shards = 1
        self.entries: dict[str, Entry] = {}
        if os.path.getsize(f"{prefix}.index") > _INDEX_LIMIT:
            raise self._wrong("a table of names of this size is none")
        with open(f"{prefix}.index", "rb") as file:
            data = memoryview(file.read())
        if len(data) < _FOOTER or bytes(data[-8:]) != MAGIC:
            raise self._wrong("it is no table of names")
        at = len(data) - _FOOTER
        for _ in range(2):  # the handle of what is said about the table, which nobody uses
            _, at = protobuf.varint(data, at, self.source)
        blocks = [value for _, value in self._block(data, *self._handle(data, at))]
        for handle in blocks:
            for key, value in self._block(data, *self._handle(handle, 0)):
                self._add(key, value)
        for shard in sorted({entry.shard for entry in self.entries.values()}):
            self._check_whole(shard)

    def _check_whole(self, shard: int) -> None:
        """Refuse a file of arrays, if it is there, that ends before the last of them does."""
        path = self._path(shard)
        if os.path.isfile(path):
            last = max((e.offset + e.size, key) for key, e in self.entries.items() if e.shard == shard)
            if last[0] > os.path.getsize(path):
                raise self._wrong(f"`{last[1]}` lies behind the end of {os.path.basename(path)}")

    def _path(self, shard: int) -> str:
        return f"{self._prefix}.data-{shard:05d}-of-{self._shards:05d}"

    def _wrong(self, why: str) -> FileFormatError:
        return FileFormatError(message(f"The checkpoint is damaged: {why}.", owner=self.source))

    def _handle(self, data: memoryview, at: int) -> tuple[int, int]:
        offset, at = protobuf.varint(data, at, self.source)
        size, _ = protobuf.varint(data, at, self.source)
        return offset, size

    def _block(self, data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
        """Yield the entries of a block; a key says how much of it is as in the one before."""
        if offset + size + 5 > len(data) or size < 8:
            raise self._wrong("a block ends behind the end of the file")
        if data[offset + size]:
            raise self._wrong("a block is compressed, which TensorFlow never does here")
        block = data[offset : offset + size]
        restarts = int.from_bytes(block[-4:], "little")
        end = size - 4 * (restarts + 1)
        at, key, count = 0, b"", 0
        while at < end:
            same, at = protobuf.varint(block, at, self.source)
            more, at = protobuf.varint(block, at, self.source)
            length, at = protobuf.varint(block, at, self.source)
            count += 1
            if same > len(key) or at + more + length > end or same + more > _KEY or count > _ENTRIES:
                raise self._wrong("an entry ends behind the end of its block")
            key = key[:same] + bytes(block[at : at + more])
            at += more
            yield key, block[at : at + length]
            at += length

    def _add(self, key: bytes, value: memoryview) -> None:
        said: dict[int, Any] = {}
        for number, part in protobuf.fields(value, self.source):
            if number == 7:
                raise self._wrong(f"the array {key[:60]!r} is cut into slices, which a model on one machine never is")
            said[number] = part
        if not key:
            self._shards = int(said.get(1, 1))
            if said.get(2, 0):
                raise self._wrong("its numbers are big-endian")
            return
        if len(self.entries) >= _ENTRIES:
            raise self._wrong(f"it names more than {_ENTRIES:,} arrays")
        shape = []
        for number, dim in protobuf.fields(said.get(2, memoryview(b"")), self.source):
            if number == 2:
                sizes = [protobuf.signed(part) for n, part in protobuf.fields(dim, self.source) if n == 1]
                shape.append(sizes[-1] if sizes else 0)
        numbers = [said.get(n, 0) for n in (1, 3, 4, 5)]
        if any(not isinstance(n, int) for n in numbers) or any(n < 0 for n in shape) or len(shape) > 32:
            raise self._wrong(f"the entry {key[:60]!r} is none")
        kind, shard, offset, size = numbers
        self.entries[key.decode("utf-8", "replace")] = Entry(kind, tuple(shape), shard, offset, size)

    def _bytes(self, key: str) -> bytes:
        entry = self.entries[key]
        path = self._path(entry.shard)
        if not os.path.isfile(path):
            raise self._wrong(f"the file {os.path.basename(path)} is missing")
        with open(path, "rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)

    def read(self, key: str) -> Numpy:
        """Return an array.

        Raises:
            FileFormatError: If there is none of numbers, or its bytes are not there.
        """
        if key not in self.entries:
            raise self._wrong(f"it has no `{key}`")
        entry = self.entries[key]
        if entry.kind not in TYPES:
            raise self._wrong(f"`{key}` holds no plain numbers (type {entry.kind})")
        dtype = dtype_of(entry.kind)
        count = 1
        for size in entry.shape:
            count *= size
        if count * dtype.itemsize != entry.size:
            raise self._wrong(f"`{key}` declares the shape {entry.shape} and has {entry.size:,} bytes")
        return np.frombuffer(self._bytes(key), dtype).reshape(entry.shape)

    def graph(self) -> list[Node]:
        """Return the objects of the checkpoint, the first of which holds all others; none if it has no such list."""
        entry = self.entries.get(GRAPH)
        if entry is None or entry.kind != _STRING:
            return []
        data = memoryview(self._bytes(GRAPH))
        length, at = protobuf.varint(data, 0, self.source)
        if at + 4 + length > len(data):
            raise self._wrong("its list of objects is cut short")
        found = []
        for number, part in protobuf.fields(data[at + 4 : at + 4 + length], self.source):
            if number == 1:
                found.append(self._node(part))
            if len(found) > _ENTRIES:
                raise self._wrong("it has too many objects")
        return found

    def _node(self, data: memoryview) -> Node:
        node = Node()
        for number, part in protobuf.fields(data, self.source):
            if number == 1:
                said = dict(protobuf.fields(part, self.source))
                node.children[protobuf.text(said.get(2, memoryview(b"")))] = protobuf.signed(said.get(1, 0))
            elif number == 2:
                said = dict(protobuf.fields(part, self.source))
                name, full, key = (protobuf.text(said.get(n, memoryview(b""))) for n in (1, 2, 3))
                node.keys[name] = key
                node.full_name = full or node.full_name
        return node


def dtype_of(kind: int) -> np.dtype[Any]:
    """Return the type of numbers with this number in TensorFlow's list of them."""
    if TYPES[kind] == "bfloat16":
        import ml_dtypes

        half: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return half
    found: np.dtype[Any] = np.dtype(TYPES[kind])
    return found
