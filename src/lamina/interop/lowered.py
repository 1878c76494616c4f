"""A model as a short list of primitive operations in the order in which they run: what every writer shares.

A value has the shape of one sample; the batch axis stands before it everywhere and is never named. All numbers are
float32. `lowering.lower(net)` makes the list, `evaluate` runs it.

| kind | inputs | arrays | options |
|---|---|---|---|
| `dense` | x | `kernel (inputs, units)`, `bias (units,)` or none | |
| `affine` | x | `scale`, `shift`, either may be missing; they broadcast with a sample | |
| `batch_normalization` | x, one axis | `gamma`, `beta`, `mean`, `variance`, each `(features,)` | `epsilon` |
| `layer_normalization` | x | `gamma`, `beta` in the shape that broadcasts, either may be missing | `axes`, `epsilon` |
| `rms_normalization` | x | `scale` in the shape that broadcasts | `axes`, `epsilon` |
| `unit_normalization` | x | | `axes` |
| `function` | x | | `name` and its arguments: `functions.FUNCTIONS` |
| `prelu` | x | `alpha`, broadcasts with a sample | |
| `softmax`, `log_softmax` | x | | `axes` |
| `sparsemax` | x | | `axes` (one) |
| `add` `subtract` `multiply` `divide` `maximum` `minimum` | a, b, which broadcast | | |
| `concatenate` | two or more | | `axis` |
| `slice` | x | | `axis`, `start`, `stop` |
| `reshape` | x | | `shape` |
| `transpose` | x | | `order` |

Axes count within a sample, from 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lamina.errors import InvalidArgumentError, invalid
from lamina.interop import functions

Shape = tuple[int, ...]

BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")


@dataclass(frozen=True)
class Operation:
    """One step: `output = kind(inputs)`.

    Attributes:
        kind: One of the kinds in the table above.
        inputs: Names of the values that go in.
        output: Name of the value that comes out.
        layer: The layer that it came from, `outer/inner` inside a nested model, for errors.
        arrays: What it holds.
        options: Its plain settings.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    layer: str
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def cannot(self, target: str, fix: str) -> InvalidArgumentError:
        """Return the error which says that a format has no such operation."""
        name = self.options["name"] if self.kind == "function" else self.kind
        return invalid(f"{target} cannot hold the operation `{name}`.", owner=f"Layer `{self.layer}`", fix=fix)


@dataclass(frozen=True)
class Lowered:
    """A model as operations in a fixed order: each uses what the inputs or earlier operations gave.

    Attributes:
        name: Name of the model.
        inputs: Names of the values that come in.
        outputs: Names of the values that go out; each is the output of an operation of its own.
        operations: The steps, in the order of the model's config.
        shapes: Shape of a sample of each value.
        notes: What was left out and why, a sentence each.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    shapes: Mapping[str, Shape]
    notes: tuple[str, ...] = ()

    def uses(self) -> dict[str, int]:
        """Return how often each value is used, as an input of an operation or as an output of the model."""
        counts = dict.fromkeys(self.shapes, 0)
        for name in (*(name for op in self.operations for name in op.inputs), *self.outputs):
            counts[name] += 1
        return counts

    def parameters(self) -> int:
        """Return how many numbers the operations hold."""
        return sum(array.size for op in self.operations for array in op.arrays.values())


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the common shape of samples; axes of size 1 and missing first axes broadcast."""
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


def fits(own: Shape, shape: Shape) -> bool:
    """Return whether an array of shape `own` broadcasts with `shape` and leaves it as it is."""
    try:
        return broadcast([own, shape]) == tuple(shape)
    except ValueError:
        return False


def aligned(array: np.ndarray, ndim: int) -> np.ndarray:
    """Return an array that broadcasts with samples of `ndim` axes in the shape that broadcasts with batches of them."""
    return array.reshape((1,) * (ndim + 1 - array.ndim) + array.shape)


def spread(x: Any, ndim: int) -> Any:
    """Return a batch with axes of size 1 behind the batch axis, so that a sample has `ndim` axes."""
    return x if x.ndim == ndim + 1 else x.reshape((x.shape[0],) + (1,) * (ndim + 1 - x.ndim) + tuple(x.shape[1:]))


# ---- the same network, rewritten


def folded(net: Lowered) -> Lowered:
    """Return the network with batch normalization and constants multiplied into the dense layers beside them.

    For targets that are small or have no such operation: equal to within rounding. What stands beside no dense layer
    stays as `affine`.
    """
    operations = [_as_affine(op) for op in net.operations]
    uses = net.uses()
    kept: list[Operation] = []
    made: dict[str, int] = {}  # the output of a kept operation to its place
    for op in operations:
        before = kept[made[op.inputs[0]]] if op.inputs[0] in made else None
        alone = before is not None and uses[before.output] == 1
        merged = _merged(before, op, net.shapes) if before is not None and alone else None
        if merged is not None and before is not None:
            kept[made.pop(before.output)] = merged
            made[merged.output] = next(i for i, one in enumerate(kept) if one is merged)
        else:
            made[op.output] = len(kept)
            kept.append(op)
    present = {*net.inputs, *(op.output for op in kept)}
    return replace(net, operations=tuple(kept), shapes={k: v for k, v in net.shapes.items() if k in present})


