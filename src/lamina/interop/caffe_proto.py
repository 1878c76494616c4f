"""Caffe's messages as dicts of lists, out of their binary and their text form, and back.

Only the fields of fully connected networks have names here; the numbers are those of the published `caffe.proto`.
Fields without a name are passed over in binary messages, where they are settings of training, and kept out of text.
"""

import re
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, message
from lamina.interop import protobuf

Message = dict[str, list[Any]]
_FILLER = {"type": (1, "s"), "value": (2, "f"), "min": (3, "f"), "max": (4, "f"), "mean": (5, "f"), "std": (6, "f")}
_BIAS_TERM = {"bias_term": (2, "b"), "weight_filler": (3, "Filler"), "bias_filler": (4, "Filler")}
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "I")},
    "Blob": {
        "num": (1, "i"), "channels": (2, "i"), "height": (3, "i"), "width": (4, "i"), "data": (5, "F"),
        "shape": (7, "BlobShape"), "double_data": (8, "D"),
    },
    "Filler": _FILLER,
    "Dropout": {"dropout_ratio": (1, "f")},
    "ELU": {"alpha": (1, "f")},
    "InnerProduct": {"num_output": (1, "i"), **_BIAS_TERM, "axis": (5, "i"), "transpose": (6, "b")},
    "Input": {"shape": (1, "BlobShape")},
    "BatchNorm": {"use_global_stats": (1, "b"), "moving_average_fraction": (2, "f"), "eps": (3, "f")},
    "Scale": {
        "axis": (1, "i"), "num_axes": (2, "i"), "filler": (3, "Filler"), "bias_term": (4, "b"),
        "bias_filler": (5, "Filler"),
    },
    "Bias": {"axis": (1, "i"), "num_axes": (2, "i"), "filler": (3, "Filler")},
    "ReLU": {"negative_slope": (1, "f")},
    "Softmax": {"axis": (2, "i")},
    "Flatten": {"axis": (1, "i"), "end_axis": (2, "i")},
    "Power": {"power": (1, "f"), "scale": (2, "f"), "shift": (3, "f")},
    "PReLU": {"filler": (1, "Filler"), "channel_shared": (2, "b")},
    "Swish": {"beta": (1, "f")},
    "Rule": {"phase": (1, "phase")},
    "Layer": {
        "name": (1, "s"), "type": (2, "s"), "bottom": (3, "s"), "top": (4, "s"), "blobs": (7, "Blob"),
        "include": (8, "Rule"), "exclude": (9, "Rule"), "phase": (10, "phase"), "dropout_param": (108, "Dropout"),
        "inner_product_param": (117, "InnerProduct"), "power_param": (122, "Power"), "relu_param": (123, "ReLU"),
        "softmax_param": (125, "Softmax"), "prelu_param": (131, "PReLU"), "flatten_param": (135, "Flatten"),
        "batch_norm_param": (139, "BatchNorm"), "elu_param": (140, "ELU"), "bias_param": (141, "Bias"),
        "scale_param": (142, "Scale"), "input_param": (143, "Input"), "swish_param": (147, "Swish"),
    },
    "V1Layer": {
        "bottom": (2, "s"), "top": (3, "s"), "name": (4, "s"), "type": (5, "kind"), "blobs": (6, "Blob"),
        "dropout_param": (12, "Dropout"), "inner_product_param": (17, "InnerProduct"), "power_param": (19, "Power"),
        "relu_param": (30, "ReLU"), "include": (32, "Rule"), "exclude": (33, "Rule"), "softmax_param": (39, "Softmax"),
    },
    "Net": {
        "name": (1, "s"), "layers": (2, "V1Layer"), "input": (3, "s"), "input_dim": (4, "i"),
        "input_shape": (8, "BlobShape"), "layer": (100, "Layer"),
    },
}  # fmt: skip
# The numbers of `V1LayerParameter.LayerType` and the names of today.
KINDS = {
    4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 12: "HDF5Data", 14: "InnerProduct", 17: "Pooling",
    18: "ReLU", 19: "Sigmoid", 20: "Softmax", 21: "SoftmaxWithLoss", 23: "TanH", 25: "Eltwise", 26: "Power",
    1: "Accuracy", 2: "BNLL", 3: "Concat", 22: "Split", 29: "MemoryData",
    7: "EuclideanLoss", 27: "SigmoidCrossEntropyLoss",
}  # fmt: skip
_UPPER = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper(): number for number, name in KINDS.items()} | {
    "TANH": 23, "RELU": 18, "BNLL": 2, "SOFTMAX_LOSS": 21, "INNER_PRODUCT": 14,
}  # fmt: skip
_PHASES = {"TRAIN": 0, "TEST": 1}
_DEEPEST = 16
_OBJECTS = 200_000


def first(said: Message, name: str, default: Any) -> Any:
    """Return the last value of a field, as protocol buffers do, or a default."""
    return said[name][-1] if said.get(name) else default


# ---- binary


def decoded(data: memoryview, kind: str = "Net") -> Message:
    """Return a message from its binary form. Numbers of blobs are arrays over the bytes themselves.

    Raises:
        FileFormatError: If it is none.
    """
    names = {number: (name, what) for name, (number, what) in MESSAGES[kind].items()}
    found: Message = {}
    for number, value in protobuf.fields(data):
        if number in names:
            name, what = names[number]
            found.setdefault(name, []).extend(_decoded(what, value))
    return found


