"""Pictures of models."""

from typing import Any


def plot_model(model: Any, to_file: Any = "model.png", **kwargs: Any) -> Any:
    """Draw a model."""
    raise NotImplementedError
