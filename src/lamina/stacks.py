"""Stacks: many variables of one shape whose arrays are rows of one array, so that one program can loop over them.

A stack takes the place of its variables in the state of a step. Outside, each variable stays what it was: read, it
gives its row; assigned, it holds an array of its own until the stack is gathered again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Array
from lamina.variables import Frame, Variable, frame_now, moving


class Stack:
    """The arrays of variables of one shape and type, stacked along a new first axis.

    Args:
        members: The variables.

    Attributes:
        stale: Whether a member has been given an array of its own since the last `gather`.
    """

    __slots__ = ("__weakref__", "_held", "_lent", "_rows", "members", "stale")

    def __init__(self, members: Sequence[Variable]) -> None:
        self.members = tuple(members)
        self.stale = True
        self._held: Array | None = None
        self._rows: dict[int, Array] = {}
        self._lent = False

    def gather(self) -> None:
        """Take the arrays of the members over, if one of them has an array of its own."""
        with moving:
            if not self.stale:
                return
            array = jnp.asarray(np.stack([np.asarray(member._array) for member in self.members]))
            for index, member in enumerate(self.members):
                if member._stack is not None and member._stack is not self:
                    member._stack.stale = True
                member._stack, member._index, member._own = self, index, None
                member._lent = True  # its row is no memory that a dispatch may take over
            self._array = array
            self.stale = False

    def row(self, index: int) -> Array:
        """Return the array of a member."""
        with moving:
            found = self._rows.get(index)
            if found is None:
                assert self._held is not None
                found = self._rows[index] = self._held[np.int32(index)]
            return found

    @property
    def _array(self) -> Array:
        if self.stale:
            self.gather()
        assert self._held is not None
        return self._held

    @_array.setter
    def _array(self, array: Array) -> None:
        self._held = array
        self._rows = {}

    def _bind(self, arrays: dict[Any, Array], rows: dict[Variable, tuple[Any, int]]) -> None:
        """Let the members stand for the rows of what `arrays` holds for the stack."""
        for index, member in enumerate(self.members):
            arrays.pop(member, None)
            rows[member] = (self, index)

    def _bound_array(self, frame: Frame) -> Array:
        """Return the bound array, with the rows of members that were assigned one by one put in."""
        array = frame.arrays[self]
        apart = {i: frame.arrays[member] for i, member in enumerate(self.members) if member in frame.arrays}
        if len(apart) == len(self.members):
            return jnp.stack(list(apart.values()))
        for index, own in apart.items():
            array = array.at[index].set(own)
        return array

    # ---- what its members have in common, as an optimizer asks for it

    @property
    def name(self) -> str:
        """The name of each member."""
        return self.members[0].name

    @property
    def path(self) -> str:
        """The path of the first member."""
        return self.members[0].path

    @property
    def shape(self) -> tuple[int, ...]:
        """Shapes: `(members, ...)`."""
        return (len(self.members), *self.members[0].shape)

    @property
    def _dtype(self) -> str:
        return self.members[0]._dtype

    @property
    def overwrite_with_gradient(self) -> bool:
        """Whether the "gradient" of each member is its next value."""
        return self.members[0].overwrite_with_gradient

    @property
    def constraint(self) -> Callable[[Array], Array] | None:
        """The constraint of the members, for each of them by itself."""
        own = self.members[0].constraint
        return None if own is None else jax.vmap(own)

    @property
    def regularizer(self) -> Callable[[Array], Array] | None:
        """The penalty of the members, summed."""
        own = self.members[0].regularizer
        return None if own is None else lambda array: jnp.sum(jax.vmap(own)(array))

    def __repr__(self) -> str:
        return f"<Stack of {len(self.members)} variables such as {self.path}, shape={self.members[0].shape}>"


def spread(units: Sequence[Any]) -> list[Variable]:
    """Return the variables among units, those of stacks one by one."""
    found: list[Variable] = []
    for unit in units:
        found.extend(unit.members if isinstance(unit, Stack) else (unit,))
    return found


def rows_of(units: Sequence[Any], arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Return the arrays of the variables that `spread` gives from those of the units."""
    found: list[Array] = []
    for unit, array in zip(units, arrays, strict=True):
        found.extend([array[i] for i in range(len(unit.members))] if isinstance(unit, Stack) else (array,))
    return tuple(found)


def units_of(units: Sequence[Any], rows: Sequence[Array]) -> tuple[Array, ...]:
    """Return the arrays of units from those of the variables that `spread` gives."""
    left = iter(rows)
    return tuple(jnp.stack([next(left) for _ in u.members]) if isinstance(u, Stack) else next(left) for u in units)


def each(unit: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one parameter such that it works on the array of `unit`: on each row, if it is a stack."""
    return jax.vmap(function) if isinstance(unit, Stack) else function


def penalties(variables: Sequence[Variable]) -> list[Array]:
    """Return the penalties of the regularizers of variables; one for all members of a stack that is bound."""
    kept = [variable for variable in variables if variable.regularizer is not None]
    frame = frame_now()
    if frame is None or not frame.rows:
        return [variable.regularizer(variable) for variable in kept]  # type: ignore[misc] # not None
    found: list[Array] = []
    of_stack: dict[Stack, list[Variable]] = {}
    for variable in kept:
        stack, _ = frame.rows.get(variable, (None, 0))
        if stack is None:
            found.append(variable.regularizer(variable))  # type: ignore[misc]
        else:
            of_stack.setdefault(stack, []).append(variable)
    for stack, members in of_stack.items():
        if len(members) == len(stack.members) and stack.regularizer is not None:
            found.append(stack.regularizer(stack._bound_array(frame)))
        else:
            found.extend(variable.regularizer(variable) for variable in members)  # type: ignore[misc]
    return found
