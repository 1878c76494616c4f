"""TensorFlow: SavedModels and checkpoints, read without TensorFlow.

A SavedModel of Keras 2 has the config of its layers beside it (`keras_metadata.pb`); in every other one the graph says
what the layers are. A checkpoint has weights alone: `activations` or `architecture` say the rest.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.files.documents import from_json
from lamina.files.paths import source_of
from lamina.interop import chain, inference, peers, protobuf, tensorflow_proto
from lamina.interop.chain import Step
from lamina.interop.net import Net
from lamina.interop.tensorflow_bundle import MAGIC, Bundle, Node
from lamina.interop.tensorflow_trace import Stream, Trace
from lamina.names import Distinct

_GRAPH, _METADATA, _VARIABLES = "saved_model.pb", "keras_metadata.pb", os.path.join("variables", "variables")
_LIMIT = 256 << 20
_VALUE = "VARIABLE_VALUE"
# Weights of a layer in Keras's order.
_ORDER = (
    "kernel",
    "embeddings",
    "bias",
    "gamma",
    "beta",
    "alpha",
    "moving_mean",
    "moving_variance",
    "mean",
    "variance",
    "count",
)
_MODELS = ("Sequential", "Functional", "Model")


def matches(path: str, head: bytes) -> bool:
    """Return whether it is a SavedModel (its folder or its graph) or a checkpoint (its prefix, table or folder)."""
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, _GRAPH)) or _latest(path) is not None
    if os.path.basename(path) == _GRAPH and os.path.isfile(path):
        return True
    prefix = path.removesuffix(".index")
    if not os.path.isfile(f"{prefix}.index"):
        return False
    with open(f"{prefix}.index", "rb") as file:
        file.seek(max(0, os.path.getsize(f"{prefix}.index") - len(MAGIC)))
        return file.read() == MAGIC


def _latest(folder: str) -> str | None:
    """Return the prefix of the checkpoint in a folder: the one that its list names last, or the only one."""
    prefixes = sorted(name.removesuffix(".index") for name in os.listdir(folder) if name.endswith(".index"))
    try:
        with open(os.path.join(folder, "checkpoint"), encoding="utf-8", errors="replace") as file:
            first = file.readline(4096)
        named = first.partition('"')[2].rpartition('"')[0]
    except OSError:
        named = ""
    if named in prefixes:  # a name in this folder: a file cannot lead elsewhere
        return os.path.join(folder, named)
    return os.path.join(folder, prefixes[0]) if len(prefixes) == 1 else None


def read(path: str, activations: Any = None, architecture: Any = None) -> Net:
    """Return the model of a SavedModel or checkpoint.

    Args:
        path: The folder of a SavedModel, or the path of a checkpoint with or without `.index`.
        activations: Name of the function between layers, or one for each `Dense`, for a checkpoint.
        architecture: `model.to_json()` of the model that a checkpoint belongs to.
    """
    folder = os.path.dirname(path) if os.path.basename(path) == _GRAPH else path
    if os.path.isfile(os.path.join(folder, _GRAPH)):
        if activations is not None or architecture is not None:
            raise invalid(
                "A SavedModel says its architecture itself.", fix="leave `activations` and `architecture` out."
            )
        return _saved_model(folder)
    prefix = _latest(path) if os.path.isdir(path) else path.removesuffix(".index")
    if prefix is None:
        raise FileFormatError(message("It holds several checkpoints.", owner=source_of(path), fix="name one of them."))
    return _checkpoint(prefix, activations, architecture)


# ---- SavedModel


def _saved_model(folder: str) -> Net:
    bundle = Bundle(os.path.join(folder, _VARIABLES))
    config = _keras_config(folder)
    if config is not None:
        return Net(config, dict(_weights_of(config, bundle.graph(), 0, bundle, "")))
    source = source_of(os.path.join(folder, _GRAPH))
    graph = tensorflow_proto.parsed(_bytes(os.path.join(folder, _GRAPH), source), source)
    keys = _keys_of_handles(graph, source)

    def array(handle: str) -> Numpy:
        if handle not in keys:
            raise FileFormatError(message(f"Nothing says where the variable `{handle}` is stored.", owner=source))
        return bundle.read(keys[handle])

    name, (ends, outs) = _signature(graph, source)
    inputs = {}
    for key, info in ends.items():
        shape = info.shape
        if not shape or -1 in shape[1:]:
            raise FileFormatError(message(f"Input `{key}` of `{name}` has the shape {shape}.", owner=source))
        inputs[info.name.partition(":")[0]] = Stream("Input", (), {"batch_shape": [None, *shape[1:]]}, (), key)
    streams = Trace(graph, array, source).run(inputs, [info.name for info in outs.values()])
    return _net(list(inputs.values()), streams, source)


def _bytes(path: str, source: str) -> memoryview:
    if os.path.getsize(path) > _LIMIT:
        raise FileFormatError(message("A file of this size is no graph.", owner=source))
    with open(path, "rb") as file:
        return memoryview(file.read())


def _keras_config(folder: str) -> dict[str, Any] | None:
    """Return the config that Keras 2 left beside the graph, if the model is made of layers."""
    path = os.path.join(folder, _METADATA)
    if not os.path.isfile(path):
        return None
    source = source_of(path)
    for number, part in protobuf.fields(_bytes(path, source), source):
        said = dict(protobuf.fields(part, source)) if number == 1 and not isinstance(part, int) else {}
        if protobuf.text(said.get(3, memoryview(b""))) == "root":
            found = from_json(bytes(protobuf.content(said.get(5, memoryview(b"")), source)), source, "The metadata")
            if isinstance(found, dict) and found.get("class_name") in _MODELS and isinstance(found.get("config"), dict):
                return {"class_name": found["class_name"], "config": _without_tuples(found["config"])}
    return None


def _without_tuples(value: Any) -> Any:
    """Return a config with lists in the place of Keras 2's marked tuples."""
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__" and isinstance(value.get("items"), list):
            value = value["items"]
        else:
            return {key: _without_tuples(inner) for key, inner in value.items()}
    return [_without_tuples(inner) for inner in value] if isinstance(value, list) else value


