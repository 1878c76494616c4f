"""What a file holds, and how two files differ: for people, without a framework."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import LaminaError
from lamina.files.paths import as_path, is_hdf5, source_of
from lamina.interop import format_of_file
from lamina.saving.bridge import is_model
from lamina.saving.loading import native_kind, read_model
from lamina.saving.weight_files import need_file, opened

_WEIGHTS = (".weights.h5", ".weights.json")


@dataclass(frozen=True)
class LayerLine:
    """A layer of a file: its name, its class, the shape of what it gives, and its arrays by name."""

    name: str
    kind: str
    shape: str
    arrays: dict[str, Numpy]

    @property
    def parameters(self) -> int:
        """How many numbers its weights are."""
        return sum(array.size for array in self.arrays.values())


@dataclass(frozen=True)
class Description:
    """What a file holds.

    Attributes:
        path: The file.
        title: What kind of file it is.
        nbytes: Bytes on the disk, of all its parts.
        model: Name of the model; empty where there are weights alone.
        layers: Its layers.
        facts: What else is to be known, by name.
        notes: What the file cannot say, a sentence each.
    """

    path: str
    title: str
    nbytes: int
    model: str
    layers: tuple[LayerLine, ...]
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def describe(filepath: Any, **options: Any) -> Description:
    """Return what a file holds: any kind that `load_model` or `load_weights` reads.

    Args:
        filepath: Path of the file or folder.
        **options: What the reader takes, e.g. `architecture` for PyTorch's.

    Raises:
        FileFormatError: If it cannot be read.
    """
    path = as_path(filepath)
    if path.endswith(_WEIGHTS) or (is_hdf5(path) and not _has_config(path)):
        return _weights_alone(path)
    kind = native_kind(path)
    form = None if kind else format_of_file(path)
    title = {"keras": "Keras", "h5": "Keras 2 (HDF5)"}.get(kind or "") or (form.title if form else "")
    model, notes = read_model(path, **options)
    return Description(path, title, _size(path), model.name, tuple(_lines(model)), _facts(model), notes)


def _has_config(path: str) -> bool:
    from lamina.saving.named import opened_by_name

    with opened_by_name(path, source_of(path)) as file:
        return file.has_attribute("", "model_config")


def _size(path: str) -> int:
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(folder, n)) for folder, _, names in os.walk(path) for n in names)
    return os.path.getsize(path) if os.path.exists(path) else 0


def _lines(model: Any, prefix: str = "") -> Iterator[LayerLine]:
    for layer in model.layers:
        if is_model(layer):
            yield from _lines(layer, f"{prefix}{layer.name}/")
            continue
        try:
            shape = str(layer.output.shape)
        except (AttributeError, LaminaError, ValueError):
            shape = ""
        arrays = {_unique(v.name, i, layer.weights): np.asarray(v) for i, v in enumerate(layer.weights)}
        yield LayerLine(f"{prefix}{layer.name}", type(layer).__name__, shape, arrays)


def _unique(name: str, number: int, variables: list[Any]) -> str:
    return name if sum(v.name == name for v in variables) == 1 else f"{name}:{number}"


def _facts(model: Any) -> dict[str, str]:
    facts = {}
    if model.inputs:
        facts["input"] = ", ".join(f"{t.name} {t.shape} {t.dtype}" for t in model.inputs)
        facts["output"] = ", ".join(f"{t.shape} {t.dtype}" for t in model.outputs)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        steps = int(np.asarray(optimizer.iterations))
        facts["compiled"] = f"{type(optimizer).__name__}, {steps:,} steps taken"
    return facts


def _weights_alone(path: str) -> Description:
    need_file(path)
    with ExitStack() as stack:
        file, _ = stack.enter_context(opened(path))
        lines = []
        for place, entries in file.groups.items():
            if entries:
                name = file.attribute(place, "name") or place or "(the model itself)"
                kind = place.rpartition("/")[2]
                arrays = {key: entries[key].read() for key in sorted(entries, key=lambda k: (len(k), k))}
                lines.append(LayerLine(name if kind != "optimizer" else "optimizer", place, "", arrays))
    return Description(path, "Keras weights", _size(path), "", tuple(lines))


@dataclass(frozen=True)
class Difference:
    """One difference between two files: a layer, the part of it, and what is different."""

    layer: str
    part: str
    text: str


def differences(first: Any, second: Any, tolerance: float = 0.0) -> list[Difference]:
    """Return how the layers, shapes and values of two files differ; nothing if they hold the same.

    Layers are matched by name; where no name is the same, by order, so that files of two frameworks can be compared.

    Args:
        first: A `Description`, or a path.
        second: The other one.
        tolerance: How far apart two numbers may be and still count as equal.

    Raises:
        FileFormatError: If one cannot be read.
    """
    a, b = (one if isinstance(one, Description) else describe(one) for one in (first, second))
    found: list[Difference] = []
    if bool(a.model) == bool(b.model):
        left, right = a.layers, b.layers
    else:  # one holds weights alone: layers without any are not in it
        left, right = (tuple(line for line in side if line.arrays) for side in (a.layers, b.layers))
    names = ({line.name for line in left}, {line.name for line in right})
    if not names[0] & names[1]:
        left, right = (tuple(line for line in side if line.arrays) for side in (left, right))
        pairs: list[tuple[LayerLine | None, LayerLine | None]] = list(_padded(left, right))
    else:
        by_name = {line.name: line for line in right}
        pairs = [(line, by_name.get(line.name)) for line in left]
        pairs += [(None, line) for line in right if line.name not in names[0]]
    for one, two in pairs:
        found += _between(one, two, a, b, tolerance)
    for key in a.facts.keys() & b.facts.keys():
        if a.facts[key] != b.facts[key] and key == "compiled":
            found.append(Difference("(model)", key, f"{a.facts[key]} against {b.facts[key]}"))
    return found


def _padded(
    left: tuple[LayerLine, ...], right: tuple[LayerLine, ...]
) -> Iterator[tuple[LayerLine | None, LayerLine | None]]:
    for i in range(max(len(left), len(right))):
        yield (left[i] if i < len(left) else None), (right[i] if i < len(right) else None)


def _between(
    one: LayerLine | None, two: LayerLine | None, a: Description, b: Description, tolerance: float
) -> Iterator[Difference]:
    if one is None or two is None:
        line, where = (two, b.path) if one is None else (one, a.path)
        assert line is not None
        yield Difference(line.name, "", f"only in {where} ({line.kind}, {line.parameters:,} parameters)")
        return
    label = one.name if one.name == two.name else f"{one.name} / {two.name}"
    if one.kind != two.kind and a.model and b.model:
        yield Difference(label, "class", f"{one.kind} against {two.kind}")
    arrays = list(one.arrays.items()), list(two.arrays.items())
    if len(arrays[0]) != len(arrays[1]):
        yield Difference(label, "weights", f"{len(arrays[0])} arrays against {len(arrays[1])}")
    for (name, x), (_, y) in zip(*arrays, strict=False):
        if x.shape != y.shape:
            yield Difference(label, name, f"shape {x.shape} against {y.shape}")
            continue
        if x.dtype != y.dtype:
            yield Difference(label, name, f"{x.dtype} against {y.dtype}")
        wide = x.astype("float64"), y.astype("float64")
        apart = np.abs(wide[0] - wide[1])
        same = (wide[0] == wide[1]) | (apart <= tolerance) | (np.isnan(wide[0]) & np.isnan(wide[1]))
        if not same.all():
            largest = float(np.nanmax(np.where(same, 0.0, apart))) if not np.isnan(apart[~same]).all() else float("nan")
            yield Difference(label, name, f"{int((~same).sum()):,} of {x.size:,} values differ, by up to {largest:.3g}")
