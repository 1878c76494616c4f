"""What the methods of a layer's class take: names of arguments, arrays among them, shapes."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Array, Tree
from lamina.errors import InvalidArgumentError, did_you_mean, invalid
from lamina.graph import KerasTensor
from lamina.variables import Variable


@functools.lru_cache(maxsize=4096)
def call_parameters(cls: type) -> tuple[str, ...]:
    found = inspect.signature(cls.call).parameters.values()  # type: ignore[attr-defined]
    return tuple(p.name for p in found if p.name != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD)


@functools.lru_cache(maxsize=4096)
def call_defaults(cls: type) -> dict[str, Any]:
    found = inspect.signature(cls.call).parameters.values()  # type: ignore[attr-defined]
    return {p.name: p.default for p in found if p.default is not inspect.Parameter.empty}


@functools.lru_cache(maxsize=4096)
def build_parameters(cls: type) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls.build).parameters.values()  # type: ignore[attr-defined]
    return tuple(p.name for p in found if p.name != "self" and p.kind in kinds)


@functools.lru_cache(maxsize=4096)
def shape_arguments(cls: type) -> int:
    found = list(inspect.signature(cls.compute_output_shape).parameters.values())[1:]  # type: ignore[attr-defined]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found):
        return 99
    return len([p for p in found if p.kind is not inspect.Parameter.VAR_KEYWORD])


def computes_own_spec(cls: type) -> bool:
    """Return whether a class writes `compute_output_spec` nearer to itself than `compute_output_shape`."""
    for c in cls.__mro__:
        if "compute_output_shape" in c.__dict__:
            return False
        if "compute_output_spec" in c.__dict__:
            return c.__name__ != "Layer"
    return False


def tensor_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `call` that are arrays or trees of arrays, by name."""
    named = dict(zip(call_parameters(cls), args, strict=False)) if args else {}
    if len(args) > len(named):
        named.update({f"arg{i}": arg for i, arg in enumerate(args) if i >= len(named)})
    named.update(kwargs)
    return {
        key: value
        for key, value in named.items()
        if key not in ("mask", "training")
        and (leaves := jax.tree.leaves(value))
        and all(isinstance(leaf, jax.Array | KerasTensor) for leaf in leaves)
    }


def to_device(value: Any, owner: str) -> Array:
    """Return a NumPy or foreign array on the device in a 32-bit type.

    Raises:
        InvalidArgumentError: If it holds no numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiubc" and array.dtype.name not in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"):
        raise invalid(
            f"Invalid dtype: {array.dtype}. A layer computes with numbers.",
            owner=f"Layer `{owner}`",
            received=f"an array of dtype {array.dtype}",
            fix="convert the input to float32 first.",
        )
    return jnp.array(array)


def is_array_like(value: Any) -> bool:
    """Return whether a value is one array: also a plain list of numbers or of lists of numbers."""
    if isinstance(value, list):
        first = value
        while isinstance(first, list) and first:
            first = first[0]
        return isinstance(first, int | float) and not isinstance(first, bool)
    return value is None or hasattr(value, "__array__")


def is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(size is None or isinstance(size, int) for size in value)


def as_specs(shape: Any, dtype: str) -> Tree:
    return jax.tree.map(lambda one: KerasTensor(one, dtype=dtype), plain_shape(shape), is_leaf=is_shape)


def leaves_with_none(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=lambda x: x is None)


def arrays(found: Any) -> list[Any]:
    return [v.value if isinstance(v, Variable) else v for v in found]


def unrecognized(cls: str, kwargs: dict[str, Any], known: list[str]) -> InvalidArgumentError:
    first = next(iter(kwargs))
    return invalid(
        f"Unrecognized keyword arguments passed to {cls}: {kwargs}",
        fix=did_you_mean(first, known),
    )


def plain_shape(value: Any) -> Any:
    """Return a shape given as list or tuple as a tuple; a list or dict of shapes keeps its structure."""
    if isinstance(value, list | tuple):
        if all(size is None or hasattr(size, "__index__") for size in value):
            return tuple(None if size is None else int(size) for size in value)
        return type(value)([plain_shape(v) for v in value])
    if isinstance(value, dict):
        return {key: plain_shape(v) for key, v in value.items()}
    return value
