"""From TFLite operators to Keras layers. 8-bit weights come back as the floats that they stand for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, InvalidArgumentError, did_you_mean, invalid, message
from lamina.interop.flatbuffer import View, root
from lamina.interop.lowered import fits
from lamina.interop.making import Making, Shape
from lamina.interop.net import Net
from lamina.interop.tflite import FLOAT16, FLOAT32, FUSED, IDENTIFIER, INT8, INT32, INT64, NAMES

_FIX = "cut the model down to fully connected layers before it is converted."
_DTYPES = {FLOAT32: "<f4", FLOAT16: "<f2", INT32: "<i4", 3: "u1", INT64: "<i8", INT8: "i1"}


def read(path: str) -> Net:
    """Return what a TFLite file says, as Keras layers."""
    with open(path, "rb") as file:
        data = file.read()
    reader = _Reader(root(data, IDENTIFIER, repr(path)), repr(path), 16 * len(data))
    return reader.net()


@dataclass(frozen=True)
class _Tensor:
    """What a file says of a tensor; `array` holds a constant, in floats if it is a weight."""

    name: str
    kind: int
    shape: tuple[int, ...]
    array: Numpy | None


@dataclass(frozen=True)
class Step:
    """One operator: its name, the numbers of its tensors, its options."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: View | None

    def number(self, field: int, kind: str, default: Any = 0) -> Any:
        """Return one of its options."""
        return self.options.number(field, kind, default) if self.options is not None else default


