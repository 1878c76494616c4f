"""A folder for a browser: one HTML page with the network, a plain JavaScript program, and fields to try it.

The page opens from a disk, without a network and without a library.
"""

import base64
import html
import json
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.files import atomic
from lamina.interop import peers
from lamina.interop.lowered import Lowered, Operation, compact, size
from lamina.interop.lowering import lower
from lamina.interop.net import Net
from lamina.interop.plan import plan
from lamina.interop.quantized import data_for
from lamina.interop.source import Body, Dialect
from lamina.interop.web_text import HELPERS, literal

_JAVASCRIPT = Dialect(
    "JavaScript",
    "const",
    "let",
    literal,
    {
        "exp": "Math.exp({})",
        "log1p": "Math.log1p({})",
        "sqrt": "Math.sqrt({})",
        "tanh": "Math.tanh({})",
        "erf": "erf({})",
        "absolute": "Math.abs({})",
    },
)
_VIEWS = ("draw", "fields")
_EXAMPLES = 12


def matches(path: str, head: bytes) -> bool:
    """Return False: a page is not read."""
    del path, head
    return False


def write(
    net: Net,
    path: str,
    *,
    view: str | None = None,
    labels: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    examples: Any = None,
) -> tuple[str, ...]:
    """Write `index.html` into a folder, or the page itself if the path ends in `.html`.

    Args:
        net: The model.
        path: The folder, which is made; or the page.
        view: "draw" for a drawing field, "fields" for numbers. Default: a drawing field for one input that is an image
            in shape, `(28, 28)` or `(784,)`, else numbers.
        labels: Names of the classes, for outputs of that size.
        features: Names of the numbers of the input.
        examples: An `.npz` file with inputs `x`, or arrays: up to twelve rows are offered to try.
    """
    lowered = lower(net)
    small = compact(lowered)
    _check(lowered, view, labels, features)
    program = _Program(small)
    page = _page(lowered, program, view, labels, features, examples)
    target = path
    if not path.lower().endswith((".html", ".htm")):
        os.makedirs(path, exist_ok=True)
        target = os.path.join(path, "index.html")
    atomic.write(target, [page.encode()])
    return (*lowered.notes, f"Open {target} in a browser: {len(page):,} bytes, no network needed.")


def _check(net: Lowered, view: Any, labels: Any, features: Any) -> None:
    if view is not None and view not in _VIEWS:
        raise invalid(f"`view` must be one of {_VIEWS}.", received=f"view={view!r}")
    if view == "draw" and (len(net.inputs) != 1 or _image(net.shapes[net.inputs[0]], least=1) is None):
        raise invalid("A drawing field needs one input that is a square image.", fix="pass `view='fields'`.")
    sizes = {
        "labels": [size(net.shapes[o]) for o in net.outputs],
        "features": [size(net.shapes[i]) for i in net.inputs],
    }
    for name, given in (("labels", labels), ("features", features)):
        if given is None:
            continue
        texts = isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
        if not texts or len(given) not in sizes[name]:
            raise invalid(
                f"`{name}` must be a list of {' or '.join(map(str, sizes[name]))} texts.", received=f"{name}={given!r}"
            )
    for op in net.operations:
        if not all(np.isfinite(array).all() for array in op.arrays.values()):
            raise invalid("Its weights hold NaN or infinity.", owner=f"Layer `{op.layer}`", fix="train the model anew.")


class _Program:
    """The JavaScript of one network, and its weights."""

    def __init__(self, net: Lowered) -> None:
        self.net, self.plan = net, plan(net)
        self.weights: list[Numpy] = []
        self.arrays: list[str] = []
        self.values = {value: f"v{i}" for i, value in enumerate(self.plan.places)}
        self.body = Body(_JAVASCRIPT, self.values, self._hold)
        for op in net.operations:
            if op.kind == "dense":
                self._dense(op)
            else:
                self.body.add(op, net)

    def _hold(self, array: Numpy, op: Operation, key: str) -> str:
        del op, key
        name, start = f"w{len(self.arrays)}", sum(one.size for one in self.weights)
        self.arrays.append(f"const {name} = weights.subarray({start}, {start + array.size});")
        self.weights.append(np.ascontiguousarray(array, "<f4").ravel())
        return name

    def _dense(self, op: Operation) -> None:
        inputs, units = op.arrays["kernel"].shape
        rows = size(self.net.shapes[op.output]) // units
        kernel = self._hold(op.arrays["kernel"].T, op, "kernel")
        bias = self._hold(op.arrays.get("bias", np.zeros(units, np.float32)), op, "bias")
        self.body.helpers.add("dense")
        x, y = self.values[op.inputs[0]], self.values[op.output]
        self.body.lines.append(f"dense({kernel}, {bias}, {x}, {y}, {rows}, {inputs}, {units});")

    def data(self) -> str:
        """Return all weights as text."""
        return base64.b64encode(b"".join(one.tobytes() for one in self.weights)).decode()

    def script(self) -> str:
        """Return `predict(inputs)`: a Float32Array for each input to one for each output."""
        text = "\n".join(self.body.lines)
        needed = sorted(self.body.helpers) + (["erf"] if "erf(" in text else [])
        lines = [HELPERS[name].strip() for name in needed]
        lines += [
            *self.arrays,
            f"const work = new Float32Array({max(self.plan.room, 1)});",
            "",
            "function predict(inputs) {",
        ]
        for value, place in self.plan.places.items():
            source = f"inputs[{self.net.inputs.index(place.source)}]" if place.source else ""
            end = place.offset + size(self.net.shapes[value])
            lines.append(f"  const {self.values[value]} = {source or f'work.subarray({place.offset}, {end})'};")
        lines += ["  " + line for line in self.body.lines]
        lines.append(f"  return [{', '.join(f'{self.values[name]}.slice()' for name in self.net.outputs)}];")
        return "\n".join([*lines, "}"])


