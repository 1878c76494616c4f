"""TensorBoard's event files, written without TensorFlow: records of protocol buffers with check sums.

The fields are those of TensorBoard's `event.proto`, `summary.proto` and `tensor.proto`.
"""

import os
import socket
import struct
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

_FLOAT, _DOUBLE, _STRING = 1, 2, 7  # tensor.proto's types
_SCALAR, _TENSOR = 1, 2  # summary.proto's classes of data
_BUCKETS = 30
_files = count()


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli's polynomial
        table.append(value)
    return table


_TABLE = _crc_table()


def _checksum(data: bytes) -> bytes:
    """Return the masked CRC-32C of the format."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(place: int, value: bytes | str | int | float) -> bytes:
    """Return a field of a message: bytes and text with their length, whole numbers, or a double."""
    if isinstance(value, int):
        return _varint(place << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(place << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(place << 3 | 2) + _varint(len(data)) + data


def _tensor(kind: int, array: Any) -> bytes:
    sizes = b"" if kind == _STRING else b"".join(_field(2, _field(1, int(size))) for size in array.shape)
    content = _field(8, array) if kind == _STRING else _field(4, array.tobytes())
    return _field(1, kind) + _field(2, sizes) + content


def _value(tag: str, plugin: str, content: bytes, data_class: int | None, tensor: bytes) -> bytes:
    about = _field(1, _field(1, plugin) + (_field(2, content) if content else b""))
    if data_class is not None:
        about += _field(4, data_class)
    return _field(1, _field(1, tag) + _field(8, tensor) + _field(9, about))


class EventFile:
    """An event file in a folder. It is made at the first event.

    Args:
        folder: The folder, which is made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._file: Any = None

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number."""
        tensor = _tensor(_FLOAT, np.asarray(value, "<f4"))
        self._summary(_value(tag, "scalars", b"", _SCALAR, tensor), step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Write how values are spread over 30 ranges of the same width. Those that are not finite are left out."""
        finite = np.asarray(values, "float64").ravel()
        finite = finite[np.isfinite(finite)]
        rows = np.zeros((0, 3))
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            if low == high:
                low, high = low - 0.5, high + 0.5
            counts, edges = np.histogram(finite, _BUCKETS, (low, high))
            rows = np.stack([edges[:-1], edges[1:], counts.astype("float64")], axis=1)
        self._summary(_value(tag, "histograms", b"", _TENSOR, _tensor(_DOUBLE, rows.astype("<f8"))), step)

    def keras_model(self, tag: str, config: str, step: int) -> None:
        """Write a model's config as JSON: TensorBoard draws the graph of its layers from it."""
        self._summary(_value(tag, "graph_keras_model", b"1", None, _tensor(_STRING, config)), step)

    def text(self, tag: str, value: str, step: int) -> None:
        """Write a text in Markdown."""
        self._summary(_value(tag, "text", b"", _TENSOR, _tensor(_STRING, value)), step)

    def _summary(self, value: bytes, step: int) -> None:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_files)}.v2"
            self._file = (self.folder / name).open("ab")
            self._record(_field(1, time.time()) + _field(3, "brain.Event:2"))
        self._record(_field(1, time.time()) + _field(2, int(step)) + _field(5, value))

    def _record(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))

    def flush(self) -> None:
        """Let a TensorBoard that runs see what was written."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; a later event starts another."""
        if self._file is not None:
            self._file.close()
            self._file = None