class _Reader:
    """Turns the operators of one graph into layers."""

    def __init__(self, model: View, source: str, room: int) -> None:
        self.source = source
        self.make = Making("model")
        self.make.room += room
        self.codes = [self._code(code) for code in model.tables(1)]
        self.buffers = model.tables(4)
        graphs = model.tables(2)
        if len(graphs) != 1:
            raise self.damaged(f"it has {len(graphs)} graphs, and one is read")
        graph = graphs[0]
        self.rounded = False
        self.tensors = [self._tensor(tensor) for tensor in graph.tables(0)]
        self.inputs, self.outputs = (self._numbers(graph.array(i, "<i4")) for i in (1, 2))
        self.steps = [self._step(operator) for operator in graph.tables(3)]
        self.values: dict[int, str] = {}
        self.uses: dict[int, int] = {}
        for i in [*(i for step in self.steps for i in step.inputs), *self.outputs]:
            self.uses[i] = self.uses.get(i, 0) + 1

    def damaged(self, what: str) -> FileFormatError:
        return FileFormatError(message(f"The TFLite file cannot be read: {what}.", owner=self.source))

    def refused(self, step: Step, problem: str, fix: str = _FIX) -> InvalidArgumentError:
        name = self.tensors[step.outputs[0]].name if step.outputs else "?"
        return invalid(problem, owner=f"TFLite operator {step.kind} `{name}` in {self.source}", fix=fix)

    # ---- the file

    def _code(self, code: View) -> str:
        number = max(int(code.number(3, "i")), int(code.number(0, "b")))
        return NAMES.get(number, f"number {number}" if number != 32 else f"custom {code.text(1)!r}")

    def _numbers(self, array: Numpy, *, missing: bool = False) -> tuple[int, ...]:
        found = tuple(int(i) for i in array[:10_000])
        if any(not (0 <= i < len(self.tensors) or (missing and i == -1)) for i in found):
            raise self.damaged("it names a tensor that is not there")
        return found

    def _step(self, operator: View) -> Step:
        code = int(operator.number(0, "I"))
        if code >= len(self.codes):
            raise self.damaged("it names an operator that is not there")
        inputs = self._numbers(operator.array(1, "<i4"), missing=True)
        return Step(self.codes[code], inputs, self._numbers(operator.array(2, "<i4")), operator.table(4))

    def _tensor(self, tensor: View) -> _Tensor:
        shape = tuple(int(n) for n in tensor.array(0, "<i4")[:17])
        kind, name, buffer = int(tensor.number(1, "b")), tensor.text(3), int(tensor.number(2, "I"))
        if len(shape) > 16 or any(n < 0 for n in shape):
            raise self.damaged(f"the tensor {name!r} has the shape {shape}")
        if tensor.table(6) is not None:
            raise self.damaged(f"the tensor {name!r} is sparse")
        if buffer >= len(self.buffers):
            raise self.damaged(f"the tensor {name!r} names a buffer that is not there")
        raw = self.buffers[buffer].array(0, "u1")
        if not raw.size:
            return _Tensor(name, kind, shape, None)
        if kind not in _DTYPES:
            raise self.damaged(f"the constant {name!r} has numbers of the kind {kind}")
        dtype = np.dtype(_DTYPES[kind])
        if raw.size != math.prod(shape) * dtype.itemsize:
            raise self.damaged(f"the constant {name!r} of shape {shape} has {raw.size:,} bytes")
        return _Tensor(name, kind, shape, self._real(tensor, name, np.frombuffer(raw.data, dtype).reshape(shape)))

    def _real(self, tensor: View, name: str, array: Numpy) -> Numpy:
        """Return a constant in floats, if it is one of rounded numbers; whole numbers as they are."""
        quantization = tensor.table(4)
        scales = quantization.array(2, "<f4") if quantization is not None else np.zeros(0, np.float32)
        if quantization is None or not scales.size:
            return array if array.dtype.kind != "f" else np.asarray(array, np.float32)
        zeros, axis = quantization.array(3, "<i8"), int(quantization.number(6, "i"))
        if zeros.size not in (0, scales.size):
            raise self.damaged(f"the constant {name!r} has {scales.size} scales and {zeros.size} zero points")
        if scales.size > 1 and not (0 <= axis < array.ndim and array.shape[axis] == scales.size):
            raise self.damaged(f"the scales of the constant {name!r} do not fit its shape {array.shape}")
        self.rounded = True
        self.make.take(4 * array.size)
        shape = [scales.size if i == axis else 1 for i in range(array.ndim)] if scales.size > 1 else [1] * array.ndim
        zero = zeros.reshape(shape) if zeros.size else 0
        return np.asarray((array.astype(np.float64) - zero) * scales.reshape(shape), np.float32)

    # ---- the walk

    def net(self) -> Net:
        for i in self.inputs:
            tensor = self.tensors[i]
            if not tensor.shape or 0 in tensor.shape[1:] or i in self.values:
                raise self.damaged(f"the input {tensor.name!r} has the shape {tensor.shape}")
            name = tensor.name.split(":")[0].removeprefix("serving_default_")
            self.values[i] = self.make.input(name or "input", tensor.shape[1:])
        for step in self.steps:
            self._run(step)
        if self.rounded:
            self.make.notes.append("It was written for 8-bit arithmetic; here the same weights compute in floats.")
        if not self.inputs or not self.outputs or any(i not in self.values for i in self.outputs):
            raise self.damaged("no operator gives one of its outputs")
        return self.make.net([self.values[i] for i in self.outputs])

    def _run(self, step: Step) -> None:
        if not step.outputs:
            raise self.damaged("an operator has no output")
        kind = self.tensors[step.outputs[0]].kind
        if kind in (INT32, INT64):
            return  # sizes that were computed for a reshape, which has its output's shape anyway
        if step.kind == "DEQUANTIZE" and step.inputs and self.tensors[step.inputs[0]].array is not None:
            old = self.tensors[step.outputs[0]]
            self.tensors[step.outputs[0]] = _Tensor(old.name, FLOAT32, old.shape, self.tensors[step.inputs[0]].array)
            return
        rule = _RULES.get(step.kind)
        if rule is None:
            raise self.refused(step, "No layer does this.", f"{_FIX} {did_you_mean(step.kind, _RULES)}")
        self.values[step.outputs[0]] = rule(self, step)

    # ---- what rules ask for

    def value(self, step: Step, at: int = 0) -> str:
        if at >= len(step.inputs) or step.inputs[at] not in self.values:
            raise self.refused(step, f"Its input {at + 1} must be computed, not constant.")
        return self.values[step.inputs[at]]

    def shape(self, step: Step, at: int = 0) -> Shape:
        return self.make.shapes[self.value(step, at)]

    def floats(self, step: Step, at: int) -> Numpy:
        found = self.tensors[step.inputs[at]].array if at < len(step.inputs) and step.inputs[at] >= 0 else None
        if found is None:
            raise self.refused(step, f"Its input {at + 1} must be constant: a layer holds its weights.")
        return np.ascontiguousarray(found, np.float32)

    def whole(self, step: Step, at: int) -> list[int]:
        return [int(n) for n in self.floats(step, at).ravel()[:17]]

    def layer(
        self, step: Step, kind: str, shape: Shape, config: Any = None, weights: Any = (), inputs: Any = None
    ) -> str:
        name = self.tensors[step.outputs[0]].name.split(";")[0].split(":")[0].split("/int8")[0]
        parts = [part for part in name.split("/") if part] or [kind]
        short = parts[-2] if len(parts) > 1 else parts[0]
        return self.make.layer(kind, inputs or [self.value(step)], shape, config, weights, short)

    def fused(self, step: Step, y: str, field: int = 0) -> str:
        """Return a value behind the activation that an operator has inside."""
        number = int(step.number(field, "b"))
        if number not in FUSED:
            raise self.refused(step, f"It has the unknown activation {number} inside.")
        if number == 0:
            return y
        entry = self.make.last(y)
        if entry["class_name"] == "Dense" and entry["config"]["activation"] == "linear":
            entry["config"]["activation"] = FUSED[number]
            return y
        return self.make.layer("Activation", [y], self.make.shapes[y], {"activation": FUSED[number]}, (), y)


