"""`.safetensors` files of PyTorch's state dicts."""

import re
from collections.abc import Sequence
from typing import Any

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.files import atomic, tensors
from lamina.files.paths import source_of
from lamina.interop import peers, torch_file, torch_modules
from lamina.interop.chain import steps_of
from lamina.interop.net import Net
from lamina.interop.torch_write import modules_of

_ARCHITECTURE = "architecture"


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
    found, metadata = tensors.read(path, source)
    own = metadata.get(_ARCHITECTURE)
    found = _in_order(found, named=isinstance(architecture, str) and "):" in architecture, source=source)
    return torch_file.net(
        found, activations, own if activations is None and architecture is None else architecture, source
    )


def _in_order(found: dict[str, Numpy], named: bool, source: str) -> dict[str, Numpy]:
    """Return the tensors in the order of the numbers in their names: a file holds them in none of its own.

    Raises:
        InvalidArgumentError: If the names do not say the order.
    """
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in found))
    if len({re.sub(r"\d+", "#", name) for name in names}) > 1:
        if named:
            return found
        raise invalid(
            f"Their names do not say the order of its layers: {torch_modules.expected(dict.fromkeys(names))}.",
            owner=source,
            fix="pass `architecture=str(module)`, which has the names in order.",
        )
    keys = sorted(found, key=lambda key: [int(number) for number in re.findall(r"\d{1,9}", key)])
    return {key: found[key] for key in keys}


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write a state dict, with the modules and a checksum in its metadata."""
    modules, notes = modules_of(*steps_of(net, "safetensors"))
    found = {f"{m.name}.{role}": array for m in modules for role, array in m.tensors.items()}
    if not found:
        raise invalid("A safetensors file holds weights, and this model has none.")
    said = torch_modules.python(modules)
    atomic.write(path, tensors.image(found, {"format": "pt", _ARCHITECTURE: said}))
    return (f"Its module: {said}", *notes)


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
