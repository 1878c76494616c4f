"""Layers to configs and back."""

from typing import Any

from lamina import serialization
from lamina.errors import invalid
from lamina.layers.base import Layer


def serialize(layer: Any) -> Any:
    """Return the config of a layer."""
    return serialization.serialize(layer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the layer that `serialize` described.

    Raises:
        InvalidArgumentError: If the config is not that of a layer.
    """
    found = serialization.deserialize(config, custom_objects)
    if not isinstance(found, Layer):
        raise invalid(
            "`keras.layers.deserialize` was passed a `config` object that is not a `keras.layers.Layer`.",
            received=repr(config),
        )
    return found
