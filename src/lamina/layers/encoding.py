"""Whole numbers as rows of zeros and ones: one-hot, multi-hot and counts, on the host and inside a compiled step."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Shape
from lamina.errors import invalid, message

POOLED = ("multi_hot", "count", "tf_idf")  # modes that make one row of several numbers


def one_of(value: Any, allowed: tuple[str, ...], name: str, owner: str) -> str:
    """Return `value` if it is among the allowed ones.

    Raises:
        InvalidArgumentError: If not.
    """
    if value in allowed:
        return str(value)
    listed = ", ".join(map(repr, allowed))
    raise invalid(
        f"Invalid value for argument `{name}`. Expected one of {{{listed}}}.", owner=owner, received=f"{name}={value}"
    )


def refuse_sparse(sparse: bool, output_mode: str, owner: str, modes: tuple[str, ...] = POOLED) -> None:
    """Raise `InvalidArgumentError` for `sparse=True`: results are arrays."""
    if sparse and output_mode == "int":
        listed = ", ".join(f"`'{mode}'`" for mode in ("one_hot", *modes[:-1]))
        raise invalid(
            f"`sparse` may only be true if `output_mode` is {listed} or `'{modes[-1]}'`.",
            owner=owner,
            received=f"sparse={sparse} and output_mode={output_mode}",
        )
    if sparse:
        raise invalid(
            "`sparse=True` can only be used with the TensorFlow backend: sparse results are not supported here.",
            owner=owner,
            fix="leave it out; for a large vocabulary use `output_mode='int'` and an `Embedding`.",
        )


def shape_of(shape: Shape, mode: str, depth: int | None, axis: int = -1) -> Shape:
    """Return the shape of `encode`'s result for numbers of this shape."""
    shape = tuple(shape)
    if mode == "int":
        return shape
    if mode == "one_hot":
        return (*shape[:-1], depth) if len(shape) > 1 and shape[-1] == 1 else (*shape, depth)
    if len(shape) < 2:
        return (depth,)
    kept = list(shape)
    del kept[axis]
    return (*kept, depth)


def encode(
    numbers: Any, mode: str, depth: int, dtype: Any, *, axis: int = -1, weights: Any = None, xp: ModuleType = np
) -> Any:
    """Return whole numbers encoded in one of Keras's output modes. What is not in `[0, depth)` counts for nothing.

    Args:
        numbers: Whole numbers.
        mode: "int", "one_hot", "multi_hot" or "count".
        depth: Size of the last axis of the result.
        dtype: Type of the result.
        axis: The axis whose numbers are one sample, for "multi_hot" and "count".
        weights: What each number counts, in place of 1.
        xp: `numpy` or `jax.numpy`.

    Shapes:
        numbers: e.g. `(batch, tokens)`
        result: `(batch, tokens, depth)` for "one_hot" (without a last axis of 1), else `(batch, depth)`
    """
    if mode == "int":
        return numbers.astype(dtype)
    if mode == "one_hot":
        if numbers.ndim > 1 and numbers.shape[-1] == 1:
            numbers = numbers[..., 0]
        return (numbers[..., None] == xp.arange(depth)).astype(dtype)
    if numbers.ndim > 1 and axis != -1:
        numbers = xp.moveaxis(numbers, axis, -1)
        weights = None if weights is None else xp.moveaxis(weights, axis, -1)
    kept = numbers.shape[:-1]
    tokens = numbers.shape[-1] if numbers.ndim else 1
    rows = numbers.reshape(-1, tokens) if numbers.size else numbers.reshape(int(np.prod(kept)), tokens)
    inside = xp.where((rows >= 0) & (rows < depth), rows, depth)
    weights = None if weights is None else weights.reshape(rows.shape)
    table = (_count_on_host if xp is np else _count_on_device)(inside, depth + 1, weights)[:, :depth]
    if mode == "multi_hot":
        table = table > 0
    return table.astype(dtype).reshape(*kept, depth)


def _count_on_host(rows: Any, width: int, weights: Any) -> Any:
    places = rows + np.arange(len(rows))[:, None] * width
    flat = None if weights is None else np.asarray(weights).ravel()
    return np.bincount(places.ravel(), flat, minlength=len(rows) * width).reshape(len(rows), width)


def _count_on_device(rows: Any, width: int, weights: Any) -> Any:
    zeros = jnp.zeros((rows.shape[0], width), jnp.int32 if weights is None else weights.dtype)
    return zeros.at[jnp.arange(rows.shape[0])[:, None], rows].add(1 if weights is None else weights)


def check_range(numbers: Any, depth: int, owner: str) -> None:
    """Raise `InvalidArgumentError` for numbers outside `[0, depth)`, where they are known."""
    if isinstance(numbers, jax.core.Tracer) or not numbers.size:
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most >= depth:
        raise invalid(
            f"Input values must be in the range 0 <= values < num_tokens with num_tokens={depth}.",
            owner=owner,
            received=f"{least if least < 0 else most} among them",
            fix=f"pass `num_tokens={most + 1}` or more." if least >= 0 else "shift the numbers to start at 0.",
        )


def unknown_depth(mode: str, owner: str) -> RuntimeError:
    """Return the error for an encoding whose width is not known yet."""
    return RuntimeError(
        message(
            f"When using `output_mode={mode}` and `pad_to_max_tokens=False`, you must set the layer's vocabulary "
            "before calling it.",
            owner=owner,
            fix="pass a `vocabulary` argument to the layer, or call `adapt` with some sample data.",
        )
    )
