"""`.safetensors` files of PyTorch's state dicts."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.files import atomic
from lamina.files.documents import from_json
from lamina.files.paths import source_of
from lamina.interop import peers, torch_file, torch_modules
from lamina.interop.chain import steps_of
from lamina.interop.net import Net
from lamina.interop.torch_write import modules_of

_HEADER_LIMIT = 32 << 20  # bytes: a hundred times what a network of ten thousand layers needs
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_DIGEST, _ARCHITECTURE = "lamina.sha256", "architecture"


def matches(path: str, head: bytes) -> bool:
    """Return whether it begins with the length of a header, and the header."""
    return 2 <= int.from_bytes(head[:8], "little") < 100_000_000 and head[8:9] == b"{" and head[9:10] in b'"}'


def read(path: str, activations: Any = None, architecture: Any = None) -> Net:
    """Return the model of a state dict.

    Args:
        path: The file.
        activations: Name of the function between layers, or one for each `Linear`, if the file does not say them.
        architecture: The modules, e.g. `str(module)` or "Linear, ReLU, Linear".
    """
    source = source_of(path)
    tensors, metadata = tensors_of(path, source)
    own = metadata.get(_ARCHITECTURE)
    tensors = _in_order(tensors, named=isinstance(architecture, str) and "):" in architecture, source=source)
    return torch_file.net(
        tensors, activations, own if activations is None and architecture is None else architecture, source
    )


def _in_order(tensors: dict[str, Numpy], named: bool, source: str) -> dict[str, Numpy]:
    """Return the tensors in the order of the numbers in their names: a file holds them in none of its own.

    Raises:
        InvalidArgumentError: If the names do not say the order.
    """
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in tensors))
    if len({re.sub(r"\d+", "#", name) for name in names}) > 1:
        if named:
            return tensors
        raise invalid(
            f"Their names do not say the order of its layers: {torch_modules.expected(dict.fromkeys(names))}.",
            owner=source,
            fix="pass `architecture=str(module)`, which has the names in order.",
        )
    keys = sorted(tensors, key=lambda key: [int(number) for number in re.findall(r"\d{1,9}", key)])
    return {key: tensors[key] for key in keys}


def tensors_of(path: str, source: str) -> tuple[dict[str, Numpy], dict[str, str]]:
    """Return the arrays of a file, in its order, and what it says beside them.

    Layout: https://github.com/huggingface/safetensors (8 bytes of length, a JSON header, the numbers).

    Raises:
        FileFormatError: If it is damaged, or declares what it does not hold.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _HEADER_LIMIT:
            raise FileFormatError(message(f"Its header declares {size:,} bytes.", owner=source))
        text = file.read(size)
        data = file.read() if len(text) == size else b""
    header = from_json(text, source, "The header")
    if not isinstance(header, dict):
        raise FileFormatError(message("The header is no list of tensors.", owner=source))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FileFormatError(message("What it says beside the tensors is no text.", owner=source))
    tensors: dict[str, Numpy] = {}
    end = 0
    try:
        entries = sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0]))
        for name, entry in entries:
            start, stop = entry["data_offsets"]
            dtype = torch_file._dtype(_TYPES[entry["dtype"]])
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
    if _DIGEST in metadata and metadata[_DIGEST] != _digest(tensors, metadata):
        raise FileFormatError(
            message("A bit of it has changed: its checksum is another.", owner=source, fix="take an earlier copy.")
        )
    return {name: tensors[name] for name in header}, metadata


def _digest(tensors: dict[str, Numpy], metadata: dict[str, str]) -> str:
    found = hashlib.sha256()
    said = {key: value for key, value in metadata.items() if key != _DIGEST}
    shapes = {name: [array.dtype.name, list(array.shape)] for name, array in tensors.items()}
    found.update(json.dumps([said, shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(np.ascontiguousarray(tensors[name]).tobytes())
    return found.hexdigest()


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write a state dict, with the modules and a checksum in its metadata."""
    modules, notes = modules_of(*steps_of(net, "safetensors"))
    tensors = {f"{m.name}.{role}": array for m in modules for role, array in m.tensors.items()}
    if not tensors:
        raise invalid("A safetensors file holds weights, and this model has none.")
    said = torch_modules.python(modules)
    atomic.write(path, image(tensors, {"format": "pt", _ARCHITECTURE: said}))
    return (f"Its module: {said}", *notes)


def image(tensors: dict[str, Numpy], metadata: dict[str, str]) -> list[bytes]:
    """Return the file that holds these arrays, in pieces, with a checksum."""
    names = {dtype: name for name, dtype in _TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {**metadata, _DIGEST: _digest(tensors, metadata)}}
    place = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": names[array.dtype.name], "shape": list(array.shape), "data_offsets": [place, place + array.nbytes],
        }  # fmt: skip
        place += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *(np.ascontiguousarray(a).tobytes() for a in tensors.values())]


_RUN = """
import struct, json, torch
with open(path, "rb") as f:
    n = struct.unpack("<Q", f.read(8))[0]
    header = json.loads(f.read(n))
    data = f.read()
from safetensors.torch import load_file
sd = load_file(path)
sd = {{k: sd[k] for k in sorted((k for k in header if k != "__metadata__"), key=lambda k: list(header).index(k))}}
{forward}
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what PyTorch computes with the file's tensors in the modules of the net."""
    return peers.outputs_of("PyTorch", _RUN.format(forward=torch_file.forward(net)), path, inputs)
