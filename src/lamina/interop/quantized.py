"""Networks with 8-bit weights: how the numbers are rounded, what that costs, and on which data it is measured."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, invalid, message
from lamina.interop.lowered import Lowered, Operation, evaluate

_ROWS = 2048  # as many rows of the data are looked at
_LONGEST = 65_000  # inputs of a layer whose 8-bit products add up in 32 bits


@dataclass(frozen=True)
class Data:
    """Inputs to measure with, a batch for each input of the model; labels, if there are any; where they are from."""

    inputs: list[np.ndarray]
    labels: np.ndarray | None = None
    origin: str = ""
    real: bool = True


@dataclass(frozen=True)
class Kernel:
    """A dense layer in 8 bits: `kernel ≈ weights * scales`, `weights (inputs, units)` in [-127, 127]."""

    weights: np.ndarray
    scales: np.ndarray


@dataclass
class Ranges:
    """The smallest and largest number of each value over the data."""

    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)

    def see(self, name: str, value: np.ndarray) -> None:
        """Widen the range of a value. 0 is always inside, so that it stays exact."""
        finite = value[np.isfinite(value)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        self.low[name] = min(low, self.low.get(name, 0.0))
        self.high[name] = max(high, self.high.get(name, 0.0))

    def scale(self, name: str) -> tuple[np.float32, int]:
        """Return scale and zero point of a value: `value ≈ scale * (q - zero)` with q in [-128, 127]."""
        return scale_of(self.low[name], self.high[name])


def scale_of(low: float, high: float) -> tuple[np.float32, int]:
    """Return scale and zero point of numbers between `low <= 0` and `high >= 0`."""
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    scale = scale if scale > 0 else np.float32(1)
    return scale, int(np.clip(np.rint(-128 - low / float(scale)), -128, 127))


def kernel_of(op: Operation) -> Kernel:
    """Return the kernel of a dense layer in 8 bits, with a scale for each unit."""
    kernel = op.arrays["kernel"]
    if kernel.shape[0] > _LONGEST:
        raise op.cannot(f"8-bit arithmetic over {kernel.shape[0]} inputs", "write it with floats.")
    largest = np.abs(kernel).max(axis=0)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return Kernel(np.clip(np.rint(kernel / scales), -127, 127).astype(np.int8), scales)


def ranges_of(net: Lowered, data: Data) -> Ranges:
    """Return the ranges of all values of a network over the data."""
    ranges = Ranges()
    evaluate(net, data.inputs, watch=ranges.see)
    return ranges


def dense_rule(ranges: Ranges | None) -> Any:
    """Return how a dense layer runs in 8 bits, for `evaluate`: with fixed ranges, or with those of each row."""

    def rule(o: Any, op: Operation, given: list[np.ndarray], ndim: int) -> np.ndarray:
        del o, ndim
        x, kernel = given[0], kernel_of(op)
        if ranges is not None:
            scale, zero = (np.asarray(v) for v in ranges.scale(op.inputs[0]))
        else:
            low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
            scale = np.where(high > low, (high - low) / np.float32(255), np.float32(1)).astype(np.float32)
            zero = np.clip(np.rint(-128 - low / scale), -128, 127)
        q = np.clip(np.rint(x / scale + zero), -128, 127)
        total = (q - zero) @ kernel.weights.astype(np.float64)
        y = total.astype(np.float32) * (scale * kernel.scales) + op.arrays.get("bias", 0)
        return np.asarray(y, np.float32)

    return rule


# ---- the data


def data_for(net: Lowered, calibration: Any) -> Data:
    """Return the data to measure with: a file's, arrays, or drawn to suit what the model does with its inputs first.

    Raises:
        FileFormatError: If the file is no `.npz` of arrays.
        InvalidArgumentError: If it has no arrays that fit the inputs.
    """
    if calibration is None:
        return _drawn(net)
    if isinstance(calibration, str | os.PathLike):
        return _from_file(net, os.fspath(calibration))
    arrays = calibration if isinstance(calibration, list | tuple) else [calibration]
    return Data([_fitting(net, i, np.asarray(x)) for i, x in enumerate(arrays)], None, "the data given")


def _from_file(net: Lowered, path: str) -> Data:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files} if hasattr(file, "files") else {"x": np.asarray(file)}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise FileFormatError(message(f"Not a file of arrays: {error}", owner=repr(path))) from error
    arrays = _chosen(net, found)
    if arrays is None:
        raise invalid(
            f"The calibration data have no arrays for the inputs {list(net.inputs)}.",
            owner=repr(path),
            received=", ".join(f"{name} {array.shape}" for name, array in found.items())[:200],
            fix="name the array `x` (and the labels `y`), or each array as its input: `np.savez(path, x=x, y=y)`.",
        )
    inputs, key = arrays
    paired = {"x": "y", "X": "y", "x_test": "y_test", "x_train": "y_train"}.get(key, "y")
    labels = next((found[name] for name in (paired, "y", "labels") if name in found), None)
    rows = {len(x) for x in inputs}
    if len(rows) != 1 or 0 in rows:
        raise invalid("The calibration arrays must have the same number of rows.", owner=repr(path), received=f"{rows}")
    chosen = np.random.default_rng(0).permutation(rows.pop())[:_ROWS]
    fits = labels is not None and len(labels) == len(inputs[0])
    picked = labels[chosen] if fits and labels is not None else None
    return Data([_fitting(net, i, x[chosen]) for i, x in enumerate(inputs)], picked, os.path.basename(path))


def _chosen(net: Lowered, found: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], str] | None:
    if all(name in found for name in net.inputs):
        return [found[name] for name in net.inputs], ""
    if len(net.inputs) != 1:
        return None
    for key in ("x", "x_test", "x_train", "X", "inputs"):
        if key in found:
            return [found[key]], key
    return ([next(iter(found.values()))], "") if len(found) == 1 else None


def _fitting(net: Lowered, i: int, x: np.ndarray) -> np.ndarray:
    shape = net.shapes[net.inputs[i]] if i < len(net.inputs) else ()
    if x.ndim < 1 or x.dtype.kind not in "fiub" or int(np.prod(x.shape[1:])) != int(np.prod(shape)):
        raise invalid(
            "The calibration data do not fit the model's input.",
            received=f"an array of shape {x.shape} and dtype {x.dtype} for samples of shape {shape}",
            fix="give rows of inputs as the model takes them.",
        )
    return x.reshape(len(x), *shape).astype(np.float32)


def _drawn(net: Lowered) -> Data:
    """Return random inputs that are of a common size behind the scaling with which the model begins."""
    rng = np.random.default_rng(0)
    inputs, how = [], []
    for name in net.inputs:
        shape = (256, *net.shapes[name])
        first = next((op for op in net.operations if name in op.inputs), None)
        scaled = first if first is not None and first.kind == "affine" else None
        scale = scaled.arrays.get("scale") if scaled is not None else None
        if scale is None or not (scale != 0).all() or scale.size > max(1, int(np.prod(shape[1:]))):
            inputs.append(rng.normal(size=shape).astype(np.float32))
            how.append("normal numbers")
            continue
        shift = scaled.arrays.get("shift", np.zeros(())) if scaled is not None else np.zeros(())
        plain = rng.uniform(size=shape) if scale.size == 1 else rng.normal(size=shape)
        inputs.append(((plain - shift) / scale).astype(np.float32))
        how.append("numbers that are of a common size behind its scaling")
    return Data(inputs, None, f"random inputs ({how[0] if how else 'none'})", real=False)


# ---- what it costs


def loss_notes(net: Lowered, rules: Mapping[str, Any], data: Data) -> tuple[str, ...]:
    """Return sentences which say how far 8 bits are from floats on the data, and whether the data are real."""
    return compared_notes(net, evaluate(net, data.inputs, rules=rules), data)


def compared_notes(net: Lowered, found: Sequence[np.ndarray], data: Data) -> tuple[str, ...]:
    """Return those sentences for the outputs that the 8-bit network gave."""
    exact = evaluate(net, data.inputs)
    notes = []
    for name, y, wanted in zip(net.outputs, found, exact, strict=True):
        difference = np.abs(np.asarray(y, np.float64) - wanted)
        text = f"`{name}` differs by at most {difference.max():.3g}, on average {difference.mean():.3g}"
        if wanted.ndim == 2 and wanted.shape[1] > 1:
            text += f"; the largest entry is the same in {np.mean(y.argmax(1) == wanted.argmax(1)):.2%} of rows"
            if data.labels is not None and data.labels.shape == (len(wanted),):
                share = [np.mean(one.argmax(1) == data.labels) for one in (wanted, y)]
                text += f"; accuracy {share[0]:.2%} with floats, {share[1]:.2%} with 8 bits"
        notes.append(f"8 bits, {len(wanted):,} rows of {data.origin}: {text}.")
    if not data.real:
        notes.append(
            "Measured on random inputs. Give real ones for a true figure: `--calibration data.npz` with the array `x`, "
            "and `y` for the accuracy."
        )
    return tuple(notes)
