"""Names and configs to losses and back."""

from collections.abc import Callable
from typing import Any

from lamina import registry, serialization


def get(identifier: Any) -> Callable[..., Any] | None:
    """Return the function or `Loss` that a name, a config, a class or an object stands for; None stays None.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    return serialization.get("losses", identifier, "loss")  # type: ignore[no-any-return]


def serialize(loss: Any) -> Any:
    """Return the name of a function of the library, or the config of a `Loss` or of a registered function."""
    return serialization.serialize(loss)


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the function or `Loss` that `serialize` described."""
    if isinstance(name, str):
        return registry.lookup("losses", name, "loss", custom_objects)
    return serialization.deserialize(name, custom_objects)
