"""Numbers that differ between networks of one program: arrays of the program where it computes, plain where it asks.

A program is traced once for many networks. A number in which they differ, e.g. the rate of a dropout, stands in the
model as a `Scalar` meanwhile. Arithmetic with plain numbers is done for all networks on the host, in double precision,
as it would be for each alone; where it meets an array, it becomes an input of the program. Where the code decides by
it (`if rate == 0`), the decision must be the same for all networks; if it is not, `Split` tells which belong together.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import config
from lamina._types import Array, Numpy


class Split(Exception):  # noqa: N818 - not an error of anybody's: it says how to go on
    """The networks cannot share a program: each gets the number of its part.

    Attributes:
        parts: A number for each network; those with the same may stay together.
    """

    def __init__(self, parts: Numpy) -> None:
        super().__init__(parts)
        self.parts = parts


class Inputs:
    """The numbers that a program takes for each network, found while it is traced.

    Attributes:
        columns: The values found so far, float64 `(networks,)`, one entry for each input.
        closed: Whether all have been found: only then do they stand for inputs.
    """

    def __init__(self) -> None:
        self.columns: list[Numpy] = []
        self.closed = False  # whether all have been found
        self._places: dict[bytes, int] = {}
        self._given: Any = None

    def array(self, values: Numpy) -> Array:
        """Return what stands for a number inside the program; where none is being compiled yet, the first value."""
        place = self._places.setdefault(values.tobytes(), len(self.columns))
        if place == len(self.columns):
            if self.closed:
                raise RuntimeError("a model computed other numbers when it was compiled than when it was looked at")
            self.columns.append(values)
        if not self.closed or self._given is None:
            return jnp.asarray(values[0], config.floatx())
        return self._given[place]  # type: ignore[no-any-return]

    @contextmanager
    def giving(self, row: Any) -> Iterator[None]:
        """Let the inputs be the entries of `row` inside the block. Shapes: row `(inputs,)`."""
        self._given = row
        try:
            yield
        finally:
            self._given = None

    def rows(self, networks: Sequence[int]) -> Numpy:
        """Return the values for some networks. Shapes: `(networks, inputs)`."""
        if not self.columns:
            return np.zeros((len(networks), 0), config.floatx())
        return np.stack([column[list(networks)] for column in self.columns], axis=1).astype(config.floatx())


class Scalar:
    """A number of a model that differs between networks; see the module.

    Args:
        values: What it is for each network.
        inputs: Where it becomes an input of the program.
    """

    __slots__ = ("inputs", "values")
    __array_priority__ = 1000

    def __init__(self, values: Any, inputs: Inputs) -> None:
        self.values = np.asarray(values, np.float64)
        self.inputs = inputs

    def __jax_array__(self) -> Array:
        return self.inputs.array(self.values)

    def _same(self, values: Any) -> Any:
        """Return the one value that all networks have, or raise `Split`."""
        found, parts = np.unique(np.asarray(values), return_inverse=True)
        if len(found) > 1:
            raise Split(parts.reshape(-1))
        return found[0]

    def __bool__(self) -> bool:
        return bool(self._same(self.values != 0))

    def __float__(self) -> float:
        return float(self._same(self.values))

    def __int__(self) -> int:
        return int(self._same(self.values))

    def __hash__(self) -> int:
        return hash(float(self))

    def __repr__(self) -> str:
        return f"<{len(self.values)} numbers from {self.values.min():g} to {self.values.max():g}>"

    def __neg__(self) -> "Scalar":
        return Scalar(-self.values, self.inputs)

    def __pos__(self) -> "Scalar":
        return self

    def __abs__(self) -> "Scalar":
        return Scalar(abs(self.values), self.inputs)


def _arithmetic(name: str) -> Callable[[Scalar, Any], Any]:
    def method(self: Scalar, other: Any) -> Any:
        if isinstance(other, Scalar):
            other = other.values
        elif not _plain(other):
            own = self.__jax_array__()
            dtype = getattr(other, "dtype", None)
            if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
                own = own.astype(dtype)  # as a plain number: it does not widen what it meets
            return getattr(own, name)(jnp.asarray(other))
        return Scalar(getattr(self.values, name)(np.asarray(other, np.float64)), self.inputs)

    method.__name__ = name
    return method


def _comparison(name: str) -> Callable[[Scalar, Any], Any]:
    def method(self: Scalar, other: Any) -> Any:
        if isinstance(other, Scalar):
            other = other.values
        elif other is None:
            return name == "__ne__"
        elif not _plain(other):
            return getattr(self.__jax_array__(), name)(jnp.asarray(other))
        return bool(self._same(getattr(self.values, name)(np.asarray(other, np.float64))))

    method.__name__ = name
    return method


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _side in ("", "r"):
        setattr(Scalar, f"__{_side}{_name}__", _arithmetic(f"__{_side}{_name}__"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Scalar, f"__{_name}__", _comparison(f"__{_name}__"))
