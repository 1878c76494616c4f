"""The wire format of protocol buffers: fields out of bytes, each offset checked, and bytes out of fields."""

import struct
from collections.abc import Iterator
from typing import Any

from lamina.errors import FileFormatError, message

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _damaged(what: str, source: str) -> FileFormatError:
    return FileFormatError(message(f"The file is damaged: {what}.", owner=source))


def varint(data: memoryview, at: int, source: str = "A message") -> tuple[int, int]:
    """Return the number at an offset, below 2 ** 64, and the offset behind it."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _damaged("a number is cut off or too long", source)
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def fields(data: memoryview, source: str = "A message") -> Iterator[tuple[int, Any]]:
    """Yield the number and value of each field: an `int`, or a view of its bytes (4 and 8 for fixed sizes).

    Raises:
        FileFormatError: If a field ends behind the end, or is of a kind that was given up (groups).
    """
    data = content(data, source)
    at, end = 0, len(data)
    while at < end:
        key, at = varint(data, at, source)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise _damaged("a field has the number 0", source)
        if kind == _VARINT:
            value, at = varint(data, at, source)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = varint(data, at, source)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise _damaged(f"a field has the unknown kind {kind}", source)
        if length > end - at:
            raise _damaged("a field ends behind the end of what holds it", source)
        yield number, data[at : at + length]
        at += length


def content(value: Any, source: str = "A message") -> memoryview:
    """Return the bytes of a field that is a message, a text or packed numbers."""
    if not isinstance(value, memoryview):
        raise _damaged("a message or text was expected", source)
    return value


def signed(value: Any, source: str = "A message") -> int:
    """Return a whole number of 64 bits with its sign."""
    if not isinstance(value, int):
        raise _damaged("a whole number was expected", source)
    return value - (1 << 64) if value >= 1 << 63 else value


def text(value: Any, source: str = "A message") -> str:
    """Return the text of a field."""
    if isinstance(value, int):
        raise _damaged("a text was expected", source)
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise _damaged("a text is not UTF-8", source) from None


def real(value: Any, source: str = "A message") -> float:
    """Return the number in 4 bytes."""
    if isinstance(value, int) or len(value) != 4:
        raise _damaged("a number of 4 bytes was expected", source)
    return float(struct.unpack("<f", value)[0])


def integers(value: Any, source: str = "A message") -> list[int]:
    """Return the whole numbers of a repeated field: one, or many packed into bytes."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        one, at = varint(value, at, source)
        found.append(signed(one))
    return found


# ---- writing


def _number(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def integer(number: int, value: int) -> bytes:
    """Return a field that holds a whole number."""
    return _number(number << 3) + _number(value)


def floating(number: int, value: float) -> bytes:
    """Return a field that holds a number of 4 bytes."""
    return _number(number << 3 | _FIXED32) + struct.pack("<f", value)


def chunk(number: int, value: bytes | str) -> bytes:
    """Return a field that holds a text, bytes or a message."""
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | _BYTES) + _number(len(data)) + data
