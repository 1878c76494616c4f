"""Architectures of files that hold weights alone: what can be told from names and shapes, and what must be said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from lamina import activations as functions
from lamina._types import Numpy
from lamina.errors import FileFormatError, invalid, message
from lamina.interop import torch_modules
from lamina.interop.chain import Step
from lamina.interop.torch_modules import Module

Activations = str | Sequence[str | None] | None
_WEIGHT_ROLES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_NORMS = ("BatchNormalization", "LayerNormalization")
_SAY = (
    "pass `activations='relu'` (one for all places between), a list with one for each of these layers, or "
    "`architecture=str(module)`, e.g. 'Linear, ReLU, Dropout(0.5), Linear'."
)


def steps_of(
    tensors: Mapping[str, Numpy], activations: Activations, architecture: Any, source: str
) -> tuple[list[Step], list[str]]:
    """Return the layers that a state dict of PyTorch belongs to, and what the user should know.

    Args:
        tensors: The state dict.
        activations: Name of the function between layers, or a list with one for each `Linear`.
        architecture: The modules, as a text or list; see `torch_modules.parsed`.
        source: What to call the file in an error.

    Raises:
        FileFormatError: If it holds tensors that no layer here has, or they do not fit the architecture.
        InvalidArgumentError: If the file does not say enough, and nor do the arguments.
    """
    if architecture is not None and activations is not None:
        raise invalid("Pass `activations` or `architecture`, not both.")
    tensors, notes = _without_wrapper(tensors)
    groups = _groups(tensors, source)
    if architecture is not None:
        modules = _matched(torch_modules.parsed(architecture), groups, source)
        steps = [step for module in modules if (step := torch_modules.step_of(module, source)) is not None]
        if own := torch_modules.own_classes(architecture):
            notes.append(
                f"The modules of {', '.join(own)} are taken in the order in which they are printed. What else its "
                "`forward` does, functions such as `relu` among it, is not in that text: compare the outputs, or write "
                "all modules out."
            )
        return checked(steps, source), notes
    modules = [Module(_kind(name, group, source), name, {}, group) for name, group in groups.items()]
    plain = [torch_modules.step_of(module, source) for module in modules]
    steps = [step for step in plain if step is not None]
    checked(steps, source)
    found, more = with_activations(steps, activations, source, _gaps(list(groups)))
    return checked(found, source), [*notes, *more]


def _without_wrapper(tensors: Mapping[str, Numpy]) -> tuple[dict[str, Numpy], list[str]]:
    for prefix in ("module.", "_orig_mod."):
        if tensors and all(name.startswith(prefix) for name in tensors):
            return {n.removeprefix(prefix): a for n, a in tensors.items()}, [f"The prefix `{prefix}` was taken off."]
    return dict(tensors), []


def _groups(tensors: Mapping[str, Numpy], source: str) -> dict[str, dict[str, Numpy]]:
    groups: dict[str, dict[str, Numpy]] = {}
    for key, array in tensors.items():
        name, _, role = key.rpartition(".")
        if role not in _WEIGHT_ROLES:
            raise FileFormatError(
                message(
                    f"It holds `{key}` of shape {array.shape}, which no layer of a fully connected network has.",
                    owner=source,
                    fix="use modules out of " + ", ".join(torch_modules.KINDS) + ".",
                )
            )
        groups.setdefault(name, {})[role] = array
    if not groups:
        raise FileFormatError(message("It holds no tensors.", owner=source))
    return groups


def _kind(name: str, group: Mapping[str, Numpy], source: str) -> str:
    weight = group.get("weight")
    if "running_mean" in group:
        return "BatchNorm1d"
    if weight is not None and weight.ndim == 2:
        return "Linear"
    if weight is not None and weight.ndim == 1 and "bias" in group:
        return "LayerNorm"
    if weight is not None and weight.shape == (1,):
        return "PReLU"
    shapes = ", ".join(f"{role} {array.shape}" for role, array in group.items())
    raise FileFormatError(
        message(
            f"What module `{name}` is cannot be told from its tensors: {shapes}.",
            owner=source,
            fix="pass `architecture=str(module)`. Convolutions, embeddings and recurrent layers are not read.",
        )
    )


def _matched(modules: list[Module], groups: Mapping[str, dict[str, Numpy]], source: str) -> list[Module]:
    """Return the modules with their tensors: those that have a name by it, the others in the order of the file."""
    left = dict(groups)
    found = []
    for i, module in enumerate(modules):
        bare = module.get("elementwise_affine", True) is False
        if not torch_modules.holds_tensors(module.kind) or bare:
            found.append(replace(module, name=module.name or f"{module.kind.lower()}_{i}"))
            continue
        name = module.name if module.name in left else next(iter(left), None)
        if module.name and module.name not in groups and any(m.name in groups for m in modules if m.name):
            name = None
        if name is None:
            raise FileFormatError(
                message(
                    f"The architecture has a {module.kind} `{module.name}` for which the file has no tensors.",
                    owner=source,
                    received=f"names {torch_modules.expected(groups)}",
                )
            )
        found.append(replace(module, name=name, tensors=left.pop(name)))
    if left:
        raise FileFormatError(
            message(f"The architecture has no module for {torch_modules.expected(left)}.", owner=source)
        )
    return found


def _gaps(names: Sequence[str]) -> list[list[str]] | None:
    """Return the names that are missing behind each name, if they are numbers as in `nn.Sequential`; else None."""
    parts = [name.rpartition(".") for name in names]
    if not all(tail.isdecimal() and len(tail) < 7 for _, _, tail in parts):
        return None
    if len({head for head, _, _ in parts}) > 1:
        return None
    numbers = [int(tail) for _, _, tail in parts]
    if numbers != sorted(numbers) or numbers[-1] > 100_000:
        return None
    head = f"{parts[0][0]}." if parts[0][0] else ""
    between = [[f"{head}{k}" for k in range(a + 1, b)] for a, b in pairwise(numbers)]
    return [*between, []]


def with_activations(
    steps: list[Step], activations: Activations, source: str, gaps: list[list[str]] | None = None
) -> tuple[list[Step], list[str]]:
    """Return the layers with functions between them, and what was taken for granted.

    A function stands behind each `Dense` and the normalizations that follow it, or in the first gap there.

    Args:
        steps: The layers that have weights.
        activations: One for all places between, or one for each `Dense`.
        source: What to call the file in an error.
        gaps: Names of what is missing behind each layer; None if the names do not say.

    Raises:
        InvalidArgumentError: If nothing says which functions there are.
    """
    dense = [i for i, step in enumerate(steps) if step.kind == "Dense"]
    if activations is None:
        if len(dense) <= 1 and not any(gaps or ()):
            return steps, []
        listed = ", ".join(f"`{steps[i].name}` {_sizes(steps[i])}" for i in dense[:6])
        raise invalid(
            f"The file holds weights alone and does not say what stands between them: {listed}.", owner=source, fix=_SAY
        )
    chosen = _chosen(activations, len(dense), source)
    places = {}  # behind which step which function stands
    for number, i in enumerate(dense):
        end = i
        while end + 1 < len(steps) and steps[end + 1].kind in _NORMS and not (gaps and gaps[end]):
            end += 1
        places[end] = chosen[number]
    found, unknown = [], []
    for i, step in enumerate(steps):
        found.append(step)
        function = places.get(i, "linear")
        missing = list(gaps[i]) if gaps is not None else []
        if gaps is not None and not missing and i + 1 < len(steps) and not isinstance(activations, str):
            if function != "linear":
                raise invalid(
                    f"Behind `{step.name}` follows a layer at once: there is no place for {function!r}.", owner=source
                )
        elif function != "linear" and (missing or gaps is None or i + 1 == len(steps)):
            found.append(
                Step("Activation", missing.pop(0) if missing else f"{step.name}_{function}", {"activation": function})
            )
        elif missing and i in places:
            missing.pop(0)
        unknown += missing
    notes = ["The functions between the layers are those of `activations`; the file does not say them."]
    if unknown:
        shown = ", ".join(unknown[:6])
        notes.append(f"Nothing stands in the places {shown}: taken for Dropout, which acts in training alone.")
    return found, notes


def _sizes(step: Step) -> str:
    return " -> ".join(str(n) for n in step.arrays[0].shape)


def _chosen(activations: str | Sequence[str | None], count: int, source: str) -> list[str]:
    if not isinstance(activations, str | list | tuple) or not all(isinstance(a, str | None) for a in activations):
        raise invalid("`activations` must be a name or a list of names.", received=repr(activations)[:80])
    if isinstance(activations, str):
        named: list[str | None] = [*[activations] * (count - 1), "linear"]
    else:
        named = list(activations)
        named += ["linear"] * (len(named) == count - 1)
    if len(named) != count:
        raise invalid(
            f"`activations` must be one name or a list with one for each of the {count} `Linear` layers.",
            owner=source,
            received=f"{len(named)} names",
        )
    found = [name or "linear" for name in named]
    for name in found:
        functions.get(name)  # its error names the nearest
    return found


def checked(steps: list[Step], source: str) -> list[Step]:
    """Return the layers, if each takes what the one before gives; a single number of a PReLU is spread over all.

    Raises:
        FileFormatError: If they do not fit each other.
    """
    width: int | None = None
    found = []
    for step in steps:
        takes, gives = _widths(step)
        if step.kind == "PReLU" and width is not None and step.arrays[0].size == 1:
            step = replace(step, arrays=(np.full(width, step.arrays[0].reshape(-1)[0], step.arrays[0].dtype),))
            gives = width
        elif width is not None and takes is not None and takes != width:
            raise FileFormatError(
                message(
                    f"Layer `{step.name}` takes {takes} numbers, and the one before it gives {width}: the order of the "
                    "layers is not that of the file.",
                    owner=source,
                    fix="pass `architecture` with the modules in the order in which they run.",
                )
            )
        width = gives if gives is not None else width
        found.append(step)
    return found


def _widths(step: Step) -> tuple[int | None, int | None]:
    if step.kind == "Dense":
        return int(step.arrays[0].shape[0]), int(step.arrays[0].shape[1])
    if step.kind in (*_NORMS, "PReLU") and step.arrays:
        return int(step.arrays[0].shape[0]), int(step.arrays[0].shape[0])
    return None, None


def features_of(steps: Sequence[Step], source: str) -> int:
    """Return how many numbers a row has that goes in.

    Raises:
        FileFormatError: If no layer says it.
    """
    for step in steps:
        width, _ = _widths(step)
        if width is not None:
            return width
    raise FileFormatError(message("No layer says how many numbers it takes.", owner=source))
