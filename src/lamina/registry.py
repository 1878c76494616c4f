"""Names to objects: the closed table of what a file or a string may name, and what the user adds to it.

Nothing here imports a module by name. A file can name what is in the table and what the user registered, no more.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import FunctionType
from typing import Any, TypeVar

from lamina.errors import InvalidArgumentError, did_you_mean, invalid

T = TypeVar("T")

_kinds: dict[str, dict[str, Any]] = {}  # "layers" -> {"Dense": Dense, "dense": Dense}
_places: dict[tuple[str, str], Any] = {}  # ("keras.layers", "Dense") -> Dense
_homes: dict[Any, tuple[str, str]] = {}  # Dense -> ("keras.layers", "Dense")
_custom: dict[str, Any] = {}  # "package>Name" -> object of the user
_custom_names: dict[Any, str] = {}
_scope: ContextVar[dict[str, Any]] = ContextVar("custom_objects", default={})  # noqa: B039 - never changed in place


@lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """Return `BatchNormalization` as `batch_normalization`: Keras's rule, also used in its files."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def export(kind: str, *aliases: str, module: str | None = None, name: str | None = None) -> Callable[[T], T]:
    """Return a decorator that puts a class or function of the library into the table.

    Args:
        kind: The family: "layers", "losses", "activations", ...
        aliases: Other names by which a string may ask for it, e.g. "mse".
        module: Keras's public module, as written into files. Default: `keras.<kind>`.
        name: Keras's class name where it differs from the object's own.
    """

    def decorate(thing: T) -> T:
        own = name or thing.__name__  # type: ignore[attr-defined]
        place = (module or f"keras.{kind}", own)
        table = _kinds.setdefault(kind, {})
        for key in (own, *([snake_case(own)] if isinstance(thing, type) else []), *aliases):
            table.setdefault(key, thing)
        _places[place] = thing
        _homes.setdefault(thing, place)
        return thing

    return decorate


def home(thing: Any) -> tuple[str, str] | None:
    """Return Keras's module and class name of an object of the library, or None for anything else."""
    try:
        return _homes.get(thing)
    except TypeError:
        return None  # not hashable, so not in the table


def names(kind: str) -> list[str]:
    """Return every name that a string may use for one kind of thing."""
    return sorted(_kinds.get(kind, {}))


def find(kind: str, name: str, custom_objects: dict[str, Any] | None = None) -> Any | None:
    """Return what `name` stands for: the user's own objects first, then the library's, or None."""
    own = get_registered_object(name, custom_objects)
    return own if own is not None else _kinds.get(kind, {}).get(name)


def lookup(kind: str, name: str, noun: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return what `name` stands for, or raise `InvalidArgumentError` with the nearest names."""
    found = find(kind, name, custom_objects)
    if found is None:
        raise unknown(kind, name, noun)
    return found


def unknown(kind: str, name: Any, noun: str) -> InvalidArgumentError:
    """Return the error for a name or thing that stands for nothing of this kind."""
    fix = did_you_mean(name, names(kind)) if isinstance(name, str) else f"pass a name, a callable or an object: {noun}."
    return invalid(f"Could not interpret {noun} identifier: {name}.", received=repr(name), fix=fix)


def kind_of_module(module: str) -> str | None:
    """Return the kind that a Keras module path names, e.g. "layers" for "keras.src.layers.core.dense"."""
    if "schedules" in module:
        return "schedules"
    for kind in _kinds:
        if f".{kind}" in module:
            return kind
    return "models" if module in ("keras", "keras.models") or ".models" in module else None


def at(module: str, class_name: str) -> Any | None:
    """Return the library's object that a file means by a Keras module and class name, or None."""
    exact = _places.get((module, class_name))
    if exact is not None:
        return exact
    kind = kind_of_module(module)
    if kind is not None:
        return _kinds.get(kind, {}).get(class_name)
    return None


def function(name: Any) -> Any | None:
    """Return the library's function of this name, or None: Keras's files name a function without its module."""
    for table in _kinds.values():
        found = table.get(name) if isinstance(name, str) else None
        if isinstance(found, FunctionType):
            return found
    for (_, own), found in _places.items():  # a name that stands for a class in strings, as "binary_accuracy" does
        if own == name and isinstance(found, FunctionType):
            return found
    return None


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Return a decorator that lets files name a class or function of yours as `package>name`.

    Args:
        package: Name of the package, part of the key.
        name: Name inside the package. Default: the name of the class or function.

    Raises:
        InvalidArgumentError: If a class has no `get_config`.
    """

    def decorate(thing: T) -> T:
        own = name if name is not None else thing.__name__  # type: ignore[attr-defined]
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise invalid(
                "Cannot register a class that does not have a get_config() method.",
                received=repr(thing),
                fix="give the class a `get_config` that returns the arguments of its constructor.",
            )
        key = f"{package}>{own}"
        _custom[key] = thing
        _custom_names[thing] = key
        return thing

    return decorate


def get_registered_name(obj: Any) -> str:
    """Return the key under which a class or function was registered, else its own name."""
    return _custom_names.get(obj) or str(obj.__name__)


def get_registered_object(
    name: str, custom_objects: dict[str, Any] | None = None, module_objects: dict[str, Any] | None = None
) -> Any | None:
    """Return the user's object of this name: from a scope, the registered ones, or the given dicts. None if absent."""
    for table in (_scope.get(), _custom, custom_objects or {}, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """Return the table of registered objects itself: it may be changed."""
    return _custom


def scoped_objects() -> dict[str, Any]:
    """Return the objects of the `custom_object_scope` that is open."""
    return _scope.get()


@contextmanager
def custom_object_scope(custom_objects: dict[str, Any] | None) -> Iterator[None]:
    """Let files and strings name `custom_objects` inside the block."""
    token = _scope.set({**_scope.get(), **(custom_objects or {})})
    try:
        yield
    finally:
        _scope.reset(token)


class CustomObjectScope:
    """The class form of `custom_object_scope`, as in Keras: `with CustomObjectScope({"MyLayer": MyLayer}): ...`."""

    def __init__(self, custom_objects: dict[str, Any]) -> None:
        self.custom_objects = custom_objects or {}

    def __enter__(self) -> "CustomObjectScope":
        self._scope = custom_object_scope(self.custom_objects)
        self._scope.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._scope.__exit__(*details)
