"""Array functions as nodes of a graph, in the form of Keras's files: a class, its arguments and what it was given."""

import inspect
import types
from collections.abc import Mapping
from typing import Any

from lamina import activations, serialization
from lamina._types import Config
from lamina.errors import FileFormatError, did_you_mean, message
from lamina.graph import FunctionOperation
from lamina.ops import arithmetic
from lamina.ops.dispatch import OPERATIONS

_MODULES = (activations, arithmetic)  # importing them fills the table
_AXIS, _REDUCING = ("axis",), ("axis", "keepdims")
# Which arguments of an operation belong to its config, as constructor arguments of Keras's class; the others are what
# the node was given. An operation that is not here has none.
_CONFIG: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("All", "Any", "Amax", "Amin", "Argmax", "Argmin", "Mean", "Median", "Std", "Sum", "Var", "Logsumexp"),
        _REDUCING,
    ),
    **dict.fromkeys(
        ("Append", "Argsort", "Average", "Concatenate", "CountNonzero", "ExpandDims", "Flip", "Glu", "LogSoftmax",
         "Softmax", "Sort", "Sparsemax", "Squeeze", "Stack", "Take", "TakeAlongAxis"),
        _AXIS,
    ),
    **dict.fromkeys(("Cumprod", "Cumsum"), ("axis", "dtype")),
    **dict.fromkeys(("Array", "Cast", "OnesLike", "ZerosLike", "FullLike", "SaturateCast"), ("dtype",)),
    **dict.fromkeys(("Max", "Min"), ("axis", "keepdims", "initial")),
    **dict.fromkeys(("Celu", "Elu"), ("alpha",)),
    **dict.fromkeys(("Diag", "Tril", "Triu"), ("k",)),
    **dict.fromkeys(("HardShrink", "SoftShrink"), ("threshold",)),
    **dict.fromkeys(("Split", "ArraySplit"), ("indices_or_sections", "axis")),
    "BinaryCrossentropy": ("from_logits",),
    "BroadcastTo": ("shape",),
    "CategoricalCrossentropy": ("from_logits", "axis"),
    "Clip": ("x_min", "x_max"),
    "Einsum": ("subscripts",),
    "Gelu": ("approximate",),
    "Isclose": ("equal_nan",),
    "LeakyRelu": ("negative_slope",),
    "Moveaxis": ("source", "destination"),
    "NanToNum": ("nan", "posinf", "neginf"),
    "Norm": ("ord", "axis", "keepdims"),
    "Normalize": ("axis", "order", "epsilon"),
    "OneHot": ("num_classes", "axis", "dtype", "sparse"),
    "Pad": ("pad_width", "mode"),
    "Prod": ("axis", "keepdims", "dtype"),
    "ReLU": ("negative_slope", "max_value", "threshold"),
    "Repeat": ("repeats", "axis"),
    "Reshape": ("newshape",),
    "Roll": ("shift", "axis"),
    "Round": ("decimals",),
    "SparseCategoricalCrossentropy": ("from_logits", "axis"),
    "Squareplus": ("b",),
    "Swapaxes": ("axis1", "axis2"),
    "Tensordot": ("axes",),
    "Threshold": ("threshold", "default_value"),
    "Tile": ("repeats",),
    "TopK": ("k", "sorted"),
    "Transpose": ("axes",),
}  # fmt: skip


def split(operation: FunctionOperation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Config, Any, Any]:
    """Return the config of an operation, and the positional and named arguments of its node."""
    names = _CONFIG.get(operation.keras_place[1], ())
    if not names:
        return {}, args, kwargs
    given = inspect.signature(operation.function).bind(*args, **kwargs)
    given.apply_defaults()
    config = {name: given.arguments[name] for name in names if name in given.arguments}
    rest = [value for name, value in given.arguments.items() if name not in config]
    return config, tuple(rest), {}


def config_of(operation: FunctionOperation, arguments: Config) -> Config:
    """Return an operation as it stands among the layers of a functional model, without its nodes."""
    module, name = operation.keras_place
    if not module:
        raise FileFormatError(
            message(
                f"The function `{name}` was applied to a stand-in, and a file has no name for it.",
                fix="put it into the `call` of a layer of yours, and register that.",
            )
        )
    config = {**{key: serialization.serialize(value) for key, value in arguments.items()}, "name": operation.name}
    return {"module": module, "class_name": name, "config": config, "registered_name": name}


def is_operation(config: Mapping[str, Any]) -> bool:
    """Return whether an entry among the layers is an array function."""
    module = config.get("module")
    return isinstance(module, str) and module.startswith(("keras.src.ops", "keras.src.activations", "keras.ops"))


def made_from(config: Mapping[str, Any]) -> "Applied":
    """Return the operation that an entry names.

    Raises:
        FileFormatError: If the library has none of this name.
    """
    name, module, inner = config.get("class_name"), config.get("module"), config.get("config")
    function = OPERATIONS.get((str(module), str(name)))
    if function is None:
        same = [found for (_, key), found in OPERATIONS.items() if key == name]
        function = same[0] if same else None
    if function is None or not isinstance(inner, dict):
        known = sorted({key for _, key in OPERATIONS})
        raise FileFormatError(
            message(
                f"The model uses the operation `{name}`, which lamina does not have.",
                received=f"module={module!r}",
                fix=f"use one that it has, or put it into a layer of yours and register that. "
                f"{did_you_mean(str(name), known)}",
            )
        )
    arguments = {key: value for key, value in inner.items() if key != "name"}
    return Applied(FunctionOperation(function, name=inner.get("name") or config.get("name")), arguments)


class Applied:
    """An operation together with the arguments that its config fixes."""

    def __init__(self, operation: FunctionOperation, arguments: Config) -> None:
        self.operation = operation
        known = inspect.signature(operation.function).parameters
        unknown = [key for key, value in arguments.items() if key not in known and value is not None]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise FileFormatError(
                message(
                    f"The operation `{operation.keras_place[1]}` has no argument `{unknown[0]}` in lamina.",
                    received=f"{unknown[0]}={arguments[unknown[0]]!r}",
                )
            )
        self.arguments = {key: _tuples(serialization.decode(v)) for key, v in arguments.items() if key in known}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stand-in for the result; a node is added to the operation."""
        if isinstance(self.operation.function, types.FunctionType) and self.operation.keras_place[1] == "GetItem":
            args = tuple(_tuples(arg) if i else arg for i, arg in enumerate(args))
        return self.operation(*args, **kwargs, **self.arguments)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
