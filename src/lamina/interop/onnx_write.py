"""Writing ONNX: each primitive operation as nodes of operator set 17."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._version import __version__
from lamina.errors import invalid
from lamina.files import atomic
from lamina.interop import functions
from lamina.interop.lowered import BINARY, Lowered, Operation, aligned
from lamina.interop.lowering import fresh, lower
from lamina.interop.net import Net
from lamina.interop.protobuf import chunk, floating, integer

_OPSET, _FORM = 17, 8
_LARGEST = (1 << 31) - (1 << 20)  # a message of protocol buffers ends at 2 GiB
_TYPES = {"float32": 1, "int64": 7}
_BINARY = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max", "minimum": "Min"}
_NATIVE = {
    "linear": "Identity", "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign",
    "exponential": "Exp", "absolute": "Abs", "sqrt": "Sqrt", "erf": "Erf", "hard_silu": "HardSwish", "selu": "Selu",
}  # fmt: skip


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write the net and return what is to be known of the file."""
    lowered = lower(net)
    size = 4 * lowered.parameters()
    if size > _LARGEST:
        raise invalid(
            "An ONNX file ends at 2 GiB.",
            owner=f"Model `{lowered.name}`",
            received=f"{size:,} bytes of weights",
            fix="save it as `.keras` or `.safetensors`.",
        )
    atomic.write(path, [encoded(lowered)])
    return (*lowered.notes, f"Operator set {_OPSET}; any number of rows.")


def encoded(net: Lowered) -> bytes:
    """Return the file of a network."""
    graph = _Graph(net)
    for op in net.operations:
        graph.add(op)
    ends = [(11, name) for name in net.inputs] + [(12, name) for name in net.outputs]
    parts = [chunk(1, node) for node in graph.nodes]
    parts.append(chunk(2, net.name))
    parts += [chunk(5, tensor) for tensor in graph.tensors]
    parts += [chunk(number, _value(name, net.shapes[name])) for number, name in ends]
    return b"".join(
        [
            integer(1, _FORM),
            chunk(2, "lamina"),
            chunk(3, __version__),
            chunk(7, b"".join(parts)),
            chunk(8, chunk(1, "") + integer(2, _OPSET)),
        ]
    )


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = [chunk(2, "batch"), *(integer(1, n) for n in shape)]
    tensor = integer(1, 1) + chunk(2, b"".join(chunk(1, one) for one in sizes))
    return chunk(1, name) + chunk(2, chunk(1, tensor))


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(integer(1, n) for n in array.shape)
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return dims + integer(2, _TYPES[array.dtype.name]) + chunk(8, name) + chunk(9, data)


def _attribute(name: str, value: Any) -> bytes:
    start = chunk(1, name)
    if isinstance(value, float):
        return start + floating(2, value) + integer(20, 1)
    if isinstance(value, int):
        return start + integer(3, value) + integer(20, 2)
    return start + b"".join(integer(8, int(n)) for n in value) + integer(20, 7)


