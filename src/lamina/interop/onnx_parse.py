"""The parts of an ONNX file as plain data: nodes, arrays, inputs and outputs; each size checked before it is used."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message
from lamina.interop.protobuf import fields, integers, real, signed, text

_DTYPES = {
    **{1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8"},
    **{9: "?", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8"},
}
_MOST = 100_000  # nodes, arrays, entries of a list


@dataclass
class Node:
    """One operator: what goes in and out, by name, and its attributes."""

    kind: str = ""
    name: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """What a file holds.

    Attributes:
        name: Name of the graph.
        opset: Version of the operators.
        nodes: The operators, in order.
        arrays: The constants.
        inputs: Shapes of the inputs by name: whole numbers, None where a size is not known; None without any shape.
        outputs: Names of the outputs.
        producer: Who wrote it.
    """

    name: str = "model"
    opset: int = 0
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Numpy] = field(default_factory=dict)
    inputs: dict[str, list[int | None] | None] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    producer: str = ""


@dataclass
class _Tensor:
    """The fields of a constant."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    kind: int = 0
    raw: Any = None
    outside: bool = False
    listed: list[Any] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)


def parse(path: str) -> Graph:
    """Return what an ONNX file holds.

    Raises:
        FileFormatError: If it is damaged, too large to be held, or wants another file that is not beside it.
    """
    with open(path, "rb") as file:
        data = file.read()
    return _Reader(repr(path), os.path.dirname(os.path.abspath(path))).model(memoryview(data))


