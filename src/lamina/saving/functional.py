"""Functional models as configs: layers in order, each with the nodes that use it, and back."""

from collections.abc import Iterator
from typing import Any

from lamina import registry, serialization
from lamina._types import Config, Tree
from lamina.errors import FileFormatError, message
from lamina.files.ordering import in_order
from lamina.graph import FunctionOperation, Graph, History, KerasTensor, Node
from lamina.layers.base import Layer
from lamina.layers.input import InputLayer
from lamina.saving import operations

Place = tuple[str, int]  # name of a layer, and which of its uses


def functional_config(graph_owner: Any) -> Config:
    """Return the config of a functional model, as Keras writes it.

    Args:
        graph_owner: The model: its `name`, `trainable` and `graph`.
    """
    graph: Graph = graph_owner if isinstance(graph_owner, Graph) else _graph_of(graph_owner)
    own = {id(node) for node in graph.nodes}
    numbers: dict[int, int] = {}  # a node to its number among the uses in this model
    for operation in graph.operations:
        uses = [node for node in operation._inbound_nodes if id(node) in own]
        numbers.update((id(node), i) for i, node in enumerate(uses))
    places = _Places(numbers)
    layers = []
    for operation in graph.operations:
        nodes = [node for node in operation._inbound_nodes if id(node) in own]
        layers.append(_layer_config(operation, nodes, places))
    return {
        "name": graph_owner.name,
        "trainable": graph_owner.trainable,
        "layers": layers,
        "input_layers": _mapped(graph.inputs_struct, places.end),
        "output_layers": _mapped(graph.outputs_struct, places.end),
    }


def _graph_of(owner: Any) -> Graph:
    for name in ("graph", "_graph"):
        found = getattr(owner, name, None)
        if isinstance(found, Graph):
            return found
    raise TypeError(f"{type(owner).__name__} has no graph.")


def _history(tensor: KerasTensor) -> History:
    history: History = tensor._keras_history
    return history


def _node_of(tensor: KerasTensor) -> Node:
    history = _history(tensor)
    node: Node = history.operation._inbound_nodes[history.node_index]
    return node


class _Places:
    """Where a stand-in comes from: the layer's name, the number of the use, the number of the output."""

    def __init__(self, numbers: dict[int, int]) -> None:
        self._numbers = numbers

    def of(self, tensor: KerasTensor) -> list[Any]:
        history = _history(tensor)
        return [history.operation.name, self._numbers[id(_node_of(tensor))], history.tensor_index]

    def end(self, tensor: KerasTensor) -> list[Any]:
        """Return the place of an input or output of the model, where Keras counts a functional model's uses from 1."""
        name, number, index = self.of(tensor)
        return [name, number + 1 if _is_functional(_history(tensor).operation) else number, index]


def _is_functional(operation: Any) -> bool:
    return any(c.__name__ == "Functional" and c.__module__.startswith("lamina.") for c in type(operation).__mro__)


def _layer_config(operation: Any, nodes: list[Node], places: _Places) -> Config:
    if isinstance(operation, FunctionOperation):
        parts = [operations.split(operation, node.args, node.kwargs) for node in nodes]
        config = operations.config_of(operation, parts[0][0])
        calls = [(args, kwargs) for _, args, kwargs in parts]
    else:
        config = serialization.serialize(operation)
        calls = [(node.args, node.kwargs) for node in nodes if not node.is_input]
    config["name"] = operation.name
    config["inbound_nodes"] = [
        {"args": _argument(list(args), places), "kwargs": _argument(kwargs, places)} for args, kwargs in calls
    ]
    return config


def _argument(value: Any, places: _Places) -> Any:
    if isinstance(value, KerasTensor):
        inner = {"shape": list(value.shape), "dtype": value.dtype, "keras_history": places.of(value)}
        return {"class_name": "__keras_tensor__", "config": inner}
    if isinstance(value, list | tuple):
        return [_argument(v, places) for v in value]
    if isinstance(value, dict):
        return {key: _argument(v, places) for key, v in value.items()}
    return serialization.serialize(value)


def _mapped(struct: Tree, place: Any) -> Any:
    if isinstance(struct, KerasTensor):
        return place(struct)
    if isinstance(struct, dict):
        return {key: _mapped(v, place) for key, v in struct.items()}
    items = [_mapped(v, place) for v in struct]
    return tuple(items) if isinstance(struct, tuple) else items


# ---- and back


def functional_from_config(
    config: Config, custom_objects: dict[str, Any] | None = None
) -> tuple[Tree, Tree, str | None, bool]:
    """Return inputs, outputs, name and trainable of the functional model that a config describes.

    Every layer is made first, then each is called on what its nodes name, as soon as that is there. The nodes may come
    in any order.

    Raises:
        FileFormatError: If a node needs what no other gives, or an operation is not in the library.
    """
    with registry.custom_object_scope(custom_objects or {}):
        made = _Made()
        for entry in _entries(config):
            made.add(entry)
        made.connect()
        try:
            inputs, outputs = (_filled(config[key], made.end) for key in ("input_layers", "output_layers"))
        except (KeyError, IndexError, TypeError) as error:
            raise _invalid(f"its inputs or outputs name what is not there: {error}") from error
    trainable = config.get("trainable")
    return inputs, outputs, config.get("name"), True if trainable is None else bool(trainable)


