"""PyTorch's `state_dict` files: the zip archive of today, and what versions before 1.6 wrote."""

import os
import zipfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.files import atomic, zips
from lamina.files.documents import from_json
from lamina.files.paths import source_of
from lamina.files.tensors import dtype_of
from lamina.interop import inference, peers, torch_modules, torch_pickle
from lamina.interop.chain import net_of, steps_of
from lamina.interop.net import Net
from lamina.interop.torch_write import archive, modules_of

_OLD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of 0x1950a86a20f9469cfc6c
_PICKLE_LIMIT = 64 << 20
_ROOM = 1 << 20
_TIMES = 4  # tensors may share numbers, but not without end
_WITHIN = ("state_dict", "model_state_dict", "model", "net", "weights")
ARCHITECTURE = "lamina.json"


def matches(path: str, head: bytes) -> bool:
    """Return whether it is a file of `torch.save`."""
    if head.startswith(_OLD):
        return True
    return zips.begins_as_zip(head) and any(name.endswith("/data.pkl") for name in zips.names(path))


def read(path: str, activations: Any = None, architecture: Any = None) -> Net:
    """Return the model of a `state_dict` file; nothing in it is run.

    Args:
        path: The file.
        activations: Name of the function between layers, or one for each `Linear`, if the file does not say them.
        architecture: The modules, e.g. `str(module)` or "Linear, ReLU, Linear".
    """
    source = source_of(path)
    found, own = _contents(path, source)
    tensors, notes = state_dict(found, source)
    said = own if architecture is None and activations is None else architecture
    return net(tensors, activations, said, source, notes)


def net(tensors: dict[str, Numpy], activations: Any, architecture: Any, source: str, notes: Sequence[str] = ()) -> Net:
    """Return the net that a state dict and a description make."""
    steps, more = inference.steps_of(tensors, activations, architecture, source)
    return net_of(steps, (inference.features_of(steps, source),), "torch", [*notes, *more])


def state_dict(found: Any, source: str) -> tuple[dict[str, Numpy], list[str]]:
    """Return the tensors among what a file holds, and what was left out.

    Raises:
        FileFormatError: If there are none.
    """
    if isinstance(found, dict):
        tensors = {str(key): value for key, value in found.items() if isinstance(value, np.ndarray)}
        if tensors:
            left = [str(key) for key in found if str(key) not in tensors]
            return tensors, [f"Left out: {', '.join(left[:8])}; only the weights are read."] if left else []
        for key in _WITHIN:
            if isinstance(found.get(key), dict):
                tensors, notes = state_dict(found[key], source)
                left = [str(other) for other in found if other != key]
                return tensors, [*notes, *([f"Left out: {', '.join(left[:8])}; only `{key}` is read."] if left else [])]
    raise FileFormatError(
        message(
            "It holds no state dict.",
            owner=source,
            received=f"keys {list(found)[:8]}" if isinstance(found, dict) else type(found).__name__,
            fix="write it with `torch.save(module.state_dict(), path)`.",
        )
    )