def _image(shape: tuple[int, ...], least: int = 8) -> int | None:
    """Return the side of the square image that a sample is in shape, or None."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) == 2 and shape[0] == shape[1] and least <= shape[0] <= 128:
        return shape[0]
    side = round(size(shape) ** 0.5)
    flat = len(shape) == 1 and side * side == shape[0]
    return side if flat and (16 if least > 1 else 2) <= side <= 128 else None  # 64 numbers are more often a table


def _page(net: Lowered, program: _Program, view: Any, labels: Any, features: Any, examples: Any) -> str:
    draws = len(net.inputs) == 1 and view != "fields"
    side = _image(net.shapes[net.inputs[0]], least=1 if view == "draw" else 8) if draws else None
    inputs = []
    for name in net.inputs:
        count = size(net.shapes[name])
        low, high, middle = _scales(net, name, count)
        named = list(features) if features is not None and len(features) == count else None
        inputs.append({"name": name, "size": count, "low": low, "high": high, "middle": middle, "features": named})
    outputs = []
    for name in net.outputs:
        count = size(net.shapes[name])
        named = list(labels) if labels is not None and len(labels) == count else [str(i) for i in range(count)]
        outputs.append({"name": name, "size": count, "labels": named, "kind": _kind(net, name)})
    shown = [] if examples is None else _examples(net, examples)
    model = {"side": side, "inputs": inputs, "outputs": outputs, "examples": shown}
    with open(os.path.join(os.path.dirname(__file__), "web_page.html"), encoding="utf-8") as file:
        page = file.read()
    parts = {
        "@TITLE@": html.escape(net.name),
        "@MODEL@": json.dumps(model).replace("<", "\\u003c"),
        "@WEIGHTS@": program.data(),
        "@PROGRAM@": program.script(),
        "@PARAMETERS@": f"{net.parameters():,}",
    }
    return re.sub("|".join(parts), lambda found: parts[found[0]], page)


def _scales(net: Lowered, name: str, count: int) -> tuple[list[float], list[float], list[float]]:
    """Return a low, a high and a middle value for each number of an input, from the scaling at the model's begin."""
    first = next((op for op in net.operations if name in op.inputs), None)
    scale: Numpy = np.ones(())
    shift: Numpy = np.zeros(())
    low, high, middle = -3.0, 3.0, 0.0
    if first is not None and first.kind == "affine" and (first.arrays.get("scale", scale) != 0).all():
        scale, shift = first.arrays.get("scale", scale), first.arrays.get("shift", shift)
        low, high, middle = (0.0, 1.0, 0.0) if scale.size == 1 else (low, high, middle)
    elif _image(net.shapes[name]) is not None:
        low, high = 0.0, 1.0
    found = []
    for value in (low, high, middle):
        numbers = np.broadcast_to((value - shift) / scale, np.broadcast_shapes(net.shapes[name], scale.shape))
        found.append([float(f"{n:.4g}") for n in numbers.ravel()[:count]])
    return found[0], found[1], found[2]


def _kind(net: Lowered, name: str) -> str:
    last = next(op for op in net.operations if op.output == name)
    if last.kind in ("softmax", "sparsemax"):
        return "shares"
    return "share" if last.kind == "function" and last.options["name"] in ("sigmoid", "hard_sigmoid") else "number"


def _examples(net: Lowered, examples: Any) -> list[list[list[float]]]:
    data = data_for(net, examples)
    rows = range(min(_EXAMPLES, len(data.inputs[0])))
    return [[[float(f"{n:.5g}") for n in x[i].ravel()] for x in data.inputs] for i in rows]


_RUN = """
import base64, json, os, re, subprocess
page = path if os.path.isfile(path) else os.path.join(path, "index.html")
flat = [x.reshape(len(x), -1).astype("float32").tolist() for x in inputs]
script = (
    "<script>const given = " + json.dumps(flat) + ";"
    "const rows = given[0].map((_, i) => predict(given.map((x) => Float32Array.from(x[i]))).map((y) => Array.from(y)));"
    "document.body.innerHTML = '<pre id=found>' + JSON.stringify(rows) + '</pre>';</script></body>"
)
with open(page, encoding="utf-8") as file:
    text = file.read().replace("</body>", script)
with open("page.html", "w", encoding="utf-8") as file:
    file.write(text)
flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
flags += ["--disable-background-networking", "--disable-component-update"]
flags += ["--user-data-dir=" + os.path.abspath("profile"), "--dump-dom", "file://" + os.path.abspath("page.html")]
done = subprocess.run(["chromium", *flags], capture_output=True, text=True, check=True)
rows = json.loads(re.search("<pre id=.found.>(.*?)</pre>", done.stdout, re.DOTALL)[1])
outputs = [np.array([row[i] for row in rows], "float32") for i in range(len(rows[0]))]
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what the page's program computes in headless Chromium."""
    lowered = lower(net)
    found = peers.outputs_of("Chromium", _RUN, path, inputs)
    return [y.reshape(len(y), *lowered.shapes[name]) for y, name in zip(found, lowered.outputs, strict=True)]
