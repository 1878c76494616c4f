"""Regularizers: a penalty on weights or outputs, added to the loss."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import registry, serialization
from lamina._types import Array, ArrayLike
from lamina.errors import invalid
from lamina.ops.basics import unit


def validate_float_arg(value: Any, name: str) -> float:
    """Return `value` as a `float`, or raise `InvalidArgumentError` if it is not a finite number of at least 0."""
    number = isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise invalid(
            f"Invalid value for argument {name}: expected a non-negative float.", received=f"{name}={value!r}"
        )
    return float(value)


@registry.export("regularizers")
class Regularizer(serialization.Configurable):
    """The base of regularizers: a subclass returns the penalty of an array in `__call__`."""

    def __call__(self, x: ArrayLike) -> Any:
        """Return the penalty of `x`, one number."""
        return 0.0


@registry.export("regularizers", "l1_l2")
class L1L2(Regularizer):
    """`l1 * sum(abs(x)) + l2 * sum(x ** 2)`.

    Args:
        l1: Factor of the absolute values; None is 0.
        l2: Factor of the squares; None is 0.

    Raises:
        InvalidArgumentError: If a factor is negative or not finite.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = validate_float_arg(0.0 if l1 is None else l1, name="l1")
        self.l2 = validate_float_arg(0.0 if l2 is None else l2, name="l2")

    def __call__(self, x: ArrayLike) -> Array:
        """Return the penalty of `x`, one number of its type."""
        x = jnp.asarray(x)
        penalty = jnp.zeros((), x.dtype)
        if self.l1:
            penalty += jnp.asarray(self.l1, x.dtype) * jnp.sum(jnp.abs(x))
        if self.l2:
            penalty += jnp.asarray(self.l2, x.dtype) * jnp.sum(jnp.square(x))
        return penalty


@registry.export("regularizers")
class L1(Regularizer):
    """`l1 * sum(abs(x))`: it drives small weights to 0.

    Args:
        l1: The factor; None is 0.01.

    Raises:
        InvalidArgumentError: If the factor is negative or not finite.
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = validate_float_arg(0.01 if l1 is None else l1, name="l1")

    def __call__(self, x: ArrayLike) -> Array:
        """Return the penalty of `x`, one number of its type."""
        x = jnp.asarray(x)
        return jnp.asarray(self.l1, x.dtype) * jnp.sum(jnp.abs(x))


@registry.export("regularizers")
class L2(Regularizer):
    """`l2 * sum(x ** 2)`: it keeps weights small.

    Args:
        l2: The factor; None is 0.01.

    Raises:
        InvalidArgumentError: If the factor is negative or not finite.
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = validate_float_arg(0.01 if l2 is None else l2, name="l2")

    def __call__(self, x: ArrayLike) -> Array:
        """Return the penalty of `x`, one number of its type."""
        x = jnp.asarray(x)
        return jnp.asarray(self.l2, x.dtype) * jnp.sum(jnp.square(x))


@registry.export("regularizers")
class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean absolute cosine between each two rows or columns: 0 if all are orthogonal.

    Args:
        factor: The factor.
        mode: "rows" or "columns": which vectors are to be orthogonal.

    Raises:
        InvalidArgumentError: If the factor is negative or not finite, or there is no such mode.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = validate_float_arg(factor, name="factor")
        if mode not in ("rows", "columns"):
            raise invalid(
                'Invalid value for argument `mode`. Expected one of {"rows", "columns"}.', received=f"mode={mode}"
            )
        self.mode = mode

    def __call__(self, inputs: ArrayLike) -> Array:
        """Return the penalty of a matrix. Shapes: `(rows, columns)` gives `()`."""
        x = jnp.asarray(inputs)
        if x.ndim != 2:
            raise invalid("Inputs to OrthogonalRegularizer must have rank 2.", received=f"inputs.shape={x.shape}")
        vectors = x if self.mode == "rows" else x.T
        vectors = unit(vectors, axis=1)
        count = vectors.shape[0]
        cosines = (vectors @ vectors.T) * (1.0 - jnp.eye(count, dtype=x.dtype))
        pairs = max(count * (count - 1.0) / 2.0, 1.0)  # a single vector has nothing to be orthogonal to
        return self.factor * 0.5 * jnp.sum(jnp.abs(cosines)) / pairs


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


def get(identifier: Any) -> Callable[[Any], Any] | None:
    """Return the regularizer that a name, a config, a class or a callable stands for; None stays None.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    return serialization.get("regularizers", identifier, "regularizer")  # type: ignore[no-any-return]


def serialize(regularizer: Regularizer) -> Any:
    """Return the config of a regularizer."""
    return serialization.serialize(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the regularizer that `serialize` described."""
    return serialization.deserialize(config, custom_objects)
