"""Weights into a model: all is compared and read before the first variable changes, and a failure changes none."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina import config
from lamina._types import Numpy
from lamina.errors import FileFormatError, InvalidArgumentError, message
from lamina.layers.parts import Parts
from lamina.optimizers import Optimizer
from lamina.placing import on_device
from lamina.saving import optimizer_state
from lamina.saving.hdf5 import Entry, Group, WeightsFile, converted
from lamina.saving.walk import Saveable, walk, walk_all
from lamina.variables import Variable

_SHOWN = 12
# What older versions of Keras kept beside the weights, and what a model without it can do without.
_DISPENSABLE = frozenset({"seed_generator", "metrics", "_metrics", "optimizer", "_loss_tracker"})


def groups(model: Parts, skip: frozenset[int] = frozenset()) -> Iterator[Group]:
    """Yield what every part of a model keeps, in the order of Keras's files."""
    for path, part in walk(model, skip):
        store: dict[str, Any] = {}
        part.save_own_variables(store)
        attributes = {"name": part.name}
        if isinstance(part, Optimizer):
            attributes["class_name"] = type(part).__name__
        yield Group(path, store, attributes)


@dataclass
class _Plan:
    """What goes where, and what does not fit."""

    parts: list[Saveable] = field(default_factory=list)  # all of the model
    places: list[tuple[Saveable, str]] = field(default_factory=list)
    problems: list[tuple[Saveable, str]] = field(default_factory=list)  # a part and what is wrong with it
    extra: list[str] = field(default_factory=list)  # paths in the file for which the model has no part
    not_finite: list[str] = field(default_factory=list)  # places of arrays with NaN or infinity


def load(
    model: Parts,
    file: WeightsFile,
    skip_mismatch: bool = False,
    skip: frozenset[int] = frozenset(),
    optimizer_class: str | None = None,
) -> None:
    """Put the weights of a file into a model: all of them, or none if something does not fit.

    Args:
        model: A built model.
        file: An open weights file.
        skip_mismatch: Whether to leave out layers that do not fit, with a warning that names them.
        skip: Ids of parts to leave as they are.
        optimizer_class: Class of the optimizer whose state is in the file, if a config says it.

    Raises:
        FileFormatError: If the file is damaged, or holds weights of another architecture.
    """
    plan = _plan(model, file, skip)
    stores = _read(file, plan)
    for part, path in plan.places:
        if isinstance(part, Optimizer):
            known = optimizer_class if path == "optimizer" else None
            store = optimizer_state.read(part, file, path, model, known)
            if store is not None:
                stores.append((part, store))
    complaint = _complaint(model, file, plan)
    if complaint:
        if not skip_mismatch:
            raise FileFormatError(complaint)
        warnings.warn(complaint, stacklevel=4)
    _warn_of_nan(file, plan)
    with unchanged_on_failure([v for part in plan.parts for v in variables_of(part)]):
        for part, store in _on_device(stores):
            _assign(part, store, skip_mismatch)


def variables_of(part: Saveable) -> list[Variable]:
    """Return the variables that a part itself keeps in a file, in order."""
    return part.variables if isinstance(part, Optimizer) else part._stored_variables()


@contextmanager
def unchanged_on_failure(variables: list[Variable]) -> Iterator[None]:
    """Give every variable its old array back if the block fails, Ctrl-C included."""
    before = [(variable, variable._array) for variable in variables]
    try:
        yield
    except BaseException:
        for variable, array in before:
            if variable._array is not array:
                variable.assign(array)
        raise


def _plan(model: Parts, file: WeightsFile, skip: frozenset[int]) -> _Plan:
    plan = _Plan()
    used: set[str] = set()
    failed: dict[int, tuple[Saveable, str, str]] = {}
    for path, part in walk(model, skip):
        plan.parts.append(part)
        found = file.groups.get(path, {})
        problem = None if isinstance(part, Optimizer) or _loads_itself(part) else _misfit(part, found)
        if problem is not None:
            failed[id(part)] = part, path, problem
            continue
        used.add(path)
        if found or _loads_itself(part):
            plan.places.append((part, path))
    if failed:  # the file may have a layer under another attribute of the same object
        for path, part in walk_all(model):
            found = file.groups.get(path, {})
            if id(part) in failed and path not in used and found and _misfit(part, found) is None:
                del failed[id(part)]
                used.add(path)
                plan.places.append((part, path))
    plan.problems = [(part, f"{path or '(the model itself)'}: {problem}") for part, path, problem in failed.values()]
    used.update(path for _, path, _ in failed.values())
    if config.strict() and not skip:
        for path, arrays in file.groups.items():
            if arrays and path not in used and not _DISPENSABLE & set(path.split("/")):
                plan.extra.append(path)
    return plan


