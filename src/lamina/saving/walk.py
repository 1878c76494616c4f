"""Where the parts of a model stand in a weights file: Keras's walk over the attributes of layers and optimizers."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lamina.layers.base import Layer
from lamina.layers.parts import Parts
from lamina.optimizers import Optimizer
from lamina.registry import snake_case

Saveable = Parts | Optimizer
_LISTED = frozenset({"Sequential", "Functional"})  # models whose `layers` come first
# Attributes of the library's models that hold the same layers again, or parts that Keras's models do not have.
_MACHINERY = frozenset({"_arguments", "_chain", "_functional", "_operations", "operations"})


def walk(root: Saveable, skip: frozenset[int] = frozenset()) -> Iterator[tuple[str, Saveable]]:
    """Yield every part that has a group in the file with its path, in the order in which Keras writes them.

    Each part comes once, under the first path that leads to it; the root has the empty path.

    Args:
        root: The model.
        skip: Ids of parts to leave out, with all that only they hold.
    """
    seen = set(skip)
    stack: list[Iterator[tuple[str, Saveable]]] = [iter([("", root)])]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif id(entry[1]) not in seen:
            seen.add(id(entry[1]))
            yield entry
            stack.append(_held(*entry))


def walk_all(root: Saveable, limit: int = 100_000) -> Iterator[tuple[str, Saveable]]:
    """Yield each part under every path that leads to it, in at most `limit` steps: a file may have it under any."""
    stack: list[Iterator[tuple[str, Saveable]]] = [iter([("", root)])]
    above: list[int] = []  # the parts whose contents are on the stack: one that holds itself is not entered again
    for _ in range(limit):
        if not stack:
            return
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            if above:
                above.pop()
        elif id(entry[1]) not in above:
            yield entry
            stack.append(_held(*entry))
            above.append(id(entry[1]))


def _held(path: str, owner: Saveable) -> Iterator[tuple[str, Saveable]]:
    """Yield the parts that an object holds directly or in lists, tuples and dicts, with their paths."""
    for name, value in _attributes(owner):
        place = f"{path}/{name}" if path else name
        if isinstance(value, Saveable):
            yield place, value
        elif isinstance(value, list | tuple | dict):
            yield from _contained(place, value)


def _contained(path: str, container: Any) -> Iterator[tuple[str, Saveable]]:
    """Yield what lists, tuples and dicts hold: by class name and number, because names of layers are not stable."""
    seen = {id(container)}
    stack = [(path, iter(_items(container)), dict[str, int]())]
    while stack:
        place, items, used = stack[-1]
        item = next(items, None)
        if item is None:
            stack.pop()
            continue
        (value,) = item
        if isinstance(value, Saveable):
            yield f"{place}/{_unique(snake_case(type(value).__name__), used)}", value
        elif isinstance(value, list | tuple | dict):
            inner = f"{place}/{_unique('container', used)}"
            if id(value) not in seen:
                seen.add(id(value))
                stack.append((inner, iter(_items(value)), {}))


def _items(container: Any) -> list[tuple[Any]]:
    return [(value,) for value in (container.values() if isinstance(container, dict) else container)]


def _unique(name: str, used: dict[str, int]) -> str:
    count = used[name] = used.get(name, -1) + 1
    return f"{name}_{count}" if count else name


def _attributes(owner: Saveable) -> Iterator[tuple[str, Any]]:
    cls = type(owner)
    kinds = {c.__name__ for c in cls.__mro__ if _is_own(c)}
    if _LISTED & kinds or getattr(owner, "_graph", None) is not None:
        yield "layers", getattr(owner, "layers", [])
    names = set(owner.__dict__) | _own_names(cls)  # type: ignore[arg-type]
    if "Model" in kinds:
        names.add("layers")
        names.add("optimizer")
    names -= _ignored(isinstance(owner, Optimizer))
    for name in sorted(names, key=lambda n: f"~{n}" if n.startswith("_") else n):  # private ones last
        if name.startswith("__"):
            continue
        try:
            yield name, getattr(owner, name)
        except Exception:  # a property of the user's that cannot be read holds nothing to save
            continue


def _is_own(cls: type) -> bool:
    return cls.__module__ == "lamina" or cls.__module__.startswith("lamina.")


@lru_cache(maxsize=4096)
def _own_names(cls: type) -> frozenset[str]:
    """Return the names, properties among them, that the classes of the user's define above the library's."""
    return frozenset(name for c in cls.__mro__ if not _is_own(c) and c is not object for name in c.__dict__)


@lru_cache(maxsize=2)
def _ignored(optimizer: bool) -> frozenset[str]:
    """Return the attributes that every layer or optimizer has: none of them is a part."""
    return frozenset({*dir(Optimizer if optimizer else Layer(name="layer")), *_MACHINERY})
