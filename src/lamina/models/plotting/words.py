"""What pictures say about layers: short words that fit into a box or under a column."""

import math
from typing import Any

from lamina._types import Tree

_PRETTY = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "elu": "ELU", "selu": "SELU", "celu": "CELU",
    "gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "glu": "GLU", "log_softmax": "log softmax",
    "log_sigmoid": "log sigmoid", "hard_sigmoid": "hard sigmoid", "hard_silu": "hard SiLU", "hard_tanh": "hard tanh",
}  # fmt: skip
_SHORT = {
    "BatchNormalization": "BatchNorm", "LayerNormalization": "LayerNorm", "GroupNormalization": "GroupNorm",
    "RMSNormalization": "RMSNorm", "UnitNormalization": "UnitNorm",
}  # fmt: skip


def activation_of(layer: Any) -> str | None:
    """Return the name of a layer's activation as lectures write it; None if it has none or the identity."""
    if type(layer).__name__ in ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"):
        return {"LeakyReLU": "leaky ReLU", "Softmax": "softmax"}.get(type(layer).__name__, type(layer).__name__)
    function = getattr(layer, "activation", None)
    if function is None:
        return None
    name = getattr(function, "name", None) or getattr(function, "__name__", None) or type(function).__name__
    return None if name == "linear" else _PRETTY.get(str(name), str(name))


def short(layer: Any) -> str:
    """Return the class of a layer and the number that matters: `Dropout 0.2`."""
    kind = type(layer).__name__
    detail = detail_of(layer)
    return f"{_SHORT.get(kind, kind)} {detail}" if detail else _SHORT.get(kind, kind)


def detail_of(layer: Any) -> str:
    """Return the argument of a layer that matters most, as text; empty if there is none."""
    for name in ("units", "rate", "stddev", "n", "target_shape", "dims", "scale"):
        value = layer.__dict__.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:,}" if isinstance(value, int) else f"{value:g}"
        if isinstance(value, tuple):
            return "×".join("?" if size == -1 else str(size) for size in value)
    if type(layer).__name__ == "InputLayer":
        return "×".join("?" if size is None else f"{size:,}" for size in layer.batch_shape[1:])
    if type(layer).__name__ == "Embedding":
        return f"{layer.input_dim:,} → {layer.output_dim:,}"
    return ""


def shape_text(shapes: Tree) -> str:
    """Return a shape, or a list or dict of shapes, as text."""
    if isinstance(shapes, dict):
        return ", ".join(f"{key}: {shape_text(value)}" for key, value in shapes.items())
    if isinstance(shapes, list) or (shapes and isinstance(shapes[0], tuple | list | dict)):
        return ", ".join(shape_text(value) for value in shapes)
    return f"({', '.join(str(size) for size in shapes)}{',' if len(shapes) == 1 else ''})"


def size_of(shape: tuple[int | None, ...]) -> int | None:
    """Return the number of elements of a sample, or None if it is not known."""
    return None if None in shape[1:] else math.prod(size for size in shape[1:] if size is not None)
