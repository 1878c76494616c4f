"""What a variable does where an array is expected: numbers, comparisons, indexing."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina._types import Array


class Operators:
    """The operators of Python, carried out on `value`."""

    __slots__ = ()

    @property
    def value(self) -> Array:
        """The array to work on."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Array]:
        return iter(self.value)

    def __getitem__(self, index: Any) -> Array:
        return self.value[index]

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else repr(self)

    __array_priority__ = 100


def _delegate(name: str) -> Callable[..., Any]:
    def method(self: Operators, *others: Any) -> Any:
        own = self.value
        values = [other.value if isinstance(other, Operators) else other for other in others]
        values = [jnp.asarray(v, own.dtype) if isinstance(v, np.ndarray) and v.ndim == 0 else v for v in values]
        values = [jnp.asarray(v) if isinstance(v, list | tuple) else v for v in values]
        return getattr(own, name)(*values)

    method.__name__ = name
    return method


for _name in [
    "neg",
    "pos",
    "abs",
    "invert",
    "add",
    "radd",
    "sub",
    "rsub",
    "mul",
    "rmul",
    "truediv",
    "rtruediv",
    "floordiv",
    "rfloordiv",
    "mod",
    "rmod",
    "pow",
    "rpow",
    "matmul",
    "rmatmul",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "lshift",
    "rshift",
    "round",
]:
    setattr(Operators, f"__{_name}__", _delegate(f"__{_name}__"))


def _logical(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Operators, other: Any) -> Any:
        return function(self.value, jnp.asarray(other))

    return method


for _name, _function in (("and", jnp.logical_and), ("or", jnp.logical_or), ("xor", jnp.logical_xor)):  # as in Keras
    setattr(Operators, f"__{_name}__", _logical(_function))
    setattr(Operators, f"__r{_name}__", _logical(_function))
