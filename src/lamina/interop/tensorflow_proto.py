"""The graph in a `saved_model.pb`: nodes of functions, and where their arrays lie in the checkpoint beside it.

Messages: `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto`, `tensor.proto` of TensorFlow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message
from lamina.interop import protobuf
from lamina.interop.tensorflow_bundle import TYPES, dtype_of

_NODES = 200_000
_FILLED = 1 << 20


@dataclass
class GraphNode:
    """A node: an operation, the names of what goes in, and its attributes as bytes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, dict[int, Any]] = field(default_factory=dict)

    def attribute(self, name: str, number: int, default: Any) -> Any:
        """Return a value of an attribute: 2 bytes, 3 whole number, 4 number, 5 truth, 6 type, 8 tensor, 10 function."""
        return self.attributes.get(name, {}).get(number, default)

    def function(self) -> str:
        """Return the name of the function that the node calls, or an empty text."""
        called = self.attribute("f", 10, None)
        return _texts(called, 1) if called is not None else ""


@dataclass
class Function:
    """A function: the names of its arguments, its nodes by name, and which of their outputs it returns."""

    arguments: list[str]
    nodes: dict[str, GraphNode]
    returned: dict[str, str]
    order: list[str]


@dataclass
class Graph:
    """A SavedModel: its outermost nodes, its functions, and the names of inputs and outputs of its signatures."""

    nodes: dict[str, GraphNode] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    signatures: dict[str, tuple[dict[str, "TensorInfo"], dict[str, "TensorInfo"]]] = field(default_factory=dict)


@dataclass
class TensorInfo:
    """An input or output: its name in the graph, its type, and its shape (-1: any size; None: not said)."""

    name: str
    kind: int
    shape: tuple[int, ...] | None


def parsed(data: memoryview, source: str) -> Graph:
    """Return the graph of a `saved_model.pb`.

    Raises:
        FileFormatError: If it is damaged or has none.
    """
    metas = [part for number, part in protobuf.fields(data, source) if number == 2]
    if not metas:
        raise FileFormatError(message("It holds no graph.", owner=source))
    graph = Graph()
    for number, part in protobuf.fields(metas[0], source):
        if number == 2:
            for inner, value in protobuf.fields(part, source):
                if inner == 1:
                    node = _node(value, source)
                    graph.nodes[node.name] = node
                elif inner == 2:
                    _library(value, graph, source)
        elif number == 5:
            said = dict(protobuf.fields(part, source))
            graph.signatures[protobuf.text(said.get(1, memoryview(b"")))] = _signature(
                said.get(2, memoryview(b"")), source
            )
    return graph


def _texts(data: Any, wanted: int) -> str:
    found = [protobuf.text(value) for number, value in protobuf.fields(data) if number == wanted]
    return found[-1] if found else ""


def _node(data: memoryview, source: str) -> GraphNode:
    name, op, inputs, attributes = "", "", [], {}
    for number, value in protobuf.fields(data, source):
        if number == 1:
            name = protobuf.text(value, source)
        elif number == 2:
            op = protobuf.text(value, source)
        elif number == 3:
            inputs.append(protobuf.text(value, source))
        elif number == 5:
            said = dict(protobuf.fields(value, source))
            key = protobuf.text(said.get(1, memoryview(b"")), source)
            attributes[key] = dict(protobuf.fields(said.get(2, memoryview(b"")), source))
    return GraphNode(name, op, tuple(i for i in inputs if not i.startswith("^")), attributes)


def _library(data: memoryview, graph: Graph, source: str) -> None:
    count = 0
    for number, value in protobuf.fields(data, source):
        if number != 1:
            continue
        name, function = _function(value, source)
        graph.functions[name] = function
        count += len(function.nodes)
        if count > _NODES:
            raise FileFormatError(message(f"Its graph has more than {_NODES:,} nodes.", owner=source))