def _as_affine(op: Operation) -> Operation:
    if op.kind != "batch_normalization":
        return op
    wide = {name: array.astype(np.float64) for name, array in op.arrays.items()}
    scale = wide["gamma"] / np.sqrt(wide["variance"] + op.options["epsilon"])
    shift = wide["beta"] - wide["mean"] * scale
    arrays = {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)}
    return replace(op, kind="affine", arrays=arrays, options={})


def _merged(one: Operation, two: Operation, shapes: Mapping[str, Shape]) -> Operation | None:
    """Return one operation in the place of two that follow each other, or None."""
    pair = (one.kind, two.kind)
    if pair == ("dense", "affine") and _fits(two, one.arrays["kernel"].shape[1]):
        scale, shift = _constants(two)
        kernel, bias = one.arrays["kernel"].astype(np.float64), one.arrays.get("bias", np.float32(0))
        arrays = {"kernel": kernel * scale, "bias": bias * scale + shift}
        units = kernel.shape[1]
    elif pair == ("affine", "dense") and _fits(one, two.arrays["kernel"].shape[0]):
        scale, shift = _constants(one)
        kernel = two.arrays["kernel"].astype(np.float64)
        full = np.broadcast_to(np.atleast_1d(scale), kernel.shape[:1])
        offset = np.broadcast_to(np.atleast_1d(shift), kernel.shape[:1])
        arrays = {"kernel": kernel * full[:, None], "bias": two.arrays.get("bias", np.float32(0)) + offset @ kernel}
        units = kernel.shape[1]
    else:
        return None
    if shapes[one.inputs[0]][:-1] != shapes[two.output][:-1]:
        return None
    found = {
        "kernel": arrays["kernel"].astype(np.float32),
        "bias": np.broadcast_to(arrays["bias"], (units,)).astype(np.float32),
    }
    return Operation("dense", one.inputs, two.output, two.layer, found)


def _fits(op: Operation, size: int) -> bool:
    """Return whether an affine operation acts on the last axis alone."""
    return all(array.size == 1 or array.shape in ((size,), (1, size)) for array in op.arrays.values())


def _constants(op: Operation) -> tuple[np.ndarray, np.ndarray]:
    scale = op.arrays.get("scale", np.ones((), np.float32)).astype(np.float64)
    shift = op.arrays.get("shift", np.zeros((), np.float32)).astype(np.float64)
    return scale.reshape(-1) if scale.ndim else scale, shift.reshape(-1) if shift.ndim else shift


def hoisted(net: Lowered) -> Lowered:
    """Return the network with multiplications by one number moved behind the reshapes that follow them.

    So that `Rescaling` before `Flatten` can be folded into the first dense layer.
    """
    operations, uses = list(net.operations), net.uses()
    shapes = dict(net.shapes)
    for i, op in enumerate(operations):
        single = op.kind == "affine" and all(array.size == 1 for array in op.arrays.values())
        j = next((j for j in range(i + 1, len(operations)) if op.output in operations[j].inputs), None)
        if not single or j is None or operations[j].kind != "reshape" or uses[op.output] != 1:
            continue
        after = operations[j]
        middle = op.output
        arrays = {name: array.reshape(()) for name, array in op.arrays.items()}
        operations[i] = replace(after, inputs=op.inputs, output=middle)
        operations[j] = replace(op, inputs=(middle,), output=after.output, arrays=arrays)
        shapes[middle] = shapes[after.output]
    return replace(net, operations=tuple(operations), shapes=shapes)


def compact(net: Lowered) -> Lowered:
    """Return the network in as few operations as folding allows."""
    return folded(hoisted(net))


# ---- running it


def evaluate(
    net: Lowered,
    inputs: Sequence[Any],
    *,
    xp: Any = np,
    watch: Callable[[str, Any], None] | None = None,
    rules: Mapping[str, Callable[[Any, Operation, list[Any], int], Any]] | None = None,
) -> list[Any]:
    """Return the outputs for batches of inputs: the reference for all writers.

    Args:
        net: The network.
        inputs: A batch `(rows, *sample)` for each input.
        xp: `numpy`, or `jax.numpy` inside a program that is to be compiled.
        watch: Called with the name and the batch of every value.
        rules: Other ways to run some kinds: functions of the elementary operations, the operation, its inputs and the
            number of axes of its output.
    """
    run = {**_RUN, **(rules or {})}
    o = functions.Arrays(xp)
    values: dict[str, Any] = {}
    for name, x in zip(net.inputs, inputs, strict=True):
        if tuple(x.shape[1:]) != net.shapes[name]:
            raise invalid(
                f"A batch of input `{name}` must have the shape (rows, {', '.join(map(str, net.shapes[name]))}).",
                received=f"shape={tuple(x.shape)}",
            )
        values[name] = xp.asarray(x, dtype=np.float32)
    if watch is not None:
        for name in net.inputs:
            watch(name, values[name])
    for op in net.operations:
        given = [values[name] for name in op.inputs]
        with np.errstate(all="ignore"):  # infinity is what the model itself gives
            values[op.output] = run[op.kind](o, op, given, len(net.shapes[op.output]))
        if watch is not None:
            watch(op.output, values[op.output])
    return [values[name] for name in net.outputs]


