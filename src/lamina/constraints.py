"""Constraints: what a weight is mapped to after each update, so that it stays within what is allowed."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from lamina import config, registry, serialization
from lamina._types import Array, ArrayLike
from lamina.ops.basics import as_floats

Axis = int | Sequence[int]


def _norms(w: Array, axis: Axis) -> Array:
    """Return the lengths along `axis`, which stays with size 1."""
    axes = axis if isinstance(axis, int) else tuple(axis)
    return jnp.sqrt(jnp.sum(jnp.square(w), axis=axes, keepdims=True))


@registry.export("constraints")
class Constraint(serialization.Configurable):
    """The base of constraints: a subclass returns the allowed array in `__call__`. It must not depend on the batch."""

    def __call__(self, w: ArrayLike) -> Any:
        """Return the allowed array. Shapes: `w` and result alike."""
        return w


@registry.export("constraints")
class MaxNorm(Constraint):
    """Shrink what is longer than `max_value` to that length.

    Args:
        max_value: The greatest length allowed.
        axis: Along which lengths are taken: 0 for the weights into each unit of a `Dense` layer.
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: ArrayLike) -> Array:
        """Return the allowed array. Shapes: `w` and result alike."""
        w = as_floats(w)
        norms = _norms(w, self.axis)
        return w * (jnp.clip(norms, 0, self.max_value) / (config.epsilon() + norms))


@registry.export("constraints")
class NonNeg(Constraint):
    """Set what is negative to 0."""

    def __call__(self, w: ArrayLike) -> Array:
        """Return the allowed array. Shapes: `w` and result alike."""
        return jnp.maximum(jnp.asarray(w), 0)


@registry.export("constraints")
class UnitNorm(Constraint):
    """Scale to length 1.

    Args:
        axis: Along which lengths are taken: 0 for the weights into each unit of a `Dense` layer.
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: ArrayLike) -> Array:
        """Return the allowed array. Shapes: `w` and result alike."""
        w = as_floats(w)
        return w / (config.epsilon() + _norms(w, self.axis))


@registry.export("constraints")
class MinMaxNorm(Constraint):
    """Scale lengths into `[min_value, max_value]`.

    Args:
        min_value: The least length allowed.
        max_value: The greatest length allowed.
        rate: How far each update goes towards what is allowed: 1 all the way.
        axis: Along which lengths are taken: 0 for the weights into each unit of a `Dense` layer.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: ArrayLike) -> Array:
        """Return the allowed array. Shapes: `w` and result alike."""
        w = as_floats(w)
        norms = _norms(w, self.axis)
        wanted = self.rate * jnp.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (config.epsilon() + norms))


max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm


def get(identifier: Any) -> Callable[[Any], Any] | None:
    """Return the constraint that a name, a config, a class or a callable stands for; None stays None.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    return serialization.get("constraints", identifier, "constraint")  # type: ignore[no-any-return]


def serialize(constraint: Constraint) -> Any:
    """Return the config of a constraint."""
    return serialization.serialize(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the constraint that `serialize` described."""
    return serialization.deserialize(config, custom_objects)