def _signature(graph: tensorflow_proto.Graph, source: str) -> tuple[str, Any]:
    for name in ("serving_default", "serve", *sorted(graph.signatures)):
        ends = graph.signatures.get(name)
        if ends and ends[0] and ends[1]:
            return name, ends
    raise FileFormatError(message("It has no signature with inputs and outputs.", owner=source))


def _keys_of_handles(graph: tensorflow_proto.Graph, source: str) -> dict[str, str]:
    """Return the checkpoint's key of each variable: the function that restores them pairs both."""
    found: dict[str, str] = {}
    for call in graph.nodes.values():
        function = graph.functions.get(call.function())
        restore = next((n for n in function.nodes.values() if n.op == "RestoreV2"), None) if function else None
        if (
            function is None
            or restore is None
            or len(call.inputs) != len(function.arguments)
            or len(restore.inputs) < 2
        ):
            continue
        names = function.nodes.get(restore.inputs[1].partition(":")[0])
        keys = tensorflow_proto.constant(names, source) if names is not None and names.op == "Const" else None
        if not isinstance(keys, list):
            continue
        given = dict(zip(function.arguments, call.inputs, strict=True))
        for node in function.nodes.values():
            if node.op != "AssignVariableOp" or len(node.inputs) != 2 or node.inputs[0] not in given:
                continue
            value = function.nodes.get(node.inputs[1].partition(":")[0])
            place = value.inputs[0] if value is not None and value.inputs else node.inputs[1]
            number = place.rpartition(":")[2]
            if place.startswith(f"{restore.name}:") and number.isdecimal() and int(number) < len(keys):
                found[given[node.inputs[0]].partition(":")[0]] = keys[int(number)]
    return found


# ---- the layers of a graph


def _net(inputs: Sequence[Stream], outputs: Sequence[Stream], source: str) -> Net:
    order = _in_order(outputs, source)
    names = _names(order)
    entries, weights = [], {}
    for stream in [*inputs, *(s for s in order if s.kind != "Input")]:
        name = names.get(id(stream), stream.name)
        kind = "InputLayer" if stream.kind == "Input" else stream.kind
        entry: dict[str, Any] = {
            "module": "keras.layers",
            "class_name": kind,
            "name": name,
            "config": {"name": name, **stream.config},
            "inbound_nodes": [],
        }
        if stream.inputs:
            tensors = [_tensor(names[id(one)]) for one in stream.inputs]
            merges = len(tensors) > 1
            entry["inbound_nodes"] = [{"args": [tensors] if merges else tensors, "kwargs": {}}]
        entries.append(entry)
        if stream.arrays:
            weights[name] = stream.arrays
    notes = ["The graph says what a model predicts; how its layers were trained (dropout, momentum) it does not say."]
    if _is_chain(inputs, outputs, order):
        plain = [{key: e[key] for key in ("module", "class_name", "config")} for e in entries]
        return Net(
            {"class_name": "Sequential", "config": {"name": "saved_model", "layers": plain}}, weights, tuple(notes)
        )
    ends = [[[names[id(s)], 0, 0] for s in side] for side in (inputs, outputs)]
    single = [end[0] if len(end) == 1 else end for end in ends]
    config = {"name": "saved_model", "layers": entries, "input_layers": single[0], "output_layers": single[1]}
    return Net({"class_name": "Functional", "config": config}, weights, tuple(notes))


