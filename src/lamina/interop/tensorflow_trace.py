"""From the graph of a SavedModel to layers: each node is given a meaning, from the inputs to the outputs.

A value is an array that is known (weights and what is computed of them), or something in the stream of data. What
layers are made of (the mean of a row, its variance) has a meaning of its own until the layer is complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.interop import protobuf
from lamina.interop.tensorflow_proto import Function, Graph, GraphNode, constant

_DEEPEST = 24
_PASSED = ("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot", "IdentityN")
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")


@dataclass(frozen=True)
class Known:
    """An array, and the names of the variables that it was computed from; `epsilon` is what was added to a variance."""

    array: Numpy
    variables: tuple[tuple[str, Numpy], ...] = ()
    epsilon: float | None = None


@dataclass(frozen=True)
class Handle:
    """A variable that has not been read."""

    name: str


@dataclass(frozen=True, eq=False)
class Stream:
    """Something in the stream of data: an input, or what a layer gives.

    Attributes:
        kind: The class of the layer; `Input` for an input; `matmul`, `scale` or `part` before a layer is complete.
        inputs: What goes in.
        config: The config of the layer.
        arrays: Its weights.
        name: The name of the node.
        about: What a value that is no layer stands for.
    """

    kind: str
    inputs: tuple["Stream", ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[Numpy, ...] = ()
    name: str = ""
    about: tuple[Any, ...] = ()


Value = Known | Handle | Stream | list[str]


class Trace:
    """The meaning of every node of one SavedModel.

    Args:
        graph: The graph.
        read: What gives the array of a variable by the name of its handle.
        source: What to call the file in an error.
    """

    def __init__(self, graph: Graph, read: Callable[[str], Numpy], source: str) -> None:
        self._graph, self._read, self._source = graph, read, source

    def run(self, inputs: dict[str, Stream], outputs: Sequence[str]) -> list[Stream]:
        """Return what the outputs of the graph mean, given its inputs."""
        body = Function([], self._graph.nodes, {}, [])
        found = [self._at(name, body, dict(inputs), {}, 0) for name in outputs]
        return [self._layer(value) for value in found]

    def _at(
        self, wanted: str, body: Function, given: dict[str, Any], done: dict[str, list[Value]], depth: int
    ) -> Value:
        """Return the value of a name such as `node:0` or `node:output:0`; what it needs is computed before it."""
        if depth > _DEEPEST:
            raise FileFormatError(message("Its functions call each other without end.", owner=self._source))
        stack = [wanted]
        on_the_way: set[str] = set()
        while stack:
            name = stack[-1].partition(":")[0]
            if name in given or name in done:
                stack.pop()
                continue
            node = body.nodes.get(name)
            if node is None:
                raise FileFormatError(message(f"A node takes `{name}`, which is not there.", owner=self._source))
            missing = [i for i in node.inputs if (n := i.partition(":")[0]) not in given and n not in done]
            if missing and name in on_the_way:
                raise self._cannot(node, "it needs its own output")
            if missing:
                on_the_way.add(name)
                stack.extend(missing)
                continue
            arguments = [self._taken(i, given, done) for i in node.inputs]
            done[name] = self._values(node, arguments, depth)
            stack.pop()
        return self._taken(wanted, given, done)

    def _taken(self, name: str, given: dict[str, Any], done: dict[str, list[Value]]) -> Value:
        node, _, rest = name.partition(":")
        if node in given:
            value: Value = given[node]
            return value
        values, place = done[node], rest.rpartition(":")[2]
        number = int(place) if place.isdecimal() and len(place) < 6 else 0
        if number >= len(values):
            raise FileFormatError(message(f"Node `{node}` has no output {number}.", owner=self._source))
        return values[number]

    def _cannot(self, node: GraphNode, why: str) -> FileFormatError:
        return FileFormatError(
            message(
                f"The operation {node.op} (node `{node.name}`) has no layer here: {why}.",
                owner=self._source,
                fix="save the model with Keras as `.keras`, or build it here and load the checkpoint's arrays into it.",
            )
        )

    def _values(self, node: GraphNode, arguments: list[Value], depth: int) -> list[Value]:
        if node.op in _CALLS:
            called = self._graph.functions.get(node.function())
            if called is None or len(called.arguments) != len(arguments):
                raise self._cannot(node, "the function that it calls is not there")
            given = dict(zip(called.arguments, arguments, strict=True))
            done: dict[str, list[Value]] = {}
            return [self._at(called.returned.get(name, ""), called, given, done, depth + 1) for name in called.order]
        if node.op == "VarHandleOp":
            return [Handle(node.name)]
        if node.op == "Const":
            found = constant(node, self._source)
            return [found if isinstance(found, list) else Known(found)]
        if node.op == "ReadVariableOp" and isinstance(arguments[0], Handle):
            array = self._read(arguments[0].name)
            return [Known(array, ((arguments[0].name, array),))]
        if node.op in _PASSED:
            return arguments
        if any(isinstance(a, Handle | list) for a in arguments) or not arguments:
            raise self._cannot(node, "it is neither a weight nor computed from the inputs")
        if all(isinstance(a, Known) for a in arguments):
            return [_folded(node, arguments) or _raise(self._cannot(node, "it computes something unknown of weights"))]
        rule = _RULES.get(node.op)
        found_value = rule(node, arguments) if rule is not None else None
        if found_value is None:
            kinds = ", ".join(a.kind if isinstance(a, Stream) else "a constant" for a in arguments)
            raise self._cannot(node, f"with {kinds}")
        return [found_value]

    def _layer(self, value: Value) -> Stream:
        """Return a complete layer."""
        if not isinstance(value, Stream):
            raise invalid("An output of the graph does not depend on its inputs.", owner=self._source)
        return value


def _raise(error: Exception) -> Any:
    raise error


# ---- what is computed of weights alone

_NUMPY: dict[str, Callable[..., Numpy]] = {
    "AddV2": np.add, "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "RealDiv": np.divide, "Maximum": np.maximum,
    "Neg": np.negative, "Sqrt": np.sqrt, "Rsqrt": lambda x: 1 / np.sqrt(x), "Square": np.square, "Exp": np.exp,
}  # fmt: skip


def _folded(node: GraphNode, arguments: list[Any]) -> Known | None:
    arrays = [a.array for a in arguments]
    variables = tuple({name: array for a in arguments for name, array in a.variables}.items())
    epsilon = next((a.epsilon for a in arguments if a.epsilon is not None), None)
    if node.op in ("Reshape", "ExpandDims", "Squeeze"):
        return Known(arrays[0].reshape(-1), variables, epsilon)  # weights of one axis, made to broadcast
    if node.op == "Cast":
        return Known(arrays[0], variables, epsilon)
    if node.op not in _NUMPY or any(a.size > 1 << 24 and a.ndim == 0 for a in arrays):
        return None
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    if int(np.prod(shape)) > 4 * max(a.size for a in arrays):
        return None  # an outer product: no layer makes one
    if (
        node.op in ("AddV2", "Add")
        and variables
        and any(a.size == 1 and not k.variables for a, k in zip(arrays, arguments, strict=True))
    ):
        epsilon = float(next(a for a, k in zip(arrays, arguments, strict=True) if not k.variables).reshape(-1)[0])
    with np.errstate(all="ignore"):
        return Known(np.asarray(_NUMPY[node.op](*arrays)), variables, epsilon)


# ---- what is computed of the data

Rule = Callable[[GraphNode, list[Any]], Stream | None]


def _sorted(arguments: list[Any]) -> tuple[Stream, Known] | None:
    first, second = arguments
    if isinstance(first, Stream) and isinstance(second, Known):
        return first, second
    return (second, first) if isinstance(second, Stream) and isinstance(first, Known) else None


def _function(name: str) -> Rule:
    def rule(node: GraphNode, arguments: list[Any]) -> Stream | None:
        return Stream("Activation", (arguments[0],), {"activation": name}, (), node.name)

    return rule


def _matmul(node: GraphNode, arguments: list[Any]) -> Stream | None:
    x, w = arguments[0], arguments[1]
    if (
        not isinstance(x, Stream)
        or not isinstance(w, Known)
        or w.array.ndim != 2
        or node.attribute("transpose_a", 5, 0)
    ):
        return None
    kernel = w.array.T if node.attribute("transpose_b", 5, 0) else w.array
    return Stream("Dense", (x,), {"units": int(kernel.shape[1]), "use_bias": False}, (kernel,), _named(w, node))


def _named(known: Known, node: GraphNode) -> str:
    """Return the name of the layer that a weight belongs to: the variable has it as Keras wrote it."""
    return known.variables[0][0] if known.variables else node.name


def _add(node: GraphNode, arguments: list[Any]) -> Stream | None:
    pair = _sorted(arguments)
    if pair is None:
        return _both_add(node, arguments)
    x, known = pair
    if x.kind == "Dense" and not x.config["use_bias"] and known.array.shape == (x.config["units"],):
        return Stream("Dense", x.inputs, {**x.config, "use_bias": True}, (*x.arrays, known.array), x.name)
    if x.about[:1] == ("scaled",):
        return _normalized(x, known, node)
    if x.about[:1] == ("variance",) and known.array.size == 1:
        return Stream("part", (), {}, (), node.name, ("variance+", x.about[1], float(known.array.reshape(-1)[0])))
    if x.about[:1] == ("mean*",):
        return Stream("part", (), {}, (), node.name, ("shift", x.about[1], known))
    if known.array.size == 1:
        number = float(known.array.reshape(-1)[0])
        if x.kind == "erf" and number == 1.0:
            return Stream("part", (), {}, (), node.name, ("1+erf", x.about[1]))
        return Stream("Rescaling", (x,), {"scale": 1.0, "offset": number}, (), node.name)
    return None


def _both_add(node: GraphNode, arguments: list[Any]) -> Stream | None:
    a, b = arguments
    for one, two in ((a, b), (b, a)):
        if (
            one.about[:1] == ("scaled by",)
            and two.about[:1] in (("shift",), ("mean*",))
            and one.about[1] is two.about[1]
        ):
            _, x, epsilon, gamma = one.about
            beta = two.about[2].array.reshape(-1) if two.about[0] == "shift" else None
            config = {"epsilon": epsilon, "scale": gamma is not None, "center": beta is not None}
            return Stream(
                "LayerNormalization", (x,), config, tuple(g for g in (gamma, beta) if g is not None), node.name
            )
    return Stream("Add", (a, b), {}, (), node.name) if _complete(a, b) else None


def _complete(*streams: Stream) -> bool:
    return all(not stream.about for stream in streams)


def _normalized(x: Stream, shift: Known, node: GraphNode) -> Stream | None:
    """Return the batch normalization that a scale and this shift are."""
    _, inner, scale = x.about
    held = {
        name.rpartition("/")[2].rstrip("_0123456789"): array for name, array in (*scale.variables, *shift.variables)
    }
    mean, variance = held.get("moving_mean"), held.get("moving_variance")
    if mean is not None and variance is not None and scale.epsilon is not None:
        gamma, beta = held.get("gamma"), held.get("beta")
        config = {"epsilon": scale.epsilon, "scale": gamma is not None, "center": beta is not None}
        arrays = tuple(a for a in (gamma, beta, mean, variance) if a is not None)
    else:  # whatever it was called, it scales and shifts
        size = max(scale.array.size, shift.array.size)
        gamma, beta = (np.broadcast_to(a.array.reshape(-1), (size,)).astype("float32") for a in (scale, shift))
        config = {"epsilon": 0.0, "scale": True, "center": True}
        arrays = (gamma, beta, np.zeros(size, "float32"), np.ones(size, "float32"))
    return Stream("BatchNormalization", (inner,), config, arrays, _named(scale, node))


def _mul(node: GraphNode, arguments: list[Any]) -> Stream | None:
    pair = _sorted(arguments)
    if pair is None:
        return _both_mul(node, arguments)
    x, known = pair
    if x.about[:1] == ("1/deviation",):
        return Stream("part", (), {}, (), node.name, ("1/deviation", x.about[1], x.about[2], known.array.reshape(-1)))
    if known.array.size == 1:
        number = float(known.array.reshape(-1)[0])
        if number == 1.0:
            return x
        if x.about[:1] == ("1+erf",):
            return Stream("part", (), {}, (), node.name, ("1+erf times", x.about[1], number))
        if x.kind == "Rescaling" and x.config["offset"] == 0.0:
            return Stream("Rescaling", x.inputs, {**x.config, "scale": x.config["scale"] * number}, (), node.name)
        return Stream("Rescaling", (x,), {"scale": number, "offset": 0.0}, (), node.name) if _complete(x) else None
    return Stream("part", (), {}, (), node.name, ("scaled", x, known)) if _complete(x) else None


def _both_mul(node: GraphNode, arguments: list[Any]) -> Stream | None:
    a, b = arguments
    for one, two in ((a, b), (b, a)):
        if two.about[:1] == ("1/deviation",):
            _, x, epsilon, gamma = two.about
            if one is x:
                return Stream("part", (), {}, (), node.name, ("scaled by", x, epsilon, gamma))
            if one.about[:2] in (("-mean", x), ("mean", x)):
                return Stream("part", (), {}, (), node.name, ("mean*" if one.about[0] == "-mean" else "+mean*", x))
        if two.config.get("activation") == "sigmoid" and two.inputs == (one,):
            return Stream("Activation", (one,), {"activation": "silu"}, (), node.name)
        if two.about[:1] == ("1+erf",) and one.kind == "Rescaling" and one.config == {"scale": 0.5, "offset": 0.0}:
            return _gelu(node, one.inputs[0], two.about[1])
        if two.about[:1] == ("1+erf times",) and two.about[2] == 0.5:
            return _gelu(node, one, two.about[1])
    return Stream("Multiply", (a, b), {}, (), node.name) if _complete(a, b) else None


def _gelu(node: GraphNode, x: Stream, inner: Stream) -> Stream | None:
    return Stream("Activation", (x,), {"activation": "gelu"}, (), node.name) if inner is x else None


def _erf(node: GraphNode, arguments: list[Any]) -> Stream | None:
    (x,) = arguments
    root = x.config["scale"] if x.kind == "Rescaling" and x.config["offset"] == 0.0 else 0.0
    if node.op == "Erf" and abs(root - 0.5**0.5) < 1e-6:
        return Stream("erf", (), {}, (), node.name, ("erf", x.inputs[0]))
    if node.op == "Erfc" and abs(root + 0.5**0.5) < 1e-6:  # 1 - erf(-x) = 1 + erf(x)
        return Stream("part", (), {}, (), node.name, ("1+erf", x.inputs[0]))
    return None


def _divide(node: GraphNode, arguments: list[Any]) -> Stream | None:
    x, known = arguments
    if not isinstance(x, Stream) or not isinstance(known, Known) or not _complete(x):
        return None
    if known.array.size == 1:
        return Stream("Rescaling", (x,), {"scale": float(1 / known.array.reshape(-1)[0]), "offset": 0.0}, (), node.name)
    return Stream("part", (), {}, (), node.name, ("scaled", x, Known(1 / known.array)))


def _subtract(node: GraphNode, arguments: list[Any]) -> Stream | None:
    a, b = arguments
    if isinstance(a, Known) and isinstance(b, Stream):
        return Stream("part", (), {}, (), node.name, ("shift", b.about[1], a)) if b.about[:1] == ("+mean*",) else None
    if isinstance(b, Known):
        return _add(node, [a, Known(-b.array, b.variables, b.epsilon)])
    return Stream("Subtract", (a, b), {}, (), node.name) if _complete(a, b) else None


def _mean(node: GraphNode, arguments: list[Any]) -> Stream | None:
    x, axes = arguments
    if not isinstance(x, Stream) or not isinstance(axes, Known) or axes.array.reshape(-1).tolist() not in ([-1], [1]):
        return None
    if x.about[:1] == ("square",):
        return Stream("part", (), {}, (), node.name, ("variance", x.about[1]))
    return Stream("part", (), {}, (), node.name, ("mean", x)) if _complete(x) else None


def _squared_difference(node: GraphNode, arguments: list[Any]) -> Stream | None:
    for x, mean in (arguments, arguments[::-1]):
        if isinstance(mean, Stream) and mean.about[:1] == ("mean",) and mean.about[1] is x:
            return Stream("part", (), {}, (), node.name, ("square", x))
    return None


def _rsqrt(node: GraphNode, arguments: list[Any]) -> Stream | None:
    (x,) = arguments
    if x.about[:1] != ("variance+",):
        return None
    return Stream("part", (), {}, (), node.name, ("1/deviation", x.about[1], x.about[2], None))


def _negative(node: GraphNode, arguments: list[Any]) -> Stream | None:
    (x,) = arguments
    if x.about[:1] == ("mean",):
        return Stream("part", (), {}, (), node.name, ("-mean", x.about[1]))
    return Stream("Rescaling", (x,), {"scale": -1.0, "offset": 0.0}, (), node.name) if _complete(x) else None


def _leaky(node: GraphNode, arguments: list[Any]) -> Stream | None:
    raw = node.attribute("alpha", 4, None)
    slope = 0.2 if raw is None else protobuf.real(raw)
    return Stream("LeakyReLU", (arguments[0],), {"negative_slope": slope}, (), node.name)


def _concatenate(node: GraphNode, arguments: list[Any]) -> Stream | None:
    *parts, axis = arguments
    if not isinstance(axis, Known) or not all(isinstance(p, Stream) and not p.about for p in parts):
        return None
    return Stream("Concatenate", tuple(parts), {"axis": int(axis.array.reshape(-1)[0])}, (), node.name)


def _merge(kind: str) -> Rule:
    def rule(node: GraphNode, arguments: list[Any]) -> Stream | None:
        streams = all(isinstance(a, Stream) and not a.about for a in arguments)
        return Stream(kind, tuple(arguments), {}, (), node.name) if streams else None

    return rule


def _cast(node: GraphNode, arguments: list[Any]) -> Stream | None:
    kinds = [int(node.attribute(key, 6, 1)) for key in ("SrcT", "DstT")]
    return arguments[0] if all(kind in (1, 2, 14, 19) for kind in kinds) else None


def _softmax(node: GraphNode, arguments: list[Any]) -> Stream | None:
    return Stream("Softmax", (arguments[0],), {}, (), node.name)


_RULES: dict[str, Rule] = {
    "MatMul": _matmul, "BiasAdd": _add, "AddV2": _add, "Add": _add, "Mul": _mul, "Sub": _subtract, "RealDiv": _divide,
    "Mean": _mean, "SquaredDifference": _squared_difference, "Rsqrt": _rsqrt, "Neg": _negative, "Erf": _erf,
    "Erfc": _erf,
    "LeakyRelu": _leaky, "ConcatV2": _concatenate, "Cast": _cast, "Softmax": _softmax, "Maximum": _merge("Maximum"),
    "Minimum": _merge("Minimum"), "AddN": _merge("Add"),
    **{op: _function(name) for op, name in {
        "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "Elu": "elu", "Selu": "selu",
        "Softplus": "softplus", "Softsign": "softsign", "Exp": "exponential", "LogSoftmax": "log_softmax",
    }.items()},
}  # fmt: skip
