"""Snapshots of a training: arrays and plain values in one safetensors file, with a digest of all that it holds."""

import hashlib
import json
import os
from typing import Any, NamedTuple

import numpy as np

from lamina._types import Config, Numpy
from lamina.errors import FileFormatError, message
from lamina.files import atomic

_VERSION = 1
_HEADER_LIMIT = 100 << 20
_NAMES = {
    "bool": "BOOL", "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class Snapshot(NamedTuple):
    """What a file holds.

    Attributes:
        path: The file.
        arrays: Arrays by name.
        values: Plain values, as JSON has them.
    """

    path: str
    arrays: dict[str, Numpy]
    values: Config


def write(path: str, arrays: dict[str, Numpy], values: Config) -> None:
    """Write a snapshot in one step: whatever happens, the file at `path` is the old one or the new one, whole.

    Raises:
        OSError: If it cannot be written; the old file is unchanged.
    """
    places: dict[str, Any] = {}
    pieces: list[memoryview] = []
    start = 0
    for name, array in arrays.items():
        whole = np.ascontiguousarray(array)
        places[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, start + whole.nbytes],
        }
        pieces.append(memoryview(whole.reshape(-1).view(np.uint8)))  # type: ignore[arg-type] # Buffer, from 3.12 on
        start += whole.nbytes
    said = json.dumps({"version": _VERSION, "values": values})
    places["__metadata__"] = {"lamina": said, "digest": _digest(said, places, pieces)}
    header = json.dumps(places).encode()
    header += b" " * (-len(header) % 8)
    atomic.write(path, [len(header).to_bytes(8, "little"), header, *pieces])


def read(path: str) -> Snapshot:
    """Return what a snapshot holds.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: If it is damaged, cut short or no snapshot.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        return Snapshot(path, *_parsed(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            message(
                f"The snapshot of the training is damaged: {error}.",
                owner=path,
                fix=f"remove the folder {os.path.dirname(path)!r} to begin anew.",
            )
        ) from None


def _parsed(data: bytes) -> tuple[dict[str, Numpy], Config]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_HEADER_LIMIT, len(data) - 8):
        raise ValueError("it is cut short")
    places = json.loads(data[8 : 8 + size])
    about = places.pop("__metadata__")
    body = memoryview(data)[8 + size :]
    pieces = []
    end = 0
    for name, place in places.items():
        first, last = place["data_offsets"]
        wanted = int(np.prod(place["shape"], dtype=np.int64)) * np.dtype(_DTYPES[place["dtype"]]).itemsize
        if first != end or last - first != wanted or last > len(body):
            raise ValueError(f"{name!r} lies outside the file")
        pieces.append(body[first:last])
        end = last
    if _digest(about["lamina"], places, pieces) != about["digest"] or end != len(body):
        raise ValueError("its digest is not that of what it holds")
    said = json.loads(about["lamina"])
    if said["version"] != _VERSION:
        raise ValueError(f"version {said['version']} is not known")
    arrays = {
        name: np.frombuffer(piece, _DTYPES[place["dtype"]]).reshape(place["shape"])
        for (name, place), piece in zip(places.items(), pieces, strict=True)
    }
    return arrays, said["values"]


def _digest(said: str, places: dict[str, Any], pieces: list[memoryview]) -> str:
    found = hashlib.blake2b(said.encode(), digest_size=16)
    found.update(json.dumps(places).encode())
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()