def _decoded(what: str, value: Any) -> list[Any]:
    if what == "s":
        return [protobuf.text(value)]
    if what == "f":
        return [protobuf.real(value)]
    if what == "I":
        return protobuf.integers(value)
    if what in ("F", "D") or what in MESSAGES:
        dtype = np.dtype("<f8" if what == "D" else "<f4")
        if isinstance(value, int) or (what not in MESSAGES and len(value) % dtype.itemsize):
            raise FileFormatError("The file is damaged: numbers are cut short.")
        return [decoded(value, what)] if what in MESSAGES else [np.frombuffer(value, dtype)]
    number = protobuf.signed(value)
    return [bool(number) if what == "b" else number]


def encoded(said: Message, kind: str = "Net") -> bytes:
    """Return the binary form of a message."""
    out = []
    for name, (number, what) in MESSAGES[kind].items():
        for value in said.get(name, []):
            if what in MESSAGES:
                out.append(protobuf.chunk(number, encoded(value, what)))
            elif what == "s":
                out.append(protobuf.chunk(number, value))
            elif what in ("F", "D"):
                out.append(protobuf.chunk(number, np.asarray(value, "<f4" if what == "F" else "<f8").tobytes()))
            elif what == "f":
                out.append(protobuf.floating(number, value))
            else:
                out.append(protobuf.integer(number, int(value)))
    return b"".join(out)


# ---- text

_TOKEN = re.compile(
    r"""(?:\s|\#[^\n]*)*+(?:([A-Za-z_]\w*)|([-+]?(?:\d|\.\d)[\w.+-]*)|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|(.)|\Z)"""
)


def parsed(text: str, source: str) -> Message:
    """Return the message that a `.prototxt` says. Fields without a name here are left out.

    Raises:
        FileFormatError: If it is no such text.
    """
    reader = _Text(text, source)
    for count, match in enumerate(_TOKEN.finditer(text.rstrip())):
        reader.place = match.end()
        if count > _OBJECTS:
            raise reader.wrong(f"it has more than {_OBJECTS:,} words")
        word, number, double, single, sign = match.groups()
        if match.lastindex is None:  # the end
            break
        if sign is not None:
            reader.sign(sign)
        elif word is not None and not reader.name:
            reader.name = word
        else:
            reader.value(next(part for part in (word, number, double, single) if part is not None))
    return reader.end()


class _Text:
    """The messages that are open, and the field whose value comes next."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source
        self._top: Message = {}
        self._open: list[tuple[Message, str]] = [(self._top, "Net")]
        self.place, self.name, self._colon = 0, "", False

    def wrong(self, why: str) -> FileFormatError:
        line = self._text.count("\n", 0, self.place) + 1
        return FileFormatError(message(f"It is no text of Caffe: in line {line} {why}.", owner=self._source))

    def sign(self, sign: str) -> None:
        if sign == ":" and self.name and not self._colon:
            self._colon = True
        elif sign == "{" and self.name:
            self._enter()
        elif sign == "}" and len(self._open) > 1 and not self.name:
            self._open.pop()
        elif sign not in ",;" or self.name:
            raise self.wrong(f"{sign!r} stands where it cannot")

    def _kind(self) -> str:
        return MESSAGES.get(self._open[-1][1], {}).get(self.name, (0, ""))[1]

    def _enter(self) -> None:
        if len(self._open) > _DEEPEST:
            raise self.wrong("it is nested too deeply")
        inner: Message = {}
        kind = self._kind()
        if kind in MESSAGES:
            self._open[-1][0].setdefault(self.name, []).append(inner)
        self._open.append((inner, kind))
        self.name, self._colon = "", False

    def value(self, text: str) -> None:
        if not self._colon:
            raise self.wrong(f"expected `:` or `{{` behind `{self.name}`")
        kind = self._kind()
        if kind:
            self._open[-1][0].setdefault(self.name, []).append(_value(kind, text, self._source, self.name))
        self.name, self._colon = "", False

    def end(self) -> Message:
        if len(self._open) > 1 or self.name:
            raise self.wrong("a `{` is not closed")
        return self._top


def _value(what: str, text: str, source: str, name: str) -> Any:
    try:
        if what == "s":
            return text
        if what == "b":
            return {"true": True, "false": False, "1": True, "0": False}[text]
        if what == "kind":
            return _UPPER[text] if text in _UPPER else int(text)
        if what == "phase":
            return _PHASES[text] if text in _PHASES else int(text)
        if what in ("f", "F", "D"):
            return float(text)
        if what in MESSAGES:
            raise ValueError("a message is expected")
        return int(text[:24])
    except (KeyError, ValueError) as error:
        problem = f"`{name}` has the value {text[:40]!r}, which cannot be: {error}."
        raise FileFormatError(
            message(problem, owner=source, fix="layers that are not fully connected are not read.")
        ) from error


def printed(said: Message, kind: str = "Net", indent: str = "") -> str:
    """Return the text form of a message, without the numbers of blobs."""
    lines = []
    for name, (_, what) in MESSAGES[kind].items():
        for value in said.get(name, []):
            if what == "Blob":
                continue
            if what in MESSAGES:
                lines.append(f"{indent}{name} {{\n{printed(value, what, indent + '  ')}{indent}}}\n")
            elif what == "s":
                escaped = value.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{indent}{name}: "{escaped}"\n')
            elif what == "b":
                lines.append(f"{indent}{name}: {'true' if value else 'false'}\n")
            else:
                lines.append(f"{indent}{name}: {value}\n")
    return "".join(lines)