Rule = Callable[[_Reader, Step], str]


def _fully_connected(r: _Reader, step: Step) -> str:
    if int(step.number(1, "b")):
        raise r.refused(step, "Its weights are shuffled.")
    x, kernel = r.value(step), r.floats(step, 1)
    if kernel.ndim != 2 or not kernel.size:
        raise r.refused(step, f"Its kernel has the shape {kernel.shape}.")
    units, inputs = kernel.shape
    shape = r.make.shapes[x]
    if not bool(step.number(2, "?", False)) and len(shape) > 1:
        if math.prod(shape) != inputs:
            raise r.refused(step, f"A kernel of shape {kernel.shape} does not fit samples of shape {shape}.")
        x, shape = r.make.layer("Flatten", [x], (math.prod(shape),), {}, (), "flatten"), (math.prod(shape),)
    if not shape or shape[-1] != inputs:
        raise r.refused(step, f"A kernel of shape {kernel.shape} does not fit samples of shape {shape}.")
    weights = [kernel.T]
    if len(step.inputs) > 2 and step.inputs[2] >= 0:
        weights.append(r.floats(step, 2).reshape(-1))
        if weights[1].shape != (units,):
            raise r.refused(step, f"Its bias has the shape {weights[1].shape}.")
    config = {"units": units, "activation": "linear", "use_bias": len(weights) > 1}
    return r.fused(step, r.layer(step, "Dense", (*shape[:-1], units), config, weights, [x]))


def _binary(r: _Reader, step: Step) -> str:
    if len(step.inputs) != 2 or min(step.inputs) < 0:
        raise r.refused(step, "It needs two inputs.")
    computed = [i in r.values for i in step.inputs]
    if all(computed):
        return r.fused(step, _merged(r, step))
    if not any(computed):
        raise r.refused(step, "Both of its inputs are constant.")
    at = computed.index(True)
    x, number = r.value(step, at), r.floats(step, 1 - at)
    shape = r.make.shapes[x]
    number = number.reshape(number.shape[1:]) if number.ndim > len(shape) and number.shape[0] == 1 else number
    number = number.reshape(()) if number.size == 1 else number
    if not fits(number.shape, (1, *shape)):
        raise r.refused(step, f"Its constant of shape {number.shape} is larger than a sample of shape {shape}.")
    r.make.take(64 * number.size)
    if step.kind in ("ADD", "SUB"):
        sign = -1.0 if step.kind == "SUB" and at == 1 else 1.0
        offset = -number if step.kind == "SUB" and at == 0 else number
        return r.fused(step, r.layer(step, "Rescaling", shape, {"scale": sign, "offset": offset.tolist()}, (), [x]))
    if step.kind == "MUL" or (step.kind == "DIV" and at == 0 and (number != 0).all()):
        scale = number if step.kind == "MUL" else (1 / number.astype(np.float64)).astype(np.float32)
        return r.fused(step, r.layer(step, "Rescaling", shape, {"scale": scale.tolist(), "offset": 0.0}, (), [x]))
    if number.size == 1 and step.kind in ("MAXIMUM", "MINIMUM"):
        return r.make.function("numpy", step.kind.capitalize(), [x, float(number)], shape)
    raise r.refused(step, "It is used with a constant in a way that no layer has.")


def _merged(r: _Reader, step: Step) -> str:
    values = [r.value(step, 0), r.value(step, 1)]
    shapes = [r.make.shapes[x] for x in values]
    if len(shapes[0]) != len(shapes[1]):
        raise r.refused(step, f"Its inputs have the shapes {shapes}, which Keras would broadcast in another way.")
    try:
        shape = tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise r.damaged(f"the inputs of an operator {step.kind} have the shapes {shapes}") from None
    if step.kind == "DIV":
        return r.make.function("numpy", "Divide", values, shape)
    kinds = {"ADD": "Add", "SUB": "Subtract", "MUL": "Multiply", "MAXIMUM": "Maximum", "MINIMUM": "Minimum"}
    return r.layer(step, kinds[step.kind], shape, None, (), values)


def _activation(name: str) -> Rule:
    def rule(r: _Reader, step: Step) -> str:
        x, entry = r.value(step), r.make.last(r.value(step))
        plain = entry["class_name"] == "Dense" and entry["config"]["activation"] == "linear"
        if plain and r.uses[step.inputs[0]] == 1:
            entry["config"]["activation"] = name
            return x
        return r.layer(step, "Activation", r.shape(step), {"activation": name})

    return rule