def _contents(path: str, source: str) -> tuple[Any, str | None]:
    """Return what the pickle of a file holds, and the architecture that lamina wrote beside it."""
    with open(path, "rb") as file:
        if file.read(len(_OLD)) == _OLD:
            return _old(file, source), None
        with zips.opened(file, source) as members:
            pickles = [name for name in members.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise FileFormatError(message("It is no archive of `torch.save`.", owner=source))
            root = pickles[0].partition("/")[0]
            return _unpacked(members, root, source)


def _unpacked(members: zipfile.ZipFile, root: str, source: str) -> tuple[Any, str | None]:
    sizes = {info.filename: info.file_size for info in members.infolist()}
    if f"{root}/constants.pkl" in sizes or any(name.startswith(f"{root}/code/") for name in sizes):
        raise FileFormatError(
            message("It is TorchScript, which is code.", owner=source, fix="save `module.state_dict()` instead.")
        )
    if f"{root}/byteorder" in sizes and zips.member(members, f"{root}/byteorder", source, 64) != b"little":
        raise FileFormatError(message("Its numbers are big-endian.", owner=source))
    kept: dict[str, Numpy] = {}

    def fetch(key: str, kind: str, count: int) -> Numpy:
        name, dtype = f"{root}/data/{key}", dtype_of(kind)
        if sizes.get(name) != count * dtype.itemsize:
            raise FileFormatError(
                message(
                    f"A storage declares {count:,} numbers of {kind}; its member `{name}` has {sizes.get(name)} bytes.",
                    owner=source,
                )
            )
        if key not in kept:
            kept[key] = np.frombuffer(zips.member(members, name, source), dtype)
        if kept[key].dtype != dtype:
            raise FileFormatError(message(f"Member `{name}` is named twice with two types.", owner=source))
        return kept[key]

    program = zips.member(members, f"{root}/data.pkl", source, _PICKLE_LIMIT)
    found = torch_pickle.load(program, source, fetch, len(sizes))
    _check_total(found, sum(array.nbytes for array in kept.values()), source)
    own = None
    if f"{root}/{ARCHITECTURE}" in sizes:
        said = from_json(zips.member(members, f"{root}/{ARCHITECTURE}", source, _ROOM), source, f"`{ARCHITECTURE}`")
        own = said.get("architecture") if isinstance(said, dict) else None
    return found, own if isinstance(own, str) else None


def _check_total(found: Any, stored: int, source: str) -> None:
    """Refuse tensors that share numbers so often that copies of them would fill the memory."""
    total, stack, steps = 0, [found], 0
    while stack:
        item = stack.pop()
        steps += 1
        total += item.nbytes if isinstance(item, np.ndarray) else 0
        if isinstance(item, dict | list | tuple):
            stack.extend(item.values() if isinstance(item, dict) else item)
        if total > _TIMES * stored + _ROOM or steps > 4_000_000:
            raise FileFormatError(
                message(
                    f"Its tensors declare more than {_TIMES} times the {stored:,} bytes that are stored.", owner=source
                )
            )


def _old(file: IO[bytes], source: str) -> Any:
    """Return what a file before PyTorch 1.6 holds: four pickles, then the storages one behind another."""
    size = file.seek(0, os.SEEK_END)
    if size > _PICKLE_LIMIT * 64:
        raise FileFormatError(message("A file of this age is not as large as this.", owner=source))
    file.seek(len(_OLD))

    def nothing(key: str, kind: str, count: int) -> Numpy:
        raise FileFormatError(message("A storage stands where none may be.", owner=source))

    torch_pickle.load(file, source, nothing)  # the protocol
    system = torch_pickle.load(file, source, nothing)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise FileFormatError(message("Its numbers are big-endian.", owner=source))
    start = file.tell()
    declared: dict[str, tuple[str, int]] = {}

    def sized(key: str, kind: str, count: int) -> Numpy:
        declared[key] = (kind, count)
        if sum(n * dtype_of(k).itemsize for k, n in declared.values()) > size:
            raise FileFormatError(message("Its storages declare more bytes than the file has.", owner=source))
        return np.empty(count, dtype_of(kind))

    torch_pickle.load(file, source, sized)
    keys = torch_pickle.load(file, source, nothing)
    if not isinstance(keys, list) or set(map(str, keys)) != set(declared):
        raise FileFormatError(message("Its storages are not those that it lists.", owner=source))
    kept = {}
    for key in map(str, keys):
        kind, count = declared[key]
        said = int.from_bytes(file.read(8), "little")
        data = file.read(count * dtype_of(kind).itemsize)
        if said != count or len(data) != count * dtype_of(kind).itemsize:
            raise FileFormatError(message(f"Storage {key} is cut short.", owner=source))
        kept[key] = np.frombuffer(data, dtype_of(kind))
    file.seek(start)
    found = torch_pickle.load(file, source, lambda key, kind, count: kept[key])
    _check_total(found, sum(array.nbytes for array in kept.values()), source)
    return found


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write a `state_dict` that `torch.load(path, weights_only=True)` reads, and say which module it belongs to."""
    modules, notes = modules_of(*steps_of(net, "PyTorch"))
    tensors = {f"{m.name}.{role}": array for m in modules for role, array in m.tensors.items()}
    if not tensors:
        raise invalid("A PyTorch file holds weights, and this model has none.")
    said = torch_modules.python(modules)
    with atomic.replacing(path) as file:
        archive(file, tensors, {ARCHITECTURE: {"architecture": said}})
    return (f"Its module: {said}", *notes)


_RUN = """
import torch
sd = torch.load(path, weights_only=True)
{forward}
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what PyTorch computes with the file's tensors in the modules of the net."""
    return peers.outputs_of("PyTorch", _RUN.format(forward=forward(net)), path, inputs)


def forward(net: Net) -> str:
    """Return Python that runs the tensors `sd` of a file in the modules of a net."""
    modules, _ = modules_of(*steps_of(net, "PyTorch"))
    return f"""
from torch import nn
module = {torch_modules.python(modules)}
while not torch.is_tensor(next(iter(sd.values()))):
    sd = next(v for k, v in sd.items() if k in {_WITHIN!r})
own = module.state_dict()
sd = {{k: v for k, v in sd.items() if torch.is_tensor(v)}}
extra = [k for k in own if k.endswith("num_batches_tracked")]
own_keys = [k for k in own if k not in extra]
keys = [k for k in sd if not k.endswith("num_batches_tracked")]
if set(own_keys) <= set(keys):
    keys = own_keys
elif len(own_keys) != len(keys):
    raise SystemExit("the tensors are those of another module")
module.load_state_dict({{**{{a: sd[b].reshape(own[a].shape) if sd[b].numel() == own[a].numel() else
    sd[b].expand(own[a].shape) for a, b in zip(own_keys, keys)}}, **{{k: own[k] for k in extra}}}})
module.eval()
with torch.no_grad():
    outputs = [module(torch.from_numpy(inputs[0])).numpy()]
"""
