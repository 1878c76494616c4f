"""Inputs as they are given, to the inputs of a graph: by position, by name, or in the graph's own structure."""

from typing import Any

from lamina._types import Tree
from lamina.errors import invalid, warn
from lamina.graph import Graph
from lamina.layers import InputLayer
from lamina.training.outputs import leaves


def in_order(graph: Graph, x: Tree) -> list[Any] | None:
    """Return the arrays of `x` in the order of the graph's inputs, or None if they do not answer to them.

    A list for a dict of inputs is taken in the order of the sorted keys, and only if the dict was written in that
    order: otherwise it would be a guess.
    """
    struct = graph.inputs_struct
    names = [tensor.name for tensor in graph.inputs]
    if isinstance(x, dict):
        if isinstance(struct, dict) and set(struct) <= set(x):
            x = {key: x[key] for key in struct}
        else:
            return [x[name] for name in names] if set(names) <= set(x) else None
    elif isinstance(struct, dict) and list(struct) != sorted(struct):
        return None
    flat = leaves(x)
    return flat if len(flat) == len(graph.inputs) else None


def say_once(owner: Any, graph: Graph, x: Tree) -> None:
    """Warn, once for a model, of inputs that were understood but have not the structure of the graph's inputs."""
    struct = graph.inputs_struct
    if not isinstance(struct, dict) or "_told_of_structure" in owner.__dict__:
        return
    if not isinstance(x, dict):
        how = f"They are taken in the order {sorted(struct)}."
    elif set(struct) < set(x):
        how = f"Not used: {sorted(map(str, set(x) - set(struct)))}."
    else:
        return
    owner.__dict__["_told_of_structure"] = True
    warn(
        "The structure of `inputs` doesn't match the expected structure, a dict with the keys "
        f"{sorted(struct)}. {how} (Model `{owner.name}`)"
    )


def check_optional(graph: Graph, flat: list[Any], owner: str) -> None:
    """Raise `InvalidArgumentError` for None in the place of an input that must be there."""
    for tensor, value in zip(graph.inputs, flat, strict=True):
        history = getattr(tensor, "_keras_history", None)
        layer = history.operation if history is not None else None
        if value is None and isinstance(layer, InputLayer) and not layer.optional:
            raise invalid(
                f"The input '{tensor.name}' is not optional, but None was passed. Please provide a valid tensor.",
                owner=owner,
                fix=f"pass an array, or make it `Input(..., optional=True, name={tensor.name!r})`.",
            )


def squeezed(value: Any, shape: tuple[int | None, ...]) -> Any:
    """Return an array with the rank of an input, if only a last axis of size 1 is missing or too much."""
    if value.ndim == len(shape) + 1 and value.shape[-1] == 1:
        return value[..., 0]
    if value.ndim == len(shape) - 1 and shape and shape[-1] == 1:
        return value[..., None]
    return value
