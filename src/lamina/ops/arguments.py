"""Which arguments of an operation are its own, as Keras's files have it, and which are what a node was given.

`mean(x, axis, keepdims)` is in a file the operation `Mean(axis, keepdims)`, given `x`. Arrays are given, and functions
of arrays mostly; everything else belongs to the operation.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from lamina.ops.rows import class_name

_ARRAYS = frozenset(
    [
        "a", "array", "b", "beta", "bins", "branches", "condition", "condlist", "choicelist", "data", "default",
        "elems", "elements", "f", "false_fn", "fill_value", "fun", "gamma", "index", "indices", "init", "init_val",
        "inputs", "key", "loop_vars", "mean", "operands", "output", "pred", "predictions", "primals", "q", "scale",
        "segment_ids", "sorted_sequence", "start", "start_indices", "step", "stop", "tangents", "target", "targets",
        "true_fn", "updates", "values", "variable", "variance", "weights", "x", "x1", "x2", "xs", "y",
    ]
)  # fmt: skip
_OWN: dict[str, tuple[str, ...]] = {  # what the rule does not give
    "BatchNorm": ("axis", "epsilon"),
    "Bincount": ("weights", "minlength", "sparse"),
    "Einsum": ("subscripts",),
    "Histogram": ("bins", "range"),
    "Isclose": ("equal_nan",),
    "Pad": ("pad_width", "mode"),
    "Squareplus": ("b",),
    "Trapezoid": ("x", "dx", "axis"),
    "Unique": ("sorted", "return_index", "return_inverse", "return_counts", "axis", "size", "fill_value"),
    "VectorizedMap": ("function",),
}
_KINDS = inspect.Parameter


@cache
def own(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments that belong to an operation itself: the constructor's in Keras."""
    if class_name(function) in _OWN:
        return _OWN[class_name(function)]
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.name not in _ARRAYS and p.kind is not _KINDS.VAR_KEYWORD)


def split(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]:
    """Return what belongs to the operation, and what it was given, by position and by name."""
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    names = own(function)
    if not names:
        return {}, tuple(args), dict(kwargs)
    given: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        value = bound.arguments[parameter.name]
        if parameter.kind is _KINDS.VAR_POSITIONAL:
            given.extend(value)
        elif parameter.kind is _KINDS.VAR_KEYWORD:
            named.update(value)
        elif parameter.name not in names:
            given.append(value)
    return {name: bound.arguments[name] for name in names}, tuple(given), named


def join(
    function: Callable[..., Any], mine: Mapping[str, Any], given: Sequence[Any], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the function again, by position and by name: the way back from `split`."""
    rest = list(given)
    args: list[Any] = []
    kwargs = {**named, **mine}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is _KINDS.VAR_POSITIONAL:
            args.extend(rest)
            rest = []
        elif parameter.kind is not _KINDS.POSITIONAL_OR_KEYWORD:
            continue
        elif parameter.name in kwargs and (rest or _takes_more(function)):
            args.append(kwargs.pop(parameter.name))
        elif rest and parameter.name not in kwargs:
            args.append(rest.pop(0))
        else:
            break
    return (*args, *rest), kwargs


def _takes_more(function: Callable[..., Any]) -> bool:
    return any(p.kind is _KINDS.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())
