"""One function for arrays and for stand-ins: an operation given a stand-in records itself instead of computing."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

# Keras's (module, class name) of an operation to the function: what a file may name.
OPERATIONS: dict[tuple[str, str], Callable[..., Any]] = {}

P = ParamSpec("P")
R = TypeVar("R")


class Symbolic:
    """A stand-in for an array that is not there yet. It knows how to record an operation on it."""

    __slots__ = ()

    def record(self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the stand-in for the result of `operation(*args, **kwargs)`."""
        raise NotImplementedError


def first_symbolic(values: Any) -> Symbolic | None:
    """Return the first stand-in among values, also inside lists, tuples and dicts, or None."""
    for value in values:
        if isinstance(value, Symbolic):
            return value
        if type(value) in (list, tuple) or isinstance(value, dict):
            inner = first_symbolic(value.values() if isinstance(value, dict) else value)
            if inner is not None:
                return inner
    return None


def _any_sparse(values: Any) -> bool:
    """Return whether one of JAX's sparse arrays is among values or in a list of them; by name, to import nothing."""
    return any(
        type(value).__name__ == "BCOO" or (type(value) in (list, tuple) and _any_sparse(value)) for value in values
    )


def operation(module: str, class_name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a pure array function that may also be applied to stand-ins.

    Args:
        module: Keras's module of the operation, as its files name it, e.g. "keras.src.ops.numpy".
        class_name: Keras's class name. Default: the function's name in CamelCase.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            symbolic = first_symbolic((*args, *kwargs.values()))
            if symbolic is not None:
                return symbolic.record(call, args, kwargs)  # type: ignore[no-any-return]
            if _any_sparse(args):
                from lamina.ops import sparse

                return sparse.applied(call, args, kwargs)  # type: ignore[no-any-return]
            return function(*args, **kwargs)

        name = class_name or "".join(part.capitalize() for part in function.__name__.strip("_").split("_"))
        call.keras_place = (module, name)  # type: ignore[attr-defined]
        OPERATIONS[module, name] = call
        return call

    return decorate