def _entries(config: Config) -> Iterator[Config]:
    for entry in config.get("layers", []):
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str) or "config" not in entry:
            raise _invalid(f"among its layers is {repr(entry)[:60]}")
        inner = entry["config"] if isinstance(entry["config"], dict) else {}
        old = {} if "module" in entry or "registered_name" in entry else {"module": "keras.layers"}  # Keras 2
        yield {**old, **entry, "name": entry.get("name", inner.get("name"))}


def _invalid(why: str) -> FileFormatError:
    return FileFormatError(message(f"Invalid Functional model configuration: {why}."))


class _Made:
    """The layers made so far, the calls still to be made, and what the calls gave."""

    def __init__(self) -> None:
        self._layers: dict[str, Any] = {}
        self._outputs: dict[Place, list[KerasTensor]] = {}
        self._calls: dict[Place, tuple[Any, Any]] = {}
        self._legacy: set[str] = set()

    def add(self, entry: Config) -> None:
        name, calls = entry["name"], entry.get("inbound_nodes", [])
        if not isinstance(name, str) or name in self._layers or not isinstance(calls, list):
            raise _invalid(f"the layer name {name!r} is missing or occurs twice")
        layer = operations.made_from(entry) if operations.is_operation(entry) else serialization.deserialize(entry)
        if not isinstance(layer, Layer | operations.Applied):
            raise _invalid(f"expected a layer or operation as {name!r}, got {type(layer).__name__}")
        self._layers[name] = layer
        if isinstance(layer, InputLayer):
            self._outputs[name, 0] = [layer._inbound_nodes[0].outputs]
            return
        for number, call in enumerate(calls):
            self._calls[name, number] = self._arguments(name, call)

    def _arguments(self, name: str, call: Any) -> tuple[Any, Any]:
        if isinstance(call, dict) and "args" in call:
            return call["args"], call.get("kwargs", {})
        if not isinstance(call, list) or not all(isinstance(place, list) and len(place) >= 3 for place in call):
            raise _invalid(f"a node of {name!r} is {repr(call)[:60]}")
        # Keras 2: [[layer, node, tensor, kwargs], ...]
        self._legacy.add(name)
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": place[:3]}} for place in call]
        return [tensors[0] if len(tensors) == 1 else tensors], call[0][3] if len(call[0]) > 3 else {}

    def connect(self) -> None:
        """Make every call once what it needs is there."""
        needs: dict[Place, set[Place]] = {}
        for place, arguments in self._calls.items():
            needs[place] = {self._origin(history) for history in _histories(arguments)} - set(self._outputs)
            if place[1]:
                needs[place].add((place[0], place[1] - 1))
        missing = set(needs)
        for place in in_order(needs):
            self._call(place)
            missing.remove(place)
        if missing:
            names = ", ".join(sorted({name for name, _ in missing})[:6])
            raise _invalid(f"the graph either has loops or disconnected nodes; these layers get no input: {names}")

    def _origin(self, history: Any) -> Place:
        try:
            name, number, _ = history
            layer = self._layers[name]
        except (TypeError, ValueError, KeyError):
            missing = history[0] if isinstance(history, list) and history else history
            raise _invalid(f"a node names the unknown layer {history!r}. Missing node: {missing}") from None
        if self._legacy and _is_functional(layer) and number > 0:
            number -= 1  # Keras 2 counted a model's own graph as its first use
        return name, number

    def _call(self, place: Place) -> None:
        args, kwargs = (_filled_argument(part, self.tensor) for part in self._calls[place])
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise _invalid(f"a node of {place[0]!r} has no arguments")
        outputs = self._layers[place[0]](*args, **kwargs)
        self._outputs[place] = list(_tensors(outputs))

    def tensor(self, history: Any) -> KerasTensor:
        return self._outputs[self._origin(history)][int(history[2])]

    def end(self, history: Any) -> KerasTensor:
        name, number, index = history
        if _is_functional(self._layers[name]):
            number = max(0, number - 1)
        return self._outputs[name, number][int(index)]


def _histories(value: Any) -> Iterator[Any]:
    """Yield where the stand-ins among arguments come from."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            inner = value.get("config")
            history = inner.get("keras_history") if isinstance(inner, dict) else None
            if history is not None:
                yield history
            return
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _histories(item)


def _filled_argument(value: Any, tensor: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__" and value["config"].get("keras_history") is not None:
            return tensor(value["config"]["keras_history"])
        if "class_name" in value and "config" in value:
            return serialization.deserialize(value)
        return {key: _filled_argument(v, tensor) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_filled_argument(v, tensor) for v in value]
    return value


def _filled(struct: Any, tensor: Any) -> Tree:
    if isinstance(struct, list) and len(struct) == 3 and isinstance(struct[0], str):
        return tensor(struct)
    if isinstance(struct, dict):
        return {key: _filled(v, tensor) for key, v in struct.items()}
    items = [_filled(v, tensor) for v in struct]
    return tuple(items) if isinstance(struct, tuple) else items


def _tensors(outputs: Tree) -> Iterator[KerasTensor]:
    import jax

    yield from jax.tree.leaves(outputs)
