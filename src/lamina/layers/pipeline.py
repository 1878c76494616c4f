"""Layers one after another, as one layer."""

import inspect
from collections.abc import Sequence
from typing import Any

from lamina import registry
from lamina.layers.base import Layer
from lamina.layers.context import get_mask


@registry.export("layers")
class Pipeline(Layer):
    """What the last of some layers gives, each fed by the one before. Unlike `Sequential` it is no model.

    Args:
        layers: The layers.
        name: Its name.
    """

    supports_masking = True

    def __init__(self, layers: Sequence[Layer], name: str | None = None) -> None:
        super().__init__(name=name)
        self._chain = list(layers)

    @property
    def layers(self) -> list[Layer]:
        """The layers."""
        return list(self._chain)

    def call(self, inputs: Any, training: bool = True, mask: Any = None) -> Any:
        del training  # nested calls inherit it
        for layer in self._chain:
            takes = mask is not None and "mask" in inspect.signature(layer.call).parameters
            inputs = layer(inputs, mask=mask) if takes else layer(inputs)
            mask = get_mask(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of what the last layer gives."""
        for layer in self._chain:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape
