"""FlatBuffers: tables out of bytes with each offset checked, and bytes out of tables."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message

# ---- reading


@dataclass(frozen=True)
class View:
    """A table in a file. Every place that it names is checked to lie inside."""

    data: memoryview
    at: int
    source: str

    def _damaged(self, what: str) -> FileFormatError:
        return FileFormatError(message(f"The file is damaged: {what}.", owner=self.source))

    def _unpack(self, kind: str, at: int) -> Any:
        if at < 0 or at + struct.calcsize(kind) > len(self.data):
            raise self._damaged("an offset points outside of it")
        return struct.unpack_from("<" + kind, self.data, at)[0]

    def _place(self, field: int) -> int:
        """Return where a field lies, or 0 if the table does not have it."""
        table = self.at - int(self._unpack("i", self.at))
        if 4 + 2 * field + 2 > int(self._unpack("H", table)):
            return 0
        offset = int(self._unpack("H", table + 4 + 2 * field))
        return self.at + offset if offset else 0

    def number(self, field: int, kind: str, default: Any = 0) -> Any:
        """Return a plain number; `kind` is its letter in `struct`."""
        place = self._place(field)
        return self._unpack(kind, place) if place else default

    def _indirect(self, place: int) -> int:
        return place + int(self._unpack("I", place))

    def table(self, field: int) -> "View | None":
        """Return the table in a field, or None."""
        place = self._place(field)
        return View(self.data, self._indirect(place), self.source) if place else None

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        place = self._place(field)
        if not place:
            return 0, 0
        start = self._indirect(place)
        count = int(self._unpack("I", start))
        if count * size > len(self.data) - start - 4:
            raise self._damaged("a list ends behind its end")
        return start + 4, count

    def array(self, field: int, dtype: str) -> Numpy:
        """Return a list of numbers, as a view of the file."""
        kind = np.dtype(dtype)
        start, count = self._vector(field, kind.itemsize)
        return np.frombuffer(self.data[start : start + count * kind.itemsize], kind)

    def tables(self, field: int, most: int = 100_000) -> list["View"]:
        """Return the tables in a list."""
        start, count = self._vector(field, 4)
        if count > most:
            raise self._damaged(f"a list has {count:,} entries")
        return [View(self.data, self._indirect(start + 4 * i), self.source) for i in range(count)]

    def text(self, field: int) -> str:
        """Return a text, at most 1,000 characters of it."""
        start, count = self._vector(field, 1)
        return bytes(self.data[start : start + min(count, 1000)]).decode(errors="replace")


def root(data: bytes, identifier: bytes, source: str) -> View:
    """Return the outermost table of a file.

    Raises:
        FileFormatError: If the file is of another kind.
    """
    if len(data) < 8 or data[4:8] != identifier:
        raise FileFormatError(message(f"It is no {identifier.decode()} file.", owner=source))
    return View(memoryview(data), struct.unpack_from("<I", data)[0], source)


# ---- writing


@dataclass(frozen=True)
class Number:
    """A plain number of a table; `kind` is its letter in `struct`."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Text:
    """A text."""

    value: str

    def put(self, out: bytearray, waiting: list[tuple[int, Any]]) -> int:
        del waiting
        data = self.value.encode()
        at = _aligned(out, 4)
        out += struct.pack("<I", len(data)) + data + b"\0"
        return at


@dataclass(frozen=True)
class Array:
    """A list of numbers."""

    value: Numpy
    align: int = 4

    def put(self, out: bytearray, waiting: list[tuple[int, Any]]) -> int:
        del waiting
        while (len(out) + 4) % max(self.align, self.value.itemsize):
            out.append(0)
        at = len(out)
        flat = np.ascontiguousarray(self.value).ravel()
        out += struct.pack("<I", flat.size) + flat.astype(flat.dtype.newbyteorder("<")).tobytes()
        return at


@dataclass(frozen=True)
class Many:
    """A list of tables or texts."""

    value: Sequence[Any]

    def put(self, out: bytearray, waiting: list[tuple[int, Any]]) -> int:
        at = _aligned(out, 4)
        out += struct.pack("<I", len(self.value)) + bytes(4 * len(self.value))
        waiting += [(at + 4 + 4 * i, part) for i, part in enumerate(self.value)]
        return at


@dataclass(frozen=True)
class Table:
    """A table: its fields by number; what is None is left out."""

    value: Mapping[int, Any]

    def put(self, out: bytearray, waiting: list[tuple[int, Any]]) -> int:
        fields = {key: part for key, part in self.value.items() if part is not None}
        sizes = {key: struct.calcsize(part.kind) if isinstance(part, Number) else 4 for key, part in fields.items()}
        places: dict[int, int] = {}
        end = 4
        for key in sorted(fields, key=lambda key: -sizes[key]):
            end += -end % sizes[key]
            places[key] = end
            end += sizes[key]
        count = max(fields, default=-1) + 1
        wide = max([4, *sizes.values()])
        table = _aligned(out, 2)
        out += struct.pack(f"<HH{count}H", 4 + 2 * count, end, *(places.get(i, 0) for i in range(count)))
        at = _aligned(out, wide)
        out += struct.pack("<i", at - table) + bytes(end - 4)
        for key, part in fields.items():
            if isinstance(part, Number):
                struct.pack_into("<" + part.kind, out, at + places[key], part.value)
            else:
                waiting.append((at + places[key], part))
        return at


def _aligned(out: bytearray, size: int) -> int:
    out += bytes(-len(out) % size)
    return len(out)


def encoded(table: Table, identifier: bytes) -> bytes:
    """Return the file whose outermost table is `table`."""
    out = bytearray(4) + bytearray(identifier)
    waiting: list[tuple[int, Any]] = [(0, table)]
    while waiting:
        at, part = waiting.pop()
        place = part.put(out, waiting)
        struct.pack_into("<I", out, at, place - at)
    return bytes(out)
