"""From ONNX nodes to Keras layers."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, InvalidArgumentError, did_you_mean, invalid, message
from lamina.interop.lowered import fits
from lamina.interop.making import Making, Shape
from lamina.interop.net import Net
from lamina.interop.onnx_parse import Graph, Node, parse

_FIX = "cut the model down to fully connected layers before it is exported."
_LARGEST = 1 << 24  # numbers that a constant made of others may have


def read(path: str) -> Net:
    """Return what an ONNX file says, as Keras layers."""
    reader = _Reader(parse(path), repr(path))
    reader.make.room += 4 * os.path.getsize(path) + sum(array.nbytes for array in reader.constants.values())
    return reader.net()


class _Reader:
    """Turns the nodes of one graph into layers. A value is the name of a layer; a constant is an array."""

    def __init__(self, graph: Graph, source: str) -> None:
        self.graph, self.source = graph, source
        self.make = Making(graph.name)
        self.values: dict[str, str] = {}
        self.constants: dict[str, Numpy] = dict(graph.arrays)
        self.uses: dict[str, int] = {}
        for name in [*(n for node in graph.nodes for n in node.inputs), *graph.outputs]:
            self.uses[name] = self.uses.get(name, 0) + 1

    # ---- errors

    def refused(self, node: Node, problem: str, fix: str = _FIX) -> InvalidArgumentError:
        name = f" `{node.name or (node.outputs or ['?'])[0]}`"
        return invalid(problem, owner=f"ONNX operator {node.kind}{name} in {self.source}", fix=fix)

    def damaged(self, what: str) -> FileFormatError:
        return FileFormatError(message(f"The ONNX file cannot be read: {what}.", owner=self.source))

    # ---- the walk

    def net(self) -> Net:
        for name, shape in self.graph.inputs.items():
            if not shape or any(n is None for n in shape[1:]):
                raise invalid(
                    "Every size of an input except the number of rows must be known.",
                    owner=f"Input `{name}` of {self.source}",
                    received=f"shape={shape}",
                    fix="export the model with fixed sizes behind the batch axis.",
                )
            if shape[0] is not None:
                self.make.notes.append(
                    f"The input `{name}` was exported for {shape[0]} rows; here it takes any number."
                )
            self.values[name] = self.make.input(name, tuple(n for n in shape[1:] if n is not None))
        for node in self.graph.nodes:
            self._node(node)
        missing = [name for name in self.graph.outputs if name not in self.values]
        if missing:
            raise self.damaged(f"no operator gives the output {missing[0]!r}")
        return self.make.net([self.values[name] for name in self.graph.outputs])

    def _node(self, node: Node) -> None:
        if node.domain not in ("", "ai.onnx") or not node.outputs:
            raise self.refused(node, f"It is of the domain {node.domain!r}, not of ONNX's own.")
        if any(name and name not in self.values and name not in self.constants for name in node.inputs):
            raise self.damaged(f"the operator {node.name!r} needs {node.inputs} before they are there")
        if node.kind == "Constant" or all(name in self.constants for name in node.inputs if name):
            self.constants[node.outputs[0]] = found = self._constant(node)
            self.make.take(found.nbytes)
            return
        rule = _RULES.get(node.kind)
        if rule is None:
            raise self.refused(node, "No layer does this.", f"{_FIX} {did_you_mean(node.kind, _RULES)}")
        if len([name for name in node.outputs[1:] if self.uses.get(name)]):
            raise self.refused(node, "More than its first output is used.")
        self.values[node.outputs[0]] = rule(self, node)

    def _constant(self, node: Node) -> Numpy:
        """Return what an operator makes of constants alone."""
        given = [self.constants[name] for name in node.inputs if name]
        value = next((node.attributes[k] for k in ("value", "value_float", "value_int", "value_floats", "value_ints")
                      if node.attributes.get(k) is not None), None)  # fmt: skip
        try:
            if node.kind == "Constant" and value is not None and not isinstance(value, str | bytes):
                return np.asarray(value)
            if node.kind == "Transpose" and len(given) == 1:
                return np.transpose(given[0], node.attributes.get("perm"))
            if node.kind == "Reshape" and len(given) == 2:
                return given[0].reshape([int(n) for n in given[1].ravel()])
            if node.kind in ("Identity", "Cast", "Squeeze", "Unsqueeze") and given:
                return self._recast(node, given)
            if node.kind in _ARITHMETIC and len(given) == 2:
                if math.prod(np.broadcast_shapes(given[0].shape, given[1].shape)) > _LARGEST:
                    raise self.refused(node, "It makes a constant that is too large.")
                return np.asarray(_ARITHMETIC[node.kind](given[0], given[1]))
        except (ValueError, TypeError, OverflowError) as error:
            if isinstance(error, InvalidArgumentError):
                raise
            raise self.damaged(f"a constant cannot be computed: {error}") from error
        raise self.refused(node, "It makes a constant in a way that is not known here.")

    def _recast(self, node: Node, given: list[Numpy]) -> Numpy:
        axes = node.attributes.get("axes", given[1].tolist() if len(given) > 1 else None)
        if node.kind == "Squeeze":
            return np.squeeze(given[0], None if axes is None else tuple(axes))
        if node.kind == "Unsqueeze":
            return np.expand_dims(given[0], tuple(axes or ()))
        return given[0]

    # ---- what rules ask for

    def shape(self, node: Node, at: int = 0) -> Shape:
        """Return the shape of a sample of an input."""
        return self.make.shapes[self.value(node, at)]

    def value(self, node: Node, at: int = 0) -> str:
        """Return an input that is computed."""
        if at >= len(node.inputs) or node.inputs[at] not in self.values:
            raise self.refused(node, f"Its input {at + 1} must be computed, not constant.")
        return self.values[node.inputs[at]]

    def array(self, node: Node, at: int, default: Any = None) -> Numpy:
        """Return an input that is constant."""
        if at >= len(node.inputs) or not node.inputs[at]:
            if default is not None:
                return np.asarray(default)
            raise self.refused(node, f"Its input {at + 1} is missing.")
        found = self.constants.get(node.inputs[at])
        if found is None:
            raise self.refused(node, f"Its input {at + 1} must be constant: a layer holds its weights.")
        return found

    def floats(self, node: Node, at: int, default: Any = None) -> Numpy:
        return np.ascontiguousarray(self.array(node, at, default), np.float32)

    def number(self, node: Node, name: str, default: float) -> float:
        value = node.attributes.get(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refused(node, f"Its attribute `{name}` is no number.")
        return float(value)

    def axis(self, node: Node, value: Any, ndim: int) -> int:
        """Return an axis of a batch as Keras has it: at least 1."""
        if type(value) is int and -ndim - 1 <= value <= ndim and value % (ndim + 1):
            return value % (ndim + 1)
        raise self.refused(node, f"It works along the axis {value!r}, which is that of the rows, or none.")

    def layer(
        self, node: Node, kind: str, shape: Shape, config: Any = None, weights: Any = (), inputs: Any = None
    ) -> str:
        name = node.name or node.outputs[0]
        return self.make.layer(kind, inputs or [self.value(node)], shape, config, weights, name.split(":")[0])


Rule = Callable[[_Reader, Node], str]


def _gemm(r: _Reader, node: Node) -> str:
    if node.attributes.get("transA", 0):
        raise r.refused(node, "It transposes its input.")
    kernel = r.floats(node, 1) * np.float32(r.number(node, "alpha", 1.0))
    bias = r.floats(node, 2, 0.0) * np.float32(r.number(node, "beta", 1.0))
    if kernel.ndim != 2 or bias.size not in (1, kernel.shape[0 if node.attributes.get("transB", 0) else 1]):
        raise r.refused(node, f"Its weights have the shapes {kernel.shape} and {bias.shape}.")
    kernel = kernel.T if node.attributes.get("transB", 0) else kernel
    return _dense(r, node, kernel, bias if len(node.inputs) > 2 and node.inputs[2] else None)


def _dense(r: _Reader, node: Node, kernel: Numpy, bias: Numpy | None) -> str:
    shape = r.shape(node)
    if kernel.ndim != 2 or not shape or shape[-1] != kernel.shape[0]:
        raise r.refused(node, f"A kernel of shape {kernel.shape} does not fit samples of shape {shape}.")
    units = kernel.shape[1]
    config = {"units": units, "activation": "linear", "use_bias": bias is not None}
    weights = [kernel] if bias is None else [kernel, np.broadcast_to(bias.reshape(-1), (units,))]
    return r.layer(node, "Dense", (*shape[:-1], units), config, weights)


def _matmul(r: _Reader, node: Node) -> str:
    return _dense(r, node, r.floats(node, 1), None)


def _binary(r: _Reader, node: Node) -> str:
    if len(node.inputs) != 2:
        return _merged(r, node)
    constant = [name in r.constants for name in node.inputs]
    if not any(constant):
        return _merged(r, node)
    at = constant.index(False)
    x, number = r.values[node.inputs[at]], r.constants[node.inputs[1 - at]].astype(np.float32)
    shape = r.make.shapes[x]
    number = number.reshape(number.shape[1:]) if number.ndim > len(shape) and number.shape[0] == 1 else number
    if number.size == 1:
        number = number.reshape(())
    if node.kind == "Add" and _added_to_dense(r, node, x, number):
        return x
    if not fits(number.shape, (1, *shape)):
        raise r.refused(node, f"Its constant of shape {number.shape} is larger than a sample of shape {shape}.")
    r.make.take(64 * number.size)
    if node.kind in ("Add", "Sub"):
        sign = -1.0 if node.kind == "Sub" and at == 1 else 1.0
        offset = -number if node.kind == "Sub" and at == 0 else number
        entry = r.make.last(x)
        product = entry["class_name"] == "Rescaling" and entry["config"]["offset"] == 0.0
        if product and sign == 1.0 and r.uses[node.inputs[at]] == 1:  # one layer does both
            entry["config"]["offset"] = offset.tolist()
            return x
        return r.layer(node, "Rescaling", shape, {"scale": sign, "offset": offset.tolist()}, inputs=[x])
    if node.kind == "Mul" or (node.kind == "Div" and at == 0 and (number != 0).all()):
        scale = number if node.kind == "Mul" else (1 / number.astype(np.float64)).astype(np.float32)
        return r.layer(node, "Rescaling", shape, {"scale": scale.tolist(), "offset": 0.0}, inputs=[x])
    if number.size == 1 and node.kind in ("Max", "Min"):
        kind = {"Max": "Maximum", "Min": "Minimum"}[node.kind]
        return r.make.function("numpy", kind, [x, float(number.reshape(()))], shape)
    raise r.refused(node, "It is used with a constant in a way that no layer has.")


def _added_to_dense(r: _Reader, node: Node, x: str, number: Numpy) -> bool:
    """Make a constant that is added to a product the bias of the layer, if nobody else uses the product."""
    entry, source = r.make.last(x), next(name for name in node.inputs if name in r.values)
    units = r.make.shapes[x][-1] if r.make.shapes[x] else 0
    free = entry["class_name"] == "Dense" and not entry["config"]["use_bias"] and r.uses[source] == 1
    if not free or number.shape not in ((units,), (1, units)):
        return False
    entry["config"]["use_bias"] = True
    r.make.weights[x] = (r.make.weights[x][0], np.ascontiguousarray(number.reshape(-1)))
    return True


def _merged(r: _Reader, node: Node) -> str:
    values = [r.value(node, i) for i in range(len(node.inputs))]
    shapes = [r.make.shapes[x] for x in values]
    if len({len(shape) for shape in shapes}) != 1:
        raise r.refused(node, f"Its inputs have the shapes {shapes}, which Keras would broadcast in another way.")
    try:
        shape = tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise r.damaged(f"the inputs of {node.name!r} have the shapes {shapes}") from None
    kind = {"Add": "Add", "Sum": "Add", "Sub": "Subtract", "Mul": "Multiply", "Max": "Maximum", "Min": "Minimum"}
    if node.kind == "Div" and len(values) == 2:
        return r.make.function("numpy", "Divide", values, shape)
    if node.kind not in kind or len(values) < 2 or (node.kind == "Sub" and len(values) != 2):
        raise r.refused(node, "No layer does this.")
    return r.layer(node, kind[node.kind], shape, inputs=values)


def _batch_normalization(r: _Reader, node: Node) -> str:
    shape, weights = r.shape(node), [r.floats(node, i) for i in range(1, 5)]
    if not shape or any(w.shape != (shape[0],) for w in weights) or node.attributes.get("training_mode", 0):
        raise r.refused(node, f"Its weights do not fit samples of shape {shape}, or it is in training.")
    config = {"axis": 1 if len(shape) > 1 else -1, "epsilon": r.number(node, "epsilon", 1e-5)}
    config["momentum"] = r.number(node, "momentum", 0.9)
    return r.layer(node, "BatchNormalization", shape, config, weights)


def _layer_normalization(r: _Reader, node: Node) -> str:
    shape = r.shape(node)
    first = r.axis(node, node.attributes.get("axis", -1), len(shape))
    sizes = shape[first - 1 :]
    weights = [r.floats(node, 1)] + ([r.floats(node, 2)] if len(node.inputs) > 2 and node.inputs[2] else [])
    if any(w.shape != sizes for w in weights):
        raise r.refused(node, f"Its weights have the shapes {[w.shape for w in weights]}, not {sizes}.")
    axes = list(range(first, len(shape) + 1))
    config = {"axis": -1 if len(axes) == 1 else axes, "epsilon": r.number(node, "epsilon", 1e-5)}
    return r.layer(node, "LayerNormalization", shape, {**config, "center": len(weights) > 1}, weights)


def _activation(name: str) -> Rule:
    def rule(r: _Reader, node: Node) -> str:
        x, entry = r.value(node), r.make.last(r.value(node))
        plain = entry["class_name"] == "Dense" and entry["config"]["activation"] == "linear"
        if plain and r.uses[node.inputs[0]] == 1:
            entry["config"]["activation"] = name
            return x
        return r.layer(node, "Activation", r.shape(node), {"activation": name})

    return rule


def _with(kind: str, attribute: str, argument: str, default: float) -> Rule:
    def rule(r: _Reader, node: Node) -> str:
        return r.layer(node, kind, r.shape(node), {argument: r.number(node, attribute, default)})

    return rule


def _of_shape(r: _Reader, node: Node, name: str, defaults: dict[str, float]) -> str:
    """Make an activation that Keras has with the standard numbers alone."""
    for key, value in defaults.items():
        if abs(r.number(node, key, value) - value) > 1e-5:
            raise r.refused(node, f"`{key}` must be {value:.6g}.", "use the standard form.")
    return _activation(name)(r, node)


def _hard_sigmoid(r: _Reader, node: Node) -> str:
    node.attributes.setdefault("alpha", 0.2)
    return _of_shape(r, node, "hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5})


def _celu(r: _Reader, node: Node) -> str:
    return _of_shape(r, node, "celu", {"alpha": 1.0})


def _selu(r: _Reader, node: Node) -> str:
    return _of_shape(r, node, "selu", {"alpha": 1.67326319, "gamma": 1.05070102})


def _gelu(r: _Reader, node: Node) -> str:
    if node.attributes.get("approximate", b"none") != b"none":
        return r.make.function("nn", "Gelu", [r.value(node), True], r.shape(node))
    return _activation("gelu")(r, node)


def _clip(r: _Reader, node: Node) -> str:
    low = r.floats(node, 1, node.attributes.get("min", -np.inf)).reshape(-1)
    high = r.floats(node, 2, node.attributes.get("max", np.inf)).reshape(-1)
    bounds = (float(low[0]), float(high[0])) if low.size == high.size == 1 else (np.nan, np.nan)
    if bounds in ((0.0, 6.0), (-1.0, 1.0)):
        return _activation("relu6" if bounds[0] == 0 else "hard_tanh")(r, node)
    if bounds[0] == 0.0 and bounds[1] > 0:
        return r.layer(node, "ReLU", r.shape(node), {"max_value": bounds[1] if math.isfinite(bounds[1]) else None})
    raise r.refused(node, f"No layer keeps numbers between {bounds[0]} and {bounds[1]}.")


def _prelu(r: _Reader, node: Node) -> str:
    shape, alpha = r.shape(node), r.floats(node, 1)
    alpha = alpha.reshape(alpha.shape[1:]) if alpha.ndim > len(shape) and alpha.shape[0] == 1 else alpha
    alpha = alpha.reshape((1,) * (len(shape) - alpha.ndim) + alpha.shape) if alpha.ndim <= len(shape) else alpha
    if alpha.ndim != len(shape) or not fits(alpha.shape, shape):
        raise r.refused(node, f"Its slopes of shape {alpha.shape} do not fit samples of shape {shape}.")
    shared = [i + 1 for i, n in enumerate(alpha.shape) if n == 1]
    return r.layer(node, "PReLU", shape, {"shared_axes": shared or None}, [alpha])


def _softmax(r: _Reader, node: Node) -> str:
    shape = r.shape(node)
    axis = r.axis(node, node.attributes.get("axis", 1 if r.graph.opset < 13 else -1), len(shape))
    if r.graph.opset < 13 and axis != len(shape):
        raise r.refused(node, "Up to operator set 12 it flattens all axes behind the first.", "export it anew.")
    if axis == len(shape):
        return _activation("softmax" if node.kind == "Softmax" else "log_softmax")(r, node)
    if node.kind == "LogSoftmax":
        raise r.refused(node, "It works along another axis than the last.")
    return r.layer(node, "Softmax", shape, {"axis": axis})


def _flatten(r: _Reader, node: Node) -> str:
    shape = r.shape(node)
    if r.axis(node, node.attributes.get("axis", 1), len(shape)) != 1:
        raise r.refused(node, "It puts features and rows on one axis.")
    return r.values[node.inputs[0]] if len(shape) == 1 else r.layer(node, "Flatten", (math.prod(shape),))


def _reshape(r: _Reader, node: Node) -> str:
    shape, target = r.shape(node), [int(n) for n in r.array(node, 1).ravel()[:17]]
    own = r.graph.inputs.get(next(iter(r.graph.inputs)))
    rows = own[0] if own else None
    total = math.prod(shape)
    if not target or len(target) > 16 or target[0] not in (-1, 0, rows):
        raise r.refused(node, f"It makes the shape {target}, which does not keep the rows.")
    rest = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(target[1:])]
    known = math.prod(n for n in rest if n != -1)
    if rest.count(-1) == 1 and target[0] != -1 and known > 0:
        rest = [total // known if n == -1 else n for n in rest]
    if math.prod(rest) != total or any(n < 0 for n in rest):
        raise r.refused(node, f"It makes the shape {target} of samples of shape {shape}.")
    if len(rest) == 1:
        return r.values[node.inputs[0]] if len(shape) == 1 else r.layer(node, "Flatten", (total,))
    return r.layer(node, "Reshape", tuple(rest), {"target_shape": rest})


def _transpose(r: _Reader, node: Node) -> str:
    shape, order = r.shape(node), node.attributes.get("perm")
    if not isinstance(order, list) or sorted(order) != list(range(len(shape) + 1)) or order[0] != 0:
        raise r.refused(node, "It moves the axis of the rows.")
    return r.layer(node, "Permute", tuple(shape[i - 1] for i in order[1:]), {"dims": order[1:]})


def _concat(r: _Reader, node: Node) -> str:
    values = [r.value(node, i) for i in range(len(node.inputs))]
    shapes = [r.make.shapes[x] for x in values]
    axis = r.axis(node, node.attributes.get("axis"), len(shapes[0]))
    if len(values) == 1:
        return values[0]
    if len({(*shape[: axis - 1], None, *shape[axis:]) for shape in shapes}) != 1:
        raise r.damaged(f"the inputs of {node.name!r} have the shapes {shapes}")
    total = sum(shape[axis - 1] for shape in shapes)
    shape = (*shapes[0][: axis - 1], total, *shapes[0][axis:])
    return r.layer(node, "Concatenate", shape, {"axis": axis}, inputs=values)


def _dropout(r: _Reader, node: Node) -> str:
    rate = node.attributes.get("ratio", 0.5)
    if len(node.inputs) > 1 and node.inputs[1]:
        rate = float(r.floats(node, 1).reshape(-1)[:1].sum())
    if not isinstance(rate, float | int) or not 0 <= rate <= 1:
        raise r.refused(node, f"Its rate is {rate!r}.")
    return r.layer(node, "Dropout", r.shape(node), {"rate": float(rate)})


def _function(module: str, kind: str) -> Rule:
    return lambda r, node: r.make.function(module, kind, [r.value(node)], r.shape(node))


def _same(r: _Reader, node: Node) -> str:
    if node.kind == "Cast" and node.attributes.get("to") not in (1, 10, 11, 16):
        raise r.refused(node, "It makes whole numbers of floats.")
    return r.value(node)


_ARITHMETIC: dict[str, Any] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
_RULES: dict[str, Rule] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"), _binary),
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "HardSwish": _activation("hard_silu"),
    "Mish": _activation("mish"),
    "Exp": _activation("exponential"),
    "HardSigmoid": _hard_sigmoid,
    "Selu": _selu,
    "Celu": _celu,
    "Gelu": _gelu,
    "LeakyRelu": _with("LeakyReLU", "alpha", "negative_slope", 0.01),
    "Elu": _with("ELU", "alpha", "alpha", 1.0),
    "ThresholdedRelu": _with("ReLU", "alpha", "threshold", 1.0),
    "PRelu": _prelu,
    "Clip": _clip,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Dropout": _dropout,
    "Identity": _same,
    "Cast": _same,
    "Erf": _function("math", "Erf"),
    "Abs": _function("numpy", "Absolute"),
    "Neg": _function("numpy", "Negative"),
    "Sqrt": _function("numpy", "Sqrt"),
}
