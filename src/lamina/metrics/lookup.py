"""Metrics from names, classes and configs, and back."""

from typing import Any

from lamina import serialization


def get(identifier: Any) -> Any:
    """Return the metric that a name, a config, a class, an object or a function stands for; None stays None.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    return serialization.get("metrics", identifier, "metric")


def serialize(metric: Any) -> Any:
    """Return a metric as a plain dict, a function of the library as its name."""
    return serialization.serialize(metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the metric that `serialize` described.

    Args:
        config: What `serialize` gave, or a name.
        custom_objects: Names to classes and functions of yours, beside the registered ones.
    """
    return serialization.get("metrics", config, "metric", custom_objects)
