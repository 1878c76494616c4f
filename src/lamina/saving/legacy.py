"""Reading the `.h5` files of Keras 2, and of Keras 3 where it still writes them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamina import registry
from lamina._types import Config, Numpy
from lamina.errors import FileFormatError, InvalidArgumentError, LaminaError, message
from lamina.files.paths import MissingFileError, is_hdf5, not_what_it_says, source_of
from lamina.saving import archive, hdf5, optimizer_state
from lamina.saving.legacy_config import compile_arguments, modern
from lamina.saving.models import Fill, model_from
from lamina.saving.named import Named, opened_by_name
from lamina.saving.weights import unchanged_on_failure
from lamina.variables import Variable

_SHOWN = 12
CONTAINER = "model_weights"


def load_model(path: str, custom_objects: dict[str, Any] | None, compile: bool) -> Any:
    """Return the model that an `.h5` file holds, compiled if it was and if its state fits.

    Raises:
        FileFormatError: If the file is missing, damaged, or holds weights alone.
    """
    with _opened(path) as file:
        text = file.text("", "model_config")
        if text is None:
            raise FileFormatError(
                message(
                    "No model config found: it is an HDF5 file that holds weights alone.",
                    owner=file.source,
                    fix="make the model and call `model.load_weights` on it, under a name that ends in `.weights.h5`.",
                )
            )
        config = modern(archive.parsed(text.encode(), file.source))
        fill = Fill(file.source, file.size())
        model = model_from(config, custom_objects, fill)
        if not model.built and _saved(file):
            raise FileFormatError(
                message(
                    f"The file does not say how to build model `{model.name}` of a class of yours.",
                    owner=file.source,
                    fix="make the model, call it on some data, and read the weights with `model.load_weights`.",
                )
            )
        if model.built:
            _fill(model, file, skip_mismatch=False, by_name=False)
        training = file.text("", "training_config")
        if compile and training is None:
            warnings.warn(
                "No training configuration found in the file, so the model was *not* compiled. Compile it yourself.",
                stacklevel=3,
            )
        elif compile and training is not None:
            with registry.custom_object_scope(custom_objects or {}):
                _compile(model, file, archive.parsed(training.encode(), file.source, "optimizer_config"))
    fill.rest()
    return model


def load_weights(model: Any, path: str, skip_mismatch: bool, by_name: bool) -> None:
    """Read the weights of an `.h5` file into a model: all of them, or none if something does not fit.

    Args:
        model: A built model.
        path: Path of the file.
        skip_mismatch: Whether to leave out layers that do not fit, with a warning.
        by_name: Whether layers are matched by name, and those without a partner left alone; else by order.

    Raises:
        FileFormatError: If the file is missing, damaged, or holds weights of another architecture.
    """
    with _opened(path) as file:
        _fill(model, file, skip_mismatch, by_name)


@contextmanager
def _opened(path: str) -> Iterator[Named]:
    import os

    if not os.path.exists(path):
        raise MissingFileError(message(f"File not found: filepath={path}.", received=f"working folder {os.getcwd()!r}"))
    if not is_hdf5(path):
        raise not_what_it_says(path, "an HDF5 file")
    with opened_by_name(path, source_of(path)) as file:
        yield file


def _compile(model: Any, file: Named, config: Config) -> None:
    try:
        model.compile_from_config(compile_arguments(config))
    except LaminaError as error:
        text = message(
            f"The model cannot be compiled as it was: {error}", owner=file.source, fix="pass `compile=False`."
        )
        raise FileFormatError(text) from error
    names = file.names("optimizer_weights", "weight_names")
    if not names or model.optimizer is None:
        return
    own = model.optimizer.variables
    entries = [file.entry(f"optimizer_weights/{name}") for name in names]
    if optimizer_state.of_keras_2(model.optimizer, entries):
        own = [own[0], *own[2:]]
    if [e.shape for e in entries] != [v.shape for v in own]:
        warnings.warn(
            f"{file.source}: the state of the optimizer starts anew: the file has it in the form of another version of "
            f"Keras ({len(entries)} arrays, and {model.optimizer.name} has {len(own)}).",
            stacklevel=4,
        )
        return
    arrays = [hdf5.converted(e.read(), v) for e, v in zip(entries, own, strict=True)]
    with unchanged_on_failure(own):
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)


def _fill(model: Any, file: Named, skip_mismatch: bool, by_name: bool) -> None:
    """Compare layers and groups, read everything, then assign."""
    root = "" if file.has_attribute("", "layer_names") or not file.has(CONTAINER) else CONTAINER
    pairs, problems = _pairs(model, file, root, by_name)
    ready: list[tuple[Variable, Numpy]] = []
    for label, variables, entries in pairs:
        problem = _misfit(label, variables, entries)
        if problem is not None:
            problems.append(problem)
            continue
        try:
            ready += [(v, hdf5.converted(e.read(), v)) for v, e in zip(variables, entries, strict=True)]
        except InvalidArgumentError as error:
            problems.append(f"{label}: {error}")
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        head = f"{file.source}: the weights are those of another architecture than model `{model.name}`:"
        text = message(
            "\n  ".join([head, *problems[:_SHOWN], *more]),
            fix="make the model as it was when the weights were saved, or load what fits with `skip_mismatch=True`, or "
            "layers of the same names with `by_name=True`.",
        )
        if not skip_mismatch:
            raise FileFormatError(text)
        warnings.warn(text, stacklevel=5)
    with unchanged_on_failure([variable for variable, _ in ready]):
        for variable, array in ready:
            variable.assign(array)


Pair = tuple[str, list[Variable], list[hdf5.Entry]]


def _saved(file: Named) -> bool:
    """Return whether a whole model's file holds any weights."""
    groups = [*file.names(CONTAINER, "layer_names"), "top_level_model_weights"]
    return any(file.names(f"{CONTAINER}/{name}", "weight_names") for name in groups)


