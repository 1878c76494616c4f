"""What a summary says, as plain values: a row for each layer, and the totals."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import graph as graphs
from lamina import registry
from lamina._types import Tree
from lamina.errors import invalid
from lamina.graph import FunctionOperation, Graph, Node
from lamina.layers.base import Layer
from lamina.models.costs import UNKNOWN, Cost, Costs, is_graph, sum_of
from lamina.models.model import Model
from lamina.models.sequential import Sequential
from lamina.optimizers.base import Optimizer
from lamina.variables import Variable


class Row(NamedTuple):
    """A layer of a model.

    Attributes:
        name: Its name.
        kind: Its class.
        depth: In how many models inside this one it is.
        shapes: Its output shape, or a list or dict of shapes; None if not known.
        params: Number of its weights; None before it is built.
        sources: What makes its inputs: name, number of the use, number of the output.
        trainable: Whether its weights are trained; None if it has none.
        cost: Its work for one sample.
    """

    name: str
    kind: str
    depth: int
    shapes: Tree
    params: int | None
    sources: list[tuple[str, int, int]]
    trainable: bool | None
    cost: Cost


class Description(NamedTuple):
    """A model.

    Attributes:
        name: Its name.
        rows: Its layers.
        branched: Whether it is more than a chain.
        trainable: Number and bytes of the weights that are trained.
        fixed: Number and bytes of the other weights.
        optimizer: Number and bytes of the optimizer's variables; None before it is built.
        planned: Bytes of the optimizer's variables, also before it is built; None if not known.
        cost: Work for one sample.
    """

    name: str
    rows: list[Row]
    branched: bool
    trainable: tuple[int, int]
    fixed: tuple[int, int]
    optimizer: tuple[int, int] | None
    planned: int | None
    cost: Cost


def describe(model: Model, expand_nested: bool = False, layer_range: Sequence[str] | None = None) -> Description:
    """Return what a summary of the model says.

    Args:
        model: A model, built or not.
        expand_nested: Whether the layers of models inside have rows of their own.
        layer_range: Names, or patterns of names, of the first and the last layer.

    Raises:
        InvalidArgumentError: If `layer_range` names no layers.
    """
    graph = model._graph
    whole = graph is not None and not isinstance(model, Sequential)
    layers: list[Any] = list(graph.operations) if graph is not None and whole else list(model.layers)
    first, last = bounds(layers, layer_range)
    costs = Costs()
    rows = _rows(model, layers[first:last], expand_nested, costs)
    optimizer = model.optimizer if model.compiled else None
    built = optimizer is not None and bool(optimizer.built)
    return Description(
        name=model.name,
        rows=rows,
        branched=graph is not None and whole and _is_branched(graph),
        trainable=_size(model.trainable_weights),
        fixed=_size(model.non_trainable_weights),
        optimizer=_size(optimizer.variables) if optimizer is not None and built else None,
        planned=_planned(optimizer, model.trainable_weights) if optimizer is not None and model.built else None,
        cost=_total(model, costs),
    )


def bounds(layers: Sequence[Any], layer_range: Any) -> tuple[int, int]:
    """Return where the layers from the first to the last name begin and end.

    Raises:
        InvalidArgumentError: If it is not a pair of names, or no layer has one.
    """
    if layer_range is None:
        return 0, len(layers)
    if not isinstance(layer_range, list | tuple) or len(layer_range) != 2:
        raise invalid(
            "layer_range must be a list or tuple of length 2.",
            received=f"layer_range={layer_range!r}",
            fix="pass the names of the first and the last layer.",
        )
    if not all(isinstance(name, str) for name in layer_range):
        raise invalid("layer_range should contain string type only.", received=f"layer_range={layer_range!r}")
    try:
        ends = [[i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in layer_range]
    except re.error as error:
        raise invalid("layer_range holds a pattern that is none.", received=f"{layer_range!r}: {error}") from error
    if not all(ends):
        raise invalid(
            "Passed layer_names do not match the layer names in the model.",
            received=f"layer_range={layer_range!r}",
            fix=f"names are {', '.join(layer.name for layer in layers[:20])}{', ...' if len(layers) > 20 else ''}.",
        )
    if min(ends[0]) > max(ends[1]):
        return min(ends[1]), max(ends[0]) + 1
    return min(ends[0]), max(ends[1]) + 1


def _is_branched(graph: Graph) -> bool:
    """Return whether a graph is more than one chain of layers, each used once."""
    return (
        len(graph.operations) != len(graph.nodes)
        or any(len(node.input_tensors) > 1 for node in graph.nodes)
        or len({id(t) for node in graph.nodes for t in node.input_tensors}) < len(graph.nodes) - 1
        or sum(node.is_input for node in graph.nodes) != 1
    )


# ---- rows


class _Inside(NamedTuple):
    """The model that a layer is looked at in."""

    nodes: dict[int, int]  # id of a use in it -> place
    costs: dict[int, Cost]
    graph: bool
    named: bool  # whether its inputs have rows of their own
    times: int


def _inside(model: Any, costs: Costs, times: int) -> _Inside:
    graph = getattr(model, "_graph", None)
    nodes = {id(node): i for i, node in enumerate(graph.nodes)} if graph is not None else {}
    plain = graph is not None and is_graph(model)
    return _Inside(
        nodes,
        costs.of_graph(graph) if graph is not None and plain else {},
        plain,
        not isinstance(model, Sequential),
        times,
    )


def _rows(model: Model, layers: Sequence[Any], expand_nested: bool, costs: Costs) -> list[Row]:
    rows: list[Row] = []
    top = _inside(model, costs, 1)
    stack: list[tuple[Any, int, _Inside]] = [(layer, 0, top) for layer in reversed(layers)]
    while stack:
        layer, depth, place = stack.pop()
        rows.append(_row(layer, depth, place, costs))
        inner = getattr(layer, "layers", None) if expand_nested else None
        if inner:
            uses = sum(id(node) in place.nodes for node in layer._inbound_nodes)
            below = _inside(layer, costs, place.times * max(1, uses))
            stack.extend((one, depth + 1, below) for one in reversed(inner))
    return rows


def _row(layer: Any, depth: int, place: _Inside, costs: Costs) -> Row:
    uses = [node for node in layer._inbound_nodes if id(node) in place.nodes]
    is_function = isinstance(layer, FunctionOperation)
    built = is_function or bool(layer.built)
    weights = [] if is_function else layer.weights
    if place.graph:
        one = place.costs.get(id(layer), UNKNOWN)
        cost = Cost(*(value * place.times for value in one))
    else:
        cost = UNKNOWN if is_function else costs.of_shape(layer, layer._build_shapes)
    return Row(
        name=layer.name,
        kind=layer.keras_place[1] if is_function else type(layer).__name__,
        depth=depth,
        shapes=output_shapes(layer, uses),
        params=_count(weights) if built else None,
        sources=[_source(tensor) for node in uses for tensor in node.input_tensors] if place.named else [],
        trainable=bool(layer.trainable) if weights else None,
        cost=cost,
    )


def _source(tensor: Any) -> tuple[str, int, int]:
    history = tensor._keras_history
    return (history.operation.name, history.node_index, history.tensor_index)


def output_shapes(layer: Any, uses: Sequence[Node] = ()) -> Tree:
    """Return the output shape of a layer: of its last use in the model, else for the shape that it was built for."""
    nodes = uses or layer._inbound_nodes
    if nodes:
        return jax.tree.map(lambda tensor: tensor.shape, nodes[-1].outputs)
    shapes = getattr(layer, "_build_shapes", None)
    if not shapes or not layer.built:
        return None
    try:
        return _without_probe(layer.compute_output_shape(*shapes.values()))
    except (NotImplementedError, ValueError, TypeError, AttributeError):
        return None


def is_shape(value: Any) -> bool:
    """Return whether a value is one shape, not a structure of shapes."""
    return isinstance(value, list | tuple) and all(size is None or isinstance(size, int) for size in value)


def _without_probe(shapes: Tree) -> Tree:
    """Return shapes with None for the batch that stood in while an unknown batch was traced."""

    def one(shape: Any) -> Any:
        return (None, *shape[1:]) if tuple(shape[:1]) == (graphs._PROBES[0],) else tuple(shape)

    return jax.tree.map(one, shapes, is_leaf=is_shape)


# ---- totals


def _count(weights: Iterable[Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _size(weights: Iterable[Variable]) -> tuple[int, int]:
    unique = list({id(weight): weight for weight in weights}.values())
    return _count(unique), sum(math.prod(w.shape) * jnp.dtype(w._dtype).itemsize for w in unique)


def _planned(optimizer: Any, weights: Sequence[Variable]) -> int | None:
    """Return the bytes that an optimizer has, or will have once it is built for these weights."""
    if optimizer.built:
        return _size(optimizer.variables)[1]
    if registry.home(type(optimizer)) is None or type(optimizer).build is not Optimizer.build:
        return None  # of the user's, or one around another: what it keeps shows after its first step
    specs = [jax.ShapeDtypeStruct(weight.shape, jnp.dtype(weight._dtype)) for weight in weights]
    copies = bool(optimizer.use_ema) + bool(optimizer.gradient_accumulation_steps)
    groups = optimizer._slot_groups()
    slots = jax.eval_shape(optimizer.rule().init, tuple(specs)) if groups else {}
    found = [leaf for group in groups for name in group for leaf in jax.tree.leaves(slots[name])]
    total = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in [*found, *specs * copies])
    return int(total) + _size(optimizer.variables)[1]


def _total(model: Model, costs: Costs) -> Cost:
    if model._graph is not None and is_graph(model):
        return sum_of(costs.of_graph(model._graph).values())
    layer: Layer = model
    return costs.of_shape(layer, layer._build_shapes)