def _loads_itself(part: Saveable) -> bool:
    """Return whether a class, one of the user's for example, reads its weights by its own rule."""
    if getattr(type(part), "_reads_itself", False):
        return True
    method = getattr(type(part), "load_own_variables", None)
    return not getattr(method, "__module__", "").startswith("lamina.")


def _misfit(part: Saveable, found: dict[str, Entry]) -> str | None:
    """Return what is wrong if the arrays of a group are not those of a part, else None."""
    own = variables_of(part)
    names = [str(i) for i in range(len(own))]
    if set(found) != set(names):
        built = "" if part.built or own else " It is not built: build the model first."
        return (
            f"Layer '{part.name}' expected {len(own)} variables, but received {len(found)} variables during loading. "
            f"Expected: {_shapes(own)}; found: {_found(found)}.{built}"
        )
    if any(found[name].shape != variable.shape for name, variable in zip(names, own, strict=True)):
        return f"the shapes must match. Layer '{part.name}' expected {_shapes(own)}; found: {_found(found)}."
    return None


def _shapes(variables: list[Variable]) -> str:
    return ", ".join(f"{v.name} {v.shape}" for v in variables[:6]) + (" ..." if len(variables) > 6 else "") or "none"


def _found(arrays: dict[str, Entry]) -> str:
    return ", ".join(str(arrays[name].shape) for name in sorted(arrays)[:6]) + (" ..." * (len(arrays) > 6)) or "none"


def _read(file: WeightsFile, plan: _Plan) -> list[tuple[Saveable, dict[str, Numpy]]]:
    """Return the arrays for every layer, in the types of its variables."""
    stores: list[tuple[Saveable, dict[str, Numpy]]] = []
    for part, path in plan.places:
        if isinstance(part, Optimizer):
            continue
        found = file.groups.get(path, {})
        store = {name: entry.read() for name, entry in found.items()}
        try:
            if not _loads_itself(part):
                for i, variable in enumerate(variables_of(part)):
                    store[str(i)] = converted(store[str(i)], variable)
        except InvalidArgumentError as error:
            plan.problems.append((part, f"{path}: {error}"))
            continue
        plan.not_finite += [found[name].path for name, array in store.items() if not _finite(array)]
        stores.append((part, store))
    return stores


def _on_device(stores: list[tuple[Saveable, dict[str, Any]]]) -> list[tuple[Saveable, dict[str, Any]]]:
    """Return stores with the arrays of the library's layers on the device: all brought there at once."""
    plain = [store for part, store in stores if not isinstance(part, Optimizer) and not _loads_itself(part)]
    arrays = iter(on_device([array for store in plain for array in store.values()]))
    for store in plain:
        store.update({name: next(arrays) for name in store})
    return stores


def _warn_of_nan(file: WeightsFile, plan: _Plan) -> None:
    if plan.not_finite:
        shown = ", ".join(plan.not_finite[:6]) + (" ..." if len(plan.not_finite) > 6 else "")
        warnings.warn(
            f"{file.source}: arrays hold NaN or infinity, so the model's output will be of no use: {shown}. The "
            "training had gone wrong before the file was written.",
            stacklevel=5,
        )


def _finite(array: Numpy) -> bool:
    return array.dtype.kind in "iub" or bool(np.isfinite(array).all())


def _assign(part: Saveable, store: dict[str, Any], skip_mismatch: bool) -> None:
    if not _loads_itself(part):
        part.load_own_variables(store)
        return
    try:
        with unchanged_on_failure(variables_of(part)):
            part.load_own_variables(store)
    except Exception as error:
        problem = f"`{type(part).__name__}.load_own_variables` of layer '{part.name}' failed: {error!r}"
        if not skip_mismatch:
            raise FileFormatError(message(problem, fix="nothing was changed; see to that method.")) from error
        warnings.warn(problem, stacklevel=5)


def _complaint(model: Parts, file: WeightsFile, plan: _Plan) -> str | None:
    """Return the list of differences between the model and the file, or None if there are none."""
    lines = [problem for _, problem in plan.problems]
    for path in plan.extra:
        name = file.attribute(path, "name")
        called = f" (`{name}`)" if name else ""
        lines.append(f"{path}{called}: the model has no such layer; the file has {_found(file.groups[path])}.")
    if not lines:
        return None
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    head = (
        f"{file.source}: the weights are those of another architecture than model `{model.name}`. "
        f"A total of {len(plan.problems)} objects could not be loaded:"
    )
    return message(
        "\n  ".join([head, *lines[:_SHOWN], *more]),
        fix="make the model as it was when the weights were saved, or load the layers that fit with "
        "`skip_mismatch=True`. What does not fit was left as it was.",
    )
