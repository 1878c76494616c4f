"""Whole models to the `.h5` files that Keras 2 began and Keras 3 still writes and reads."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import registry, serialization
from lamina._types import Config
from lamina.errors import invalid
from lamina.files import atomic
from lamina.layers.parts import Parts
from lamina.saving.legacy import CONTAINER, in_old_order
from lamina.saving.superblock import sealed
from lamina.variables import Variable

_VERSION = "3.15.1"  # of Keras, whose form of the file this is
_MOST = 64512  # bytes of one attribute; HDF5 keeps it in a header of 64 KB


def save_model(model: Any, path: str, overwrite: bool = True, include_optimizer: bool = True) -> None:
    """Write a model to an `.h5` file: its config and weights, and if it is compiled how, and the optimizer's state.

    The file is made in memory and written in one step: if anything fails, a file that was there is unchanged.

    Args:
        model: The model.
        path: Where to; folders that are missing are made, as by Keras for this format.
        overwrite: Whether to replace a file without asking. False asks at a terminal, and raises elsewhere.
        include_optimizer: Whether to write what the model was compiled with and the state of its optimizer.

    Raises:
        InvalidArgumentError: If it is no model, or two layers have one name: the file finds weights by names.
        FileFormatError: If a layer cannot be described, e.g. because it holds a `lambda`.
        OSError: If the file cannot be written.
    """
    if not isinstance(model, Parts):
        raise invalid("Only a model can be saved.", received=repr(model)[:80])
    _check_names(model)
    if atomic.confirmed(path, overwrite):
        image = _image(model, include_optimizer)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        atomic.write(path, image)


def _check_names(model: Any) -> None:
    twice = [name for name, count in Counter(layer.name for layer in model.layers).items() if count > 1]
    if twice:
        raise invalid(
            f"An `.h5` file finds weights by the names of the layers, and several are called {', '.join(twice)}.",
            owner=f"Model `{model.name}`",
            fix="save it as `.keras`, or give each layer a name of its own.",
        )


def _image(model: Any, include_optimizer: bool) -> tuple[memoryview, ...]:
    import h5py

    config = serialization.serialize_shared(model)
    compiled = config.pop("compile_config", None) if include_optimizer else None
    with h5py.File("model", "w", driver="core", backing_store=False) as file:
        file.attrs["keras_version"], file.attrs["backend"] = _VERSION, "jax"
        file.attrs["model_config"] = json.dumps(_described(config)).encode()
        root = file.create_group(CONTAINER)
        root.attrs["keras_version"], root.attrs["backend"] = _VERSION, "jax"
        _put_names(root, "layer_names", [layer.name for layer in model.layers])
        for layer in sorted(model.layers, key=lambda one: one.name):
            _put(root.create_group(layer.name), in_old_order(layer))
        _put(root.create_group("top_level_model_weights"), model._own_variables())
        if isinstance(compiled, dict) and compiled.get("optimizer") is not None:
            file.attrs["training_config"] = json.dumps(_training(compiled)).encode()
            if model.optimizer.built:
                _put(file.create_group("optimizer_weights"), model.optimizer.variables)
        file.flush()
        return sealed(file.id.get_file_image())


def _described(config: Config) -> Config:
    """Return what describes an object of the library without its module: Keras looks for the class by its name."""
    own = config.get("registered_name")
    name = own if isinstance(own, str) and ">" in own else config["class_name"]
    return {"class_name": name, **{key: config[key] for key in ("config", "build_config") if config.get(key)}}


def _training(compiled: Config) -> Config:
    """Return the arguments of `compile` in the form of the file."""
    rest = {key: _by_name(value, key) for key, value in compiled.items() if key != "optimizer"}
    optimizer = compiled["optimizer"]
    return {**rest, "optimizer_config": _described(optimizer) if isinstance(optimizer, dict) else optimizer}


def _by_name(value: Any, argument: str) -> Any:
    """Return losses and metrics with functions as their names, losses without abbreviations: Keras reads none."""
    if isinstance(value, list | tuple):
        return [_by_name(one, argument) for one in value]
    if isinstance(value, str) and argument == "loss":
        place = registry.home(registry.find("losses", value))
        return place[1] if place else value
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _by_name(one, argument) for key, one in value.items()}
    return value["config"] if value["class_name"] == "function" else value


def _put(group: Any, variables: Sequence[Variable]) -> None:
    """Write variables under their paths, and the list of these, which says their order."""
    names: list[str] = []
    for variable in variables:
        name, number = variable.path, 0
        while name in names or name in group:
            number += 1
            name = f"{variable.path}_{number}"
        names.append(name)
        array = np.asarray(variable)
        # The format has no bfloat16; every such number is a float32, and readers convert it back.
        group.create_dataset(name, data=array.astype("float32") if array.dtype.name == "bfloat16" else array)
    _put_names(group, "weight_names", names)


def _put_names(group: Any, key: str, names: Sequence[str]) -> None:
    """Write a list of names as an attribute, cut into `key0`, `key1`, ... if it is too long for one."""
    data = np.asarray([name.encode() for name in names], dtype=None if names else "S1")
    parts = [data]
    while any(part.nbytes > _MOST for part in parts):
        parts = np.array_split(data, len(parts) + 1)
    for number, part in enumerate(parts):
        group.attrs[key if len(parts) == 1 else f"{key}{number}"] = part
