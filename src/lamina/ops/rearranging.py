"""`rearrange`: axes named, turned, joined and taken apart by a pattern."""

import math
import re

import jax.numpy as jnp

from lamina._types import Array, ArrayLike
from lamina.errors import invalid
from lamina.ops.dispatch import operation

_PART = re.compile(r"\(([^()]*)\)|(\.\.\.|\w+)")


def _groups(side: str, pattern: str) -> list[list[str]]:
    """Return the axes of one side of a pattern, each a list of the names that make it up."""
    if _PART.sub("", side).strip():
        raise invalid("A side of a pattern holds names, `...` and `(names)`.", received=f"pattern={pattern!r}")
    found = [joined.split() if not single else [single] for joined, single in _PART.findall(side)]
    names = [name for group in found for name in group if name != "1"]
    if len(set(names)) != len(names):
        raise invalid("A name stands once on each side of a pattern.", received=f"pattern={pattern!r}")
    return [[name for name in group if name != "1"] for group in found]


def _spelled(groups: list[list[str]], count: int) -> list[list[str]]:
    """Return groups with names in the place of `...`."""
    rest = [f"...{number}" for number in range(count)]
    return [part for group in groups for part in ([[name] for name in rest] if group == ["..."] else [group])]


@operation("keras.src.ops.einops")
def rearrange(tensor: ArrayLike, pattern: str, **axes_lengths: int) -> Array:
    """Return the array with its axes turned, joined and taken apart, e.g. `"b (h w) c -> b h w c"` with `h=2`.

    Args:
        tensor: The array.
        pattern: Names of the axes before and after; names in brackets are one axis, the last of them varying fastest.
        axes_lengths: Sizes of names in brackets; one of each bracket may be left out.

    Raises:
        InvalidArgumentError: If the pattern does not fit the array.
    """
    array = jnp.asarray(tensor)
    sides = pattern.split("->")
    if len(sides) != 2:
        raise invalid("A pattern has two sides, e.g. 'b h w -> b (h w)'.", received=f"pattern={pattern!r}")
    left, right = (_groups(side, pattern) for side in sides)
    count = array.ndim - sum(group != ["..."] for group in left)
    if ["..."] in left:
        left, right = _spelled(left, count), _spelled(right, count)
    names = [name for group in left for name in group]
    if len(left) != array.ndim or sorted(names) != sorted(name for group in right for name in group):
        raise invalid(
            "Both sides of a pattern name the same axes, as many as the array has.",
            received=f"pattern={pattern!r} for shape {array.shape}",
        )
    sizes = dict(axes_lengths)
    for group, size in zip(left, array.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        known = math.prod(sizes[name] for name in group if name in sizes)
        if len(unknown) > 1 or (size % known if unknown else size != known):
            raise invalid(
                f"The axis ({' '.join(group)}) of size {size} cannot be taken apart.",
                received=f"axes_lengths={axes_lengths}",
                fix="give the sizes of all but one of its names; they must divide it.",
            )
        sizes.update((name, size // known) for name in unknown)
    order = [names.index(name) for group in right for name in group]
    parts = jnp.transpose(array.reshape([sizes[name] for name in names]), order)
    return parts.reshape([math.prod(sizes[name] for name in group) for group in right])
