"""From a `Net` to primitive operations: the walk over a Sequential or functional config, models inside models too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InvalidArgumentError, invalid, message
from lamina.files.ordering import in_order
from lamina.interop.lowered import Lowered, Operation, Shape
from lamina.interop.net import Net

Config = dict[str, Any]
_DEEPEST = 32  # models inside models
_MODELS = ("Sequential", "Functional", "Model")


@dataclass(frozen=True)
class Entry:
    """A layer as the config has it.

    Attributes:
        kind: Its class.
        name: Its name, `outer/inner` inside a nested model.
        config: The arguments of its constructor.
        weights: Its arrays, in the order of `layer.weights`.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    weights: tuple[np.ndarray, ...]

    def get(self, key: str, default: Any) -> Any:
        """Return an argument, or Keras's default where the config leaves it out."""
        return self.config.get(key, default)

    def cannot(self, problem: str, fix: str, received: str | None = None) -> InvalidArgumentError:
        """Return the error which names this layer."""
        return invalid(problem, owner=f"{self.kind} layer `{self.name}`", received=received, fix=fix)

    def taken(self, *shapes: Shape) -> tuple[np.ndarray, ...]:
        """Return the first weights as float32 arrays, checked against the shapes that the layer implies."""
        found = tuple(tuple(array.shape) for array in self.weights[: len(shapes)])
        whole = any(array.dtype.kind in "iub" for array in self.weights[: len(shapes)])
        if found != tuple(shapes) or whole:
            raise FileFormatError(
                message(
                    f"The weights do not fit the layer: expected {len(shapes)} of floats, of shapes {list(shapes)}.",
                    owner=f"{self.kind} layer `{self.name}`",
                    received=f"{len(self.weights)} of shapes {list(found)}",
                    fix="see that the file holds the weights of this very model.",
                )
            )
        return tuple(np.ascontiguousarray(array, dtype=np.float32) for array in self.weights[: len(shapes)])


@dataclass
class Building:
    """What has been lowered so far."""

    weights: Mapping[str, Sequence[np.ndarray]]
    operations: list[Operation] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    layer: str = ""

    def emit(
        self, kind: str, inputs: Sequence[str], shape: Shape, arrays: Mapping[str, Any] | None = None, /, **options: Any
    ) -> str:
        """Add an operation and return the name of its output."""
        name = fresh(self.layer, self.shapes)
        held = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in (arrays or {}).items()}
        self.operations.append(Operation(kind, tuple(inputs), name, self.layer, held, options))
        self.shapes[name] = tuple(int(n) for n in shape)
        return name

    def note(self, text: str) -> None:
        """Remember what was left out, once."""
        if text not in self.notes:
            self.notes.append(text)


def fresh(name: str, taken: Mapping[str, Any]) -> str:
    """Return the name, with a number behind it if it is taken."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}:{number}"
    return found


def lower(net: Net) -> Lowered:
    """Return the operations of a net, as it predicts.

    What only training needs (dropout, noise, regularizers) is left out and noted.

    Raises:
        InvalidArgumentError: If a layer has no such form; the error names it and says what to do.
        FileFormatError: If the config is none, or the weights do not fit it.
    """
    b = Building(net.weights)
    config = _dict(net.config.get("config"), "config")
    name = str(config.get("name") or "model")
    inputs = _input_values(b, net.config)
    outputs = _model(b, net.config, inputs, "", 0)
    operations, outputs = _own_outputs(b, inputs, outputs)
    used = {*inputs, *(op.output for op in operations)}
    shapes = {key: value for key, value in b.shapes.items() if key in used}
    unread = sorted({name for name in inputs} - {name for op in operations for name in op.inputs})
    if unread:
        b.note(f"The input `{unread[0]}` is not used by any layer.")
    return Lowered(name, tuple(inputs), tuple(outputs), tuple(operations), shapes, tuple(b.notes))


def _own_outputs(b: Building, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[list[Operation], list[str]]:
    """Return operations and outputs: each output is made by an operation of its own and has its layer's name."""
    seen = set(inputs)
    found = []
    for name in outputs:
        if name in seen:
            b.layer = name.partition(":")[0]
            name = b.emit("function", [name], b.shapes[name], name="linear")
        seen.add(name)
        found.append(name)
    # An output takes the plain name of its layer; what had that name inside the layer takes the output's.
    swapped: dict[str, str] = {}
    for name in found:
        plain = name.partition(":")[0]
        if plain != name and plain not in seen and plain not in swapped:
            swapped[name], swapped[plain] = plain, name
    b.shapes = {swapped.get(key, key): value for key, value in b.shapes.items()}
    operations = [
        replace(op, inputs=tuple(swapped.get(n, n) for n in op.inputs), output=swapped.get(op.output, op.output))
        for op in b.operations
    ]
    return operations, [swapped.get(name, name) for name in found]


# ---- what a config is


def broken(why: str) -> FileFormatError:
    """Return the error for a config that is none."""
    return FileFormatError(message(f"The model's config cannot be read: {why}."))