def _pairs(model: Any, file: Named, root: str, by_name: bool) -> tuple[list[Pair], list[str]]:
    """Return which variables get which arrays, and what has no partner."""
    saved = {name: file.entries(f"{root}/{name}".strip("/")) for name in file.names(root, "layer_names")}
    pairs: list[Pair] = []
    problems: list[str] = []
    if by_name:
        for layer in model.layers:
            if layer.name in saved:
                pairs.append((f"layer `{layer.name}`", in_old_order(layer), saved[layer.name]))
    else:
        layers = [layer for layer in model.layers if layer.weights]
        filled = [(name, entries) for name, entries in saved.items() if entries]
        if len(layers) != len(filled):
            problems.append(
                f"Layer count mismatch. Model expected {len(layers)} layers ({_listed(x.name for x in layers)}), found "
                f"{len(filled)} saved layers ({_listed(name for name, _ in filled)})."
            )
        for k, (layer, (name, entries)) in enumerate(zip(layers, filled, strict=False)):
            pairs.append((f"layer #{k} `{layer.name}` (in the file `{name}`)", in_old_order(layer), entries))
    top = f"{root}/top_level_model_weights".strip("/")
    own = model._own_variables()
    if file.has(top) and (own or file.entries(top)):
        pairs.append(("the model itself", own, file.entries(top)))
    return pairs, problems


def in_old_order(layer: Any) -> list[Variable]:
    """Return a layer's weights as Keras 2 listed them: all that are trained first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _misfit(label: str, variables: list[Variable], entries: list[hdf5.Entry]) -> str | None:
    if [v.shape for v in variables] == [e.shape for e in entries]:
        return None
    expected = ", ".join(f"{v.name} {v.shape}" for v in variables[:6]) or "none"
    found = ", ".join(str(e.shape) for e in entries[:6]) or "none"
    return f"{label}: the shapes must match: expected {expected}; found {found}."


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
