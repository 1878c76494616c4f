"""Names of layers and paths of variables: counters that make names unique, and the scope that a path grows in."""

from collections import defaultdict
from contextvars import ContextVar, Token
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


class Distinct:
    """Names of one file's layers: each as it is if it is free, else with a number.

    However often one comes, finding a free one takes the same time: a file may name ten thousand layers alike.

    Args:
        taken: Names that nobody gets.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)
        self._numbers: defaultdict[str, int] = defaultdict(int)

    def __call__(self, name: str, between: str = "_") -> str:
        """Return the name, or the name and a number."""
        found = name
        while found in self._taken:
            self._numbers[name] += 1
            found = f"{name}{between}{self._numbers[name]}"
        self._taken.add(found)
        return found


def auto_name(class_name: str) -> str:
    """Return a unique name for an object of a class: `Dense` gives `dense`, `dense_1`, ..."""
    return unique(snake_case(class_name))


def get_uid(prefix: str = "") -> int:
    """Return 1 the first time for a prefix, then 2, 3, ..."""
    _counts[prefix] += 1
    return _counts[prefix]


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


class name_scope:  # noqa: N801 - Keras's name
    """Lets the paths of variables made inside the block begin with `name`. A caller does not nest in itself.

    Args:
        name: A name without a slash.
        caller: What opens the scope, or None.

    Raises:
        InvalidArgumentError: If the name is no string or has a slash.
    """

    __slots__ = ("_entry", "_token", "name")

    def __init__(self, name: str, caller: object | None = None) -> None:
        self.name = check(name, "name_scope")
        self._entry = (name, id(caller) if caller is not None else 0)
        self._token: Token[tuple[tuple[str, int], ...]] | None = None

    def __enter__(self) -> "name_scope":
        stack = _scope.get()
        if not self._entry[1] or not stack or stack[-1] != self._entry:
            self._token = _scope.set((*stack, self._entry))
        return self

    def __exit__(self, *details: object) -> None:
        if self._token is not None:
            _scope.reset(self._token)
            self._token = None


def current_path() -> str:
    """Return the open scope as `outer/inner`, or an empty string."""
    return "/".join(name for name, _ in _scope.get())
