"""What a sample costs: operations forward and in a training step, and bytes of activations, layer by layer."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import registry
from lamina._types import Shape, Tree
from lamina.graph import FunctionOperation, Graph, KerasTensor, Node
from lamina.layers.base import Layer
from lamina.layers.context import CallContext, calling
from lamina.layers.dense import Dense
from lamina.models.counting import Spec, UncountableError, per_sample
from lamina.models.model import Model
from lamina.models.sequential import Sequential
from lamina.variables import guarded, is_float, isolated

_UNKNOWN = -(10**30)  # added to anything it stays below zero: a sum with an unknown part is unknown


class Cost(NamedTuple):
    """The work and memory of one sample; a negative number is unknown.

    Attributes:
        forward: Operations of a prediction.
        training: Operations of a training step: forward, and the derivatives by weights and inputs.
        activations: Bytes of the outputs.
    """

    forward: int = 0
    training: int = 0
    activations: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Return the sum."""
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def over(self, batch: int) -> "Cost":
        """Return the share of one sample in a batch of a fixed size."""
        return self if batch == 1 else Cost(*(value // batch for value in self))


UNKNOWN = Cost(_UNKNOWN, _UNKNOWN, _UNKNOWN)


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a model that does nothing but run its graph."""
    return isinstance(layer, Model) and layer._graph is not None and type(layer).call in (Model.call, Sequential.call)


class Costs:
    """Works out costs. What occurs twice with the same arguments is worked out once."""

    def __init__(self) -> None:
        self._known: dict[Any, Cost] = {}

    def of_graph(self, graph: Graph, differentiated: bool = False) -> dict[int, Cost]:
        """Return the cost of each operation of a graph by its `id`, summed over its uses.

        Args:
            graph: The graph.
            differentiated: Whether the gradient of its inputs is asked for.
        """
        flows = {id(tensor): differentiated for tensor in graph.inputs}  # does a gradient go back through it?
        found: dict[int, Cost] = {}
        batch = (graph.inputs[0].shape or (None,))[0] or 1
        for node in graph.nodes:
            operation = node.operation
            if node.is_input or all(id(tensor) in flows for tensor in node.output_tensors):
                found.setdefault(id(operation), Cost())
                continue
            above = any(flows.get(id(tensor), False) for tensor in node.input_tensors)
            own = bool(getattr(operation, "trainable_weights", ()))
            flows.update((id(tensor), own or above) for tensor in node.output_tensors)
            cost = self.of_node(node, own, above).over(batch)
            found[id(operation)] = found.get(id(operation), Cost()).plus(cost)
        return found

    def of_node(self, node: Node, own: bool, above: bool) -> Cost:
        """Return the cost of one use of an operation.

        Args:
            node: The use.
            own: Whether the operation has weights to train.
            above: Whether the gradient of its inputs is asked for.
        """
        operation = node.operation
        if is_graph(operation) and _same_shapes(node.input_tensors, operation._graph.inputs):
            key = (id(operation._graph), above)
            if key not in self._known:
                parts = self.of_graph(operation._graph, above).values()
                batch = (operation._graph.inputs[0].shape or (None,))[0] or 1
                total = sum_of(parts)
                self._known[key] = Cost(*(value * batch for value in total))
            return self._known[key]
        size = sum(_bytes(tensor) for tensor in node.output_tensors)
        return self._work(operation, node.args, node.kwargs, own, above)._replace(activations=size)

    def of_shape(self, layer: Layer, shapes: dict[str, Any] | None) -> Cost:
        """Return the cost of a layer or model that is not in a graph, from the shapes that it was built for."""
        if not shapes or len(shapes) != 1 or not layer.built:
            return UNKNOWN
        shape = next(iter(shapes.values()))
        if not isinstance(shape, tuple) or not all(size is None or isinstance(size, int) for size in shape):
            return UNKNOWN
        stand_in = KerasTensor((None, *shape[1:]), dtype=layer.compute_dtype, name="input")
        if is_graph(layer) and isinstance(layer, Model) and layer._graph is not None:
            return sum_of(self.of_graph(layer._graph).values())
        work = self._work(layer, (stand_in,), {}, bool(layer.trainable_weights), False)
        return work._replace(activations=_observed(layer, stand_in))

    def _work(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], own: bool, above: bool) -> Cost:
        leaves, structure = jax.tree.flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, KerasTensor)]
        if any(None in tensor.shape[1:] for tensor in tensors):
            return UNKNOWN
        if isinstance(operation, Dense) and type(operation).call is Dense.call and operation.built:
            return self._dense(operation, tensors[0].shape, own, above)
        key = (*_identity(operation, leaves), str(structure), own, above)
        if key not in self._known:
            self._known[key] = _traced(operation, leaves, structure, own, above)
        return self._known[key]

    def _dense(self, layer: Dense, shape: Shape, own: bool, above: bool) -> Cost:
        """Return the cost of a fully connected layer; `_traced` gives the same, a thousand times slower."""
        rows = math.prod(size for size in shape[:-1] if size is not None)
        inputs, units = layer.kernel.shape
        activation = self._activation(layer.activation, (*shape[:-1], units), own or above)
        forward = rows * units * (2 * inputs - (layer.bias is None)) + activation.forward
        training = rows * units * (2 * inputs - (layer.bias is None)) + activation.training
        if own and layer.kernel.trainable:
            training += 2 * rows * inputs * units
        if own and layer.bias is not None and layer.bias.trainable:
            training += rows * units
        if above:
            training += rows * inputs * (2 * units - 1)
        return Cost(forward, training)

    def _activation(self, function: Callable[..., Any], shape: Shape, differentiated: bool) -> Cost:
        key = (id(function), shape, differentiated)
        if key not in self._known:
            leaf = KerasTensor(shape, name="input")
            structure = jax.tree.structure(((leaf,), {}))
            self._known[key] = _traced(FunctionOperation(function, name="f"), [leaf], structure, False, differentiated)
        return self._known[key]


def sum_of(costs: Any) -> Cost:
    """Return the sum of costs."""
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    return total


def _same_shapes(given: list[KerasTensor], own: list[KerasTensor]) -> bool:
    return [tensor.shape for tensor in given] == [tensor.shape for tensor in own]


def _bytes(tensor: KerasTensor) -> int:
    if None in tensor.shape[1:]:
        return _UNKNOWN
    return math.prod(size for size in tensor.shape if size is not None) * jnp.dtype(tensor.dtype).itemsize


def _identity(operation: Any, leaves: list[Any]) -> tuple[Any, ...]:
    """Return what operations with the same cost have in common."""
    given = tuple(
        (tuple(leaf.shape), str(leaf.dtype)) if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else repr(leaf)
        for leaf in leaves
    )
    if isinstance(operation, FunctionOperation):
        return (id(operation.function), given)
    if registry.home(type(operation)) is None or isinstance(operation, Model):
        return (id(operation), given)
    config = {key: value for key, value in operation.get_config().items() if key != "name"}
    return (type(operation), repr(config), given)


def _traced(operation: Any, leaves: list[Any], structure: Any, own: bool, above: bool) -> Cost:
    """Return the cost of an operation by reading its traced program. No variable is changed, no layer is built."""
    try:
        return _trace(operation, leaves, structure, own, above)
    except Exception:  # a layer of the user's may do anything; a summary must not fail on it
        return UNKNOWN


def _trace(operation: Any, leaves: list[Any], structure: Any, own: bool, above: bool) -> Cost:
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, KerasTensor)]
    specs = [Spec(leaves[i].shape, leaves[i].dtype) for i in places]
    weights = [weight for weight in operation.trainable_weights if is_float(weight._dtype)] if own else []

    def run(training: bool, params: Tree, arrays: Tree) -> list[Any]:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = jax.tree.unflatten(structure, filled)
        context = CallContext(training=training, collecting=True)
        with isolated(), guarded(_refuse), calling(context):
            for variable, array in zip(weights, params, strict=False):
                variable.assign(array)
            return jax.tree.leaves(operation(*args, **kwargs))

    def train(params: Tree, *arrays: Any) -> Any:
        floats = [i for i, array in enumerate(arrays) if above and jnp.issubdtype(array.dtype, jnp.inexact)]

        def outputs(params: Tree, chosen: Tree) -> list[Any]:
            given = list(arrays)
            for i, array in zip(floats, chosen, strict=True):
                given[i] = array
            return [out for out in run(True, params, given) if jnp.issubdtype(out.dtype, jnp.inexact)]

        outs, pull = jax.vjp(outputs, params, [arrays[i] for i in floats])
        return outs, pull([jnp.ones_like(out) for out in outs])

    forward = per_sample(lambda *arrays: run(False, (), arrays), specs)
    if not own and not above:
        return Cost(forward, per_sample(lambda *arrays: run(True, (), arrays), specs))
    kernels = [Spec(weight.shape, weight._dtype) for weight in weights]
    return Cost(forward, per_sample(train, [kernels, *specs]))


def _observed(layer: Layer, stand_in: KerasTensor) -> int:
    """Return the bytes that the innermost layers put out for each further sample."""
    found = []
    spec = Spec(stand_in.shape, stand_in.dtype)
    for batch in (2, 3):
        sizes: list[int] = []

        def observe(inner: Any, outputs: Tree, sizes: list[int] = sizes) -> Tree:
            if not inner._sublayers():
                sizes.extend(out.size * out.dtype.itemsize for out in jax.tree.leaves(outputs))
            return outputs

        def run(array: Any, observe: Callable[[Any, Any], Any] = observe) -> Any:
            with isolated(), guarded(_refuse), calling(CallContext(False, collecting=True, observer=observe)):
                return layer(array)

        try:
            jax.eval_shape(run, spec.sized(batch))
        except Exception:  # as in `_traced`
            return _UNKNOWN
        found.append(sum(sizes))
    return found[1] - found[0]


def _refuse(path: str, size: int) -> None:
    """Let nothing be built while costs are worked out."""
    raise UncountableError
