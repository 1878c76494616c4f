"""Keras's store of global attributes."""

from typing import Any

from lamina.utils import clear_session as clear_session

_attributes: dict[str, Any] = {}


def set_global_attribute(name: str, value: Any) -> None:
    """Keep a value under a name."""
    _attributes[name] = value


def get_global_attribute(name: str, default: Any = None, set_to_default: bool = False) -> Any:
    """Return the value under a name, or the default."""
    found = _attributes.get(name)
    if found is None and default is not None:
        found = default
        if set_to_default:
            _attributes[name] = default
    return found
