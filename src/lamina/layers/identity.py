"""Layers that pass their input on: as it is, at a price, or masked."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina import ops, registry, regularizers
from lamina._types import Config, Tree
from lamina.graph import KerasTensor
from lamina.layers.base import Layer
from lamina.layers.traits import same_shape


@registry.export("layers")
class Identity(Layer):
    """The input itself: an array, or a list or dict of arrays.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_spec(self, inputs: Any) -> Tree:
        return jax.tree.map(lambda x: KerasTensor(x.shape, dtype=x.dtype), inputs)


@registry.export("layers")
class ActivityRegularization(Layer):
    """The input itself; its size is added to the loss: `l1 * sum(abs(x)) + l2 * sum(x ** 2)` for each sample.

    Args:
        l1: Factor of the absolute values.
        l2: Factor of the squares.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If a factor is negative or not finite.
    """

    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> Config:
        config = {**super().get_config(), "l1": self.l1, "l2": self.l2}
        config.pop("activity_regularizer")
        return config


@registry.export("layers")
class Masking(Layer):
    """The input with a mask: time steps at which every entry is `mask_value` do not count, and become 0.

    Args:
        mask_value: The value that says "nothing here".
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., features)`
        result: as inputs; its mask `(batch, ...)`
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return jnp.where(self.compute_mask(inputs)[..., None], inputs, 0)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)
