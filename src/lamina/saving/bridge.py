"""Between models and `Net`s: a model as plain data, and plain data as a model of the closed table of classes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina import serialization
from lamina.errors import FileFormatError, InvalidArgumentError, NotBuiltError, invalid, message
from lamina.interop import Net
from lamina.layers.base import Layer
from lamina.layers.parts import Parts
from lamina.saving import hdf5
from lamina.saving.functional import functional_config
from lamina.saving.legacy_config import modern
from lamina.saving.models import Fill, model_from
from lamina.saving.weights import unchanged_on_failure
from lamina.variables import Variable

_SHOWN = 12


def net_of(model: Any) -> Net:
    """Return a model as plain data, without its compile arguments.

    Raises:
        InvalidArgumentError: If it is no model, or one that only its own Python code describes.
        NotBuiltError: If it has no weights yet.
    """
    if not isinstance(model, Parts) or not hasattr(model, "layers"):
        raise invalid("Only a model can be written.", received=repr(model)[:80])
    if not model.built:
        raise NotBuiltError(
            message("It has no weights yet.", owner=f"Model `{model.name}`", fix="call it on some data first.")
        )
    weights = {name: tuple(np.asarray(v) for v in layer.weights) for name, layer in _holders(model) if layer.weights}
    return Net(_described(model), weights)


def _described(model: Any) -> dict[str, Any]:
    """Return the config of a model as `Sequential` or `Functional`, also if a subclass of the user's is one."""
    kinds = [c.__name__ for c in type(model).__mro__ if c.__module__.partition(".")[0] == "lamina"]
    if kinds[0] == "Sequential" and type(model).__name__ == "Sequential":
        return {"class_name": "Sequential", "config": serialization.serialize(model)["config"]}
    if "Functional" not in kinds and getattr(model, "_graph", None) is None:
        raise invalid(
            f"Model `{model.name}` of class `{type(model).__name__}` is described by its Python code alone.",
            fix="make it of layers, with `Sequential` or `Model(inputs, outputs)`, or save it as `.keras`.",
        )
    return {"class_name": "Functional", "config": functional_config(model)}


def _holders(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a model, those inside nested models under `outer/inner`."""
    for layer in model.layers:
        if is_model(layer):
            yield from _holders(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer


def is_model(layer: Layer) -> bool:
    """Return whether a layer is a model with layers of its own."""
    return hasattr(layer, "layers") and hasattr(layer, "compile_from_config")


def model_of(net: Net, source: str = "The net", custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the model that a net describes, with its weights; not compiled.

    Args:
        net: The net. Without any weights the model has those that its initializers draw.
        source: What to call it in an error.
        custom_objects: Names to classes and functions of yours, beside the registered ones.

    Raises:
        FileFormatError: If it needs a class that is not there, or its weights are those of another architecture.
    """
    fill = Fill(source, sum(array.nbytes for arrays in net.weights.values() for array in arrays))
    model = model_from(modern(net.config), custom_objects, fill)
    if net.weights:
        _assign(model, net, source)
    fill.rest()
    return model


def _assign(model: Any, net: Net, source: str) -> None:
    layers = dict(_holders(model))
    problems = [f"{name}: the model has no such layer" for name in net.weights if name not in layers]
    ready: list[tuple[Variable, np.ndarray]] = []
    for name, layer in layers.items():
        variables, arrays = layer.weights, net.weights.get(name, ())
        if [v.shape for v in variables] != [a.shape for a in arrays]:
            expected = ", ".join(f"{v.name} {v.shape}" for v in variables) or "none"
            found = ", ".join(str(a.shape) for a in arrays) or "none"
            problems.append(f"{name} ({type(layer).__name__}): expected {expected}; found {found}")
            continue
        try:
            ready += [(v, hdf5.converted(a, v)) for v, a in zip(variables, arrays, strict=True)]
        except InvalidArgumentError as error:
            problems.append(f"{name}: {error}")
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        head = f"{source}: the weights are those of another architecture than model `{model.name}`:"
        raise FileFormatError("\n  ".join([head, *problems[:_SHOWN], *more]))
    with unchanged_on_failure([variable for variable, _ in ready]):
        for variable, array in ready:
            variable.assign(array)
