"""What the methods of a layer's class take: names of arguments, arrays among them, shapes."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Array, Tree
from lamina.errors import InvalidArgumentError, did_you_mean, invalid
from lamina.graph import KerasTensor
from lamina.variables import Variable

T = TypeVar("T")


def _per_class(function: Callable[[type], T]) -> Callable[[type], T]:
    """Return the function so that it computes once for each class."""
    return functools.lru_cache(maxsize=4096)(function)


@_per_class
def call_parameters(cls: type) -> tuple[str, ...]:
    """Return the names of the arguments of `call`, without `self` and `**kwargs`."""
    found = inspect.signature(cls.call).parameters.values()  # type: ignore[attr-defined]
    return tuple(p.name for p in found if p.name != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD)


@_per_class
def call_defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of the arguments of `call` that have one."""
    found = inspect.signature(cls.call).parameters.values()  # type: ignore[attr-defined]
    return {p.name: p.default for p in found if p.default is not inspect.Parameter.empty}


@_per_class
def build_parameters(cls: type) -> tuple[str, ...]:
    """Return the names of the arguments of `build`."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls.build).parameters.values()  # type: ignore[attr-defined]
    return tuple(p.name for p in found if p.name != "self" and p.kind in kinds)


@_per_class
def mask_parameters(cls: type) -> tuple[tuple[int, str, str], ...]:
    """Return place and name of each argument of `call` whose mask `call` asks for, and the name of the mask."""
    found = call_parameters(cls)
    pairs = [(0, found[0], "mask")] if "mask" in found and found[0] != "mask" else []
    pairs += [(i, name, f"{name}_mask") for i, name in enumerate(found) if f"{name}_mask" in found]
    return tuple(pairs)


def shapes_for(cls: type, parameters: tuple[str, ...], shapes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for a `build` that takes the shapes of several arguments of `call`.

    Raises:
        InvalidArgumentError: If `build` asks for the shape of what `call` does not take.
    """
    rule = (
        "For a `build()` method with more than one argument, all arguments should have a `_shape` suffix and match an "
        "argument from `call()`. E.g. `build(self, foo_shape, bar_shape)`."
    )
    for name in parameters:
        if not name.endswith("_shape"):
            raise invalid(
                f"{rule} For layer '{cls.__name__}', Received `build()` argument `{name}`, which does not end in "
                "`_shape`."
            )
        argument = name.removesuffix("_shape")
        if argument not in call_parameters(cls):
            raise invalid(
                f"{rule} For layer '{cls.__name__}', received `build()` argument `{name}`, but `call()` does not have "
                f"argument `{argument}`."
            )
    return {name: shapes[name.removesuffix("_shape")] for name in parameters if name.removesuffix("_shape") in shapes}


def check_counts(layer: Any, trainable: Any, non_trainable: Any) -> None:
    """Raise `InvalidArgumentError` unless there is one array for each variable of the layer."""
    for name, given in (("trainable_variables", trainable), ("non_trainable_variables", non_trainable)):
        own = getattr(layer, name)
        if len(given) != len(own):
            raise invalid(
                f"Argument `{name}` must be a list of tensors corresponding 1:1 to {type(layer).__name__}().{name}. "
                f"Received list with length {len(given)}, but expected {len(own)} variables."
            )


@_per_class
def shape_arguments(cls: type) -> int:
    """Return how many shapes `compute_output_shape` takes; 99 stands for any number."""
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
        first: Any = value
        while isinstance(first, list) and first:
            first = first[0]
        return isinstance(first, int | float) and not isinstance(first, bool)
    return value is None or hasattr(value, "__array__")


def is_shape(value: Any) -> bool:
    """Return whether a value is one shape, not a list or dict of shapes."""
    return isinstance(value, tuple) and all(size is None or isinstance(size, int) for size in value)


def as_specs(shape: Any, dtype: str) -> Tree:
    """Return stand-ins for one shape or for a list or dict of shapes, in the same structure."""
    return jax.tree.map(lambda one: KerasTensor(one, dtype=dtype), plain_shape(shape), is_leaf=is_shape)


def leaves_with_none(tree: Any) -> list[Any]:
    """Return the leaves of a tree, with None as a leaf."""
    return jax.tree.leaves(tree, is_leaf=lambda x: x is None)


def arrays(found: Any) -> list[Any]:
    """Return variables and arrays as arrays."""
    return [v.value if isinstance(v, Variable) else v for v in found]


def unrecognized(cls: str, kwargs: dict[str, Any], known: list[str]) -> InvalidArgumentError:
    """Return the error for arguments that a class does not know, with the nearest that it knows."""
    first = next(iter(kwargs))
    return invalid(
        f"Unrecognized keyword arguments passed to {cls}: {kwargs}",
        fix=did_you_mean(first, set(known)),
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
