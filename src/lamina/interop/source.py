"""A network as the statements of a program: what C and JavaScript have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lamina.interop import functions
from lamina.interop.lowered import BINARY, Lowered, Operation, Shape, size

_ALONG = ("softmax", "log_softmax", "sparsemax", "layer_normalization", "rms_normalization", "unit_normalization")
_SYMBOL = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


@dataclass(frozen=True)
class Dialect:
    """How a language writes what is needed.

    Attributes:
        name: What to call it in an error.
        number: How a constant number is declared.
        counter: How a counter is declared.
        literal: The text of a number.
        calls: The form of each function, with `{}` for its argument.
    """

    name: str
    number: str
    counter: str
    literal: Callable[[float], str]
    calls: dict[str, str]


@dataclass
class Statements:
    """The elementary operations as statements, each with a name of its own."""

    dialect: Dialect
    lines: list[str] = field(default_factory=list)

    def _new(self, text: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{self.dialect.number} {name} = {text};")
        return name

    def _call(self, name: str, a: str) -> str:
        return self._new(self.dialect.calls[name].format(a))

    def constant(self, value: float) -> str:
        return self.dialect.literal(value)

    def add(self, a: str, b: str) -> str:
        return self._new(f"{a} + {b}")

    def subtract(self, a: str, b: str) -> str:
        return self._new(f"{a} - {b}")

    def multiply(self, a: str, b: str) -> str:
        return self._new(f"{a} * {b}")

    def divide(self, a: str, b: str) -> str:
        return self._new(f"{a} / {b}")

    def maximum(self, a: str, b: str) -> str:
        return self._new(f"{b} > {a} ? {b} : {a}")  # so that NaN stays NaN

    def minimum(self, a: str, b: str) -> str:
        return self._new(f"{b} < {a} ? {b} : {a}")

    def exp(self, a: str) -> str:
        return self._call("exp", a)

    def log1p(self, a: str) -> str:
        return self._call("log1p", a)

    def sqrt(self, a: str) -> str:
        return self._call("sqrt", a)

    def tanh(self, a: str) -> str:
        return self._call("tanh", a)

    def sigmoid(self, a: str) -> str:
        one = self.dialect.literal(1)
        return self._new(f"{one} / ({one} + {self.dialect.calls['exp'].format('-' + a)})")

    def erf(self, a: str) -> str:
        return self._call("erf", a)

    def absolute(self, a: str) -> str:
        return self._call("absolute", a)

    def where_greater(self, a: str, b: str, then: str, otherwise: str) -> str:
        return self._new(f"{a} > {b} ? {then} : {otherwise}")


@dataclass
class Body:
    """The statements of one network.

    Attributes:
        dialect: The language.
        names: What each value is called in it.
        hold: Returns the name of an array that the program holds.
        lines: The statements.
        helpers: Functions that they call.
    """

    dialect: Dialect
    names: dict[str, str]
    hold: Callable[[np.ndarray, Operation, str], str]
    lines: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)

    def add(self, op: Operation, net: Lowered) -> None:
        """Add the statements of one operation, all but `dense`."""
        shape, y = net.shapes[op.output], self.names[op.output]
        inputs = [(self.names[name], net.shapes[name]) for name in op.inputs]
        if op.kind in ("function", "affine", "prelu"):
            self._elementwise(op, inputs[0], y, shape)
        elif op.kind in BINARY:
            self._binary(op, inputs, y, shape)
        elif op.kind in _ALONG:
            self._along(op, inputs[0], y, shape)
        elif op.kind == "concatenate":
            start = 0
            for x, own in inputs:
                self._copy(x, own, y, shape, op.options["axis"], start)
                start += own[op.options["axis"]]
        elif op.kind == "slice":
            x, own = inputs[0]
            axis = op.options["axis"]
            inner = size(own[axis + 1 :])
            places = [(y, _strides(shape)), (x, _strides(own))]
            self._loops(shape, places, [("+", "0"), ("+", str(op.options["start"] * inner))], "{0} = {1};")
        elif op.kind == "transpose":
            x, own = inputs[0]
            moved = [_strides(own)[i] for i in op.options["order"]]
            self._loops(shape, [(y, _strides(shape)), (x, moved)], None, "{0} = {1};")
        elif op.kind != "reshape":
            raise op.cannot(self.dialect.name, "save the model as `.keras`.")

    def _copy(self, x: str, own: Shape, y: str, shape: Shape, axis: int, start: int) -> None:
        offset = start * size(shape[axis + 1 :])
        places = [(y, _strides(shape)), (x, _strides(own))]
        self._loops(own, places, [("+", str(offset)), ("+", "0")], "{0} = {1};")

    def _elementwise(self, op: Operation, source: tuple[str, Shape], y: str, shape: Shape) -> None:
        x, own = source
        if op.kind == "function":
            if op.options["name"] == "linear":
                return
            o = Statements(self.dialect)
            result = functions.apply(o, "x", op.options)
            statements = [f"{self.dialect.number} x = {{1}};", *o.lines, f"{{0}} = {result};"]
            self._loops(shape, [(y, _strides(shape)), (x, _strides(own))], None, "\n".join(statements))
            return
        arrays = [(self.hold(op.arrays[key], op, key), op.arrays[key].shape) for key in sorted(op.arrays)]
        places = [(name, _spread(own, shape)) for name, own in [(y, shape), (x, own), *arrays]]
        if op.kind == "prelu":
            zero = self.dialect.literal(0)
            text = f"{{0}} = {{1}} > {zero} ? {{1}} : {{2}} * {{1}};"
        else:
            held = sorted(op.arrays)
            text = "{0} = {1} * {2} + {3};" if len(held) == 2 else "{0} = {1} * {2};"
            text = "{0} = {1} + {2};" if held == ["shift"] else text if held else "{0} = {1};"
        self._loops(shape, places, None, text)

    def _binary(self, op: Operation, inputs: Sequence[tuple[str, Shape]], y: str, shape: Shape) -> None:
        places = [(y, _strides(shape)), *((name, _spread(own, shape)) for name, own in inputs)]
        if op.kind in _SYMBOL:
            text = f"{{0}} = {{1}} {_SYMBOL[op.kind]} {{2}};"
        else:
            sign = ">" if op.kind == "maximum" else "<"
            text = f"{{0}} = {{2}} {sign} {{1}} ? {{2}} : {{1}};"
        self._loops(shape, places, None, text)

    def _along(self, op: Operation, source: tuple[str, Shape], y: str, shape: Shape) -> None:
        axes = op.options["axes"]
        if tuple(axes) != tuple(range(axes[0], axes[-1] + 1)):
            raise op.cannot(f"{self.dialect.name} along axes that are not neighbours", "bring them together first.")
        outer, count, inner = size(shape[: axes[0]]), size(shape[axes[0] : axes[-1] + 1]), size(shape[axes[-1] + 1 :])
        epsilon = f", {self.dialect.literal(op.options['epsilon'])}" if "epsilon" in op.options else ""
        self.helpers.add(op.kind)
        self.lines.append(f"{op.kind}({source[0]}, {y}, {outer}, {count}, {inner}{epsilon});")
        arrays = [key for key in ("gamma", "scale", "beta") if key in op.arrays]
        if arrays:
            places = [(self.hold(op.arrays[key], op, key), _spread(op.arrays[key].shape, shape)) for key in arrays]
            text = "{0} = {0}" + "".join(f" {'+' if k == 'beta' else '*'} {{{i + 1}}}" for i, k in enumerate(arrays))
            self._loops(shape, [(y, _strides(shape)), *places], None, text + ";")

    def _loops(
        self,
        shape: Shape,
        places: Sequence[tuple[str, Sequence[int]]],
        offsets: Sequence[tuple[str, str]] | None,
        text: str,
    ) -> None:
        """Add loops over a shape around statements in which `{i}` is the current entry of the i-th array."""
        sizes, steps = _merged(shape, [strides for _, strides in places])
        cells = []
        for i, (name, _) in enumerate(places):
            terms = [f"i{k} * {s}" if s != 1 else f"i{k}" for k, s in enumerate(steps[i]) if s]
            if offsets is not None and offsets[i][1] != "0":
                terms.append(offsets[i][1])
            cells.append(f"{name}[{' + '.join(terms) or '0'}]")
        for k, n in enumerate(sizes):
            self.lines.append(f"{'  ' * k}for ({self.dialect.counter} i{k} = 0; i{k} < {n}; i{k}++) {{")
        body = text
        for i, cell in enumerate(cells):
            body = body.replace(f"{{{i}}}", cell)
        self.lines += ["  " * len(sizes) + line for line in body.split("\n")]
        self.lines += ["  " * k + "}" for k in range(len(sizes))[::-1]]


def _strides(shape: Sequence[int]) -> list[int]:
    return [size(tuple(shape[i + 1 :])) for i in range(len(shape))]


def _spread(own: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return the steps of an array that broadcasts to a shape: 0 along the axes that it does not have."""
    missing = len(shape) - len(own)
    steps = [0 if n == 1 else step for n, step in zip(own, _strides(own), strict=True)]
    if missing < 0:  # axes of size 1 in front
        return steps[-missing:]
    return [0] * missing + steps


def _merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Return the same loops with neighbouring axes made one where every array steps through both alike."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        if sizes and all(own[-1] == s[axis] * n for own, s in zip(steps, strides, strict=True)):
            sizes[-1] *= n
            for own, s in zip(steps, strides, strict=True):
                own[-1] = s[axis]
            continue
        sizes.append(n)
        for own, s in zip(steps, strides, strict=True):
            own.append(s[axis])
    if not sizes:
        return [1], [[0] for _ in strides]
    return sizes, steps
