"""Which models are alike: what a compiled step of one has built in, and which plain numbers stand in it.

Two models with equal descriptions give the same program, up to the numbers at their places. Names, seeds, initial
values and the arrays of variables are no part of it: they are not built into a step.
"""

import functools
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import registry
from lamina.graph import KerasTensor
from lamina.initializers import Initializer
from lamina.layers.parts import Parts
from lamina.random import SeedGenerator
from lamina.variables import Variable

# Attributes of the library's own objects that are names, caches or seeds, or are described through something else.
_SKIPPED = frozenset(
    {
        "name", "_name", "path", "_path", "seed", "_arguments", "_compile_config", "_programs", "_turns", "history",
        "_known_outputs", "_losses", "_variables", "_trainable_variables_indices", "_revision", "_lock",
        "batch_seconds", "column_names", "outputs_of_step", "stop_training", "_compile_loss", "_compile_metrics",
        "_initial_epoch", "_outbound_nodes", "_used", "keras_place",
    }
)  # fmt: skip
_PLAIN = (type(None), bool, int, str, bytes, complex, type, np.dtype, np.bool_, np.integer)


class Place(NamedTuple):
    """Where a plain number stands: the dict that holds it, its key there, what it is, and what to call it."""

    holder: dict[Any, Any]
    key: Any
    value: float
    label: str


class _Itself:
    """Something of which nothing is known but who it is. It lives as long as this, so that no other can be it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class Description(NamedTuple):
    """What a step of a model has built in.

    Attributes:
        structure: Equal for models whose programs differ in numbers only.
        places: The numbers, in the same order for all models of one structure.
    """

    structure: tuple[Any, ...]
    places: tuple[Place, ...]


def describe(model: Any) -> Description:
    """Return the description of a compiled model: its layers, and the optimizer, losses and metrics of `compile`."""
    tokens: list[Any] = []
    places: list[Place] = []
    given = {k: v for k, v in (model._compile_config or {}).items() if k not in ("run_eagerly", "jit_compile")}
    given["optimizer"] = model.optimizer  # as it is now: it may have been wrapped or changed since
    seen: dict[int, int] = {}
    kept: list[Any] = []  # what has an entry in `seen` must live as long as it
    stack: list[Any] = [(given, None, "compile", ""), (model, None, "model", "")]
    while stack:
        value, holder, key, label = stack.pop()
        if isinstance(value, float | np.floating):
            if holder is None:
                tokens.append(float(value))
            else:
                tokens.append("a number")
                places.append(Place(holder, key, float(value), label))
            continue
        if isinstance(value, _PLAIN):
            tokens.append((type(value).__name__, value))
            continue
        if id(value) in seen:
            tokens.append(("again", seen[id(value)]))
            continue
        seen[id(value)] = len(seen)
        kept.append(value)
        children = list(_children(value, label, tokens))
        stack.extend(reversed(children))
    return Description(tuple(tokens), tuple(places))


def _children(value: Any, label: str, tokens: list[Any]) -> Iterator[tuple[Any, Any, Any, str]]:
    """Put what a value is into `tokens` and yield what it holds."""
    if isinstance(value, Variable):
        tokens.append(("variable", value.shape, value._dtype, value.trainable, value.autocast))
        yield from _unheld(label, value._regularizer, value._constraint, value.overwrite_with_gradient)
    elif isinstance(value, Initializer):
        tokens.append("an initializer")
    elif isinstance(value, KerasTensor):
        tokens.append(("tensor", value.shape, str(value.dtype)))
        yield from _unheld(label, value._keras_history)
    elif isinstance(value, np.ndarray | jax.Array):
        tokens.append(("array", value.shape, str(value.dtype), np.asarray(value).tobytes()))
    elif isinstance(value, dict):
        tokens.append(("dict", tuple(key if isinstance(key, _PLAIN) else _Itself(key) for key in value)))
        yield from ((item, value, key, f"{label}.{key}") for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        tokens.append((type(value).__name__, len(value)))
        yield from _unheld(label, *value)
    elif isinstance(value, functools.partial):
        tokens.append("partial")
        yield from _unheld(label, value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        tokens.append("method")
        yield from _unheld(label, value.__func__, value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, label, tokens)
    elif isinstance(value, types.CodeType):
        tokens.append(("code", value.co_code, value.co_names))
        yield from _unheld(label, *value.co_consts)
    else:
        yield from _of_object(value, label, tokens)


def _unheld(label: str, *values: Any) -> Iterator[tuple[Any, Any, Any, str]]:
    """Yield values that stand nowhere where another could be put in their place."""
    return ((value, None, None, label) for value in values)


def _of_function(value: Any, label: str, tokens: list[Any]) -> Iterator[tuple[Any, Any, Any, str]]:
    if str(value.__module__).partition(".")[0] in ("lamina", "jax", "numpy") and value.__closure__ is None:
        tokens.append(("function", value.__module__, value.__qualname__))
        return
    tokens.append("function")
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not filled yet
            cells.append(None)
    # Whatever of the module the function names is as good as built into it.
    names = [value.__globals__[n] for n in value.__code__.co_names if n in value.__globals__]
    names = [n for n in names if isinstance(n, int | float | str | np.number | types.FunctionType)]
    yield from _unheld(label, value.__code__, cells, value.__defaults__, value.__kwdefaults__, names)


def _of_object(value: Any, label: str, tokens: list[Any]) -> Iterator[tuple[Any, Any, Any, str]]:
    cls = type(value)
    held = getattr(value, "__dict__", None)
    module = str(cls.__module__).partition(".")[0]
    named = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType) or (
        module in ("jax", "jaxlib", "numpy") and named
    ):
        tokens.append(("named", getattr(value, "__module__", None), named))
        return
    if held is None:
        slots = [
            n for c in cls.__mro__ for n in getattr(c, "__slots__", ()) if n != "__weakref__" and hasattr(value, n)
        ]
        if not slots:
            tokens.append(_Itself(value))  # nothing is known of it: it is like itself alone
            return
        held = {n: getattr(value, n) for n in slots}
    own = module == "lamina" or registry.home(cls) is not None
    library = own or isinstance(value, Parts)
    tokens.append(("object", cls.__module__, cls.__qualname__))
    if isinstance(value, Parts):
        label = value.name
    elif not label:
        label = cls.__name__.lower()
    for key, item in list(held.items()):
        if library and (key in _SKIPPED or str(key).endswith("_initializer")) and not (key == "seed" and not own):
            continue
        if isinstance(item, SeedGenerator):
            tokens.append("a generator")
            continue
        tokens.append(key)
        yield item, (held if held is getattr(value, "__dict__", None) else None), key, f"{label}.{str(key).lstrip('_')}"


@contextmanager
def standing_in(places: Sequence[Place], values: Sequence[Any]) -> Iterator[None]:
    """Let other numbers stand at the places inside the block."""
    try:
        for place, value in zip(places, values, strict=True):
            dict.__setitem__(place.holder, place.key, value)
        yield
    finally:
        for place in places:
            dict.__setitem__(place.holder, place.key, place.value)
