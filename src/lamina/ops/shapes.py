"""What shape and type an operation on stand-ins gives, found by tracing it without computing anything."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.errors import LaminaError, invalid
from lamina.ops import rows
from lamina.ops.dispatch import Symbolic

# Sizes that stand for an unknown axis. An axis of the result that follows them is unknown, too.
_ODD, _EVEN = 83, 5040  # no size that occurs by chance; one that everything small divides
_LARGER = {_ODD: 89, _EVEN: 10080}
_MOST_TRIES = 100
_MISFITS = (TypeError, ValueError, IndexError, ZeroDivisionError)  # what JAX raises for shapes that do not fit


class Spec:
    """Shape, with None for unknown sizes, and type of a result. No tree, so that trees of results keep theirs."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int | None, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, dtype


def broadcast(shapes: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
    """Return the shape that shapes are broadcast to. What is unknown fits anything, and 1 gives way to it.

    Raises:
        InvalidArgumentError: If two known sizes do not fit.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[int | None] = []
    for sizes in zip(*[(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes], strict=True):
        known = sorted({size for size in sizes if size not in (None, 1)})
        if len(known) > 1:
            raise invalid(f"Cannot broadcast shape, sizes {known} do not fit.", received=", ".join(map(str, shapes)))
        result.append(known[0] if known else None if None in sizes else 1)
    return tuple(result)


def output_specs(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], owner: str) -> Any:
    """Return the `Spec` of what an operation gives on stand-ins, in the structure of its result.

    Raises:
        InvalidArgumentError: If the shapes do not fit.
    """
    inspect.signature(function).bind(*args, **kwargs)  # a wrong argument is a TypeError
    call = _Call.of(function, args, kwargs)
    try:
        if rows.is_elementwise(function):
            return _elementwise(call, [*args, *kwargs.values()])
        if not call.unknown:
            return jax.tree.map(_known, call.traced(call.shapes))
        return _searched(call)
    except LaminaError:
        raise
    except jax.errors.JAXTypeError as error:
        raise invalid(
            "The shape of the result depends on values, which a stand-in does not have yet.",
            owner=owner,
            fix="compute it outside the model, or give the sizes as numbers.",
        ) from error
    except _MISFITS as error:
        raise invalid(f"The shapes do not fit: {error}", owner=owner) from error


class _Call(NamedTuple):
    """A function, and what it is applied to."""

    function: Callable[..., Any]
    leaves: list[Any]
    structure: Any
    places: list[int]
    shapes: list[tuple[int | None, ...]]
    unknown: list[tuple[int, int]]  # which stand-in, which axis

    @classmethod
    def of(cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Call":
        leaves, structure = jax.tree.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Symbolic)]
        shapes = [rows.shape_of(leaves[i]) for i in places]
        unknown = [(i, axis) for i, shape in enumerate(shapes) for axis, size in enumerate(shape) if size is None]
        return cls(function, leaves, structure, places, shapes, unknown)

    def traced(self, shapes: Sequence[tuple[Any, ...]]) -> Any:
        """Return shapes and types of the result, with arrays of these shapes for the stand-ins."""
        types = [jnp.dtype(self.leaves[i].dtype) for i in self.places]

        def run(*arrays: Any) -> Any:
            filled = list(self.leaves)
            for place, array in zip(self.places, arrays, strict=True):
                filled[place] = array
            args, kwargs = jax.tree.unflatten(self.structure, filled)
            return self.function(*args, **kwargs)

        return jax.eval_shape(run, *map(jax.ShapeDtypeStruct, shapes, types))

    def filled(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shapes with these sizes for the unknown axes, in order."""
        shapes: list[list[Any]] = [list(shape) for shape in self.shapes]
        for (i, axis), size in zip(self.unknown, sizes, strict=True):
            shapes[i][axis] = size
        return [tuple(shape) for shape in shapes]


def _known(found: Any) -> Spec:
    return Spec(tuple(found.shape), found.dtype.name)


def _elementwise(call: _Call, values: list[Any]) -> Spec:
    shape = broadcast([rows.shape_of(value) for value in values])
    found = call.traced([(1,) * len(one) for one in call.shapes])
    return Spec(shape, found.dtype.name)


def _searched(call: _Call) -> Any:
    """Return the specs for sizes of the unknown axes that the operation accepts.

    First all of one odd size. Where that does not fit, e.g. because a known axis must be equal or a size must be
    divided, sizes that occur among the known ones and one that much divides.
    """
    problem: Exception | None = None
    for sizes in _candidates(call):
        try:
            first = call.traced(call.filled(sizes))
        except jax.errors.JAXTypeError:
            raise  # whatever the sizes are
        except _MISFITS as error:
            problem = problem or error
            continue
        return _compared(call, sizes, first)
    assert problem is not None
    raise problem


def _compared(call: _Call, sizes: Sequence[int], first: Any) -> Any:
    """Return the specs of a result; an axis that differs for other sizes of what is free is unknown."""
    found = [first, call.traced(call.filled([_LARGER.get(size, size) for size in sizes]))]
    with suppress(*_MISFITS):  # another axis may be cut at the unknown size, if that is small
        found.append(call.traced(call.filled([2 if size in _LARGER else size for size in sizes])))
    structures = [jax.tree.structure(one) for one in found]
    if len(set(structures)) > 1:
        problem = f"Cannot infer argument `num` from shape {call.shapes[0]}"
        raise invalid(f"{problem}: an axis of unknown size says how many arrays come out.")
    return jax.tree.map(_merged, *found)


def _candidates(call: _Call) -> Iterator[Sequence[int]]:
    count = len(call.unknown)
    yield (_ODD,) * count
    if call.function.__module__.endswith(".linalg"):
        return  # a matrix of unknown size is refused, as by Keras
    yield (_EVEN,) * count
    sizes = {size for leaf in call.leaves for size in rows.shape_of(leaf)} | {x for x in call.leaves if type(x) is int}
    choices = [_ODD, *sorted(size for size in sizes if size is not None and size > 1)]
    yield from itertools.islice(itertools.product(choices, repeat=count), 1, _MOST_TRIES)


def _merged(*found: Any) -> Spec:
    sizes = zip(*[one.shape for one in found], strict=True)
    return Spec(tuple(one[0] if len(set(one)) == 1 else None for one in sizes), found[0].dtype.name)
