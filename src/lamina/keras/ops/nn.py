"""Keras's name for `lamina.ops.nn`, with the activations that are operations too."""

from typing import Any

from lamina import ops

__all__ = ops.names("activations", "ops.nn")


def __getattr__(name: str) -> Any:
    return getattr(ops.nn, name, None) or getattr(ops, name)
