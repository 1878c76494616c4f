"""Caffe: the `.caffemodel` with the weights, and the `.prototxt` beside it that says the input.

A model is read from the pair: the text says the network, the binary has the arrays, layer by layer of the same name.
Either alone is read too: a `.caffemodel` carries its network, a `.prototxt` gives a model with new weights.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.files import atomic
from lamina.files.paths import MissingFileError, as_path, source_of
from lamina.interop import caffe_proto as proto
from lamina.interop import peers
from lamina.interop.caffe_layers import caffe_layers, layers_of, steps_of_layers
from lamina.interop.caffe_proto import Message, first
from lamina.interop.chain import net_of, steps_of
from lamina.interop.net import Net

_TEXT_LIMIT = 16 << 20
_STARTS = (b"\x0a", b"\x12", b"\x1a", b"\xa2\x06")  # name, layers, input, layer: the first field of a `NetParameter`
_WORDS = (b"layer", b"layers", b"name", b"input", b"input_shape", b"input_dim", b"#", b"force_backward", b"state")


def matches(path: str, head: bytes) -> bool:
    """Return whether it is a network of Caffe: its text, or a message that begins as one and is named so."""
    if _is_text(head):
        start = head.lstrip()
        return start.startswith(_WORDS) and (path.endswith((".prototxt", ".pbtxt")) or b"layer" in head)
    if not head.startswith(_STARTS):
        return False
    if path.endswith(".caffemodel"):
        return True
    try:
        with open(path, "rb") as file:
            said = proto.decoded(memoryview(file.read()))
    except (FileFormatError, OSError):
        return False
    return any("name" in layer and "type" in layer for layer in [*said.get("layer", []), *said.get("layers", [])])


def _is_text(head: bytes) -> bool:
    return bool(head) and all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def read(path: str, weights: Any = None, features: Any = None) -> Net:
    """Return the model of a pair of files.

    Args:
        path: The `.prototxt` or the `.caffemodel`; the other one is looked for under the same name.
        weights: Path of the `.caffemodel`, if it has another name than the `.prototxt`.
        features: How many numbers a row has, if no file says it.
    """
    source = source_of(path)
    with open(path, "rb") as file:
        text = path if _is_text(file.read(512)) else None
    stem = os.path.splitext(path)[0]
    binary = path if text is None else _other(weights, f"{stem}.caffemodel")
    text = text or _other(None, f"{stem}.prototxt")
    said = _parsed(text) if text else None
    held = _decoded(binary) if binary else None
    network = said or held
    assert network is not None
    found = layers_of(network, held, source)
    notes = []
    if held is None:
        notes.append(f"There are no weights beside {path!r}: the model has new ones.")
    steps, more = steps_of_layers(found, source, held is not None)
    shape = _input_shape(network, said, features, steps, source)
    return net_of(steps, shape, first(network, "name", "caffe") or "caffe", [*notes, *more])


def _other(given: Any, beside: str) -> str | None:
    if given is not None:
        path = as_path(given)
        if not os.path.isfile(path):
            raise MissingFileError(message(f"File not found: {path}."))
        return path
    return beside if os.path.isfile(beside) else None


def _parsed(path: str) -> Message:
    source = source_of(path)
    if os.path.getsize(path) > _TEXT_LIMIT:
        raise FileFormatError(message("A text of this size is no network.", owner=source))
    with open(path, "rb") as file:
        return proto.parsed(file.read().decode("utf-8", "replace"), source)


def _decoded(path: str) -> Message:
    source = source_of(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return proto.decoded(memoryview(data))
    except FileFormatError as error:
        raise FileFormatError(message(f"It is damaged, or no network of Caffe: {error}", owner=source)) from error


def _input_shape(
    network: Message, said: Message | None, features: Any, steps: Sequence[Any], source: str
) -> tuple[int, ...]:
    """Return the shape of a row: what the files say, what the caller says, or what the first layer takes."""
    if features is not None:
        if type(features) is not int or features < 1:
            raise invalid("`features` must be a positive integer.", received=repr(features))
        return (features,)
    for message_ in (said, network):
        dims = _declared(message_) if message_ else None
        if dims:
            if len(dims) < 2 or any(not 0 < n < 2**31 for n in dims[1:]):
                raise FileFormatError(message(f"The input has the shape {dims}.", owner=source))
            shape = tuple(dims[1:])
            return shape if len(shape) == 1 or steps[0].kind == "Flatten" else (int(np.prod(shape)),)
    for step in steps:
        if step.arrays:
            return (int(step.arrays[0].shape[0]),)
    raise invalid("The size of the input is not known.", owner=source, fix="pass `features=...`.")


def _declared(network: Message) -> list[int] | None:
    for layer in network.get("layer", []):
        if first(layer, "type", "") == "Input":
            shapes = first(layer, "input_param", {}).get("shape", [])
            if shapes:
                return list(shapes[0].get("dim", []))
    if network.get("input_shape"):
        return list(network["input_shape"][0].get("dim", []))
    return list(network["input_dim"][:4]) if network.get("input_dim") else None


# ---- writing


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write the `.caffemodel` and, beside it, the `.prototxt`.

    Raises:
        InvalidArgumentError: If Caffe has no such layer; the error names it.
    """
    steps, shape = steps_of(net, "Caffe")
    stem = os.path.splitext(path)[0] if path.endswith((".caffemodel", ".prototxt")) else path
    layers, notes = caffe_layers(steps, shape)
    name = str(net.config["config"].get("name") or "net")
    entry: Message = {
        "name": ["data"],
        "type": ["Input"],
        "top": ["data"],
        "input_param": [{"shape": [{"dim": [1, *shape]}]}],
    }
    said: Message = {"name": [name], "layer": [entry, *layers]}
    atomic.write(f"{stem}.caffemodel", [proto.encoded(said)])
    atomic.write(f"{stem}.prototxt", [proto.printed(said).encode()])
    return (f"Written: {stem}.prototxt and {stem}.caffemodel.", *notes)


_RUN = """
import cv2, os
stem = os.path.splitext(path)[0]
network = cv2.dnn.readNetFromCaffe(stem + ".prototxt", stem + ".caffemodel")
rows = []
for row in inputs[0]:
    network.setInput(row[None])
    rows.append(network.forward()[0])
outputs = [np.stack(rows)]
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what OpenCV's reader of Caffe's files computes."""
    del net
    return peers.outputs_of("OpenCV", _RUN, path, inputs)
