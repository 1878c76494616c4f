"""Keras's operations as classes: `Mean(axis=1)(x)` and `Mean(axis=1).symbolic_call(x)` are `lamina.ops.mean(x, axis=1)`."""

import inspect
import typing  # not its `Any`, which has the name of an operation
from collections.abc import Callable

from lamina import ops
from lamina.graph import KerasTensor as KerasTensor
from lamina.ops import shapes
from lamina.ops.dispatch import OPERATIONS

ops.load()
_SPELLED_OTHERWISE = {
    "Abs": "absolute",
    "Conj": "conjugate",
    "Ndim": "ndim",
    "Relu": "relu",
    "Gelu": "gelu",
    "Cast": "cast",
    "SaturateCast": "saturate_cast",
}
# Keras's constructors of these take arguments that come first in the function.
_OF_THE_CONSTRUCTOR = {
    "Full": ("shape",),
    "WhileLoop": ("cond", "body", "maximum_iterations"),
    "ForiLoop": ("lower", "upper", "body_fun"),
    "VectorizedMap": ("function",),
    "Scan": ("length", "reverse", "unroll"),
    "AssociativeScan": ("reverse", "axis"),
}
_FUNCTIONS = {name.lower(): function for (_, name), function in OPERATIONS.items()}


def _class(name: str, function: Callable[..., typing.Any]) -> type:
    own = _OF_THE_CONSTRUCTOR.get(name, ())
    parameters = list(inspect.signature(function).parameters)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())

    class Operation:
        """An operation with the arguments that its constructor was given."""

        def __init__(self, *args: typing.Any, **kwargs: typing.Any) -> None:
            kwargs.pop("name", None)
            self.args, self.kwargs = args, kwargs

        def __call__(self, *tensors: typing.Any, **named: typing.Any) -> typing.Any:
            if own:
                given = dict(zip(own, self.args, strict=False)) | self.kwargs
                rest = [p for p in parameters if p not in own]
                return function(**given, **dict(zip(rest, tensors, strict=False)), **named)
            if variadic:
                return function(*self.args, *tensors, **self.kwargs, **named)
            free = [p for p in parameters[len(tensors) :] if p not in named]
            return function(*tensors, **named, **dict(zip(free, self.args, strict=False)), **self.kwargs)

        symbolic_call = compute_output_spec = call = __call__

    Operation.__name__ = name
    return Operation


def broadcast_shapes(shape1: typing.Any, shape2: typing.Any) -> list[int | None]:
    """Return the shape that two are broadcast to."""
    return list(shapes.broadcast([tuple(shape1), tuple(shape2)]))


def __getattr__(name: str) -> typing.Any:
    if name[:1].isupper():
        function = _FUNCTIONS.get(name.lower()) or getattr(ops, _SPELLED_OTHERWISE.get(name, ""), None)
        if function is not None:
            return _class(name, function)
    raise AttributeError(name)
