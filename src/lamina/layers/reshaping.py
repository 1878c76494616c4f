"""Layers that move the entries of each sample around."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import config, registry
from lamina._types import Shape
from lamina.errors import InvalidTypeError, did_you_mean, invalid, message
from lamina.graph import KerasTensor
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec


def _same_dtype(self: Any, inputs: KerasTensor) -> KerasTensor:
    """Return the stand-in for the output, which keeps the type of the input, integers too."""
    return KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)


@registry.export("layers")
class Flatten(Layer):
    """Each sample as one row of numbers.

    Args:
        data_format: "channels_last", or "channels_first": then axis 1 is moved to the end before.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, *sizes)`
        result: `(batch, product of sizes)`; `(batch, 1)` for `(batch,)`

    Raises:
        InvalidArgumentError: For another `data_format`.
    """

    rowwise = True
    compute_output_spec = _same_dtype

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = ("channels_last", "channels_first")
        self.data_format = config.image_data_format() if data_format is None else str(data_format).lower()
        if self.data_format not in names:
            raise invalid(
                f"The `data_format` argument must be one of {names}.",
                received=f"data_format={data_format!r}",
                fix=did_you_mean(str(data_format), names),
            )
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return jnp.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], _product(input_shape[1:]))


@registry.export("layers")
class Reshape(Layer):
    """Each sample in another shape of the same size.

    Args:
        target_shape: The shape without the batch axis; one size may be -1: what is left.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, *sizes)`
        result: `(batch, *target_shape)`

    Raises:
        InvalidArgumentError: If the target is no shape, or its size is not that of a sample.
    """

    rowwise = True
    compute_output_spec = _same_dtype

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(target_shape, int | np.integer):
            raise invalid(
                "`target_shape` must be a tuple of whole numbers.",
                owner=f"Reshape layer `{self.name}`",
                received=f"target_shape={target_shape}",
                fix=f"pass `({target_shape},)`.",
            )
        self.target_shape = tuple(target_shape)
        received = f"target_shape={self.target_shape}."
        if any(not hasattr(size, "__index__") or isinstance(size, bool) or size < -1 for size in self.target_shape):
            raise invalid(
                "Each dimension in `target_shape` must be a non-negative integer, or `-1` for a single unknown "
                "dimension.",
                received=received,
            )
        if self.target_shape.count(-1) > 1:
            raise invalid("There must be at most one unknown dimension (-1) in `target_shape`.", received=received)
        self.built = True

    def call(self, inputs: Any) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        return jnp.reshape(inputs, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size, target = _product(input_shape[1:]), self.target_shape
        if size is None:
            return (input_shape[0], *(None if n == -1 else n for n in target))
        known = math.prod(n for n in target if n != -1)
        fits = size == known if -1 not in target else known > 0 and size % known == 0
        if not fits:
            raise invalid(
                "The total size of the tensor must be unchanged"
                + (", however, the input size cannot by divided by the specified dimensions." if -1 in target else "."),
                owner=f"Reshape layer `{self.name}`",
                received=f"input_shape={tuple(input_shape[1:])}, target_shape={target}",
                fix=f"a sample has {size} entries: give a shape of that size.",
            )
        return (input_shape[0], *(size // known if n == -1 else n for n in target))


@registry.export("layers")
class Permute(Layer):
    """Each sample with its axes in another order.

    Args:
        dims: The order: axis `dims[i]` comes at place `i + 1`. The batch axis stays; counting starts at 1.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs `(batch, *sizes)`, result `(batch, *permuted sizes)`.

    Raises:
        InvalidArgumentError: If `dims` is no order of 1, 2, ...
    """

    rowwise = True
    compute_output_spec = _same_dtype

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise invalid(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be "
                f"consecutive and start from 1. Received dims={dims}",
                fix=f"pass each of {tuple(range(1, len(self.dims) + 1))} once: the batch axis 0 stays.",
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        return jnp.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(input_shape[dim] for dim in self.dims))


@registry.export("layers")
class RepeatVector(Layer):
    """Each sample `n` times.

    Args:
        n: How often, a positive whole number.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, features)`
        result: `(batch, n, features)`

    Raises:
        InvalidTypeError: If `n` is no whole number.
        InvalidArgumentError: If `n` is not positive.
    """

    rowwise = True

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(n) is not int:
            raise InvalidTypeError(message(f"Expected an integer value for `n`, got {type(n)}."))
        if n <= 0:
            raise invalid("Argument `n` should be a positive integer.", received=f"n={n}")
        self.n = n
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        return jnp.broadcast_to(inputs[:, None], (inputs.shape[0], self.n, inputs.shape[1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])


def _product(sizes: Shape) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