def _function(data: memoryview, source: str) -> tuple[str, Function]:
    name = ""
    arguments: list[str] = []
    order: list[str] = []
    nodes: dict[str, GraphNode] = {}
    returned: dict[str, str] = {}
    for number, value in protobuf.fields(data, source):
        if number == 1:
            for inner, part in protobuf.fields(value, source):
                if inner == 1:
                    name = protobuf.text(part, source)
                elif inner in (2, 3):
                    (arguments if inner == 2 else order).append(_texts(part, 1))
        elif number == 3:
            node = _node(value, source)
            nodes[node.name] = node
        elif number == 4:
            said = dict(protobuf.fields(value, source))
            returned[protobuf.text(said.get(1, memoryview(b"")))] = protobuf.text(said.get(2, memoryview(b"")))
    return name, Function(arguments, nodes, returned, order)


def _signature(data: memoryview, source: str) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    ends: tuple[dict[str, TensorInfo], dict[str, TensorInfo]] = ({}, {})
    for number, value in protobuf.fields(data, source):
        if number in (1, 2):
            said = dict(protobuf.fields(value, source))
            info = dict(protobuf.fields(said.get(2, memoryview(b"")), source))
            shape = tuple(shape_of(info[3])) if 3 in info and not isinstance(info[3], int) else None
            name = protobuf.text(info.get(1, memoryview(b"")))
            key = protobuf.text(said.get(1, memoryview(b"")))
            ends[number - 1][key] = TensorInfo(name, protobuf.signed(info.get(2, 0)), shape)
    return ends


def shape_of(data: Any) -> Iterator[int]:
    """Yield the sizes in a `TensorShapeProto`."""
    for number, value in protobuf.fields(data):
        if number == 2:
            sizes = [protobuf.signed(part) for n, part in protobuf.fields(value) if n == 1]
            yield sizes[-1] if sizes else 0


def constant(node: GraphNode, source: str) -> Numpy | list[str]:
    """Return the array, or the texts, of a `Const` node.

    Raises:
        FileFormatError: If it declares more than it holds.
    """
    data = node.attribute("value", 8, None)
    if data is None:
        raise FileFormatError(message(f"The constant `{node.name}` has no value.", owner=source))
    tensor = _Tensor()
    for number, value in protobuf.fields(data, source):
        tensor.take(number, value, source)
    if tensor.kind == 7:
        return tensor.texts
    if tensor.kind not in TYPES:
        raise FileFormatError(message(f"The constant `{node.name}` holds no plain numbers.", owner=source))
    shape, numbers, dtype = tensor.shape, tensor.numbers, dtype_of(tensor.kind)
    count = 1
    for size in shape:
        count *= size
    # One number may stand for all of a small array; a large one is spelled out.
    if min(shape, default=0) < 0 or len(shape) > 32 or count * dtype.itemsize > max(_FILLED, len(data) * 4):
        raise FileFormatError(message(f"The constant `{node.name}` declares the shape {shape}.", owner=source))
    if tensor.content:
        if len(tensor.content) != count * dtype.itemsize:
            raise FileFormatError(message(f"The constant `{node.name}` is cut short.", owner=source))
        return np.frombuffer(tensor.content, dtype).reshape(shape)
    filled = [*numbers, *[numbers[-1] if numbers else 0] * (count - len(numbers))][:count]
    return np.array(filled, dtype).reshape(shape)


@dataclass
class _Tensor:
    """What a `TensorProto` says."""

    kind: int = 0
    shape: list[int] = field(default_factory=list)
    content: bytes = b""
    numbers: list[Any] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def take(self, number: int, value: Any, source: str) -> None:
        if number == 1:
            self.kind = protobuf.signed(value)
        elif number == 2:
            self.shape = list(shape_of(value))
        elif number == 4:
            self.content = bytes(protobuf.content(value, source))
        elif number in (5, 6):
            self.numbers += np.frombuffer(protobuf.content(value, source), "<f4" if number == 5 else "<f8").tolist()
        elif number in (7, 10, 11):
            self.numbers += protobuf.integers(value, source)
        elif number == 8:
            self.texts.append(protobuf.text(value, source))