def _softmax(r: _Reader, step: Step) -> str:
    if abs(float(step.number(0, "f", 0.0)) - 1.0) > 1e-6:
        raise r.refused(step, "Its `beta` must be 1.")
    return _activation("softmax")(r, step)


def _leaky_relu(r: _Reader, step: Step) -> str:
    slope = float(step.number(0, "f"))
    if not 0 <= slope < math.inf:
        raise r.refused(step, f"Its slope is {slope}.")
    return r.layer(step, "LeakyReLU", r.shape(step), {"negative_slope": slope})


def _gelu(r: _Reader, step: Step) -> str:
    if bool(step.number(0, "?", False)):
        return r.make.function("nn", "Gelu", [r.value(step), True], r.shape(step))
    return _activation("gelu")(r, step)


def _prelu(r: _Reader, step: Step) -> str:
    shape, alpha = r.shape(step), r.floats(step, 1)
    alpha = alpha.reshape((1,) * (len(shape) - alpha.ndim) + alpha.shape) if alpha.ndim < len(shape) else alpha
    if alpha.ndim != len(shape) or not fits(alpha.shape, shape):
        raise r.refused(step, f"Its slopes of shape {alpha.shape} do not fit samples of shape {shape}.")
    shared = [i + 1 for i, n in enumerate(alpha.shape) if n == 1]
    return r.layer(step, "PReLU", shape, {"shared_axes": shared or None}, [alpha])


def _reshape(r: _Reader, step: Step) -> str:
    shape, target = r.shape(step), r.tensors[step.outputs[0]].shape[1:]
    if math.prod(shape) != math.prod(target):
        raise r.refused(step, f"It makes {r.tensors[step.outputs[0]].shape} of samples of shape {shape}.")
    if tuple(target) == shape:
        return r.value(step)
    if len(target) == 1:
        return r.layer(step, "Flatten", target)
    return r.layer(step, "Reshape", target, {"target_shape": list(target)})


def _transpose(r: _Reader, step: Step) -> str:
    shape, order = r.shape(step), r.whole(step, 1)
    if sorted(order) != list(range(len(shape) + 1)) or order[0] != 0:
        raise r.refused(step, "It moves the axis of the rows.")
    return r.layer(step, "Permute", tuple(shape[i - 1] for i in order[1:]), {"dims": order[1:]})


def _concatenation(r: _Reader, step: Step) -> str:
    values = [r.value(step, i) for i in range(len(step.inputs))]
    shapes = [r.make.shapes[x] for x in values]
    axis, ndim = int(step.number(0, "i")), len(shapes[0])
    if not -ndim - 1 <= axis <= ndim or axis % (ndim + 1) == 0:
        raise r.refused(step, "It works along the axis of the rows, or none.")
    axis %= ndim + 1
    if len({(*shape[: axis - 1], None, *shape[axis:]) for shape in shapes}) != 1:
        raise r.damaged(f"the inputs of a concatenation have the shapes {shapes}")
    if len(values) == 1:
        return r.fused(step, values[0], 1)
    shape = (*shapes[0][: axis - 1], sum(shape[axis - 1] for shape in shapes), *shapes[0][axis:])
    return r.fused(step, r.layer(step, "Concatenate", shape, {"axis": axis}, (), values), 1)


def _function(module: str, kind: str) -> Rule:
    return lambda r, step: r.make.function(module, kind, [r.value(step)], r.shape(step))


def _rounding(r: _Reader, step: Step) -> str:
    r.rounded = True
    return r.value(step)


_RULES: dict[str, Rule] = {
    "FULLY_CONNECTED": _fully_connected,
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"), _binary),
    "RELU": _activation("relu"),
    "RELU6": _activation("relu6"),
    "RELU_N1_TO_1": _activation("hard_tanh"),
    "LOGISTIC": _activation("sigmoid"),
    "TANH": _activation("tanh"),
    "EXP": _activation("exponential"),
    "ELU": _activation("elu"),
    "HARD_SWISH": _activation("hard_silu"),
    "LOG_SOFTMAX": _activation("log_softmax"),
    "SOFTMAX": _softmax,
    "LEAKY_RELU": _leaky_relu,
    "GELU": _gelu,
    "PRELU": _prelu,
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape),
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenation,
    "ABS": _function("numpy", "Absolute"),
    "NEG": _function("numpy", "Negative"),
    "SQRT": _function("numpy", "Sqrt"),
    "SQUARE": _function("numpy", "Square"),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE"), _rounding),
}
