"""Batches as tuples, for steps of one's own."""

from typing import Any

from lamina.training.stream import unpack


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Return `(x, y, sample_weight)` of a batch, with None for what it lacks.

    Raises:
        InvalidArgumentError: If it is a tuple of more than three.
    """
    return unpack(data)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Return a batch: `x` alone, `(x, y)` or `(x, y, sample_weight)`; several inputs alone as `(x,)`."""
    if y is None:
        return (x,) if isinstance(x, list | tuple) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
