"""Configurations: what each of many networks is made and trained with."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina import serialization
from lamina.errors import InvalidArgumentError, describe, did_you_mean, invalid

# What a configuration may say beside the arguments of the factory and the optimizer.
OF_FIT = ("batch_size", "epochs", "patience", "rows", "sample_weight", "seed", "x", "y")


class Parts(NamedTuple):
    """A configuration, taken apart: arguments of the factory, of the optimizer, and of the fit."""

    factory: dict[str, Any]
    optimizer: dict[str, Any]
    fit: dict[str, Any]


def configurations(grid: Any, seed: int) -> list[dict[str, Any]]:
    """Return the configurations that `grid` stands for.

    Args:
        grid: A list of dicts; a dict of lists, for each combination; or a number of networks, for so many seeds.
        seed: The first seed, where `grid` is a number.

    Raises:
        InvalidArgumentError: If it is none of these, or empty.
    """
    if isinstance(grid, int | np.integer) and not isinstance(grid, bool):
        found: list[dict[str, Any]] = [{"seed": seed + i} for i in range(grid)]
    elif isinstance(grid, Mapping):
        for key, values in grid.items():
            if isinstance(values, str) or not hasattr(values, "__iter__"):
                raise invalid(
                    "Each entry of a grid must be a list of values.",
                    owner="`grid`",
                    received=f"{key}={describe(values)}",
                    fix=f"pass {{{key!r}: [{values!r}]}}.",
                )
        found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*map(list, grid.values()))]
    elif isinstance(grid, Sequence) and not isinstance(grid, str) and all(isinstance(one, Mapping) for one in grid):
        found = [dict(one) for one in grid]
    else:
        raise invalid(
            "It must be a list of configurations (dicts), a dict of lists, or a number of seeds.",
            owner="`grid`",
            received=describe(grid),
            fix="pass e.g. {'learning_rate': [1e-3, 1e-2], 'seed': range(5)}.",
        )
    if not found:
        raise invalid("There is no configuration.", owner="`grid`", received=describe(grid), fix="pass at least one.")
    return found


def shown(config: Mapping[str, Any]) -> str:
    """Return a configuration for a message; arrays by their shapes."""
    return "{" + ", ".join(f"{key!r}: {_short(value)}" for key, value in config.items()) + "}"


def _short(value: Any) -> str:
    return describe(value) if hasattr(value, "shape") and value.shape else repr(value)


def take_apart(factory: Callable[..., Any], config: Mapping[str, Any]) -> Parts:
    """Return the parts of a configuration: what the factory has as an argument goes to it, the rest where it belongs.

    Raises:
        InvalidArgumentError: If a key belongs nowhere.
    """
    takes, anything = arguments(factory)
    parts = Parts({}, {}, {})
    for key, value in config.items():
        if key in OF_FIT:
            parts.fit[key] = value
            if key in takes:
                parts.factory[key] = value
        elif key in takes or anything:
            parts.factory[key] = value
        else:
            parts.optimizer[key] = value
    return parts


def arguments(factory: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names of a factory's arguments, and whether it takes any other."""
    try:
        signature = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return [], True
    names = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return names, any(p.kind is p.VAR_KEYWORD for p in signature)


def with_optimizer(model: Any, changes: Mapping[str, Any], factory: Callable[..., Any]) -> None:
    """Compile a model anew with other arguments of its optimizer.

    Raises:
        InvalidArgumentError: If the optimizer has no such argument, with the nearest names.
    """
    if not changes:
        return
    optimizer = model.optimizer
    kind: Any = type(optimizer)
    known = {*optimizer._base_config, *serialization.parameters(kind)} - {"name"}
    for key in changes:
        if key not in known:
            names = {*known, *arguments(factory)[0], *OF_FIT}
            raise invalid(
                f"`{key}` is an argument neither of the factory nor of its model's optimizer "
                f"({kind.__name__}), nor of the fit.",
                received=f"{key}={changes[key]!r}",
                fix=did_you_mean(key, names),
            )
    new = kind.from_config({**optimizer.get_config(), **changes})
    given = dict(model._compile_config or {})
    given["optimizer"] = new
    if given.get("jit_compile") is not None:
        given["jit_compile"] = "auto"
    model.compile(**given)


def named(error: Exception, index: int, config: Mapping[str, Any]) -> InvalidArgumentError:
    """Return the error of a configuration, with its name."""
    return InvalidArgumentError(f"Configuration {index} {shown(config)}: {error}")
