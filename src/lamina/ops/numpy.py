"""Keras's `keras.ops.numpy`: the operations that NumPy has, too. Here every operation of `lamina.ops` is found."""

from typing import Any

from lamina import ops

__all__ = ops.__all__


def __getattr__(name: str) -> Any:
    return getattr(ops, name)
