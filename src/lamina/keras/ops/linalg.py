"""Keras's name for `lamina.ops.linalg`."""

from typing import Any

from lamina import ops

__all__ = ops.names("ops.linalg")


def __getattr__(name: str) -> Any:
    return getattr(ops, name)
