"""Class numbers as rows with a 1, and vectors scaled to length 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config
from lamina._types import Array, ArrayLike, Numpy
from lamina.errors import describe, invalid, positive_integer


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> Any:
    """Return, for each class number, a row of zeros with a 1 at its place.

    A JAX array gives a JAX array, anything else a NumPy array of float64, as in Keras.

    Args:
        x: Whole numbers from 0 to `num_classes - 1`. A last axis of size 1 is dropped.
        num_classes: Number of classes. Default: one more than the largest number.

    Shapes: `x` `(*sizes)` or `(*sizes, 1)`; result `(*sizes, classes)`.

    Raises:
        InvalidArgumentError: If a number is no class.
    """
    numbers = np.asarray(x)
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    if numbers.dtype.kind not in "iub" and not (numbers.dtype.kind == "f" and _whole(numbers)):
        raise invalid("Class numbers must be whole numbers.", owner="`to_categorical`", received=f"x={describe(x)}")
    numbers = numbers.astype("int64")
    if num_classes is None and not numbers.size:
        raise invalid("`num_classes` is needed where there are no numbers.", owner="`to_categorical`")
    count = int(numbers.max()) + 1 if num_classes is None else positive_integer(num_classes, "num_classes")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= count):
        bad = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
        raise invalid(
            f"Class numbers must be in [0, {count}).",
            owner="`to_categorical`",
            received=f"{bad} among them",
            fix=f"pass `num_classes={bad + 1}`." if bad >= 0 else "number the classes from 0.",
        )
    if isinstance(x, jax.Array):
        return jax.nn.one_hot(jnp.asarray(numbers, "int32"), count, dtype=config.floatx())
    rows = np.zeros((numbers.size, count))
    rows[np.arange(numbers.size), numbers.reshape(-1)] = 1
    return rows.reshape((*numbers.shape, count))


def _whole(numbers: Numpy) -> bool:
    return not config.strict() or bool(np.all(np.isfinite(numbers)) and np.all(numbers == np.floor(numbers)))


def normalize(x: ArrayLike, axis: int = -1, order: int = 2) -> Numpy | Array:
    """Return `x` divided by its norm along an axis; what has norm 0 stays 0.

    A NumPy array gives a NumPy array, anything else a JAX array.

    Args:
        x: An array.
        axis: The axis of the vectors.
        order: Which norm: 1, 2, 3, ...
    """
    if isinstance(x, np.ndarray):
        norm = np.linalg.norm(x, order, axis, keepdims=True)
        return np.asarray(x / np.where(norm == 0, 1, norm))
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        array = array.astype(config.floatx())
    length = jnp.linalg.norm(array, order, axis, keepdims=True)
    return array / jnp.maximum(length, config.epsilon())