def _axes(op: Operation) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in op.options["axes"])


def _dense(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del ndim
    y = o.xp.matmul(given[0], op.arrays["kernel"])
    return y + op.arrays["bias"] if "bias" in op.arrays else y


def _affine(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del o
    y = spread(given[0], ndim)
    if "scale" in op.arrays:
        y = y * aligned(op.arrays["scale"], ndim)
    return y + aligned(op.arrays["shift"], ndim) if "shift" in op.arrays else y


def _batch_normalization(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    return _affine(o, _as_affine(op), given, ndim)


def _layer_normalization(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    x, axes = given[0], _axes(op)
    centred = x - o.xp.mean(x, axes, keepdims=True)
    y = centred / o.xp.sqrt(o.xp.mean(centred * centred, axes, keepdims=True) + np.float32(op.options["epsilon"]))
    if "gamma" in op.arrays:
        y = y * aligned(op.arrays["gamma"], ndim)
    return y + aligned(op.arrays["beta"], ndim) if "beta" in op.arrays else y


def _rms_normalization(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    x = given[0]
    square = o.xp.mean(x * x, _axes(op), keepdims=True) + np.float32(op.options["epsilon"])
    return x / o.xp.sqrt(square) * aligned(op.arrays["scale"], ndim)


def _unit_normalization(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del ndim
    x = given[0]
    length = o.xp.sqrt(o.xp.sum(x * x, _axes(op), keepdims=True))
    return x / o.xp.maximum(length, np.float32(1e-12))


def _function(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del ndim
    return functions.apply(o, given[0], op.options)


def _prelu(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    x = given[0]
    return o.xp.maximum(x, 0) + aligned(op.arrays["alpha"], ndim) * o.xp.minimum(x, 0)


def _softmax(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del ndim
    powers = o.xp.exp(given[0] - o.xp.max(given[0], _axes(op), keepdims=True))
    return powers / o.xp.sum(powers, _axes(op), keepdims=True)


def _log_softmax(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del ndim
    x = given[0] - o.xp.max(given[0], _axes(op), keepdims=True)
    return x - o.xp.log(o.xp.sum(o.xp.exp(x), _axes(op), keepdims=True))


def _sparsemax(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    (axis,) = _axes(op)
    x = given[0]
    falling = -o.xp.sort(-x, axis=axis)
    position = np.arange(1, x.shape[axis] + 1, dtype=np.float32)
    position = position.reshape([-1 if i == axis else 1 for i in range(ndim + 1)])
    stays = (falling - (o.xp.cumsum(falling, axis=axis) - 1) / position) > 0
    count = o.xp.sum(stays, axis=axis, keepdims=True)
    total = o.xp.sum(o.xp.where(stays, falling, np.float32(0)), axis=axis, keepdims=True)
    return o.xp.maximum(x - (total - 1) / count.astype(np.float32), 0)


def _binary(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    return getattr(o, op.kind)(spread(given[0], ndim), spread(given[1], ndim))


def _slice(o: Any, op: Operation, given: list[Any], ndim: int) -> Any:
    del o, ndim
    part = slice(op.options["start"], op.options["stop"])
    return given[0][(slice(None),) * (op.options["axis"] + 1) + (part,)]


_RUN: dict[str, Callable[[Any, Operation, list[Any], int], Any]] = {
    "dense": _dense,
    "affine": _affine,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "rms_normalization": _rms_normalization,
    "unit_normalization": _unit_normalization,
    "function": _function,
    "prelu": _prelu,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "sparsemax": _sparsemax,
    **dict.fromkeys(BINARY, _binary),
    "concatenate": lambda o, op, given, ndim: o.xp.concatenate(given, op.options["axis"] + 1),
    "slice": _slice,
    "reshape": lambda o, op, given, ndim: given[0].reshape((given[0].shape[0], *op.options["shape"])),
    "transpose": lambda o, op, given, ndim: o.xp.transpose(given[0], (0, *(n + 1 for n in op.options["order"]))),
}
KINDS = tuple(_RUN)


def size(shape: Shape) -> int:
    """Return how many numbers a sample of this shape has."""
    return math.prod(shape)
