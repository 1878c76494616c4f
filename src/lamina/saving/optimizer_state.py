"""The state of an optimizer out of a file: restored where it fits, with one warning where it does not."""

import re
import warnings
from typing import Any

import numpy as np

from lamina import registry
from lamina._types import Numpy
from lamina.errors import InvalidArgumentError
from lamina.optimizers import Optimizer
from lamina.registry import snake_case
from lamina.saving.hdf5 import Entry, WeightsFile, converted


def read(
    optimizer: Optimizer, file: WeightsFile, path: str, model: Any, class_name: str | None
) -> dict[str, Numpy] | None:
    """Return what an optimizer's variables are to hold, by number; None, with a warning, if it does not fit.

    Args:
        optimizer: The model's optimizer; it is built if it has no slots yet.
        file: An open weights file.
        path: Where its state is in the file.
        model: The model that it trains.
        class_name: Class of the optimizer that was saved, if a config says it.
    """
    found = file.groups.get(path, {})
    saved = class_name or file.attribute(path, "class_name") or _class_of(file.attribute(path, "name") or "")
    own = type(optimizer).__name__
    if saved is not None and saved != own:
        _warn(file, f"it is that of {saved}, and the model has {own}")
        return None
    if len(found) > len(optimizer.variables) and not optimizer.built and model.built:
        optimizer.build(model.trainable_variables)
    if set(found) != {str(i) for i in range(len(found))}:
        _warn(file, "its entries are not numbered")
        return None
    entries = [found[str(i)] for i in range(len(found))]
    return None if _is_start(optimizer, entries) else _arrays(optimizer, file, entries)


def _is_start(optimizer: Optimizer, entries: list[Entry]) -> bool:
    """Return whether the file was written before the first step, when there were no slots, and there is none now."""
    own = optimizer.variables
    scalars = len(entries) < len(own) and all(entry.shape == () for entry in entries)
    return scalars and int(optimizer._iterations) == 0 and int(entries[0].read() if entries else 0) == 0


def _arrays(optimizer: Optimizer, file: WeightsFile, entries: list[Entry]) -> dict[str, Numpy] | None:
    own = optimizer.variables
    if of_keras_2(optimizer, entries):
        rate = {"1": np.asarray(own[1])}
        pairs = zip(own[2:], entries[1:], strict=True)
        return rate | {"0": entries[0].read()} | {str(i): converted(e.read(), v) for i, (v, e) in enumerate(pairs, 2)}
    if len(entries) != len(own) or any(e.shape != v.shape for e, v in zip(entries, own, strict=True)):
        _warn(
            file,
            f"it has {len(entries)} arrays, and the {len(own)} of optimizer `{optimizer.name}` have other shapes: it "
            "was saved for another model, or with other arguments",
        )
        return None
    try:
        return {str(i): converted(e.read(), v) for i, (e, v) in enumerate(zip(entries, own, strict=True))}
    except InvalidArgumentError as error:
        _warn(file, str(error))
        return None


def of_keras_2(optimizer: Optimizer, entries: list[Entry]) -> bool:
    """Return whether entries are the state of an optimizer as Keras 2 kept it: the same without the learning rate.

    Only for those whose slots came in today's order.
    """
    own = optimizer.variables
    known = type(optimizer).__name__ in ("SGD", "Adam", "AdamW") and not getattr(optimizer, "amsgrad", False)
    kept = [own[0], *own[2:]] if len(own) > 1 else []
    return known and len(entries) == len(kept) and all(e.shape == v.shape for e, v in zip(entries, kept, strict=True))


def _class_of(name: str) -> str | None:
    """Return the class that an optimizer's automatic name tells, e.g. "Adam" for "adam_1", or None for a name given."""
    base = re.sub(r"_\d+$", "", name)
    for key in registry.names("optimizers"):
        thing = registry.find("optimizers", key)
        if isinstance(thing, type) and snake_case(thing.__name__) == base:
            return thing.__name__
    return None


def _warn(file: WeightsFile, why: str) -> None:
    warnings.warn(
        f"{file.source}: the state of the optimizer starts anew, because what the file has does not fit: {why}. "
        "The weights are loaded.",
        stacklevel=6,
    )
