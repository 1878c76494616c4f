"""How the array functions of a functional model (`x * 2 + y`, `ops.relu(x)`) are made of primitive operations."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lamina.errors import did_you_mean
from lamina.interop import functions
from lamina.interop.lowering import Building, Config, Entry, stand_in
from lamina.interop.lowering_layers import activation, binary, layer

_FIX = "use a layer in its place, or save the model as `.keras`."
_BINARY = {
    "Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide", "TrueDivide": "divide",
    "Maximum": "maximum", "Minimum": "minimum",
}  # fmt: skip
_UNARY = {
    "Absolute": "absolute", "Fabs": "absolute", "Abs": "absolute", "Exp": "exponential", "Sqrt": "sqrt",
    "Square": "square", "Erf": "erf", "Tanh": "tanh", "ReLU": "relu",
}  # fmt: skip


def is_function(entry: Config) -> bool:
    """Return whether an entry among the layers is an array function."""
    module = entry.get("module")
    return isinstance(module, str) and module.startswith(("keras.src.ops", "keras.src.activations", "keras.ops"))


def call(b: Building, entry: Config, args: Any, kwargs: Any, value_at: Callable[[Any], str]) -> str:
    """Lower one use of a function and return the name of its output.

    Args:
        b: What has been lowered so far.
        entry: The function among the layers of the config.
        args: Arguments by position: stand-ins and plain numbers.
        kwargs: Arguments by name.
        value_at: The value that stands at a place of the graph.
    """
    kind = str(entry["class_name"])
    own = {key: value for key, value in entry["config"].items() if key not in ("name", "dtype") and value is not None}
    node = Entry(kind, b.layer, own, ())
    given = [_given(node, value, value_at) for value in [*args, *kwargs.values()]]
    if kind in _BINARY and len(given) == 2:
        return _binary(b, node, _BINARY[kind], given)
    names = {name.title().replace("_", ""): name for name in (*functions.FUNCTIONS, "softmax", "log_softmax", "glu")}
    name = _UNARY.get(kind, names.get(kind))
    if not given or not isinstance(given[0], str) or any(isinstance(value, str) for value in given[1:]):
        name = None
    if kind == "Negative" and name is None and given and isinstance(given[0], str):
        return b.emit("affine", [given[0]], b.shapes[given[0]], {"scale": np.asarray(-1.0)})
    if kind == "Concatenate" or kind == "Reshape":
        return _shaped(b, node, args, kwargs, value_at)
    if name is None:
        raise node.cannot(
            f"The operation `{kind}` has no form in plain operations.",
            f"{_FIX} {did_you_mean(kind, [*_BINARY, *names])}",
        )
    return _unary(b, node, name, given)


def _given(node: Entry, value: Any, value_at: Callable[[Any], str]) -> Any:
    history = stand_in(value)
    if history is not None:
        return value_at(history)
    if isinstance(value, list | tuple | dict):
        return value
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise node.cannot("One of its arguments cannot be read.", _FIX, repr(value)[:60])


def _number(node: Entry, value: Any) -> np.ndarray:
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, Mapping) else None
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        found = np.asarray(np.nan)
    if not np.isfinite(found).all():
        raise node.cannot("One of its arguments is no number.", _FIX, repr(value)[:60])
    return found


def _binary(b: Building, node: Entry, kind: str, given: list[Any]) -> str:
    left, right = (isinstance(value, str) for value in given)
    if left and right:
        one, other = given
        difference = len(b.shapes[one]) - len(b.shapes[other])
        if difference:  # NumPy would set rows against features
            raise node.cannot("Its inputs have a different number of axes.", "use a merging layer such as `Add`.")
        return binary(b, node, kind, one, other)
    if not left and not right:
        raise node.cannot("It has no input.", _FIX)
    x = given[0] if left else given[1]
    number = _number(node, given[1] if left else given[0])
    if number.ndim > len(b.shapes[x]) and number.shape[0] == 1:
        number = number[0]
    scale, shift = _as_affine(node, kind, number, constant_first=not left)
    if kind in ("maximum", "minimum"):
        return _bound(b, node, kind, x, number)
    try:
        shape = tuple(np.broadcast_shapes(b.shapes[x], number.shape))
    except ValueError:
        raise node.cannot("Its inputs have incompatible shapes.", _FIX) from None
    if shape != b.shapes[x]:
        raise node.cannot("A constant that is larger than the value cannot be held.", _FIX, f"{number.shape}")
    return b.emit("affine", [x], shape, {"scale": scale, "shift": shift})


def _as_affine(node: Entry, kind: str, number: np.ndarray, *, constant_first: bool) -> tuple[Any, Any]:
    if kind == "divide" and constant_first:
        raise node.cannot("A number divided by a value cannot be held.", _FIX)
    if kind == "divide" and (number == 0).any():
        raise node.cannot("It divides by 0.", _FIX)
    if kind == "add":
        return np.asarray(1.0), number
    if kind == "subtract":
        return (np.asarray(-1.0), number) if constant_first else (np.asarray(1.0), -number)
    return (1 / number if kind == "divide" else number), np.asarray(0.0)


def _bound(b: Building, node: Entry, kind: str, x: str, number: np.ndarray) -> str:
    """Return max(x, c) = relu(x - c) + c, or min(x, c) = c - relu(c - x)."""
    if number.size != 1:
        raise node.cannot("A bound must be one number.", _FIX)
    shape, c = b.shapes[x], number.reshape(())
    sign = 1.0 if kind == "maximum" else -1.0
    y = b.emit("affine", [x], shape, {"scale": np.asarray(sign), "shift": -sign * c})
    y = b.emit("function", [y], shape, name="relu")
    return b.emit("affine", [y], shape, {"scale": np.asarray(sign), "shift": c})


def _unary(b: Building, node: Entry, name: str, given: list[Any]) -> str:
    x = given[0]
    options = dict(node.config)
    if name in ("softmax", "log_softmax", "glu"):
        axis = options.pop("axis", given[1] if len(given) > 1 else -1)
        if options or axis not in (-1, len(b.shapes[x])):
            raise node.cannot("It acts on another axis than the last.", _FIX, f"axis={axis!r}")
        return activation(b, node, name, x)
    names = functions.known_arguments(name)
    options.update(zip(names, given[1:], strict=False))
    unknown = set(options) - set(names)
    if unknown or not all(isinstance(value, int | float) for value in options.values()):
        raise node.cannot("One of its arguments cannot be held.", _FIX, repr(options)[:60])
    return b.emit("function", [x], b.shapes[x], name=name, **options)


def _shaped(b: Building, node: Entry, args: Any, kwargs: Any, value_at: Callable[[Any], str]) -> str:
    given = [*args, *kwargs.values()]
    first, rest = given[0] if given else None, given[1:]
    if node.kind == "Concatenate" and isinstance(first, list | tuple):
        places = [stand_in(item) for item in first]
        if all(place is not None for place in places):
            axis = node.get("axis", rest[0] if rest else 0)
            inner = Entry("Concatenate", node.name, {"axis": axis}, ())
            return layer(b, inner, [value_at(place) for place in places])
    history = stand_in(first)
    shape = node.get("newshape", node.get("shape", rest[0] if rest else None))
    if (
        node.kind == "Reshape"
        and history is not None
        and isinstance(shape, list | tuple)
        and shape[:1] in ([-1], (-1,))
    ):
        return layer(b, Entry("Reshape", node.name, {"target_shape": list(shape[1:])}, ()), [value_at(history)])
    raise node.cannot(f"This use of `{node.kind}` cannot be held.", _FIX)
