"""Layers one behind another: what formats without a graph can hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lamina._types import Numpy
from lamina.errors import InvalidArgumentError, invalid
from lamina.interop.net import Net
from lamina.names import Distinct

_MODELS = ("Sequential", "Functional", "Model")


@dataclass(frozen=True)
class Step:
    """A layer in a chain.

    Attributes:
        kind: Its class in Keras.
        name: Its name.
        config: Its config, without the name.
        arrays: Its weights, in the order of `layer.weights`.
    """

    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[Numpy, ...] = ()

    def cannot(self, title: str, why: str, fix: str) -> InvalidArgumentError:
        """Return the error which says that a format cannot hold this layer."""
        return invalid(f"A {title} file cannot hold it: {why}", owner=f"{self.kind} layer `{self.name}`", fix=fix)


def net_of(steps: Sequence[Step], features: Sequence[int], name: str, notes: Sequence[str] = ()) -> Net:
    """Return the `Sequential` of these layers, which takes rows of the shape `features`."""
    names = _unique([step.name for step in steps])
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *features], "name": "input_layer"}}
    layers = [
        first,
        *({"class_name": s.kind, "config": {"name": n, **s.config}} for s, n in zip(steps, names, strict=True)),
    ]
    weights = {n: s.arrays for s, n in zip(steps, names, strict=True) if s.arrays}
    return Net({"class_name": "Sequential", "config": {"name": name, "layers": layers}}, weights, tuple(notes))


def _unique(names: Sequence[str]) -> list[str]:
    distinct = Distinct("input_layer")
    return [distinct(name.replace("/", "_").replace(".", "_") or "layer") for name in names]


def steps_of(net: Net, title: str) -> tuple[list[Step], tuple[int, ...]]:
    """Return the layers of a net in order, those of nested models among them, and the shape of a row that goes in.

    A `Dense` layer with an activation becomes two steps.

    Raises:
        InvalidArgumentError: If the layers are no chain, or the shape of the input is not known.
    """
    steps: list[Step] = []
    shapes: list[Any] = []
    for step in _flat(net.config, "", net, title):
        if step.kind == "InputLayer":
            shapes.append(step.config.get("batch_shape") or step.config.get("batch_input_shape"))
            continue
        steps += _split(step)
    shape = shapes[0] if shapes and shapes[0] else net.config["config"].get("build_input_shape")
    if not shape or None in shape[1:]:
        raise invalid(
            f"A {title} file needs the size of the input.",
            owner=f"Model `{net.config['config'].get('name')}`",
            received=f"input shape {shape}",
            fix="begin the model with `Input((features,))`.",
        )
    return steps, tuple(int(size) for size in shape[1:] if size is not None)


def _flat(config: dict[str, Any], prefix: str, net: Net, title: str) -> Iterator[Step]:
    inner = config["config"]
    entries = inner["layers"]
    if config["class_name"] != "Sequential":
        entries = _in_line(inner, title)
    for entry in entries:
        own = entry["config"]
        name = f"{prefix}{own['name']}"
        if entry["class_name"] in _MODELS and "layers" in own:
            yield from (step for step in _flat(entry, f"{name}/", net, title) if step.kind != "InputLayer")
        else:
            rest = {key: value for key, value in own.items() if key != "name"}
            yield Step(str(entry["class_name"]), name, rest, net.weights.get(name, ()))


def _in_line(inner: dict[str, Any], title: str) -> list[dict[str, Any]]:
    """Return the layers of a graph in the order in which they run, if each has one input and one use."""
    by_name = {entry["config"]["name"]: entry for entry in inner["layers"]}
    ends = [_places(inner["input_layers"]), _places(inner["output_layers"])]
    if any(len(places) != 1 for places in ends):
        raise _branches(inner, title, "it has several inputs or outputs")
    found: list[dict[str, Any]] = []
    name = ends[1][0]
    while True:
        entry = by_name.get(name)
        if entry is None or len(found) > len(by_name):
            raise _branches(inner, title, f"`{name}` is not among its layers, or feeds itself")
        found.append(entry)
        nodes = entry.get("inbound_nodes", [])
        before = _histories(nodes)
        if entry["class_name"] == "InputLayer" and not before:
            break
        if len(nodes) != 1 or len(before) != 1:
            raise _branches(inner, title, f"layer `{name}` has {len(before)} inputs or is used {len(nodes)} times")
        name = before[0]
    if len(found) != len(by_name):
        rest = sorted(set(by_name) - {entry["config"]["name"] for entry in found})
        raise _branches(inner, title, f"layer `{rest[0]}` stands beside the way from the input to the output")
    return found[::-1]


def _branches(inner: dict[str, Any], title: str, why: str) -> InvalidArgumentError:
    return invalid(
        f"A {title} file holds layers one behind another, and this model is no such chain: {why}.",
        owner=f"Model `{inner.get('name')}`",
        fix="write ONNX or `.keras`, which hold graphs.",
    )


def _places(struct: Any) -> list[str]:
    if isinstance(struct, list | tuple) and len(struct) == 3 and isinstance(struct[0], str):
        return [struct[0]]
    items = list(struct.values()) if isinstance(struct, dict) else list(struct)
    return [place for item in items for place in _places(item)]


def _histories(value: Any) -> list[str]:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [value["config"]["keras_history"][0]]
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [name for item in value for name in _histories(item)]
    return []


def _split(step: Step) -> list[Step]:
    """Return a layer and, as a step of its own, its activation."""
    activation = step.config.get("activation")
    if step.kind == "Activation" or activation in (None, "linear"):
        return [step]
    plain = replace(step, config={**step.config, "activation": None}, arrays=step.arrays)
    if isinstance(activation, dict) and activation.get("module") == "keras.layers":
        count = int(step.config.get("use_bias", True)) + 1
        inner = Step(
            str(activation["class_name"]), f"{step.name}/activation", activation["config"], step.arrays[count:]
        )
        return [replace(plain, arrays=step.arrays[:count]), inner]
    return [plain, Step("Activation", f"{step.name}/activation", {"activation": activation})]


def function_name(step: Step, title: str) -> str:
    """Return the name of the function of an `Activation` step.

    Raises:
        InvalidArgumentError: If it is an object of the user's.
    """
    activation = step.config.get("activation")
    if isinstance(activation, dict):
        activation = activation.get("config")
    if isinstance(activation, str):
        return activation
    raise step.cannot(title, f"its activation is {activation!r}.", "use one of the library's functions by name.")
