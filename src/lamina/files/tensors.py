"""The layout of `.safetensors` files, with a checksum of our own beside the arrays.

Layout: https://github.com/huggingface/safetensors (8 bytes of length, a JSON header, the numbers).
"""

import hashlib
import json
import os
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message
from lamina.files.documents import from_json

DIGEST = "lamina.sha256"
_HEADER_LIMIT = 100 << 20  # bytes: the layout's own
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def image(tensors: dict[str, Numpy], metadata: dict[str, str]) -> list[bytes | memoryview]:
    """Return the file that holds these arrays, in pieces, with a checksum."""
    header: dict[str, Any] = {"__metadata__": {**metadata, DIGEST: _digest(tensors, metadata)}}
    place = 0
    for name, array in tensors.items():
        end = place + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *map(_bytes, tensors.values())]


def read(path: str, source: str) -> tuple[dict[str, Numpy], dict[str, str]]:
    """Return the arrays of a file, in the order of its header, and what it says beside them.

    Args:
        path: The file.
        source: What to call it in an error.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: If it is damaged, or declares what it does not hold. A file of our own has a checksum, in
            which every bit counts.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(_HEADER_LIMIT, os.path.getsize(path)):  # Python makes room for so much before it reads
            raise FileFormatError(message(f"Its header declares {size:,} bytes.", owner=source))
        text = file.read(size)
        data = file.read() if len(text) == size else b""
    header = from_json(text, source, "The header")
    if not isinstance(header, dict):
        raise FileFormatError(message("The header is no list of tensors.", owner=source))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FileFormatError(message("What it says beside the tensors is no text.", owner=source))
    tensors = _tensors(header, data, source)
    if DIGEST in metadata and metadata[DIGEST] != _digest(tensors, metadata):
        raise FileFormatError(
            message("A bit of it has changed: its checksum is another.", owner=source, fix="take an earlier copy.")
        )
    return {name: tensors[name] for name in header}, metadata


def _tensors(header: dict[str, Any], data: bytes, source: str) -> dict[str, Numpy]:
    tensors: dict[str, Numpy] = {}
    end = 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0])):
            start, stop = entry["data_offsets"]
            dtype = dtype_of(_TYPES[entry["dtype"]])
            shape = entry["shape"]
            whole = all(type(n) is int and n >= 0 for n in [*shape, start, stop]) and len(shape) <= 32
            count = int(np.prod(np.array(shape, dtype=object))) if whole else -1
            if start != end or stop - start != count * dtype.itemsize or stop > len(data):
                raise FileFormatError(
                    message(f"Tensor `{name}` declares the shape {shape} at {start} to {stop}.", owner=source)
                )
            tensors[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
            end = stop
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(message(f"The header is damaged: {error!r}.", owner=source)) from error
    if end != len(data):
        raise FileFormatError(message(f"{len(data) - end:,} bytes belong to no tensor.", owner=source))
    return tensors


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the type of numbers in a file, whose low bytes come first."""
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        small: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return small
    found: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    return found


def _bytes(array: Numpy) -> memoryview:
    """Return the numbers of an array without a copy of them, if they lie in order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return memoryview(flat.view(np.uint8))  # type: ignore[arg-type] # a Buffer for the checker from 3.12 on


def _digest(tensors: dict[str, Numpy], metadata: dict[str, str]) -> str:
    said = {key: value for key, value in metadata.items() if key != DIGEST}
    shapes = {name: [array.dtype.name, list(array.shape)] for name, array in tensors.items()}
    found = hashlib.sha256(json.dumps([said, shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(_bytes(tensors[name]))
    return found.hexdigest()