class _Reader:
    """Reads one file; `source` is what an error calls it, `folder` where its other files may lie."""

    def __init__(self, source: str, folder: str) -> None:
        self.source, self.folder = source, folder
        self.count = 0

    def damaged(self, what: str, fix: str | None = None) -> FileFormatError:
        return FileFormatError(message(f"The ONNX file cannot be read: {what}.", owner=self.source, fix=fix))

    def each(self, data: Any) -> Iterator[tuple[int, Any]]:
        if isinstance(data, int):
            raise self.damaged("a part is a number")
        return fields(data, self.source)

    def text(self, value: Any) -> str:
        return text(value, self.source)

    def counted(self) -> None:
        self.count += 1
        if self.count > _MOST:
            raise self.damaged(f"it has more than {_MOST:,} parts")

    def model(self, data: memoryview) -> Graph:
        graph = Graph()
        body: memoryview | None = None
        for number, value in self.each(data):
            if number == 2:
                graph.producer = self.text(value)[:100]
            elif number == 7:
                body = value
            elif number == 8:
                domain, version = "", 0
                for key, part in self.each(value):
                    domain = self.text(part) if key == 1 else domain
                    version = signed(part, self.source) if key == 2 else version
                if domain in ("", "ai.onnx"):
                    graph.opset = version
        if body is None or not 1 <= graph.opset <= 1000:
            raise self.damaged("it has no graph, or does not say the version of its operators")
        self._graph(body, graph)
        return graph

    def _graph(self, body: memoryview, graph: Graph) -> None:
        declared: dict[str, list[int | None] | None] = {}
        for number, value in self.each(body):
            if number in (1, 5, 11, 12, 15):
                self.counted()
            if number == 1:
                graph.nodes.append(self._node(value))
            elif number == 2:
                graph.name = self.text(value)[:100] or graph.name
            elif number == 5:
                name, array = self.tensor(value)
                graph.arrays[name] = array
            elif number == 11:
                name, shape = self._declared(value)
                declared[name] = shape
            elif number == 12:
                graph.outputs.append(self._declared(value)[0])
            elif number == 15:
                raise self.damaged("it has sparse constants", "write it with dense ones.")
        graph.inputs = {name: shape for name, shape in declared.items() if name not in graph.arrays}
        if not graph.outputs or not graph.inputs:
            raise self.damaged("its graph has no inputs or no outputs")

    def _node(self, data: Any) -> Node:
        node = Node()
        for number, value in self.each(data):
            if number in (1, 2):
                self.counted()
                (node.inputs if number == 1 else node.outputs).append(self.text(value))
            elif number == 3:
                node.name = self.text(value)
            elif number == 4:
                node.kind = self.text(value)
            elif number == 5:
                self.counted()
                name, found = self._attribute(value)
                node.attributes[name] = found
            elif number == 7:
                node.domain = self.text(value)
        return node

    def _attribute(self, data: Any) -> tuple[str, Any]:
        name = ""
        found: Any = None
        many: list[Any] = []
        for number, value in self.each(data):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                found = real(value, self.source)
            elif number == 3:
                found = signed(value, self.source)
            elif number == 4:
                found = None if isinstance(value, int) else bytes(value[:10_000])
            elif number == 5:
                found = self.tensor(value)[1]
            elif number == 7:
                many += (
                    np.frombuffer(value, "<f4").tolist() if not isinstance(value, int) and len(value) % 4 == 0 else []
                )
            elif number == 8:
                many += integers(value, self.source)
            elif number in (6, 10, 11):
                found = "graph"
            if len(many) > _MOST:
                raise self.damaged(f"an attribute has more than {_MOST:,} entries")
        return name, many if many else found

    def _declared(self, data: Any) -> tuple[str, list[int | None] | None]:
        """Return name and shape of an input or output."""
        name, shape = "", None
        for number, value in self.each(data):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                for kind, tensor in self.each(value):
                    if kind == 1:
                        shape = self._shape(tensor)
        return name, shape

    def _shape(self, data: Any) -> list[int | None] | None:
        shape: list[int | None] | None = None
        for number, value in self.each(data):
            if number != 2:
                continue
            shape = []
            for _, dim in self.each(value):
                size: int | None = None
                for key, part in self.each(dim):
                    size = signed(part, self.source) if key == 1 else size
                shape.append(size if size is not None and size >= 0 else None)
                if len(shape) > 16:
                    raise self.damaged("a shape has more than 16 axes")
        return shape

    # ---- arrays

    def tensor(self, data: Any) -> tuple[str, Numpy]:
        """Return name and values of a constant."""
        found = self._parts(data)
        name, dims = found.name, found.dims
        if found.kind not in _DTYPES:
            raise self.damaged(f"the constant {name!r} has numbers of the kind {found.kind}", "write it with floats.")
        if len(dims) > 16 or any(n < 0 for n in dims):
            raise self.damaged(f"the constant {name!r} has the shape {dims[:20]}")
        dtype, size = np.dtype(_DTYPES[found.kind]), math.prod(dims)
        raw = self._outside(name, found.places, size * dtype.itemsize) if found.outside else found.raw
        if raw is None:
            return name, self._listed(name, dims, dtype, found.listed)
        if isinstance(raw, int) or len(raw) != size * dtype.itemsize:
            raise self.damaged(f"the constant {name!r} of shape {dims} has another number of bytes")
        return name, np.frombuffer(raw, dtype).reshape(dims)

    def _parts(self, data: Any) -> "_Tensor":
        found = _Tensor()
        for number, value in self.each(data):
            if number == 1:
                found.dims += integers(value, self.source)
            elif number == 2:
                found.kind = signed(value, self.source)
            elif number == 8:
                found.name = self.text(value)
            elif number == 9:
                found.raw = value
            elif number in (4, 5, 7, 10):
                found.listed.append((number, value))
            elif number == 13:
                key, part = self._pair(value)
                found.places[key] = part
            elif number == 14:
                found.outside = signed(value, self.source) == 1
        return found

    def _pair(self, data: Any) -> tuple[str, str]:
        key = value = ""
        for number, part in self.each(data):
            key = self.text(part) if number == 1 else key
            value = self.text(part) if number == 2 else value
        return key, value

    def _listed(self, name: str, dims: list[int], dtype: np.dtype[Any], listed: list[Any]) -> Numpy:
        """Return an array whose numbers stand in the file one by one."""
        size, parts = math.prod(dims), []
        for number, value in listed:
            if number in (4, 10) and not isinstance(value, int):
                width = "<f4" if number == 4 else "<f8"
                if len(value) % np.dtype(width).itemsize:
                    raise self.damaged(f"the constant {name!r} is cut off")
                parts.append(np.frombuffer(value, width))
            elif number in (5, 7):
                if not isinstance(value, int) and len(value) > 10 * size:
                    raise self.damaged(f"the constant {name!r} has more numbers than its shape {dims}")
                parts.append(np.array(integers(value, self.source), np.int64))
        found = np.concatenate(parts) if parts else np.zeros(0)
        if found.size != size:
            raise self.damaged(f"the constant {name!r} of shape {dims} has {found.size:,} numbers")
        if dtype.str == "<f2":
            return found.astype(np.uint16).view("<f2").reshape(dims)
        return found.astype(dtype).reshape(dims)

    def _outside(self, name: str, places: dict[str, str], size: int) -> memoryview:
        """Return the bytes of a constant that lies in a file beside this one."""
        place = places.get("location", "")
        if not place or place != os.path.basename(place) or place in (".", "..") or "\\" in place or "\0" in place:
            raise self.damaged(
                f"the constant {name!r} is in the file {place!r}, and only files in the same folder are read",
                "put the data beside the model, and let it name them without a folder.",
            )
        path = os.path.join(self.folder, place)
        try:
            offset, length = int(places.get("offset", "0")), int(places.get("length", str(size)))
        except ValueError:
            raise self.damaged(f"the place of the constant {name!r} is no number") from None
        if os.path.islink(path) or not os.path.isfile(path):
            raise self.damaged(f"the file {place!r} with its constants is not beside it", "copy it there.")
        if length != size or offset < 0 or offset + size > os.path.getsize(path):
            raise self.damaged(f"the file {place!r} has no {size:,} bytes for the constant {name!r}")
        with open(path, "rb") as file:
            file.seek(offset)
            found = file.read(size)
        if len(found) != size:
            raise self.damaged(f"the file {place!r} is cut off")
        return memoryview(found)
