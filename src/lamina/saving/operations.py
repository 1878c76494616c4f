"""Array functions as nodes of a graph, in the form of Keras's files: a class, its arguments and what it was given."""

import inspect
import types
from collections.abc import Mapping
from typing import Any

from lamina import ops, serialization
from lamina._types import Config
from lamina.errors import FileFormatError, did_you_mean, message
from lamina.graph import FunctionOperation
from lamina.ops import arguments
from lamina.ops.dispatch import OPERATIONS


def split(operation: FunctionOperation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Config, Any, Any]:
    """Return the config of an operation, and the positional and named arguments of its node."""
    if not operation.keras_place[0]:
        return {}, args, kwargs
    return arguments.split(operation.function, args, kwargs)


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
    ops.load()
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
    own = {key: value for key, value in inner.items() if key != "name"}
    return Applied(FunctionOperation(function, name=inner.get("name") or config.get("name")), own)


class Applied:
    """An operation together with the arguments that its config fixes."""

    def __init__(self, operation: FunctionOperation, own: Config) -> None:
        self.operation = operation
        known = inspect.signature(operation.function).parameters
        unknown = [key for key, value in own.items() if key not in known and value is not None]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise FileFormatError(
                message(
                    f"The operation `{operation.keras_place[1]}` has no argument `{unknown[0]}` in lamina.",
                    received=f"{unknown[0]}={own[unknown[0]]!r}",
                )
            )
        self.arguments = {key: _tuples(serialization.decode(v)) for key, v in own.items() if key in known}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stand-in for the result; a node is added to the operation."""
        if isinstance(self.operation.function, types.FunctionType) and self.operation.keras_place[1] == "GetItem":
            args = tuple(_tuples(arg) if i else arg for i, arg in enumerate(args))
        args, kwargs = arguments.join(self.operation.function, self.arguments, args, kwargs)
        return self.operation(*args, **kwargs)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
