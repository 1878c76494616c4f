"""What many layers share: the shape stays, the rows of a batch stay apart."""

from collections.abc import Sequence
from typing import Any

from lamina import registry
from lamina._types import Shape
from lamina.errors import invalid
from lamina.ops.rows import is_elementwise


def same_shape(self: Any, input_shape: Shape) -> Shape:
    """Return the shape of the input: `compute_output_shape` of a layer that keeps it."""
    return input_shape


def same_shape_with_axis(self: Any, input_shape: Shape) -> Shape:
    """Return the shape of the input: `compute_output_shape` of a layer that works along `axis`.

    Raises:
        InvalidArgumentError: If the input has no such axis.
    """
    for axis in [self.axis] if isinstance(self.axis, int) else self.axis:
        if not -len(input_shape) <= axis < len(input_shape):
            raise invalid(
                f"Axis {axis} is out of bounds for input shape {tuple(input_shape)}.",
                owner=f"{type(self).__name__} layer `{self.name}`",
                received=f"axis={self.axis}",
            )
    return input_shape


# Functions of `jax.numpy` and `jax.lax` that treat each element alone.
_SAFE = "abs absolute arctan arcsinh cos exp expm1 log1p negative sign sin sinh sqrt square tanh"
_ELEMENTWISE = frozenset(_SAFE.split())


def rowwise_function(function: Any) -> bool:
    """Return whether a function is known to treat each row alone: the library's and JAX's own activations do.

    A function of the user's might take the mean over the batch; nobody can tell without running it.
    """
    if function is None or registry.home(function) is not None or is_elementwise(function):
        return True
    module = getattr(function, "__module__", None) or ""
    return module.startswith(("jax.nn", "jax._src.nn")) or (
        module.startswith("jax.") and getattr(function, "__name__", "") in _ELEMENTWISE
    )


def apart(axis: int | Sequence[int] | None) -> bool:
    """Return whether work along `axis` surely leaves axis 0 alone, for inputs of two or more axes."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis or ())
    return all(one == -1 or one > 0 for one in axes)
