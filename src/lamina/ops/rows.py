"""Which operations keep the rows of a batch apart: row `i` of the result depends on row `i` of what goes in alone.

Only a batch that is computed row by row may be padded. The answer is no wherever that is not sure.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.ops.dispatch import Symbolic, first_symbolic

# Keras's class names: the table holds for each function of that name, wherever it is.
_EACH = """
    Absolute Add Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh BitwiseAnd BitwiseInvert BitwiseLeftShift
    BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor Cast Cbrt Ceil Celu Clip Conjugate ConvertToTensor Copy Cos Cosh
    Deg2rad Divide DivideNoNan Elu Equal Erf Erfc Erfinv Exp Exp2 Expm1 Fabs Floor FloorDivide Fmax Fmin Fmod FullLike
    Gcd Gelu Greater GreaterEqual HardShrink HardSigmoid HardSilu HardTanh Heaviside Hypot I0 Imag Isclose Isfinite
    Isinf Isnan Isneginf Isposinf Isreal Lcm Ldexp LeakyRelu LeftShift Less LessEqual Log Log10 Log1p Log2 LogSigmoid
    Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum Mish Mod Multiply NanToNum Negative
    Nextafter NotEqual OnesLike Power Rad2deg ReLU Real Reciprocal Relu Relu6 RightShift Round Rsqrt SaturateCast Selu
    Sigmoid Sign Signbit Silu Sin Sinc Sinh SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus
    StopGradient Subtract Tan Tanh TanhShrink Threshold TrueDivide Trunc Where ZerosLike
"""
ELEMENTWISE = frozenset(_EACH.split())
# With an argument `axis` or `axes`: what happens along those axes alone.
_ALONG_AXES = """
    All Amax Amin Any Argmax Argmin Argsort CountNonzero Cumprod Cumsum Diff Flip Glu LayerNorm LogSoftmax Logsumexp Max
    Mean Median Min Moments Norm Normalize Prod Ptp RMSNorm Repeat Roll Softmax Sort Sparsemax Split Squeeze Std Sum
    Unstack Var
"""
_ALONG = frozenset(_ALONG_AXES.split())
_LAST = frozenset(["TopK"])  # along the last axis
_BESIDE = frozenset(["Concatenate", "Stack"])


def class_name(function: Callable[..., Any]) -> str:
    """Return Keras's class name of an operation, or an empty string for any other function."""
    place: tuple[str, str] = getattr(function, "keras_place", ("", ""))
    return place[1]


def is_elementwise(function: Callable[..., Any]) -> bool:
    """Return whether an operation treats each element alone, after its arguments are broadcast to one shape."""
    return class_name(function) in ELEMENTWISE


def shape_of(value: Any) -> tuple[int | None, ...]:
    """Return the shape of an argument: of an array, a stand-in, a list of numbers, () for anything else."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    return np.shape(value) if isinstance(value, list | tuple) else ()


def keeps_rows(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an operation on stand-ins keeps the rows of a batch apart, as far as the library can know."""
    name = class_name(function)
    try:
        given = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    given.apply_defaults()
    first, *others = given.arguments.values()
    if name in _BESIDE:
        rank = len(shape_of(first[0])) + (1 if name == "Stack" else 0)
        return _same_rows(first) and _is_behind(given.arguments["axis"], rank)
    if any(first_symbolic([v]) is not None for v in (first, *others) if not isinstance(v, Symbolic)):
        return False  # stand-ins inside a list
    if name in ELEMENTWISE:
        return _same_rows([first, *others])
    if not isinstance(first, Symbolic) or first_symbolic(others) is not None:
        return False
    shape, values = shape_of(first), given.arguments
    if name in _ALONG:
        inner = all(len(shape_of(v)) < len(shape) for v in others)
        return inner and _is_behind(values["axes"] if "axes" in values else values["axis"], len(shape))
    if name in _LAST:
        return len(shape) >= 2
    rule = _RULES.get(name)
    return rule is not None and rule(shape, values)


def _same_rows(values: Sequence[Any]) -> bool:
    """Return whether the first axis of every stand-in is the first of the result, and no array has rows of its own."""
    shapes = [shape_of(v) for v in values if isinstance(v, Symbolic)]
    if not shapes or not shapes[0] or len({(len(shape), shape[:1]) for shape in shapes}) > 1:
        return False
    rank = len(shapes[0])
    fixed = [shape_of(v) for v in values if not isinstance(v, Symbolic)]
    return all(len(shape) < rank or (len(shape) == rank and shape[0] == 1) for shape in fixed)


def _is_behind(axis: Any, rank: int) -> bool:
    """Return whether an axis, or each of several, is not the first."""
    if axis is None or rank < 2:
        return False
    several = axis if isinstance(axis, list | tuple) else (axis,)
    return all(isinstance(one, int) and one % rank > 0 for one in several)


def _expand_dims(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    axis = values["axis"]
    return bool(shape) and _is_behind(axis, len(shape) + (len(axis) if isinstance(axis, list | tuple) else 1))


def _reshape(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    new = values["newshape"]
    if not shape or not isinstance(new, list | tuple) or not new or new[0] not in (-1, None):
        return False
    sizes = (*shape[1:], *new[1:])
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return False
    return math.prod(shape[1:]) == math.prod(new[1:])  # type: ignore[arg-type]


def _transpose(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    order = values["axes"]
    return order is not None and len(order) > 0 and order[0] % len(shape) == 0


def _matmul(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    return len(shape) >= 2 and len(shape_of(values["x2"])) in (1, 2)


def _get_item(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    key = values["key"] if isinstance(values["key"], tuple) else (values["key"],)
    if not key or not all(part is None or part is Ellipsis or type(part) in (slice, int) for part in key):
        return False
    used = sum(part is not None and part is not Ellipsis for part in key)
    if key[0] is Ellipsis:
        return used < len(shape)  # the first axis is among those that it stands for
    return isinstance(key[0], slice) and key[0] == slice(None) and used <= len(shape)


def _pad(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    width = np.asarray(values["pad_width"])
    return bool(width.shape == (len(shape), 2) and not width[0].any())


def _take(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    return _is_behind(values["axis"], len(shape))


def _one_hot(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    return bool(shape) and _is_behind(values["axis"], len(shape) + 1)


def _swapaxes(shape: tuple[int | None, ...], values: dict[str, Any]) -> bool:
    return _is_behind((values["axis1"], values["axis2"]), len(shape))


_RULES: dict[str, Callable[[tuple[int | None, ...], dict[str, Any]], bool]] = {
    "Dot": _matmul,
    "ExpandDims": _expand_dims,
    "GetItem": _get_item,
    "Matmul": _matmul,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Reshape": _reshape,
    "Swapaxes": _swapaxes,
    "Take": _take,
    "Transpose": _transpose,
}
