"""The archive that `torch.save` writes, made without PyTorch."""

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.interop.chain import Step
from lamina.interop.torch_modules import Module, module_of

_ROOT = "archive"
_NOISE = ("GaussianNoise", "GaussianDropout", "ActivityRegularization")
_STORAGES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int8": "CharStorage", "uint8": "ByteStorage",
}  # fmt: skip


def modules_of(steps: Sequence[Step], features: tuple[int, ...]) -> tuple[list[Module], list[str]]:
    """Return the modules of `nn.Sequential` that compute what a chain of layers does, numbered as there.

    Raises:
        InvalidArgumentError: If PyTorch has no such module; the error names the layer.
    """
    modules: list[Module] = []
    notes: list[str] = []
    shape = tuple(features)
    for step in steps:
        if step.kind in _NOISE:
            notes.append(f"{step.kind} layer `{step.name}` is left out: it acts in training alone.")
            continue
        if step.kind in ("BatchNormalization", "PReLU", "Softmax") and len(shape) != 1:
            raise step.cannot(
                "PyTorch",
                f"it takes rows of shape {shape}, and `torch.nn` normalizes another axis of those.",
                "put a `Flatten` before it.",
            )
        module = module_of(step, str(len(modules)), shape[-1] if shape else 1)
        if module is None:
            continue
        modules.append(module)
        if step.kind == "Dense":
            shape = (*shape[:-1], int(step.arrays[0].shape[1]))
        elif step.kind == "Flatten":
            shape = (int(np.prod(shape)),)
    return modules, notes


def archive(file: IO[bytes], tensors: Mapping[str, Numpy], documents: Mapping[str, Any]) -> None:
    """Write tensors as `torch.save` does, with some JSON documents beside them, which PyTorch leaves alone."""
    arrays = {name: _plain(name, array) for name, array in tensors.items()}
    with zipfile.ZipFile(file, "w") as members:

        def put(name: str, data: Any) -> None:
            members.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}"), data)

        put("data.pkl", _pickle(arrays))
        put("byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            put(f"data/{i}", array.tobytes())
        put("version", b"3\n")
        for name, document in documents.items():
            put(name, json.dumps(document).encode())


def _plain(name: str, array: Numpy) -> Numpy:
    if array.dtype.name not in _STORAGES:
        raise invalid(f"PyTorch has no numbers of the type {array.dtype}.", owner=f"Tensor `{name}`")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(array.shape)


def _pickle(arrays: Mapping[str, Numpy]) -> bytes:
    """Return the pickle of an ordered dict of tensors (protocol 2; opcodes as in `pickletools`)."""
    out = [b"\x80\x02", b"ccollections\nOrderedDict\n", b")R("]
    for i, (name, array) in enumerate(arrays.items()):
        storage = _STORAGES[array.dtype.name]
        strides = np.cumprod([1, *array.shape[:0:-1]])[::-1].tolist() if array.ndim else []
        out += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(("]
        out += [_text("storage"), f"ctorch\n{storage}\n".encode(), _text(str(i)), _text("cpu"), _number(array.size)]
        out += [b"tQ", _number(0), _tuple(array.shape), _tuple(strides), b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join([*out, b"u."])


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    return pickle.dumps(value, 2)[2:-1]


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(_number(int(value)) for value in values) + b"t"