def _tensor(name: str) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": None, "dtype": "float32", "keras_history": [name, 0, 0]},
    }


def _in_order(outputs: Sequence[Stream], source: str) -> list[Stream]:
    """Return all that the outputs need, each after what it needs itself."""
    found: dict[int, Stream] = {}
    stack: list[tuple[Stream, bool]] = [(stream, False) for stream in reversed(outputs)]
    while stack:
        stream, ready = stack.pop()
        if stream.about:
            raise FileFormatError(
                message(
                    f"Node `{stream.name}` computes a part of a layer that is not known here: {stream.about[0]}.",
                    owner=source,
                    fix="save the model with Keras as `.keras`.",
                )
            )
        if ready:
            found[id(stream)] = stream
        elif id(stream) not in found:
            stack.append((stream, True))
            stack.extend((one, False) for one in reversed(stream.inputs))
    return list(found.values())


def _names(order: Sequence[Stream]) -> dict[int, str]:
    distinct = Distinct()
    names = {}
    for stream in order:
        parts = stream.name.split("/")
        plain = stream.name if stream.kind == "Input" else parts[-2] if len(parts) > 1 else stream.kind.lower()
        names[id(stream)] = distinct(plain)
    return names


def _is_chain(inputs: Sequence[Stream], outputs: Sequence[Stream], order: Sequence[Stream]) -> bool:
    used = [id(one) for stream in order for one in stream.inputs]
    return len(inputs) == len(outputs) == 1 and len(set(used)) == len(used) and all(len(s.inputs) <= 1 for s in order)


# ---- checkpoints


def _weights_of(
    config: dict[str, Any], nodes: list[Node], place: int, bundle: Bundle, prefix: str, depth: int = 0
) -> Iterator[tuple[str, tuple[Numpy, ...]]]:
    """Yield the weights of each layer of a config, out of the objects of a checkpoint of Keras 2."""
    if depth > 20 or not 0 <= place < len(nodes):
        raise FileFormatError(message("Its objects hold each other without end, or are missing.", owner=bundle.source))
    layers = [entry for entry in config["config"].get("layers", []) if isinstance(entry, dict)]
    numbered = {
        name.removeprefix("layer-"): n for name, n in nodes[place].children.items() if name.startswith("layer-")
    }
    without = [entry for entry in layers if entry.get("class_name") != "InputLayer"]
    listed = layers if len(numbered) == len(layers) else without
    for i, entry in enumerate(listed):
        said = entry.get("config")
        inner: dict[str, Any] = said if isinstance(said, dict) else {}
        name = f"{prefix}{inner.get('name')}"
        child = numbered.get(str(i), -1)
        if entry.get("class_name") in _MODELS:
            yield from _weights_of(entry, nodes, child, bundle, f"{name}/", depth + 1)
        elif 0 <= child < len(nodes):
            arrays = _arrays(nodes, child, bundle)
            if arrays:
                yield name, tuple(arrays.values())


def _arrays(nodes: list[Node], place: int, bundle: Bundle) -> dict[str, Numpy]:
    """Return the arrays that an object holds itself, by name, in Keras's order."""
    keys = {}
    for name, child in nodes[place].children.items():
        key = nodes[child].keys.get(_VALUE) if 0 <= child < len(nodes) else None
        if key is not None and name.lstrip("_") in _ORDER:
            keys[name.lstrip("_")] = key
    return {name: bundle.read(keys[name]) for name in _ORDER if name in keys}


def _checkpoint(prefix: str, activations: Any, architecture: Any) -> Net:
    bundle = Bundle(prefix)
    nodes = bundle.graph()
    groups = [arrays for place in _layers_in(nodes) if (arrays := _arrays(nodes, place, bundle))]
    if not groups:
        raise FileFormatError(
            message("It holds no layers of Keras.", owner=bundle.source, received=", ".join(list(bundle.entries)[:5]))
        )
    if architecture is not None:
        return _filled(architecture, groups, bundle.source)
    steps = [_step(i, group, bundle.source) for i, group in enumerate(groups)]
    inference.checked(steps, bundle.source)
    steps, notes = inference.with_activations(steps, activations, bundle.source)
    if any(step.kind.endswith("Normalization") for step in steps):
        notes.append("A checkpoint does not say the epsilon of normalizations: Keras's default 0.001 was taken.")
    return chain.net_of(steps, (inference.features_of(steps, bundle.source),), "checkpoint", notes)


