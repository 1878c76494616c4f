"""What a callback remembers, as plain values and arrays: taken when a training is saved, given back when it goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamina._types import Numpy

_NOT_KEPT = frozenset({"_model", "model", "params", "validation_data"})


class _UnkeptError(Exception):
    """Raised for a value that is neither plain nor an array."""


def states(callbacks: list[Any], arrays: dict[str, Numpy]) -> list[Any]:
    """Return what each callback remembers; arrays go into `arrays`, under names that the result holds.

    A callback with `get_state` says itself what it wants kept, as nested lists and dicts of plain values and arrays.
    Of any other one the attributes are kept that are plain values, arrays, or lists and dicts of them.
    """
    return [_state(callback, f"callbacks/{i}", arrays) for i, callback in enumerate(callbacks)]


def restore(callbacks: list[Any], kept: list[Any], arrays: dict[str, Numpy]) -> list[str]:
    """Give callbacks back what `states` took. Returns the classes of those that have no counterpart."""
    left = list(kept)
    strangers = []
    for callback in callbacks:
        name = type(callback).__name__
        found = next((one for one in left if one["class"] == name), None)
        if found is None:
            strangers.append(name)
            continue
        left.remove(found)
        values = {key: _decoded(value, arrays) for key, value in found["values"].items()}
        setter: Callable[[Any], None] | None = getattr(callback, "set_state", None)
        if setter is not None:
            setter(values)
            continue
        for key, value in values.items():
            setattr(callback, key, value)
    return strangers


def _state(callback: Any, place: str, arrays: dict[str, Numpy]) -> dict[str, Any]:
    getter = getattr(callback, "get_state", None)
    given = vars(callback) if getter is None else getter()
    values = {}
    for name, value in given.items():
        if name in _NOT_KEPT:
            continue
        found: dict[str, Numpy] = {}
        try:
            values[name] = _encoded(value, f"{place}/{name}", found, 0)
        except _UnkeptError:
            continue
        arrays.update(found)
    return {"class": type(callback).__name__, "values": values}


def _encoded(value: Any, place: str, arrays: dict[str, Numpy], depth: int) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if depth > 8:
        raise _UnkeptError
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encoded(one, f"{place}/{i}", arrays, depth + 1) for i, one in enumerate(value)]}
    if isinstance(value, dict):
        if not all(isinstance(key, str | int) and not isinstance(key, bool) for key in value):
            raise _UnkeptError
        pairs = [[key, _encoded(one, f"{place}/{key}", arrays, depth + 1)] for key, one in value.items()]
        return {"dict": pairs}
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "addressable_shards"):
        array = np.asarray(value)
        if array.dtype.kind in "OSUMm":
            raise _UnkeptError
        arrays[place] = array
        return {"scalar" if isinstance(value, np.generic) else "array": place}
    raise _UnkeptError


def _decoded(value: Any, arrays: dict[str, Numpy]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "float":
        return float.fromhex(held)
    if kind in ("list", "tuple"):
        found = [_decoded(one, arrays) for one in held]
        return found if kind == "list" else tuple(found)
    if kind == "dict":
        return {key: _decoded(one, arrays) for key, one in held}
    array = arrays[held]
    return array[()] if kind == "scalar" else array.copy()
