"""Data in two parts."""

import random
from typing import Any

import jax
import numpy as np

from lamina._types import Tree
from lamina.errors import InvalidTypeError, describe, invalid, message
from lamina.training import arrays


def split_dataset(
    dataset: Tree,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Tree, Tree]:
    """Return the samples in two parts, each in the structure that was given.

    Args:
        dataset: An array, or a tuple, list or dict of arrays with a row for each sample, e.g. `(x, y)`.
        left_size: Share (a float in (0, 1)) or number (an int) of samples in the first part. Default: the others.
        right_size: The same for the second part.
        shuffle: Whether to shuffle the samples before.
        seed: Seed of the shuffle.
        preferred_backend: Kept for Keras scripts.

    Raises:
        InvalidTypeError: If a size is no number, or the data are no arrays.
        InvalidArgumentError: If a size is out of range, or arrays have different lengths.
    """
    del preferred_backend
    if not jax.tree.leaves(dataset) or not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(dataset)):
        raise InvalidTypeError(
            message(
                "The `dataset` argument must be an array, or a tuple, list or dict of arrays.",
                received=describe(dataset),
                fix="convert lists with `numpy.asarray`; a stream is split by what makes it.",
            )
        )
    total = arrays.check_lengths(dataset=dataset)
    left, right = _sizes(left_size, right_size, total)
    order = list(range(total))
    if shuffle:
        random.Random(random.randint(0, int(1e6)) if seed is None else seed).shuffle(order)
    picked = np.asarray(order)
    first, second = picked[:left], picked[total - right :]
    return jax.tree.map(lambda a: a[first], dataset), jax.tree.map(lambda a: a[second], dataset)


def _sizes(left: Any, right: Any, total: int) -> tuple[int, int]:
    """Return the numbers of samples in both parts."""
    if left is None and right is None:
        raise invalid(
            "At least one of the `left_size` or `right_size` must be specified.",
            received="left_size=None and right_size=None",
        )
    for name, size in (("left_size", left), ("right_size", right)):
        if size is not None and (not isinstance(size, int | float) or isinstance(size, bool)):
            raise InvalidTypeError(
                message(f"Invalid `{name}` Type. Expected: int or float or None.", received=repr(size))
            )
        if size is not None and not 0 < size < (total if isinstance(size, int) else 1):
            raise invalid(
                f"`{name}` should be either a positive integer smaller than {total}, or a float within (0, 1).",
                received=f"{name}={size}",
            )
    if isinstance(left, float) and isinstance(right, float) and left + right > 1:
        raise invalid(
            "The sum of `left_size` and `right_size` is greater than 1. It must be less than or equal to 1.",
            received=f"left_size={left}, right_size={right}",
        )
    counts = [round(size * total) if isinstance(size, float) else size for size in (left, right)]
    first = total - counts[1] if counts[0] is None else counts[0]
    second = total - first if counts[1] is None else counts[1]
    if first + second > total:
        raise invalid(
            f"The sum of `left_size` and `right_size` should be at most the {total} samples.",
            received=f"left_size={left}, right_size={right}",
        )
    if not first or not second:
        raise invalid(
            f"With {total} samples one of the parts would be empty.", received=f"left_size={left}, right_size={right}"
        )
    return first, second
