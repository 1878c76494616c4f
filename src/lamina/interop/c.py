"""C99 source: one header and one file, without a heap, with floats or 8-bit weights."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.files import atomic
from lamina.interop import peers, quantized
from lamina.interop.c_text import HELPERS, literal
from lamina.interop.lowered import Lowered, Operation, compact, size
from lamina.interop.lowering import lower
from lamina.interop.net import Net
from lamina.interop.plan import plan
from lamina.interop.source import Body, Dialect

_C = Dialect(
    "C",
    "const float",
    "int",
    literal,
    {
        "exp": "expf({})",
        "log1p": "log1pf({})",
        "sqrt": "sqrtf({})",
        "tanh": "tanhf({})",
        "erf": "erff({})",
        "absolute": "fabsf({})",
    },
)
_KEYWORDS = frozenset(
    {
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern"),
        *("float", "for", "goto", "if", "inline", "int", "long", "main", "register", "restrict", "return", "short"),
        *("signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile"),
        "while",
    }
)


def matches(path: str, head: bytes) -> bool:
    """Return False: a program is not read."""
    del path, head
    return False


def write(net: Net, path: str, *, int8: bool = False, calibration: Any = None) -> tuple[str, ...]:
    """Write `NAME.c`, and `NAME.h` beside it, and return what is to be known of them.

    Args:
        net: The model.
        path: Where the `.c` file goes. Its name is that of the function: `NAME_predict(inputs, outputs)`.
        int8: Whether weights are kept in 8 bits, a quarter of the size.
        calibration: With `int8`: an `.npz` file with inputs `x` (and labels `y`), or arrays. The ranges of all layers'
            inputs are then fixed to those seen; without, each is found anew for each sample.
    """
    lowered = lower(net)
    small = compact(lowered)
    _check(small)
    name = _name(path)
    notes = list(lowered.notes)
    ranges = None
    if int8:
        data = quantized.data_for(lowered, calibration)
        ranges = quantized.ranges_of(small, data) if calibration is not None else None
        notes += quantized.loss_notes(small, {"dense": quantized.dense_rule(ranges)}, data)
        seen = "fixed to those of the calibration data" if ranges is not None else "found for each sample"
        notes.append(f"The ranges of the inputs of dense layers are {seen}.")
    elif calibration is not None:
        raise invalid("`calibration` is for 8-bit weights.", fix="add `--int8`, or leave it out.")
    program = _Program(small, name, int8, ranges)
    base = os.path.splitext(path)[0]
    header = base + ".h"
    atomic.write(header, [program.header().encode()])
    atomic.write(path, [program.source(os.path.basename(header)).encode()])
    notes.append(
        f"{program.bytes:,} bytes of constants and {program.work:,} of work area, no heap. "
        f"Compile with `cc -std=c99 -O2 -c {os.path.basename(path)}`, link with `-lm`."
    )
    return tuple(notes)


def _name(path: str) -> str:
    return _identifier(os.path.splitext(os.path.basename(path))[0])


def _identifier(text: str) -> str:
    found = re.sub(r"[^0-9a-zA-Z_]", "_", text)
    return f"net_{found}" if not found or found[0].isdigit() or found in _KEYWORDS else found


def _check(net: Lowered) -> None:
    for op in net.operations:
        for key, array in op.arrays.items():
            if not np.isfinite(array).all():
                raise invalid(
                    f"Its `{key}` holds NaN or infinity, which C source cannot.",
                    owner=f"Layer `{op.layer}`",
                    fix="train the model anew: its weights are lost.",
                )


class _Program:
    """The two files of one network."""

    def __init__(self, net: Lowered, name: str, int8: bool, ranges: quantized.Ranges | None) -> None:
        self.net, self.name, self.int8, self.ranges = net, name, int8, ranges
        self.plan = plan(net)
        self.arrays: list[str] = []
        self.bytes = 0
        self.arguments = _unique([*net.inputs, *net.outputs])
        self.values = {value: f"v{i}" for i, value in enumerate(self.plan.places)}
        self.body = Body(_C, self.values, self._hold)
        self.longest = 0
        for op in net.operations:
            self.body.lines.append(f"/* {_comment(op.layer)}: {op.kind} */")
            if op.kind == "dense":
                self._dense(op)
            else:
                self.body.add(op, net)
        self.work = 4 * max(self.plan.room, 1) + self.longest

    def _hold(self, array: np.ndarray, op: Operation, key: str) -> str:
        name = f"w{len(self.arrays)}"
        kind, text = ("signed char", str) if array.dtype == np.int8 else ("float", literal)
        words = [text(v) for v in array.ravel().tolist()]
        rows = ",\n  ".join(", ".join(words[i : i + 16]) for i in range(0, len(words), 16))
        about = f"/* {_comment(op.layer)}: {key} {tuple(array.shape)} */"
        self.arrays.append(f"{about}\nstatic const {kind} {name}[{len(words)}] = {{\n  {rows}\n}};")
        self.bytes += array.nbytes
        return name

    def _dense(self, op: Operation) -> None:
        x, y = self.values[op.inputs[0]], self.values[op.output]
        inputs, units = op.arrays["kernel"].shape
        rows = size(self.net.shapes[op.output]) // units
        bias = self._hold(op.arrays.get("bias", np.zeros(units, np.float32)), op, "bias")
        if not self.int8:
            kernel = self._hold(op.arrays["kernel"].T, op, "kernel, transposed")
            self.body.helpers.add("dense")
            self.body.lines.append(f"dense({kernel}, {bias}, {x}, {y}, {rows}, {inputs}, {units});")
            return
        small = quantized.kernel_of(op)
        self.longest = max(self.longest, inputs)
        kernel = self._hold(small.weights.T, op, "kernel, transposed, in units of the scales")
        scales = self._hold(small.scales, op, "scales")
        self.body.helpers.add("dense8")
        if self.ranges is None:
            self.body.lines.append(f"dense8({kernel}, {scales}, {bias}, {x}, {y}, {rows}, {inputs}, {units}, 0.0f, 0);")
            return
        scale, zero = self.ranges.scale(op.inputs[0])
        self.body.lines.append(
            f"dense8({kernel}, {scales}, {bias}, {x}, {y}, {rows}, {inputs}, {units}, {literal(float(scale))}, {zero});"
        )

    def _signature(self) -> str:
        ins = [f"const float *{name}" for name in self.arguments[: len(self.net.inputs)]]
        outs = [f"float *{name}" for name in self.arguments[len(self.net.inputs) :]]
        return f"void {self.name}_predict({', '.join(ins + outs)})"

    def header(self) -> str:
        """Return the header: what goes in, what comes out."""
        guard = f"{self.name.upper()}_H"
        both = [*self.net.inputs, *self.net.outputs]
        lines = [f"/* {_comment(self.net.name)}, written by lamina. */", f"#ifndef {guard}", f"#define {guard}", ""]
        for value, argument in zip(both, self.arguments, strict=True):
            shape = self.net.shapes[value]
            lines.append(f"#define {self.name.upper()}_{argument.upper()}_SIZE {size(shape)} /* {shape or 1} */")
        lines += [
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            "/* Computes the outputs of one sample. All arrays are row by row (C order) and of the sizes above.",
            "   It has one static work area: call it from one thread at a time. */",
            self._signature() + ";",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
        return "\n".join(lines)

    def source(self, header: str) -> str:
        """Return the source: constants, helpers, the function."""
        needed = ["dense8_work"] if self.longest else []
        helpers = [HELPERS[name] for name in (*needed, *sorted(self.body.helpers))]
        lines = [
            f"/* {_comment(self.net.name)}, written by lamina. */",
            f'#include "{header}"',
            "#include <math.h>",
            "#include <string.h>",
            "",
            *self.arrays,
            "",
            f"static float work[{max(self.plan.room, 1)}];",
            *(text.replace("@LONGEST@", str(self.longest)) for text in helpers),
            "",
            self._signature() + " {",
        ]
        for value, place in self.plan.places.items():
            if place.source:
                argument = self.arguments[self.net.inputs.index(place.source)]
                lines.append(f"  const float *const {self.values[value]} = {argument};")
            else:
                lines.append(f"  float *const {self.values[value]} = work + {place.offset};")
        lines += [f"  (void){name};" for name in self.values.values()]
        lines += ["  " + line for line in self.body.lines]
        for value, argument in zip(self.net.outputs, self.arguments[len(self.net.inputs) :], strict=True):
            lines.append(f"  memcpy({argument}, {self.values[value]}, {size(self.net.shapes[value])} * sizeof(float));")
        return "\n".join([*lines, "}", ""])


def _comment(text: str) -> str:
    """Return a text that cannot end a comment."""
    return re.sub(r"[^\w ./:,()-]", "_", text, flags=re.ASCII)


def _unique(names: list[str]) -> list[str]:
    """Return C names for values, none twice and none that the program uses."""
    taken = {"work", "memcpy", *HELPERS}
    found: list[str] = []
    for name in names:
        plain = _identifier(name)
        if re.fullmatch(r"[vwti]\d+", plain):
            plain += "_"
        while plain in taken or plain.upper() in {one.upper() for one in found}:
            plain += "_"
        taken.add(plain)
        found.append(plain)
    return found


_RUN = """
import ctypes, glob, os, subprocess
subprocess.run(["gcc", "-std=c99", "-O1", "-shared", "-fPIC", "-o", "net.so", path, "-lm"], check=True)
predict = ctypes.CDLL(os.path.abspath("net.so")).{name}_predict
predict.restype = None
flat = [np.ascontiguousarray(x.reshape(len(x), -1), dtype="float32") for x in inputs]
outputs = [np.empty((len(flat[0]), n), "float32") for n in {sizes}]
for i in range(len(flat[0])):
    predict(*(array[i].ctypes.data_as(ctypes.c_void_p) for array in [*flat, *outputs]))
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what the file computes when gcc has compiled it."""
    lowered = lower(net)
    shapes = [lowered.shapes[name] for name in lowered.outputs]
    code = _RUN.replace("{name}", _name(path)).replace("{sizes}", repr([size(shape) for shape in shapes]))
    found = peers.outputs_of("gcc", code, path, inputs)
    return [y.reshape(len(y), *shape) for y, shape in zip(found, shapes, strict=True)]
