"""Uses of every operation of `lamina.ops`: a name, arguments, and what a test must know of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_random = np.random.default_rng(3)


def _floats(*shape):
    return (_random.permutation(np.linspace(-0.9, 0.8, int(np.prod(shape)))).reshape(shape)).astype("float32")


def _integers(*shape):
    return _random.integers(-4, 5, shape).astype("int32")


X, Y, Z = _floats(3, 4), _floats(3, 4), _floats(2, 3, 4)
ROW, V3, V5 = _floats(4), _floats(3), _floats(5)
POSITIVE, ABOVE = np.abs(X) + 0.1, np.abs(X) + 1.5
WHOLE, OTHER, COUNTS = _integers(3, 4), np.abs(_integers(3, 4)) + 1, np.array([0, 2, 1, 2, 5], "int32")
TRUE, LABELS = X > 0, np.array([2, 0, 3], "int32")
ODD = np.array([[1.0, np.nan, -np.inf, np.inf], [0.0, -0.0, 2.5, -2.5]], "float32")
COMPLEX = (X + 1j * Y).astype("complex64")
SQUARE = (np.eye(3) * 3 + _floats(3, 3)).astype("float32")
SQUARES = np.stack([SQUARE, SQUARE.T * 2])
DEFINITE = (SQUARE @ SQUARE.T + np.eye(3)).astype("float32")
TRIANGLE = np.tril(DEFINITE)
PROBABLE = (np.exp(X) / np.exp(X).sum(-1, keepdims=True)).astype("float32")
ONE_HOT = np.eye(4, dtype="float32")[LABELS]


@dataclass
class Case:
    """`name(*args, **kwargs)`; `smooth`: has a derivative; `symbolic`: Keras takes stand-ins for the arrays;
    `filed`: so do its models; `traced`: the shape of the result does not depend on values."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    symbolic: bool = True
    filed: bool = True
    traced: bool = True
    atol: float = 2e-6

    def __str__(self):
        parts = [short(a) for a in self.args] + [f"{k}={short(v)}" for k, v in self.kwargs.items()]
        return f"{self.name}({','.join(parts)})"


