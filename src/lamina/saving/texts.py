"""Texts that attributes of HDF5 files keep in heaps: HDF5 makes room for as many bytes as they say, four gigabytes too.

Layout: HDF5 File Format Specification, IV.A (object headers) and IV.A.2.m (attributes).
"""

import mmap
import os
from collections.abc import Iterator
from typing import Any

from lamina.errors import FileFormatError, message

_CONTINUED, _ATTRIBUTE = 0x10, 0x0C
_VARIABLE = 9  # the class of types whose values lie in a heap
_ELEMENT = 16  # bytes: length, address and number of a text in its heap

Message = tuple[int, int, int]  # kind, where its content begins, where it ends


class Texts:
    """Looks at what the objects of a file say about the lengths of their texts, before HDF5 reads them.

    Args:
        place: A path, or the content.
        source: What to call the file in an error.
    """

    def __init__(self, place: Any, source: str) -> None:
        self._source = source
        if isinstance(place, str):
            with open(place, "rb") as file:
                size = os.path.getsize(place)
                self._data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        else:
            self._data = place.getbuffer()

    def check(self, thing: Any) -> None:
        """Refuse a group or an array whose texts would be longer than the file.

        Args:
            thing: A group or array as h5py opens it.

        Raises:
            FileFormatError: If its header, or the length of a text in it, cannot be true.
        """
        import h5py

        address = int(h5py.h5o.get_info(thing.id).addr) + int(thing.file.userblock_size)
        total = 0
        for kind, start, end in self._messages(address):
            if kind == _ATTRIBUTE:
                total += sum(self._lengths(start, end))
        if total > len(self._data):
            raise FileFormatError(
                message(
                    f"The texts at `{thing.name}` cannot be read: they would be of {total:,} bytes.",
                    owner=self._source,
                    fix="the file is damaged: take an earlier copy, or save the model again.",
                )
            )

    def close(self) -> None:
        """Let the file go."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._data = b""

    def _number(self, at: int, width: int) -> int:
        return int.from_bytes(self._data[at : at + width], "little")

    def _messages(self, address: int) -> Iterator[Message]:
        """Yield the messages of an object's header, in its first or second form, with all blocks that continue it."""
        second = bytes(self._data[address : address + 4]) == b"OHDR"
        if second:
            flags = self._number(address + 5, 1)
            start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            blocks = [(start + width, self._number(start, width))]
            head = 6 if flags & 4 else 4
        else:
            blocks, head = [(address + 16, self._number(address + 8, 4))], 8
        left = len(self._data)  # blocks that continue each other in a circle come to an end
        while blocks and left > 0:
            at, size = blocks.pop()
            end = min(at + size, len(self._data))
            left -= max(end - at, head)
            while at + head <= end:
                kind = self._number(at, 1 if second else 2)
                length = self._number(at + (1 if second else 2), 2)
                begin, at = at + head, at + head + length
                if kind == _CONTINUED and second:
                    blocks.append((self._number(begin, 8) + 4, max(0, self._number(begin + 8, 8) - 8)))
                elif kind == _CONTINUED:
                    blocks.append((self._number(begin, 8), self._number(begin + 8, 8)))
                yield kind, begin, min(at, end)

    def _lengths(self, start: int, end: int) -> Iterator[int]:
        """Yield the lengths of the texts of an attribute, if it has such."""
        version = self._number(start, 1)
        name, kind, space = (self._number(start + at, 2) for at in (2, 4, 6))
        if version == 1:
            name, kind, space = (-(-size // 8) * 8 for size in (name, kind, space))
        at = start + (9 if version == 3 else 8) + name
        if self._number(at, 1) & 15 != _VARIABLE:
            return
        at += kind + space
        while at + _ELEMENT <= end:
            yield self._number(at, 4)
            at += _ELEMENT
