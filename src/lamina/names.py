"""Names of layers and paths of variables: counters that make names unique, and the scope that a path grows in."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lamina.errors import invalid
from lamina.registry import snake_case

_counts: defaultdict[str, int] = defaultdict(int)
_scope: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("name_scope", default=())


def unique(name: str) -> str:
    """Return `name` the first time, then `name_1`, `name_2`, ..."""
    count = _counts[name]
    _counts[name] += 1
    return f"{name}_{count}" if count else name


def auto_name(class_name: str) -> str:
    """Return a unique name for an object of a class: `Dense` gives `dense`, `dense_1`, ..."""
    return unique(snake_case(class_name))


def reset() -> None:
    """Start counting anew, as `clear_session` does."""
    _counts.clear()


def check(name: Any, owner: str) -> str:
    """Return `name` if it can be part of a path, or raise `InvalidArgumentError`."""
    if not isinstance(name, str) or "/" in name:
        raise invalid(
            "Argument `name` must be a string and cannot contain character `/`.", owner=owner, received=f"name={name!r}"
        )
    return name


@contextmanager
def name_scope(name: str, caller: object | None = None) -> Iterator[None]:
    """Let the paths of variables made inside the block begin with `name`. A caller does not nest in itself."""
    stack = _scope.get()
    entry = (name, id(caller) if caller is not None else 0)
    token = None if caller is not None and stack and stack[-1] == entry else _scope.set((*stack, entry))
    try:
        yield
    finally:
        if token is not None:
            _scope.reset(token)


def current_path() -> str:
    """Return the open scope as `outer/inner`, or an empty string."""
    return "/".join(name for name, _ in _scope.get())
