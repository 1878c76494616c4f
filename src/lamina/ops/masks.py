"""Masks that travel with arrays: False where a time step or an entry is only padding."""

import weakref
from typing import Any

# Masks of what takes no attribute: JAX's tracers. An entry goes when its tracer does.
_masks: dict[int, Any] = {}


def get_mask(value: Any) -> Any:
    """Return the mask that travels with an array, or None."""
    mask = getattr(value, "_keras_mask", None)
    return _masks.get(id(value)) if mask is None and _masks else mask


def set_mask(value: Any, mask: Any) -> None:
    """Let a mask travel with an array, or none any more."""
    try:
        value._keras_mask = mask
    except AttributeError:
        if mask is None:
            _masks.pop(id(value), None)
            return
        if id(value) not in _masks:
            weakref.finalize(value, _masks.pop, id(value), None)
        _masks[id(value)] = mask
