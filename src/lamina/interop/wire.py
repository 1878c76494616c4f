"""Protocol buffers in their binary form, read and written field by field.

Encoding: https://protobuf.dev/programming-guides/encoding. No message is allocated before its bytes are there.
"""

import struct
from collections.abc import Iterator

from lamina.errors import FileFormatError, message

Value = int | memoryview
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class DamagedError(FileFormatError):
    """The bytes are no message."""


def fields(data: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield each field of a message: its number, its wire type, and an integer or the bytes.

    Raises:
        DamagedError: If it is no message.
    """
    place, end = 0, len(data)
    while place < end:
        tag, place = varint(data, place)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise DamagedError("A field has the number 0.")
        if kind == VARINT:
            value, place = varint(data, place)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, place = varint(data, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise DamagedError(f"A field has the wire type {kind}.")
        if size > end - place:
            raise DamagedError(message(f"A field declares {size:,} bytes, and {end - place:,} are left."))
        part = data[place : place + size]
        yield number, kind, part if kind == BYTES else int.from_bytes(part, "little")
        place += size


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it."""
    result = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        result |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return result & 0xFFFFFFFFFFFFFFFF, place
    raise DamagedError("A number is cut short.")


def signed(value: int) -> int:
    """Return a number of 64 bits with its sign."""
    return value - (1 << 64) if value >= 1 << 63 else value


def float32(bits: int) -> float:
    """Return the number that 32 bits stand for."""
    return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])


def text(value: Value) -> str:
    """Return a string field.

    Raises:
        DamagedError: If it is none.
    """
    if isinstance(value, int):
        raise DamagedError("A field that should be a text is a number.")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"A text is no UTF-8: {error}") from error


def part(value: Value) -> memoryview:
    """Return the bytes of a field.

    Raises:
        DamagedError: If it is a number.
    """
    if isinstance(value, int):
        raise DamagedError("A field that should be a message is a number.")
    return value


# ---- writing


def encoded(value: int) -> bytes:
    """Return a number as a varint; a negative one in ten bytes."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, kind: int, value: int | bytes) -> bytes:
    """Return a field with its tag."""
    tag = encoded(number << 3 | kind)
    if isinstance(value, bytes):
        return tag + (encoded(len(value)) if kind == BYTES else b"") + value
    return tag + encoded(value)
