"""What is drawn of a model: a box for each use of a layer, arrows between them, models inside as boxes of boxes."""

from dataclasses import dataclass, field
from typing import Any

import jax

from lamina.graph import FunctionOperation, Graph, KerasTensor, Node
from lamina.models.costs import is_graph
from lamina.models.description import output_shapes


@dataclass(eq=False)
class Item:
    """A use of a layer, or a model that is shown open.

    Attributes:
        layer: The layer, model or array function.
        node: The use; None for what has no graph.
        use: Which of its uses in the model it is, from 1.
        uses: How many there are.
        order: Its place among the layers of the model.
        inside: What is in it, if it is shown open.
    """

    layer: Any
    node: Node | None = None
    use: int = 1
    uses: int = 1
    order: int = 0
    inside: "Drawing | None" = None


@dataclass(eq=False)
class Drawing:
    """Items and arrows.

    Attributes:
        items: In the order of the model.
        arrows: Pairs of an item and one that it goes into, with the numbers of output and input.
        inputs: The items that stand for the inputs of an open model, in their order.
        outputs: The items that make its outputs, in their order, with the number of the output.
    """

    items: list[Item] = field(default_factory=list)
    arrows: list[tuple[Item, Item, int, int]] = field(default_factory=list)
    inputs: list[Item] = field(default_factory=list)
    outputs: list[tuple[Item, int]] = field(default_factory=list)


def drawing_of(model: Any, expand_nested: bool) -> Drawing:
    """Return what is drawn of a built model. One without a graph is one box."""
    if model._graph is None or not is_graph(model):
        return Drawing([Item(model)])
    return _graph(model._graph, expand_nested)


def _graph(graph: Graph, expand_nested: bool) -> Drawing:
    drawing = Drawing()
    makers: dict[int, tuple[Item, int]] = {}  # id of a stand-in -> what makes it
    counts: dict[int, int] = {}
    uses: dict[int, int] = {}
    for node in graph.nodes:
        uses[id(node.operation)] = uses.get(id(node.operation), 0) + 1
    order = {id(operation): i for i, operation in enumerate(graph.operations)}
    given = {id(tensor) for tensor in graph.inputs}
    for node in graph.nodes:
        if not node.is_input and all(id(tensor) in given for tensor in node.output_tensors):
            continue  # the model begins behind it
        operation = node.operation
        counts[id(operation)] = counts.get(id(operation), 0) + 1
        item = Item(operation, node, counts[id(operation)], uses[id(operation)], order[id(operation)])
        if expand_nested and is_graph(operation):
            item.inside = _graph(operation._graph, expand_nested)
        drawing.items.append(item)
        for number, tensor in enumerate(node.output_tensors):
            makers[id(tensor)] = (item, number)
        for number, tensor in enumerate(node.input_tensors):
            if id(tensor) not in makers:
                makers[id(tensor)] = (_stand_in(tensor, drawing), 0)
            source, output = makers[id(tensor)]
            drawing.arrows.append((source, item, output, number))
    drawing.inputs = [makers[id(tensor)][0] for tensor in graph.inputs if id(tensor) in makers]
    drawing.outputs = [makers[id(tensor)] for tensor in graph.outputs]
    return drawing


def _stand_in(tensor: KerasTensor, drawing: Drawing) -> Item:
    """Return an item for an input of the model that no `Input` made."""
    operation = tensor._keras_history.operation
    item = Item(operation)
    drawing.items.append(item)
    return item


def shapes_of(item: Item) -> tuple[Any, Any]:
    """Return the shapes of inputs and outputs of a use; None where they are not known."""
    if item.node is None:
        build = getattr(item.layer, "_build_shapes", None) or {}
        return next(iter(build.values()), None), output_shapes(item.layer)
    inputs = jax.tree.map(lambda tensor: tensor.shape, item.node.input_tensors)
    outputs = jax.tree.map(lambda tensor: tensor.shape, item.node.outputs)
    return (inputs[0] if len(inputs) == 1 else inputs or None), outputs


def dtypes_of(item: Item) -> str:
    """Return the types of the outputs of a use."""
    if item.node is None:
        return str(getattr(item.layer, "compute_dtype", "?"))
    return ", ".join(dict.fromkeys(tensor.dtype for tensor in item.node.output_tensors))


def kind_of(layer: Any) -> str:
    """Return the class of a layer or of an array function."""
    return layer.keras_place[1] if isinstance(layer, FunctionOperation) else type(layer).__name__