@dataclass
class _Graph:
    """The nodes and tensors written so far; also the elementary operations, as nodes."""

    net: Lowered
    nodes: list[bytes] = field(default_factory=list)
    tensors: list[bytes] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    last: list[tuple[str, list[str], str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names.update(self.net.shapes)

    def name(self, text: str) -> str:
        found = fresh(text, self.names)
        self.names[found] = None
        return found

    def tensor(self, array: Any, what: str) -> str:
        name = self.name(f"{self.layer}/{what}")
        self.tensors.append(_tensor(name, np.asarray(array)))
        return name

    def floats(self, array: Any, what: str) -> str:
        return self.tensor(np.asarray(array, np.float32), what)

    def integers(self, values: Sequence[int], what: str) -> str:
        return self.tensor(np.asarray(values, np.int64), what)

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = self.name(f"{self.layer}/{kind.lower()}")
        self.last.append((kind, list(inputs), output, attributes))
        return output

    def add(self, op: Operation) -> None:
        """Add the nodes of one operation."""
        self.layer, self.last = op.layer, []
        result = self._made(op, [self._aligned(op, name) for name in op.inputs])
        if not self.last or self.last[-1][2] != result:
            result = self.node("Identity", [result])
        kind, inputs, _, attributes = self.last[-1]
        self.last[-1] = (kind, inputs, op.output, attributes)
        for kind, inputs, output, attributes in self.last:
            parts = [chunk(1, one) for one in inputs]
            extra = [chunk(2, self.name(f"{output}:places"))] if kind == "TopK" else []
            parts += [chunk(2, output), *extra, chunk(3, self.name(f"{op.layer}:{kind}")), chunk(4, kind)]
            parts += [chunk(5, _attribute(key, value)) for key, value in attributes.items()]
            self.nodes.append(b"".join(parts))

    def _aligned(self, op: Operation, name: str) -> str:
        """Return a value with as many axes as the output has, where the operation broadcasts."""
        shape, wanted = self.net.shapes[name], len(self.net.shapes[op.output])
        if op.kind not in ("affine", *BINARY) or len(shape) == wanted:
            return name
        sizes = [-1, *([1] * (wanted - len(shape))), *shape]
        return self.node("Reshape", [name, self.integers(sizes, "sizes")])

    def _made(self, op: Operation, x: list[str]) -> str:
        ndim = len(self.net.shapes[op.output])
        if op.kind in _BINARY:
            return self.node(_BINARY[op.kind], x)
        if op.kind == "function":
            return self._function(op, x[0])
        if op.kind == "concatenate":
            return self.node("Concat", x, axis=op.options["axis"] + 1)
        if op.kind == "transpose":
            return self.node("Transpose", x, perm=[0, *(n + 1 for n in op.options["order"])])
        if op.kind == "reshape":
            if ndim == 1:
                return self.node("Flatten", x, axis=1)
            return self.node("Reshape", [*x, self.integers([-1, *op.options["shape"]], "shape")])
        if op.kind == "slice":
            parts = [self.integers([op.options[key]], key) for key in ("start", "stop")]
            return self.node("Slice", [*x, *parts, self.integers([op.options["axis"] + 1], "axis")])
        if op.kind == "prelu":
            return self.node("PRelu", [*x, self.floats(aligned(op.arrays["alpha"], ndim), "alpha")])
        return self._weighted(op, x[0], ndim)

    def _weighted(self, op: Operation, x: str, ndim: int) -> str:
        if op.kind == "dense":
            kernel = self.floats(op.arrays["kernel"], "kernel")
            bias = [self.floats(op.arrays["bias"], "bias")] if "bias" in op.arrays else []
            if ndim == 1:
                return self.node("Gemm", [x, kernel, *bias])
            y = self.node("MatMul", [x, kernel])
            return self.node("Add", [y, *bias]) if bias else y
        if op.kind == "affine":
            for key, kind in (("scale", "Mul"), ("shift", "Add")):
                if key in op.arrays:
                    x = self.node(kind, [x, self.floats(aligned(op.arrays[key], ndim), key)])
            return x
        if op.kind == "batch_normalization":
            names = [self.floats(op.arrays[key], key) for key in ("gamma", "beta", "mean", "variance")]
            return self.node("BatchNormalization", [x, *names], epsilon=float(op.options["epsilon"]))
        return self._along(op, x, ndim)

    def _along(self, op: Operation, x: str, ndim: int) -> str:
        axes = [axis + 1 for axis in op.options["axes"]]
        single = len(axes) == 1
        if op.kind in ("softmax", "log_softmax") and single:
            return self.node("Softmax" if op.kind == "softmax" else "LogSoftmax", [x], axis=axes[0])
        if op.kind in ("softmax", "log_softmax"):
            lowered = self.node("Sub", [x, self.node("ReduceMax", [x], axes=axes)])
            powers = self.node("Exp", [lowered])
            total = self.node("ReduceSum", [powers, self.integers(axes, "axes")])
            if op.kind == "softmax":
                return self.node("Div", [powers, total])
            return self.node("Sub", [lowered, self.node("Log", [total])])
        if op.kind == "unit_normalization":
            length = self.node("Max", [self.node("ReduceL2", [x], axes=axes), self.floats(1e-12, "least")])
            return self.node("Div", [x, length])
        if op.kind == "sparsemax":
            return self._sparsemax(op, x, axes[0], ndim)
        return self._normalized(op, x, axes, ndim)

    def _normalized(self, op: Operation, x: str, axes: list[int], ndim: int) -> str:
        shape = self.net.shapes[op.output]
        epsilon = float(op.options["epsilon"])
        if op.kind == "layer_normalization" and axes == list(range(axes[0], ndim + 1)):
            sizes = shape[axes[0] - 1 :]
            scale = self.floats(op.arrays.get("gamma", np.ones(sizes)).reshape(sizes), "gamma")
            shift = [self.floats(op.arrays["beta"].reshape(sizes), "beta")] if "beta" in op.arrays else []
            return self.node("LayerNormalization", [x, scale, *shift], axis=axes[0], epsilon=epsilon)
        if op.kind == "layer_normalization":
            x = self.node("Sub", [x, self.node("ReduceMean", [x], axes=axes)])
        square = self.node("ReduceMean", [self.node("Mul", [x, x])], axes=axes)
        deviation = self.node("Sqrt", [self.node("Add", [square, self.floats(epsilon, "epsilon")])])
        x = self.node("Div", [x, deviation])
        for key, kind in (("gamma", "Mul"), ("scale", "Mul"), ("beta", "Add")):
            if key in op.arrays:
                x = self.node(kind, [x, self.floats(aligned(op.arrays[key], ndim), key)])
        return x

    def _sparsemax(self, op: Operation, x: str, axis: int, ndim: int) -> str:
        n = self.net.shapes[op.output][axis - 1]
        falling = self.node("TopK", [x, self.integers([n], "count")], axis=axis)
        running = self.node("CumSum", [falling, self.tensor(np.asarray(axis, np.int64), "axis")])
        sizes = [n if i == axis else 1 for i in range(ndim + 1)]
        position = self.floats(np.arange(1, n + 1).reshape(sizes), "position")
        one = self.floats(1.0, "one")
        rest = self.node("Add", [self.node("Sub", [self.node("Mul", [falling, position]), running]), one])
        stays = self.node("Cast", [self.node("Greater", [rest, self.floats(0.0, "zero")])], to=1)
        axes = self.integers([axis], "axes")
        count = self.node("ReduceSum", [stays, axes])
        total = self.node("ReduceSum", [self.node("Mul", [falling, stays]), axes])
        limit = self.node("Div", [self.node("Sub", [total, one]), count])
        return self.node("Relu", [self.node("Sub", [x, limit])])

    def _function(self, op: Operation, x: str) -> str:
        name = op.options["name"]
        given = {key: value for key, value in op.options.items() if key != "name"}
        if name in _NATIVE:
            return self.node(_NATIVE[name], [x])
        if name == "relu" and not any(given.values()) and given.get("max_value") is None:
            return self.node("Relu", [x])
        if name in ("elu", "celu"):
            return self.node(name.capitalize(), [x], alpha=float(given.get("alpha", 1.0)))
        if name == "leaky_relu":
            return self.node("LeakyRelu", [x], alpha=float(given.get("negative_slope", 0.2)))
        if name == "hard_sigmoid":
            return self.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        if name in ("relu6", "hard_tanh"):
            low, high = (0.0, 6.0) if name == "relu6" else (-1.0, 1.0)
            return self.node("Clip", [x, self.floats(low, "low"), self.floats(high, "high")])
        if name == "log_sigmoid":
            return self.node("Neg", [self.node("Softplus", [self.node("Neg", [x])])])
        if name == "mish":
            return self.node("Mul", [x, self.node("Tanh", [self.node("Softplus", [x])])])
        return str(functions.apply(_Elementary(self), x, op.options))


@dataclass(frozen=True)
class _Elementary:
    """The elementary operations, each a node."""

    graph: _Graph

    def constant(self, value: float) -> str:
        return self.graph.floats(value, "constant")

    def __getattr__(self, name: str) -> Any:
        kinds = {**_BINARY, "exp": "Exp", "sqrt": "Sqrt", "tanh": "Tanh", "erf": "Erf", "absolute": "Abs"}
        kinds["sigmoid"] = "Sigmoid"
        if name not in kinds:
            raise AttributeError(name)
        return lambda *values: self.graph.node(kinds[name], values)

    def log1p(self, a: str) -> str:
        return self.graph.node("Log", [self.graph.node("Add", [a, self.constant(1)])])

    def where_greater(self, a: str, b: str, then: str, otherwise: str) -> str:
        return self.graph.node("Where", [self.graph.node("Greater", [a, b]), then, otherwise])