def short(value):
    """Return a few letters for an argument."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.char}{'x'.join(map(str, value.shape))}"
    if isinstance(value, (list, tuple)):
        return "[" + ";".join(short(v) for v in value) + "]"
    return getattr(value, "__name__", str(value))[:24]


CASES: list[Case] = []


def case(name, *args, **kwargs):
    """Add a case. Options of the case itself begin with an underscore."""
    options = {key[1:]: kwargs.pop(key) for key in list(kwargs) if key.startswith("_")}
    CASES.append(Case(name, args, kwargs, **options))


SINGLE = [
    "abs",
    "absolute",
    "angle",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "arccos",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "copy",
    "cos",
    "cosh",
    "deg2rad",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "i0",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "logical_not",
    "negative",
    "rad2deg",
    "real",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "square",
    "tan",
    "tanh",
    "trunc",
    "celu",
    "elu",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh_shrink",
    "stop_gradient",
]
for _name in SINGLE:
    case(_name, X, _smooth=_name not in ("imag",))
for _name in ["arccosh", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"]:
    case(_name, ABOVE)
for _name in [
    "abs",
    "arctan",
    "ceil",
    "cos",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "log",
    "log10",
    "log1p",
    "log2",
    "negative",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "isnan",
    "isfinite",
    "arcsinh",
    "cosh",
    "sinc",
    "reciprocal",
]:
    case(_name, OTHER, _smooth=False)
for _name in ["exp", "logical_not", "sqrt", "cos", "floor", "isnan"]:
    case(_name, TRUE, _smooth=False)
for _name in ["isfinite", "isinf", "isnan", "isneginf", "isposinf", "sign", "signbit", "abs", "nan_to_num"]:
    case(_name, ODD, _smooth=False)
for _name in ["abs", "angle", "conj", "conjugate", "exp", "imag", "isreal", "real", "square"]:
    case(_name, COMPLEX, _smooth=False)
for _name in ["bitwise_invert", "bitwise_not"]:
    case(_name, WHOLE, _smooth=False)
PAIRS = [
    "add",
    "arctan2",
    "divide",
    "divide_no_nan",
    "equal",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "nextafter",
    "not_equal",
    "subtract",
    "true_divide",
]
for _name in PAIRS:
    _smooth = _name not in ("nextafter", "heaviside", "floor_divide")
    case(_name, X, Y, _smooth=_smooth)
    case(_name, X, ROW, _smooth=_smooth)
    case(_name, X, 0.3, _smooth=_smooth, _filed=_name not in ("heaviside", "hypot"))  # Keras wants arrays
    if _name != "nextafter":
        case(_name, WHOLE, OTHER, _smooth=False)
case("power", ABOVE, Y)
case("power", X, 2)
case("power", WHOLE, 2, _smooth=False)
case("power", 2.0, X)
for _name in ("add", "multiply", "divide", "maximum", "power", "mod"):
    case(_name, OTHER, 2, _smooth=False)
    case(_name, OTHER, 2.5, _smooth=False)
    case(_name, OTHER.astype("int8"), 2, _smooth=False)
    case(_name, X.astype("float16"), 2.5, _smooth=False)
    case(_name, X.astype("float16"), OTHER, _smooth=False, _atol=1e-2)
for _name in ("add", "multiply", "divide", "mean", "sum", "logical_and"):
    case(_name, TRUE, *([] if _name in ("mean", "sum") else [TRUE]), _smooth=False)
for _name in ("gcd", "lcm"):
    case(_name, WHOLE, OTHER, _smooth=False)
for _name in [
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "left_shift",
    "right_shift",
]:
    case(_name, OTHER, OTHER, _smooth=False)
case("ldexp", X, OTHER, _smooth=False)
case("round", X * 10)
case("round", X, 1, _smooth=False)
case("round", WHOLE * 9, -1, _smooth=False)
case("clip", X, -0.3, 0.4)
case("clip", TRUE, 0, 1, _smooth=False)
case("clip", WHOLE, -1, 2, _smooth=False)
case("isclose", X, X + 1e-7, _smooth=False)
case("isclose", ODD, ODD, equal_nan=True, _smooth=False)
case("allclose", X, X + 1e-7, _smooth=False)
case("nan_to_num", ODD, nan=1.0, posinf=5.0, neginf=-5.0, _smooth=False)
case("where", TRUE, X, Y)
case("where", TRUE, X, 0.0)
case("where", TRUE, WHOLE, 1.5, _smooth=False)
case("where", TRUE, _smooth=False, _symbolic=False, _traced=False)
case("select", [TRUE, X > -0.5], [X, Y], 7.0, _smooth=False, _filed=False)
case("threshold", X, 0.1, -1.0)
case("cast", X, "int32", _smooth=False)
case("cast", X * 3, "bool", _smooth=False)
case("cast", WHOLE, "float16", _smooth=False)
case("cast", X, float, _smooth=False)
case("saturate_cast", X * 1000, "uint8", _smooth=False)
case("saturate_cast", X * 1e10, "int32", _smooth=False)
case("saturate_cast", WHOLE * 100, "int8", _smooth=False)
case("saturate_cast", X * 1e9, "float16", _smooth=False)
case("leaky_relu", X, negative_slope=0.4)
case("elu", X, alpha=0.3)
case("celu", X, 0.4)
case("gelu", X, approximate=False)
case("hard_shrink", X, 0.3)
case("soft_shrink", X, 0.3)
case("squareplus", X, 2)
for _name in ("softmax", "log_softmax"):
    case(_name, X)
    case(_name, Z, axis=1)
case("softmax", Z, axis=(1, 2), _filed=False)
case("softmax", Z, axis=None, _symbolic=False)
case("glu", X)

REDUCTIONS = [
    "all",
    "amax",
    "amin",
    "any",
    "max",
    "mean",
    "median",
    "min",
    "prod",
    "ptp",
    "std",
    "sum",
    "var",
    "argmax",
    "argmin",
    "count_nonzero",
]
NAN = ["nanargmax", "nanargmin", "nanmax", "nanmean", "nanmedian", "nanmin", "nanprod", "nanstd", "nansum", "nanvar"]
for _name in [*REDUCTIONS, *NAN, "logsumexp"]:
    _exact = _name in ("all", "any", "argmax", "argmin", "count_nonzero", "nanargmax", "nanargmin")
    case(_name, X, _smooth=not _exact)
    case(_name, Z, axis=1, _smooth=not _exact)
    if _name != "count_nonzero":
        case(_name, Z, axis=-1, keepdims=True, _smooth=not _exact)
    if "arg" not in _name:
        case(_name, Z, axis=(0, 2), _smooth=not _exact)
    if _name not in ("logsumexp",):
        case(_name, WHOLE, _smooth=False)
for _name in ("mean", "sum", "var", "std", "median", "max", "prod"):
    case(_name, X.astype("float16"), _smooth=False, _atol=1e-3)
    case(_name, OTHER.astype("int8"), axis=0, _smooth=False)
    case(_name, OTHER.astype("uint8"), axis=[0, 1], _smooth=False, _symbolic=_name not in ("median",))
for _name in NAN:
    case(_name, np.where(TRUE, X, np.nan).astype("float32"), axis=1, _smooth=False)
case("max", X, axis=1, initial=0.5)
case("prod", WHOLE, axis=0, dtype="float32", _smooth=False)
case("average", X)
case("average", X, axis=1, weights=np.abs(Y))
case("average", WHOLE, axis=0, _smooth=False)
for _name in ("quantile", "percentile", "nanquantile", "nanpercentile"):
    _q = 0.3 if "quantile" in _name else 30.0
    case(_name, X, _q, axis=1, _filed=False)  # Keras does not read its own files of these
    case(_name, Z, np.array([_q, 2 * _q], "float32"), axis=1, keepdims=True, _smooth=False)
    case(_name, X, _q, axis=None, method="nearest", _smooth=False, _filed=False)
for _name in ("cumsum", "cumprod", "nancumsum", "nancumprod"):
    case(_name, X)
    case(_name, X, axis=1)
    case(_name, WHOLE, axis=0, dtype="float32", _smooth=False)
case("norm", X)
case("norm", X, axis=1, keepdims=True, _filed=False)
case("norm", X, ord=1, axis=-1, _filed=False)
case("norm", Z, ord="fro", axis=(1, 2), _filed=False)
case("norm", WHOLE, ord=2, _smooth=False)
case("moments", X, axes=[0])
case("moments", Z, axes=[1, 2], keepdims=True)
case("moments", X.astype("float16"), axes=[0], _smooth=False, _atol=1e-3)
case("top_k", X, 2)
case("in_top_k", LABELS, PROBABLE, 2, _smooth=False)
case("argmax", np.array([-0.0, 0.0], "float32"), _smooth=False)
case("argmin", np.array([0.0, -0.0], "float32"), _smooth=False)

case("concatenate", [X, Y])
case("concatenate", [X, Y], axis=1)
case("concatenate", [X, WHOLE], axis=-1, _smooth=False)
case("append", X, Y, axis=1)
case("append", X, ROW)
case("stack", [X, Y])
case("stack", [X, Y], axis=-1)
for _name in ("hstack", "vstack", "dstack"):
    case(_name, [X, Y])
case("split", X, 2, axis=1)
case("split", X, [1, 3], axis=1)
case("array_split", X, 3, axis=1)
case("hsplit", X, 2)
case("vsplit", X, 3)
case("dsplit", Z, 2)
case("unstack", X, axis=1)
case("unstack", X, num=4, axis=-1)
case("expand_dims", X, 1)
case("expand_dims", X, [0, 2])
case("squeeze", X[:, None])
case("squeeze", X[:, None], axis=1)
case("reshape", X, (-1, 2, 2))
case("reshape", X, 12, _symbolic=False)
case("reshape", X, (3, -1))
case("transpose", Z)
case("transpose", Z, axes=(0, 2, 1))
case("swapaxes", Z, 1, 2)
case("rearrange", Z, "a b c -> b (a c)", _filed=False)  # Keras cannot read its own
case("moveaxis", Z, 1, -1)
case("ravel", X)
case("flip", X)
case("flip", X, axis=1)
case("fliplr", X)
case("flipud", X)
case("rot90", X)
case("roll", X, 2)
case("roll", X, 1, axis=1)
case("tile", X, (1, 2))
case("tile", X, (2, 1, 1))
case("repeat", X, 2)
case("repeat", X, 2, axis=1)
case("broadcast_to", X, (2, 3, 4))
case("pad", X, ((0, 0), (1, 2)))
case("pad", X, 1)
case("pad", X, ((0, 0), (1, 1)), mode="reflect")
case("pad", X, ((0, 0), (1, 1)), constant_values=2.0)
case("diag", ROW)
case("diag", X, 1)
case("diagflat", V3, 1)
case("diagonal", Z, axis1=1, axis2=2)
case("trace", Z, axis1=1, axis2=2)
case("tril", X)
case("triu", Z, 1)
case("dot", X, ROW)
case("dot", X, Y.T.copy())
case("inner", X, Y)
case("outer", V3, ROW)
case("vdot", X, Y)
case("kron", SQUARE, SQUARE, _smooth=False)
case("tensordot", X, Y, axes=[[1], [1]], _filed=False)
case("tensordot", Z, Y, axes=2, _smooth=False)
case("einsum", "bi,bi->b", X, Y)
case("einsum", "bij,kj->bik", Z, Y)
case("einsum", "ij,kj->ik", OTHER.astype("int8"), OTHER.astype("int8"), _smooth=False)
case("cross", np.stack([V3, V3 * 2]), np.stack([V3[::-1], V3]))
case("correlate", V5, V3)
case("correlate", V5, V3, mode="full")
case("correlate", V5, V3, mode="same")
case("matmul", X, Y.T.copy())
case("matmul", Z, ROW)
case("matmul", OTHER.astype("int8"), OTHER.T.astype("int8"), _smooth=False)
case("get_item", X, 1, _filed=False)
case("get_item", Z, (slice(None), 1, slice(0, 3, 2)), _filed=False)

case("take", X, np.array([0, 2], "int32"), axis=1, _symbolic=False)
case("take", X, 1, axis=1)
case("take", X, np.array([[0, 5], [1, 2]], "int32"), _symbolic=False)
case("take_along_axis", X, np.array([[0], [3], [1]], "int32"), axis=1)
case("sort", X)
case("sort", X, axis=0)
case("argsort", X, _smooth=False)
case("argpartition", V5, 2, _smooth=False, _symbolic=False)
case("searchsorted", np.sort(V5), X, _smooth=False)
case("searchsorted", np.sort(V5), X, side="right", _smooth=False)
case("digitize", X, np.array([-0.5, 0.0, 0.4], "float32"), _smooth=False)
case("unravel_index", COUNTS, (2, 3), _smooth=False)
case("isin", WHOLE, OTHER, _smooth=False)
case("isin", WHOLE, OTHER, invert=True, _smooth=False)
case("nonzero", WHOLE, _smooth=False, _symbolic=False, _traced=False)
case("bincount", COUNTS, _smooth=False, _symbolic=False, _traced=False)
case("bincount", COUNTS, weights=V5, minlength=8, _smooth=False, _symbolic=False, _traced=False)
case("bincount", np.stack([COUNTS, COUNTS]), _smooth=False, _symbolic=False, _traced=False)
case("histogram", V5, bins=4, _smooth=False, _symbolic=False)
case("histogram", V5, bins=4, range=(-1.0, 1.0), _smooth=False, _symbolic=False)
case("unique", WHOLE, _smooth=False, _symbolic=False, _traced=False)
case("unique", COUNTS, return_counts=True, return_inverse=True, _smooth=False, _symbolic=False, _traced=False)
for _name in ("segment_sum", "segment_max", "segment_min", "segment_prod"):
    case(_name, X, np.array([0, 0, 1], "int32"), num_segments=2, _smooth=_name != "segment_prod")
    case(_name, X, np.array([0, 0, 1], "int32"), num_segments=2, sorted=True, _smooth=False)
case("diff", X)
case("diff", X, n=2, axis=1)
case("trapezoid", X)
case("trapezoid", X, dx=0.5, axis=0)
case("vander", V3)
case("vander", V3, 4, increasing=True)
case("corrcoef", X, _smooth=False)
case("slice", X, (1, 1), (2, 2), _symbolic=False)
case("slice", X, np.array([1, 1], "int32"), (1, 3), _symbolic=False)
case("slice", X, (1, 1), (-1, -1), _symbolic=False)
case("slice_update", X, (1, 1), np.ones((2, 2), "float32"), _symbolic=False)
case("scatter", np.array([[0], [2], [2]], "int32"), X, (5, 4))
case("scatter_update", X, np.array([[0, 1], [2, 2]], "int32"), np.array([5.0, 6.0], "float32"))
for _kind in ("add", "max", "min", "mul"):
    case("scatter_update", X, np.array([[0], [2]], "int32"), Y[:2], reduction=_kind, _smooth=_kind != "mul")

for _name in ("zeros", "ones", "empty"):
    case(_name, (2, 3), _symbolic=False)
    case(_name, 3, dtype="int32", _symbolic=False)
case("full", (2, 3), 1.5, _symbolic=False)
case("full", (2,), 3, dtype="int32", _symbolic=False)
case("eye", 3, _symbolic=False)
case("eye", 3, 4, k=1, dtype="int32", _symbolic=False)
case("identity", 3, _symbolic=False)
case("tri", 3, 4, 1, _symbolic=False)
case("arange", 5, _symbolic=False)
case("arange", 1, 7, 2, _symbolic=False)
case("arange", 0.0, 1.0, 0.3, _symbolic=False)
case("arange", 5, dtype="float32", _symbolic=False)
case("linspace", 0, 1, 5, _symbolic=False)
case("linspace", 0.0, 10.0, num=4, endpoint=False, _symbolic=False)
case("linspace", X, Y, num=3, axis=1)
case("linspace", 0, 1, 3, retstep=True, _symbolic=False)
case("logspace", 0, 2, 5, _symbolic=False, _atol=1e-4)
case("geomspace", 1, 100, 5, _symbolic=False, _atol=1e-4)
case("meshgrid", V3, ROW)
case("meshgrid", V3, ROW, indexing="ij")
for _name in ("bartlett", "blackman", "hamming", "hanning"):
    case(_name, 6, _symbolic=False, _traced=False)
case("kaiser", 6, 3.5, _symbolic=False, _traced=False)
for _name in ("zeros_like", "ones_like", "empty_like"):
    case(_name, X, _smooth=False)
    case(_name, X, dtype="int32", _smooth=False)
case("full_like", X, 2.5, _smooth=False)
case("full_like", WHOLE, 2.5, dtype="float32", _smooth=False)
case("array", [[1, 2], [3, 4]], _symbolic=False)
case("array", X, dtype="float16", _smooth=False)
case("convert_to_tensor", [1.0, 2.5], _symbolic=False)
case("convert_to_tensor", X.astype("float64"), _symbolic=False)
case("convert_to_tensor", X, dtype="int32", _smooth=False)
case("view", X, "int32", _smooth=False)
case("size", X, _smooth=False, _symbolic=False, _traced=False)

case("det", SQUARES, _atol=1e-4)
case("inv", SQUARES, _atol=1e-5)
case("slogdet", SQUARES, _symbolic=False)
case("logdet", DEFINITE)
case("eigh", DEFINITE, _smooth=False, _atol=1e-4, _filed=False)
case("cholesky", DEFINITE, _atol=1e-5, _filed=False)
case("cholesky", DEFINITE, upper=True, _smooth=False, _atol=1e-5, _filed=False)
case("cholesky_inverse", TRIANGLE, _smooth=False, _atol=1e-5, _filed=False)
case("lu_factor", SQUARES, _smooth=False, _atol=1e-5)
case("qr", SQUARE, _smooth=False, _atol=1e-5, _filed=False)
case("qr", X, mode="complete", _smooth=False, _atol=1e-5, _filed=False)
case("solve", SQUARE, V3, _atol=1e-5)
case("solve", SQUARES, SQUARES, _atol=1e-5)
case("solve_triangular", TRIANGLE, V3, lower=True, _atol=1e-5)
case("svd", X, full_matrices=False, _smooth=False, _atol=1e-5, _filed=False)
case("svd", X, compute_uv=False, _smooth=False, _atol=1e-5, _filed=False)
case("lstsq", np.concatenate([SQUARE, SQUARE + 1]), _floats(6), _smooth=False, _atol=1e-4)
case("matrix_rank", SQUARES, _smooth=False)
case("pinv", X, _smooth=False, _atol=1e-4)
case("cdist", X, Y[:2])

case("one_hot", LABELS, 5, _smooth=False)
case("one_hot", LABELS, 3, axis=0, dtype="int32", _smooth=False)
case("multi_hot", COUNTS, 6, _smooth=False)
case("multi_hot", np.stack([COUNTS, COUNTS[::-1]]), num_classes=7, _smooth=False)
case("categorical_crossentropy", ONE_HOT, PROBABLE)
case("categorical_crossentropy", ONE_HOT, X, from_logits=True)
case("categorical_crossentropy", ONE_HOT, PROBABLE, axis=0, _symbolic=False)
case("sparse_categorical_crossentropy", LABELS, PROBABLE)
case("sparse_categorical_crossentropy", LABELS[:, None], X, from_logits=True, _symbolic=False)
case("binary_crossentropy", ONE_HOT, PROBABLE)
case("binary_crossentropy", ONE_HOT, X, from_logits=True)
case("batch_normalization", X, ROW, np.abs(ROW) + 0.5, -1)
case("batch_normalization", X, ROW, np.abs(ROW) + 0.5, 1, ROW * 2, ROW + 1, epsilon=1e-2)
case("layer_normalization", X)
case("layer_normalization", X, ROW, ROW + 1, epsilon=1e-3)
case("layer_normalization", Z, Z[0], Z[0] + 1, axis=[1, 2])
case("layer_normalization", X.astype("float16"), _smooth=False, _atol=1e-2)
case("rms_normalization", X)
case("rms_normalization", X, ROW, epsilon=1e-2)
case("normalize", X)
case("normalize", X, axis=0, order=1)
case("normalize", X, order=3)
case("psnr", X, Y, 2.0)