def _layers_in(nodes: list[Node]) -> list[int]:
    """Return the layers of the model in a checkpoint, in order."""
    stack, seen = [0] if nodes else [], set[int]()
    while stack:
        place = stack.pop(0)
        if place in seen or not 0 <= place < len(nodes):
            continue
        seen.add(place)
        children = nodes[place].children
        layers = {n.removeprefix("layer-"): c for n, c in children.items() if n.startswith("layer-")}
        if not layers and "_operations" in children and 0 <= children["_operations"] < len(nodes):
            layers = dict(nodes[children["_operations"]].children)
        numbers = sorted((n for n in layers if n.isdecimal()), key=int)
        if numbers:
            return [layers[n] for n in numbers if 0 <= layers[n] < len(nodes)]
        stack += [children[name] for name in ("_functional", "model", "root", *sorted(children)) if name in children]
    return []


def _step(number: int, group: dict[str, Numpy], source: str) -> Step:
    found = set(group)
    arrays = tuple(group.values())
    if found in ({"kernel"}, {"kernel", "bias"}) and group["kernel"].ndim == 2:
        config = {"units": int(group["kernel"].shape[1]), "use_bias": "bias" in found}
        return Step("Dense", f"dense_{number}", config, arrays)
    flags = {"scale": "gamma" in found, "center": "beta" in found}
    if {"moving_mean", "moving_variance"} <= found <= {"gamma", "beta", "moving_mean", "moving_variance"}:
        return Step("BatchNormalization", f"batch_normalization_{number}", flags, arrays)
    if found <= {"gamma", "beta"}:
        return Step("LayerNormalization", f"layer_normalization_{number}", flags, arrays)
    if found == {"alpha"} and group["alpha"].ndim == 1:
        return Step("PReLU", f"p_re_lu_{number}", {}, arrays)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in group.items())
    raise FileFormatError(message(f"What layer {number} is cannot be told: {shapes}.", owner=source))


def _filled(architecture: Any, groups: list[dict[str, Numpy]], source: str) -> Net:
    """Return the net of a config, with the weights in order."""
    text = architecture if isinstance(architecture, str) else json.dumps(architecture)
    config = from_json(text.encode(), "`architecture`", "It")
    if (
        not isinstance(config, dict)
        or config.get("class_name") not in _MODELS
        or not isinstance(config.get("config"), dict)
    ):
        raise invalid("`architecture` must be the config of a model.", fix="pass `model.to_json()`.")
    weighted = (
        "Dense",
        "BatchNormalization",
        "LayerNormalization",
        "PReLU",
        "Embedding",
        "EinsumDense",
        "Normalization",
    )
    named = [
        entry["config"]["name"] for entry in config["config"].get("layers", []) if entry.get("class_name") in weighted
    ]  # fmt: skip
    if len(named) != len(groups):
        raise invalid(
            f"`architecture` has {len(named)} layers with weights, and the checkpoint {len(groups)}.", owner=source
        )
    weights = {name: tuple(np.asarray(a) for a in group.values()) for name, group in zip(named, groups, strict=True)}
    return Net({"class_name": config["class_name"], "config": config["config"]}, weights)


_RUN = """
import os, tensorflow as tf
folder = path if os.path.isdir(path) else os.path.dirname(path)
loaded = tf.saved_model.load(folder)
run = loaded.signatures["serving_default" if "serving_default" in loaded.signatures else "serve"]
asked = run.structured_input_signature[1]
names = {names!r}
keys = names if set(names) == set(asked) else sorted(asked)
found = run(**dict(zip(keys, map(tf.constant, inputs))))
outputs = [found[key].numpy() for key in sorted(found)]
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what TensorFlow computes with a SavedModel.

    Raises:
        PeerError: If it is a checkpoint, which has no graph to run.
    """
    if not os.path.isfile(os.path.join(path, _GRAPH)) and os.path.basename(path) != _GRAPH:
        raise peers.PeerError("a checkpoint has no graph that TensorFlow could run.")
    layers = net.config["config"]["layers"]
    names = [entry["config"]["name"] for entry in layers if entry["class_name"] == "InputLayer"]
    return peers.outputs_of("TensorFlow", _RUN.format(names=names), path, inputs)