def _dict(value: Any, what: str) -> Config:
    if not isinstance(value, dict):
        raise broken(f"its `{what}` is no dict but {repr(value)[:60]}")
    return value


def _entries(config: Config) -> list[Config]:
    """Return the layers of a model's config, checked to be layers."""
    found = _dict(config.get("config"), "config").get("layers")
    if not isinstance(found, list):
        raise broken("it has no list of `layers`")
    for entry in found:
        inner = _dict(entry, "layer").get("config")
        if not isinstance(entry.get("class_name"), str) or not isinstance(inner, dict):
            raise broken(f"among its layers is {repr(entry)[:60]}")
        if not isinstance(_name(entry), str):
            raise broken(f"a {entry['class_name']} layer has no name")
    return found


def _name(entry: Config) -> Any:
    return entry["config"].get("name") or entry.get("name")


def _kind(entry: Config) -> str:
    """Return the class of a layer; a class of the user's under the name of one of Keras's is another."""
    registered = entry.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        return registered
    return str(entry["class_name"])


def sample_shape(value: Any, owner: str) -> Shape:
    """Return a shape without its batch axis; every size must be known."""
    if isinstance(value, list | tuple) and value and all(type(n) is int and n >= 0 for n in value[1:]):
        return tuple(value[1:])
    raise invalid(
        "Every size of an input except the number of rows must be known.",
        owner=owner,
        received=f"shape={value!r}",
        fix="make the model with sizes, e.g. `Input((28, 28))`.",
    )


def _input_shape(entry: Config) -> Any:
    inner = entry["config"]
    return inner.get("batch_shape", inner.get("batch_input_shape"))


def _input_values(b: Building, config: Config) -> list[str]:
    """Return the names of the model's inputs, after noting their shapes."""
    kind = config.get("class_name")
    if kind == "Sequential":
        entries = _entries(config)
        inner = config["config"]
        first = entries[0] if entries else None
        if first is None:
            raise broken("a Sequential without layers")
        shape = _input_shape(first)
        if shape is None:
            built = first.get("build_config")
            shape = inner.get("build_input_shape") or (built.get("input_shape") if isinstance(built, dict) else None)
        if first["class_name"] in _MODELS and shape is None:
            return _input_values(b, first)
        name = str(_name(first)) if first["class_name"] == "InputLayer" else "input"
        b.shapes[name] = sample_shape(shape, f"Sequential model `{inner.get('name')}`")
        return [name]
    if kind not in ("Functional", "Model"):
        raise broken(f"a model of class {kind!r}; only Sequential and Functional models can be written as plain data")
    by_name = {_name(entry): entry for entry in _entries(config)}
    found = []
    for name, _, _ in _places(config["config"].get("input_layers"), "input_layers"):
        if name not in by_name or by_name[name]["class_name"] != "InputLayer":
            raise broken(f"its input {name!r} is no InputLayer")
        b.shapes[name] = sample_shape(_input_shape(by_name[name]), f"InputLayer `{name}`")
        found.append(name)
    return found


def _places(struct: Any, what: str) -> list[tuple[str, int, int]]:
    """Return the places `[layer, use, output]` that `input_layers` or `output_layers` holds, in order."""
    stack, found = [struct], []
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str):
            if type(value[1]) is not int or type(value[2]) is not int:
                raise broken(f"`{what}` holds {repr(value)[:60]}")
            found.append((value[0], value[1], value[2]))
        elif isinstance(value, list | tuple):
            stack += reversed(value)
        elif isinstance(value, dict):
            stack += [value[key] for key in sorted(value, reverse=True)]
        else:
            raise broken(f"`{what}` holds {repr(value)[:60]}")
        if len(found) + len(stack) > 1_000_000:
            raise broken(f"`{what}` is too long")
    return found


# ---- the walk


def _model(b: Building, config: Config, inputs: list[str], prefix: str, depth: int) -> list[str]:
    if depth > _DEEPEST:
        raise broken(f"it has more than {_DEEPEST} models inside each other")
    if config.get("class_name") == "Sequential":
        values = inputs
        for entry in _entries(config):
            if entry["class_name"] != "InputLayer":
                values = _call(b, entry, values, prefix, depth)
        return values
    return _Graph(b, config, prefix, depth).run(inputs)


def _call(b: Building, entry: Config, inputs: list[str], prefix: str, depth: int) -> list[str]:
    """Lower one use of a layer and return its outputs."""
    from lamina.interop import lowering_layers

    name = prefix + str(_name(entry))
    if _kind(entry) in _MODELS:
        return _model(b, entry, inputs, name + "/", depth + 1)
    b.layer = name
    layer = Entry(_kind(entry), name, entry["config"], tuple(np.asarray(w) for w in b.weights.get(name, ())))
    return [lowering_layers.layer(b, layer, inputs)]


@dataclass(frozen=True)
class _Use:
    """One use of a layer: the arguments that its node has, and the places that they name."""

    args: Any
    kwargs: Any
    needs: tuple[tuple[str, int, int], ...]


