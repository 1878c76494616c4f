"""Writing TFLite: each primitive operation as operators; dense layers in 8 bits if asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.files import atomic
from lamina.interop import functions, quantized
from lamina.interop.flatbuffer import Array, Many, Number, Table, Text, encoded
from lamina.interop.lowered import BINARY, Lowered, Operation, Shape, compact, evaluate
from lamina.interop.lowering import lower
from lamina.interop.net import Net
from lamina.interop.tflite import FLOAT32, IDENTIFIER, INT8, INT32, OPERATORS, OPTIONS

_BINARY = {
    "add": "ADD", "subtract": "SUB", "multiply": "MUL", "divide": "DIV", "maximum": "MAXIMUM", "minimum": "MINIMUM",
}  # fmt: skip
_NATIVE = {
    "sigmoid": "LOGISTIC", "tanh": "TANH", "relu6": "RELU6", "hard_tanh": "RELU_N1_TO_1", "exponential": "EXP",
    "absolute": "ABS", "sqrt": "SQRT", "square": "SQUARE", "hard_silu": "HARD_SWISH",
}  # fmt: skip
_LARGEST = (1 << 31) - (1 << 20)


def write(net: Net, path: str, *, int8: bool, calibration: Any) -> tuple[str, ...]:
    """Write the net and return what is to be known of the file."""
    lowered = lower(net)
    small = compact(lowered)
    if 4 * small.parameters() > _LARGEST:
        raise invalid("A TFLite file ends at 2 GiB.", owner=f"Model `{lowered.name}`", fix="save it as `.keras`.")
    notes = list(lowered.notes)
    ranges: quantized.Ranges | None = None
    if int8:
        data = quantized.data_for(lowered, calibration)
        ranges = quantized.ranges_of(small, data)
        notes += quantized.compared_notes(lowered, _rounded(small, ranges, data), data)
    elif calibration is not None:
        raise invalid("`calibration` is for 8-bit weights.", fix="add `--int8`, or leave it out.")
    atomic.write(path, [_Model(small, ranges).encoded()])
    return (*notes, "For one row; `resize_tensor_input` makes room for more.")


def _rounded(net: Lowered, ranges: quantized.Ranges, data: quantized.Data) -> list[Numpy]:
    """Return what the 8-bit network computes: the inputs, kernels and outputs of dense layers are rounded."""
    inner = quantized.dense_rule(ranges)
    after = {op.inputs[0]: op.output for op in net.operations if _is_relu(op)}
    uses = net.uses()

    def rule(o: Any, op: Operation, given: list[Numpy], ndim: int) -> Numpy:
        fused = op.output in after and uses[op.output] == 1
        y = np.maximum(inner(o, op, given, ndim), 0) if fused else inner(o, op, given, ndim)
        scale, zero = ranges.scale(after[op.output] if fused else op.output)
        return np.asarray((np.clip(np.rint(y / scale) + zero, -128, 127) - zero) * scale, np.float32)

    return [np.asarray(y) for y in evaluate(net, data.inputs, rules={"dense": rule})]


def _is_relu(op: Operation) -> bool:
    plain = not any(value for key, value in op.options.items() if key != "name")
    return op.kind == "function" and op.options["name"] == "relu" and plain


@dataclass
class _Model:
    """The tensors and operators written so far. A tensor is its number."""

    net: Lowered
    ranges: quantized.Ranges | None
    tensors: list[Table] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    buffers: list[Table] = field(default_factory=lambda: [Table({})])
    operators: list[Table] = field(default_factory=list)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)
    floats: dict[str, int] = field(default_factory=dict)
    small: dict[str, int] = field(default_factory=dict)
    layer: str = ""
    op: Operation | None = None

    # ---- tensors

    def _tensor(self, name: str, shape: Shape, kind: int, buffer: int, scale: Any = None, batch: bool = False) -> int:
        own = (1, *shape) if batch else shape
        quantization = None
        if scale is not None:
            scales, zero, axis = scale
            values = {2: Array(np.atleast_1d(scales).astype("<f4")), 3: Array(np.atleast_1d(zero).astype("<i8"), 8)}
            quantization = Table({**values, 6: Number("i", axis)})
        fields = {
            0: Array(np.array(own, "<i4")),
            1: Number("b", kind),
            2: Number("I", buffer),
            3: Text(name),
            4: quantization,
            7: Array(np.array((-1, *shape), "<i4")) if batch else None,
        }
        self.tensors.append(Table(fields))
        self.shapes.append(own)
        return len(self.tensors) - 1

    def constant(self, array: Numpy, what: str, scale: Any = None) -> int:
        """Add a constant and return its tensor."""
        kinds = {"float32": FLOAT32, "int32": INT32, "int8": INT8}
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(Table({0: Array(raw, 16)}))
        name = f"{self.layer}/{what}"
        return self._tensor(name, tuple(array.shape), kinds[array.dtype.name], len(self.buffers) - 1, scale)

    def number(self, value: Any, what: str = "constant") -> int:
        return self.constant(np.asarray(value, np.float32), what)

    def whole(self, values: Any, what: str) -> int:
        return self.constant(np.asarray(values, np.int32), what)

    def value(self, name: str, shape: Shape, kind: int = FLOAT32, scale: Any = None) -> int:
        """Add a value that is computed and return its tensor."""
        return self._tensor(name, shape, kind, 0, scale, batch=True)

    # ---- operators

    def operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any
    ) -> None:
        """Add an operator; `options` are its options by the number of their field, `_0` and so on."""
        code = self.codes.setdefault((kind, version), len(self.codes))
        table = Table({int(key[1:]): value for key, value in options.items()}) if kind in OPTIONS else None
        fields = {
            0: Number("I", code),
            1: Array(np.array(inputs, "<i4")),
            2: Array(np.array(outputs, "<i4")),
            3: Number("B", OPTIONS[kind]) if table is not None else None,
            4: table,
        }
        self.operators.append(Table(fields))

    def step(self, kind: str, inputs: Sequence[int], shape: Shape | None = None, **options: Any) -> int:
        """Add an operator on floats and return its output; without a shape that of its inputs, broadcast."""
        if shape is None:
            shape = tuple(int(n) for n in np.broadcast_shapes(*(self.shapes[i] for i in inputs)))[1:]
        output = self.value(f"{self.layer}/{kind.lower()}", shape)
        self.operator(kind, inputs, [output], **options)
        return output

    # ---- values in floats and in 8 bits

    def as_floats(self, name: str) -> int:
        if name not in self.floats:
            self.floats[name] = self.value(name, self.net.shapes[name])
            self.operator("DEQUANTIZE", [self.small[name]], [self.floats[name]], version=2)
        return self.floats[name]

    def as_small(self, name: str) -> int:
        assert self.ranges is not None
        if name not in self.small:
            scale, zero = self.ranges.scale(name)
            self.small[name] = self.value(f"{name}/int8", self.net.shapes[name], INT8, (scale, zero, 0))
            self.operator("QUANTIZE", [self.floats[name]], [self.small[name]])
        return self.small[name]

    def encoded(self) -> bytes:
        """Return the file."""
        for name in self.net.inputs:
            self.floats[name] = self.value(name, self.net.shapes[name])
        inputs = [self.floats[name] for name in self.net.inputs]
        uses = self.net.uses()
        skipped: set[int] = set()
        for i, op in enumerate(self.net.operations):
            self.layer, self.op = op.layer, op
            if i in skipped:
                continue
            if op.kind == "dense" and self.ranges is not None:
                after = next((k for k, o in enumerate(self.net.operations) if op.output in o.inputs), None)
                fused = after is not None and uses[op.output] == 1 and _is_relu(self.net.operations[after])
                self._dense8(op, self.net.operations[after].output if fused and after is not None else op.output, fused)
                if fused and after is not None:
                    skipped.add(after)
            else:
                x = [self.as_floats(name) for name in op.inputs]
                self.floats[op.output] = _OPERATIONS.get(op.kind, _along)(self, op, x, self.net.shapes[op.output])
        return self._file(inputs, [self.as_floats(name) for name in self.net.outputs])

    def _dense8(self, op: Operation, output: str, relu: bool) -> None:
        assert self.ranges is not None
        kernel = quantized.kernel_of(op)
        scale = self.ranges.scale(op.inputs[0])[0]
        zeros = np.zeros(len(kernel.scales), np.int64)
        weights = self.constant(kernel.weights.T, "kernel", (kernel.scales, zeros, 0))
        both = scale * kernel.scales
        bias = op.arrays.get("bias", np.zeros(len(both), np.float32))
        whole = np.clip(np.rint(bias / both.astype(np.float64)), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        shift = self.constant(whole, "bias", (both, zeros, 0))
        out_scale, out_zero = self.ranges.scale(output)
        self.small[output] = self.value(f"{output}/int8", self.net.shapes[output], INT8, (out_scale, out_zero, 0))
        keep = len(self.net.shapes[output]) > 1
        options = {"_0": Number("b", 1 if relu else 0), "_2": Number("?", keep)}
        self.operator(
            "FULLY_CONNECTED", [self.as_small(op.inputs[0]), weights, shift], [self.small[output]], 5, **options
        )

    def _file(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = Table(
            {
                0: Many(self.tensors),
                1: Array(np.array(inputs, "<i4")),
                2: Array(np.array(outputs, "<i4")),
                3: Many(self.operators),
                4: Text("main"),
            }
        )
        codes = [
            Table({0: Number("b", min(OPERATORS[k], 127)), 2: Number("i", v), 3: Number("i", OPERATORS[k])})
            for k, v in self.codes
        ]
        ends = [
            Many([Table({0: Text(name), 1: Number("I", i)}) for name, i in zip(names, numbers, strict=True)])
            for names, numbers in ((self.net.inputs, inputs), (self.net.outputs, outputs))
        ]
        signature = Table({0: ends[0], 1: ends[1], 2: Text("serving_default"), 4: Number("I", 0)})
        fields = {0: Number("I", 3), 1: Many(codes), 2: Many([graph]), 3: Text("lamina"), 4: Many(self.buffers)}
        return encoded(Table({**fields, 7: Many([signature])}), IDENTIFIER)


# ---- the operations


def _dense(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    kernel = m.constant(np.ascontiguousarray(op.arrays["kernel"].T), "kernel")
    bias = m.constant(op.arrays["bias"], "bias") if "bias" in op.arrays else -1
    output = m.value(op.output, shape)
    options = {"_0": Number("b", 0), "_2": Number("?", len(shape) > 1)}
    m.operator("FULLY_CONNECTED", [x[0], kernel, bias], [output], 5, **options)
    return output


def _spread(m: _Model, x: int, ndim: int) -> int:
    own = m.shapes[x][1:]
    return x if len(own) == ndim else _shaped(m, x, (1,) * (ndim - len(own)) + own)


def _shaped(m: _Model, x: int, shape: Shape) -> int:
    return m.step("RESHAPE", [x, m.whole((-1, *shape), "shape")], shape)


def _affine(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    y = _spread(m, x[0], len(shape))
    for key, kind in (("scale", "MUL"), ("shift", "ADD")):
        if key in op.arrays:
            y = m.step(kind, [y, m.number(_full(op.arrays[key], len(shape)), key)], None)
    return y


def _full(array: Numpy, ndim: int) -> Numpy:
    return array.reshape((1,) * (ndim + 1 - array.ndim) + array.shape)


def _function(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    name = op.options["name"]
    given = {key: value for key, value in op.options.items() if key != "name"}
    if name == "linear":
        return _shaped(m, x[0], shape)
    if name in _NATIVE:
        return m.step(_NATIVE[name], x, shape)
    if _is_relu(op):
        return m.step("RELU", x, shape)
    if name == "leaky_relu":
        return m.step("LEAKY_RELU", x, shape, _0=Number("f", given.get("negative_slope", 0.2)))
    if name == "elu" and given.get("alpha", 1.0) == 1.0:
        return m.step("ELU", x, shape)
    if name == "gelu":
        return m.step("GELU", x, shape, _0=Number("?", bool(given.get("approximate", False))))
    result: int = functions.apply(_Elementary(m), x[0], op.options)
    return result


def _prelu(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    return m.step("PRELU", [x[0], m.number(op.arrays["alpha"], "alpha")], shape)


def _concatenate(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    return m.step("CONCATENATION", x, shape, _0=Number("i", op.options["axis"] + 1), _1=Number("b", 0))


def _slice(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    begin = [op.options["start"] if i == op.options["axis"] + 1 else 0 for i in range(len(shape) + 1)]
    return m.step("SLICE", [x[0], m.whole(begin, "begin"), m.whole([-1, *shape], "size")], shape)


def _transpose(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    return m.step("TRANSPOSE", [x[0], m.whole([0, *(n + 1 for n in op.options["order"])], "order")], shape)


def _binary(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    return m.step(_BINARY[op.kind], [_spread(m, one, len(shape)) for one in x], shape)


def _along(m: _Model, op: Operation, x: list[int], shape: Shape) -> int:
    axes = tuple(axis + 1 for axis in op.options["axes"])
    kept = tuple(1 if i + 1 in axes else n for i, n in enumerate(shape))

    def reduced(kind: str, value: int) -> int:
        return m.step(kind, [value, m.whole(axes, "axes")], kept, _0=Number("?", True))

    if op.kind in ("softmax", "log_softmax") and axes == (len(shape),):
        beta = {"_0": Number("f", 1.0)} if op.kind == "softmax" else {}
        return m.step(op.kind.upper(), x, shape, **beta)
    if op.kind in ("softmax", "log_softmax"):
        lowered = m.step("SUB", [x[0], reduced("REDUCE_MAX", x[0])])
        powers = m.step("EXP", [lowered], shape)
        total = reduced("SUM", powers)
        return (
            m.step("DIV", [powers, total]) if op.kind == "softmax" else m.step("SUB", [lowered, m.step("LOG", [total])])
        )
    if op.kind == "sparsemax":
        return _sparsemax(m, op, x[0], shape, reduced)
    if op.kind == "unit_normalization":
        length = m.step("SQRT", [reduced("SUM", m.step("SQUARE", [x[0]]))])
        return m.step("DIV", [x[0], m.step("MAXIMUM", [length, m.number(np.full((1,), 1e-12), "least")], kept)])
    value = x[0]
    if op.kind == "layer_normalization":
        value = m.step("SUB", [value, reduced("MEAN", value)])
    square = reduced("MEAN", m.step("SQUARE", [value]))
    square = m.step("ADD", [square, m.number(np.full((1,), op.options["epsilon"]), "epsilon")], kept)
    value = m.step("MUL", [value, m.step("RSQRT", [square])])
    for key, kind in (("gamma", "MUL"), ("scale", "MUL"), ("beta", "ADD")):
        if key in op.arrays:
            value = m.step(kind, [value, m.number(_full(op.arrays[key], len(shape)), key)])
    return value


def _sparsemax(m: _Model, op: Operation, x: int, shape: Shape, reduced: Any) -> int:
    if op.options["axes"] != (len(shape) - 1,):
        raise op.cannot("TFLite along another axis than the last", "use `softmax`.")
    n = shape[-1]
    falling, places = m.value(f"{op.layer}/falling", shape), m.value(f"{op.layer}/places", shape, INT32)
    m.operator("TOPK_V2", [x, m.whole(n, "count")], [falling, places])
    running = m.step("CUMSUM", [falling, m.whole(len(shape), "axis")], shape)
    one, position = m.number(np.ones(1)), m.number(np.arange(1, n + 1).reshape((1,) * len(shape) + (n,)))
    rest = m.step("ADD", [m.step("SUB", [m.step("MUL", [falling, position]), running]), one], shape)
    # 1 where the rest is positive, 0 elsewhere
    stays = _Elementary(m).where_greater(rest, m.number(np.zeros(1)), m.number(np.ones(1)), m.number(np.zeros(1)))
    count, total = reduced("SUM", stays), reduced("SUM", m.step("MUL", [falling, stays]))
    kept = (*shape[:-1], 1)
    limit = m.step("DIV", [m.step("SUB", [total, one], kept), count])
    return m.step("RELU", [m.step("SUB", [x, limit])])


@dataclass(frozen=True)
class _Elementary:
    """The elementary operations, each an operator."""

    model: _Model

    def constant(self, value: float) -> int:
        return self.model.number(np.full((1,), value))

    def __getattr__(self, name: str) -> Any:
        kinds = {**_BINARY, "exp": "EXP", "sqrt": "SQRT", "tanh": "TANH", "sigmoid": "LOGISTIC", "absolute": "ABS"}
        if name not in kinds:
            raise AttributeError(name)
        return lambda *values: self._step(kinds[name], values)

    def _step(self, kind: str, values: Sequence[int]) -> int:
        shapes = [self.model.shapes[value] for value in values]
        return self.model.step(kind, values, max(shapes, key=len)[1:])

    def log1p(self, a: int) -> int:
        return self._step("LOG", [self._step("ADD", [a, self.constant(1)])])

    def erf(self, a: int) -> int:
        del a
        assert self.model.op is not None
        raise self.model.op.cannot("TFLite", "use `gelu` as it is, or another activation.")

    def where_greater(self, a: int, b: int, then: int, otherwise: int) -> int:
        shape = max((self.model.shapes[a], self.model.shapes[b]), key=len)[1:]
        condition = self.model.value(f"{self.model.layer}/greater", shape, 6)
        self.model.operator("GREATER", [a, b], [condition])
        output = self.model.value(f"{self.model.layer}/select", shape)
        self.model.operator("SELECT_V2", [condition, then, otherwise], [output])
        return output


_OPERATIONS: dict[str, Any] = {
    "dense": _dense,
    "affine": _affine,
    "function": _function,
    "prelu": _prelu,
    "concatenate": _concatenate,
    "slice": _slice,
    "transpose": _transpose,
    "reshape": lambda m, op, x, shape: _shaped(m, x[0], shape),
    **dict.fromkeys(BINARY, _binary),
}
