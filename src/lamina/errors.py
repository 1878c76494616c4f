"""Errors that name the layer, say what was expected and what came, and what to do. One builder makes them all."""

import difflib
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np


class LaminaError(Exception):
    """Base of every error that the library raises on purpose."""


class InvalidArgumentError(LaminaError, ValueError):
    """An argument, an input or a file has a value that cannot be used."""


class UnknownKeyError(InvalidArgumentError, KeyError):
    """A dict has a key that names nothing."""

    def __str__(self) -> str:
        return ValueError.__str__(self)


class InvalidTypeError(LaminaError, TypeError):
    """An argument has a type that cannot be used."""


class AbsentNameError(LaminaError, AttributeError):
    """A name of Keras's that is not here. The text says what to use instead."""


class UnboundVariableError(LaminaError, RuntimeError):
    """A compiled step touched a variable that its model does not own."""


class NotBuiltError(LaminaError, ValueError):
    """Something was asked of a layer or model that has no weights yet."""


class NotCompiledError(LaminaError, ValueError):
    """A model was asked to train or evaluate before `compile`."""


class InUseError(LaminaError, RuntimeError):
    """A model was asked to train by one thread while another trains it."""


class ForkedProcessError(LaminaError, RuntimeError):
    """Arrays were asked for in a process that was forked from one which had used JAX: it would wait for ever."""


class FileFormatError(LaminaError, ValueError):
    """A file is not what its name promises, is damaged, or holds what must not be loaded."""


def message(problem: str, *, owner: str | None = None, received: str | None = None, fix: str | None = None) -> str:
    """Return the text of an error: who, what is allowed, what came, and what to do.

    Args:
        problem: A sentence that says what is allowed, e.g. "`units` must be a positive integer."
        owner: Whose argument it is, e.g. "Dense layer `dense_1`".
        received: What came, e.g. "units=0". Printed after "Received: ", as Keras does.
        fix: What to do about it.
    """
    text = f"{owner}: {problem}" if owner else problem
    if received is not None:
        text += f" Received: {received}"
    if fix is not None:
        text += f"\nTo fix it: {fix}"
    return text


def invalid(
    problem: str, *, owner: str | None = None, received: str | None = None, fix: str | None = None
) -> InvalidArgumentError:
    """Return the `InvalidArgumentError` with the text of `message`."""
    return InvalidArgumentError(message(problem, owner=owner, received=received, fix=fix))


_OURS = ("lamina", "jax", "contextlib", "functools")


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line of the user's that led here, so that Python shows it once for each such line."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that look most like `name`, the nearest first."""
    choices = {choice.lower(): choice for choice in names}
    close = difflib.get_close_matches(name.lower(), list(choices), n=count, cutoff=0.55)
    return [choices[key] for key in close]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "Did you mean 'a' or 'b'?", or a list of what there is if nothing is near."""
    names = sorted(names)
    close = nearest(name, names)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, names[:40]))
    return f"Known names: {shown}{', ...' if len(names) > 40 else ''}."


def describe(value: Any) -> str:
    """Return a short text for any value: shape and dtype of an array, the type and start of anything else."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} (of type {type(value).__name__})"


def positive_integer(value: Any, name: str, *, owner: str | None = None) -> int:
    """Return `value` as an `int`, or raise `InvalidArgumentError` if it is not a positive integer.

    NumPy integers count; booleans and floats, also whole ones, do not.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0:
        return int(value)
    raise invalid(
        f"Received an invalid value for `{name}`, expected a positive integer.",
        owner=owner,
        received=f"{name}={value!r}",
        fix=f"pass a whole number of at least 1 as `{name}`.",
    )