class _Graph:
    """The layers of one functional model, each used as soon as what it needs is there."""

    def __init__(self, b: Building, config: Config, prefix: str, depth: int) -> None:
        self.b, self.prefix, self.depth = b, prefix, depth
        self.entries: dict[str, Config] = {}
        for entry in _entries(config):
            name = entry.get("name") or _name(entry)
            if name in self.entries:
                raise broken(f"the layer name {name!r} occurs twice")
            self.entries[name] = entry
        self.legacy = False
        self.uses = {
            (name, number): self._use(name, node)
            for name, entry in self.entries.items()
            if entry["class_name"] != "InputLayer"
            for number, node in enumerate(entry.get("inbound_nodes") or [])
        }
        self.ins = _places(config["config"].get("input_layers"), "input_layers")
        self.outs = _places(config["config"].get("output_layers"), "output_layers")
        self.values: dict[tuple[str, int], list[str]] = {}

    def _use(self, name: str, node: Any) -> _Use:
        if isinstance(node, dict) and isinstance(node.get("args"), list) and isinstance(node.get("kwargs", {}), dict):
            args, kwargs = node["args"], node.get("kwargs", {})
        elif isinstance(node, list) and all(isinstance(place, list) and len(place) >= 3 for place in node):
            self.legacy = True  # Keras 2: [[layer, use, output, kwargs], ...]
            tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": p[:3]}} for p in node]
            args = [tensors[0] if len(tensors) == 1 else tensors]
            kwargs = node[0][3] if node and len(node[0]) > 3 and isinstance(node[0][3], dict) else {}
        else:
            raise broken(f"a node of {name!r} is {repr(node)[:60]}")
        return _Use(args, kwargs, tuple(histories([args, kwargs])))

    def run(self, inputs: list[str]) -> list[str]:
        if len(inputs) != len(self.ins):
            raise broken(f"a model with {len(self.ins)} inputs is used on {len(inputs)}")
        for (name, _, _), value in zip(self.ins, inputs, strict=True):
            self.values[name, 0] = [value]
        given = set(self.values)
        needs = {
            place: {self._origin(*history[:2]) for history in use.needs} - given for place, use in self.uses.items()
        }
        for place in in_order(needs):
            self._run(place)
        return [self._end(*place) for place in self.outs]

    def _origin(self, name: str, number: int) -> tuple[str, int]:
        if name not in self.entries:
            raise broken(f"a node names the unknown layer {name!r}")
        if self.legacy and number > 0 and self.entries[name]["class_name"] in _MODELS[1:]:
            number -= 1  # Keras 2 counted a model's own graph as its first use
        return name, number

    def _end(self, name: str, number: int, index: int) -> str:
        if name in self.entries and self.entries[name]["class_name"] in _MODELS[1:]:
            number = max(0, number - 1)
        return self._value((name, number), index)

    def _value(self, place: tuple[str, int], index: int) -> str:
        found = self.values.get(place, [])
        if not 0 <= index < len(found):
            raise broken(f"the graph has a loop, or output {index} of the layer {place[0]!r} is not there")
        return found[index]

    def value_at(self, history: Any) -> str:
        """Return the value at a place `[layer, use, output]`."""
        name, number, index = history
        return self._value(self._origin(name, number), index)

    def _run(self, place: tuple[str, int]) -> None:
        from lamina.interop import lowering_functions

        entry, use = self.entries[place[0]], self.uses[place]
        if lowering_functions.is_function(entry):
            self.b.layer = self.prefix + place[0]
            self.values[place] = [lowering_functions.call(self.b, entry, use.args, use.kwargs, self.value_at)]
            return
        first = use.args[0] if use.args else next(iter(use.kwargs.values()), None)
        given = [self.value_at(history) for history in histories(first)]
        rest = list(histories([use.args[1:], {k: v for k, v in use.kwargs.items() if use.args or v is not first}]))
        if rest or not given:
            problem = "It is given more than its inputs, e.g. a mask." if rest else "It is given no input."
            raise invalid(
                f"{problem} Only a network of plain layers can be written in this format.",
                owner=f"{entry['class_name']} layer `{self.prefix}{place[0]}`",
                fix="take the mask out, or save the model as `.keras`.",
            )
        self.values[place] = _call(self.b, entry, given, self.prefix, self.depth)


def histories(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield the places that the stand-ins among arguments name, in order."""
    stack = [value]
    while stack:
        item = stack.pop()
        history = stand_in(item)
        if history is not None:
            yield history
        elif isinstance(item, dict) and "class_name" not in item:
            stack += list(item.values())[::-1]
        elif isinstance(item, list | tuple):
            stack += list(item)[::-1]


def stand_in(value: Any) -> tuple[str, int, int] | None:
    """Return the place that a stand-in names, or None if `value` is something else."""
    if not isinstance(value, dict) or value.get("class_name") != "__keras_tensor__":
        return None
    inner = value.get("config")
    found = inner.get("keras_history") if isinstance(inner, dict) else None
    if not isinstance(found, list | tuple) or [type(part) for part in found] != [str, int, int]:
        raise broken(f"a stand-in is {repr(value)[:60]}")
    return found[0], found[1], found[2]
