"""How each layer is made of primitive operations."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.errors import did_you_mean
from lamina.interop import functions
from lamina.interop.lowered import Shape, broadcast
from lamina.interop.lowering import Building, Entry

_AS_KERAS = "save the model as `.keras`, which holds every layer, or replace the layer."


def layer(b: Building, entry: Entry, inputs: Sequence[str]) -> str:
    """Lower one use of a layer and return the name of its output."""
    if entry.kind in _MERGING:
        return _MERGING[entry.kind](b, entry, list(inputs))
    if len(inputs) != 1:
        raise entry.cannot("It takes one input.", "use a merging layer such as `Concatenate`.", f"{len(inputs)} inputs")
    _note_dtype(b, entry)
    if entry.kind in _TRAINING_ONLY:
        b.note(f"{entry.kind} layer `{entry.name}` is left out: it only acts in training.")
        return inputs[0]
    rule = _RULES.get(entry.kind)
    if rule is None:
        raise entry.cannot(
            "This kind of layer has no form in plain operations.",
            f"{_AS_KERAS} {did_you_mean(entry.kind, [*_RULES, *_MERGING])}",
        )
    return rule(b, entry, inputs[0])


_TRAINING_ONLY = (
    "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "SpatialDropout1D",
)  # fmt: skip


def _note_dtype(b: Building, entry: Entry) -> None:
    dtype = entry.get("dtype", "float32")
    inner = dtype.get("config") if isinstance(dtype, dict) else None
    kind = str(dtype.get("class_name", "")) if isinstance(dtype, dict) else ""
    name = str(inner.get("name", "float32")) if isinstance(inner, dict) else str(dtype)
    if "_from_" in name or kind.startswith(("Quantized", "GPTQ", "AWQ", "Int")):
        raise entry.cannot(
            "Its weights are quantized, and this format is written from floats.",
            "convert the model from before `quantize`, with `--int8` where the format has it.",
            f"dtype={name!r}",
        )
    if name != "float32" and kind in ("", "DTypePolicy"):
        b.note(f"Layer `{entry.name}` computes in `{name}` in the model, and in float32 here.")


def _axis(entry: Entry, axis: Any, ndim: int) -> int:
    """Return an axis within a sample, from an axis of the batch."""
    if type(axis) is int and -ndim <= axis <= ndim and axis % (ndim + 1) and axis != -ndim - 1:
        return axis % (ndim + 1) - 1
    raise entry.cannot(
        "Its axis must be one of a sample: rows of a batch do not know each other.", _AS_KERAS, f"axis={axis!r}"
    )


def _axes(entry: Entry, axis: Any, ndim: int) -> tuple[int, ...]:
    found = axis if isinstance(axis, list | tuple) else [axis]
    return tuple(sorted({_axis(entry, one, ndim) for one in found}))


def _kept(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(n if i in axes else 1 for i, n in enumerate(shape))


def _number(entry: Entry, value: Any, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise entry.cannot(f"`{what}` must be a finite number.", _AS_KERAS, f"{what}={value!r}")


# ---- products


def _dense(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    if entry.get("quantization_config", None) or entry.get("lora_rank", None):
        raise entry.cannot("It is quantized or has adapters.", "convert the model without them.")
    units = entry.get("units", None)
    if type(units) is not int or units < 1 or not shape:
        raise entry.cannot("It needs `units` and an input with features.", _AS_KERAS, f"units={units!r}, input {shape}")
    bias = bool(entry.get("use_bias", True))
    found = entry.taken((shape[-1], units), *([(units,)] if bias else []))
    arrays = dict(zip(("kernel", "bias"), found, strict=False))
    y = b.emit("dense", [x], (*shape[:-1], units), arrays)
    return activation(b, entry, entry.get("activation", None), y)


def _einsum_dense(b: Building, entry: Entry, x: str) -> str:
    """Lower an equation that contracts the last axes of the input, in order, with the first of the kernel."""
    shape, equation = b.shapes[x], str(entry.get("equation", ""))
    found = re.fullmatch(r"(\.\.\.)?([a-zA-Z]+),([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)", equation.replace(" ", ""))
    refusal = entry.cannot(
        "Only an equation that contracts the last axes of the input with the first axes of the kernel can be held.",
        "bring the axes to the end with `Permute`, or use `Dense`.",
        f"equation={equation!r}",
    )
    if found is None or bool(found[1]) != bool(found[4]):
        raise refusal
    ins, weights, outs = found[2], found[3], found[5]
    start = 0
    while start < min(len(ins), len(outs)) and ins[start] == outs[start] and ins[start] not in weights:
        start += 1
    contracted, made = ins[start:], outs[start:]
    if weights != contracted + made or not contracted or (not found[1] and not start) or set(contracted) & set(made):
        raise refusal
    kept = shape[: len(shape) - len(contracted)]
    if len(kept) + 1 < start or not entry.weights or entry.weights[0].ndim != len(weights):
        raise refusal
    sizes = tuple(entry.weights[0].shape[len(contracted) :])
    kernel = entry.taken((*shape[len(kept) :], *sizes))[0]
    flat = (*kept, math.prod(shape[len(kept) :]))
    y = x if len(contracted) == 1 else b.emit("reshape", [x], flat, shape=flat)
    whole = (*kept, math.prod(sizes))
    y = b.emit("dense", [y], whole, {"kernel": kernel.reshape(flat[-1], whole[-1])})
    if len(sizes) != 1:
        y = b.emit("reshape", [y], (*kept, *sizes), shape=(*kept, *sizes))
    if entry.get("bias_axes", None):
        if len(entry.weights) < 2:
            raise refusal
        y = _affine(b, entry, y, None, entry.weights[1])
    return activation(b, entry, entry.get("activation", None), y)


def _affine(b: Building, entry: Entry, x: str, scale: Any, shift: Any) -> str:
    arrays = {k: np.asarray(v, np.float32) for k, v in (("scale", scale), ("shift", shift)) if v is not None}
    try:
        shape = broadcast([b.shapes[x], *(array.shape for array in arrays.values())])
    except ValueError:
        sizes = [array.shape for array in arrays.values()]
        raise entry.cannot("Its numbers do not fit its input.", _AS_KERAS, f"{sizes} for {b.shapes[x]}") from None
    if math.prod(shape) > math.prod(b.shapes[x]) * 65536:
        raise entry.cannot("Its output would be far larger than its input.", _AS_KERAS, f"{shape}")
    return b.emit("affine", [x], shape, arrays)


# ---- activations


def activation(b: Building, entry: Entry, spec: Any, x: str) -> str:
    """Lower an activation as a config has it: a name, a function, a layer, or None."""
    if isinstance(spec, dict):
        inner = spec.get("config")
        if spec.get("class_name") == "function" or isinstance(inner, str):
            registered = spec.get("registered_name")
            named = isinstance(registered, str) and ">" in registered
            spec = registered if named else inner
        elif isinstance(spec.get("class_name"), str) and isinstance(inner, dict):
            own = {"Dense": entry.get("use_bias", True), "EinsumDense": entry.get("bias_axes", None)}
            rest = entry.weights[1 + bool(own[entry.kind]) :] if entry.kind in own else entry.weights
            return layer(b, Entry(spec["class_name"], entry.name, inner, rest), [x])
    if spec in (None, "linear"):
        return x
    if not isinstance(spec, str):
        raise entry.cannot("Its activation cannot be read.", _AS_KERAS, f"activation={repr(spec)[:60]}")
    name = functions.ALIASES.get(spec, spec)
    if name in ("softmax", "log_softmax", "sparsemax"):
        return b.emit(name, [x], b.shapes[x], axes=(_axis(entry, -1, len(b.shapes[x])),))
    if name == "glu":
        return _glu(b, entry, x, -1)
    if name not in functions.FUNCTIONS:
        raise entry.cannot(
            f"The activation `{spec}` has no form in plain operations.",
            f"{_AS_KERAS} {did_you_mean(spec, [*functions.FUNCTIONS, 'softmax', 'log_softmax', 'sparsemax', 'glu'])}",
        )
    return b.emit("function", [x], b.shapes[x], name=name)


def _glu(b: Building, entry: Entry, x: str, axis: int) -> str:
    shape = b.shapes[x]
    one = _axis(entry, axis, len(shape))
    half = shape[one] // 2
    if shape[one] % 2:
        raise entry.cannot("The axis that `glu` halves must have an even size.", _AS_KERAS, f"{shape}")
    part = tuple(half if i == one else n for i, n in enumerate(shape))
    left = b.emit("slice", [x], part, axis=one, start=0, stop=half)
    right = b.emit("slice", [x], part, axis=one, start=half, stop=2 * half)
    gate = b.emit("function", [right], part, name="sigmoid")
    return b.emit("multiply", [left, gate], part)


def _function(b: Building, entry: Entry, x: str, name: str, **values: Any) -> str:
    options: dict[str, Any] = {k: v if v is None else _number(entry, v, k) for k, v in values.items()}
    return b.emit("function", [x], b.shapes[x], name=name, **options)


def _relu_layer(b: Building, entry: Entry, x: str) -> str:
    slope, threshold = entry.get("negative_slope", 0.0), entry.get("threshold", 0.0)
    return _function(
        b, entry, x, "relu", negative_slope=slope, max_value=entry.get("max_value", None), threshold=threshold
    )


def _prelu(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    shared = entry.get("shared_axes", None) or ()
    axes = {_axis(entry, axis, len(shape)) for axis in shared}
    (alpha,) = entry.taken(tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return b.emit("prelu", [x], shape, {"alpha": alpha})


# ---- normalization


def _batch_normalization(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    axis = _axis(entry, entry.get("axis", -1), len(shape))
    features = (shape[axis],)
    named = [n for n, key in (("gamma", "scale"), ("beta", "center")) if entry.get(key, True)]
    named += ["mean", "variance"]
    found = dict(zip(named, entry.taken(*([features] * len(named))), strict=True))
    gamma = found.get("gamma", np.ones(features, np.float32))
    beta = found.get("beta", np.zeros(features, np.float32))
    epsilon = _number(entry, entry.get("epsilon", 1e-3), "epsilon")
    if len(shape) == 1:
        arrays = {"gamma": gamma, "beta": beta, "mean": found["mean"], "variance": found["variance"]}
        return b.emit("batch_normalization", [x], shape, arrays, epsilon=epsilon)
    scale = gamma / np.sqrt(found["variance"].astype(np.float64) + epsilon)
    kept = _kept(shape, (axis,))
    return _affine(b, entry, x, scale.reshape(kept), (beta - found["mean"] * scale).reshape(kept))


def _scale_and_shift(entry: Entry, sizes: Shape) -> dict[str, np.ndarray]:
    """Return `gamma` and `beta` of a normalizing layer, as far as it has them."""
    rms = bool(entry.get("rms_scaling", False))
    named = ["gamma"] if entry.get("scale", True) or rms else []
    named += ["beta"] if entry.get("center", True) and not rms else []
    return dict(zip(named, entry.taken(*([sizes] * len(named))), strict=True))


def _layer_normalization(b: Building, entry: Entry, x: str) -> str:
    if entry.get("rms_scaling", False):
        raise entry.cannot("`rms_scaling` has no form in plain operations.", "use `RMSNormalization`.")
    shape = b.shapes[x]
    axes = _axes(entry, entry.get("axis", -1), len(shape))
    found = _scale_and_shift(entry, tuple(shape[i] for i in axes))
    arrays = {key: array.reshape(_kept(shape, axes)) for key, array in found.items()}
    epsilon = _number(entry, entry.get("epsilon", 1e-3), "epsilon")
    return b.emit("layer_normalization", [x], shape, arrays, axes=axes, epsilon=epsilon)


def _group_normalization(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    axis = _axis(entry, entry.get("axis", -1), len(shape))
    groups = entry.get("groups", 32)
    groups = shape[axis] if groups == -1 else groups
    if type(groups) is not int or groups < 1 or shape[axis] % groups:
        raise entry.cannot("`groups` must divide the number of features.", _AS_KERAS, f"groups={groups!r}, {shape}")
    split = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    axes = tuple(i for i in range(len(split)) if i != axis)
    epsilon = _number(entry, entry.get("epsilon", 1e-3), "epsilon")
    y = b.emit("reshape", [x], split, shape=split)
    y = b.emit("layer_normalization", [y], split, axes=axes, epsilon=epsilon)
    y = b.emit("reshape", [y], shape, shape=shape)
    found = {
        key: array.reshape(_kept(shape, (axis,))) for key, array in _scale_and_shift(entry, (shape[axis],)).items()
    }
    return _affine(b, entry, y, found.get("gamma"), found.get("beta")) if found else y


def _rms_normalization(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    axes = _axes(entry, entry.get("axis", -1), len(shape))
    (scale,) = entry.taken(tuple(shape[i] for i in axes))
    epsilon = _number(entry, entry.get("epsilon", 1e-6), "epsilon")
    return b.emit(
        "rms_normalization", [x], shape, {"scale": scale.reshape(_kept(shape, axes))}, axes=axes, epsilon=epsilon
    )


def _unit_normalization(b: Building, entry: Entry, x: str) -> str:
    axes = _axes(entry, entry.get("axis", -1), len(b.shapes[x]))
    return b.emit("unit_normalization", [x], b.shapes[x], axes=axes)


def _rescaling(b: Building, entry: Entry, x: str) -> str:
    return _affine(b, entry, x, _array(entry, "scale", 1.0), _array(entry, "offset", 0.0))


def _array(entry: Entry, key: str, default: Any) -> np.ndarray:
    value = entry.get(key, default)
    if isinstance(value, dict):  # an array as Keras writes one into a config
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.asarray(np.nan)
    if not np.isfinite(found).all():
        raise entry.cannot(f"`{key}` must be a number or an array of them.", _AS_KERAS, f"{key}={repr(value)[:60]}")
    return found


def _normalization(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    axis = entry.get("axis", -1)
    axes = () if axis is None else _axes(entry, axis, len(shape))
    kept = _kept(shape, axes)
    if entry.get("mean", None) is None:
        sizes = tuple(shape[i] for i in axes)
        mean, variance = (array.reshape(kept).astype(np.float64) for array in entry.taken(sizes, sizes))
    else:
        mean, variance = (_spread(entry, key, shape, axes) for key in ("mean", "variance"))
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if entry.get("invert", False):
        return _affine(b, entry, x, deviation, mean)
    return _affine(b, entry, x, 1 / deviation, -mean / deviation)


def _spread(entry: Entry, key: str, shape: Shape, axes: tuple[int, ...]) -> np.ndarray:
    """Return a given mean or variance spread over the kept axes: its axes are the last of them."""
    array = _array(entry, key, 0.0)
    if array.ndim > len(axes):
        raise entry.cannot(f"`{key}` has more axes than the layer keeps.", _AS_KERAS, f"{array.shape}")
    sizes = [1] * len(shape)
    for size, axis in zip(array.shape[::-1], axes[::-1], strict=False):
        sizes[axis] = size
    return array.reshape(sizes)


# ---- shapes


def _to(b: Building, x: str, shape: Sequence[int]) -> str:
    return x if tuple(shape) == b.shapes[x] else b.emit("reshape", [x], tuple(shape), shape=tuple(shape))


def _transposed(b: Building, x: str, order: Sequence[int]) -> str:
    shape = b.shapes[x]
    if tuple(order) == tuple(range(len(shape))):
        return x
    return b.emit("transpose", [x], tuple(shape[i] for i in order), order=tuple(order))


def _flatten(b: Building, entry: Entry, x: str) -> str:
    shape = b.shapes[x]
    if entry.get("data_format", None) == "channels_first" and shape:
        x = _transposed(b, x, (*range(1, len(shape)), 0))
    return _to(b, x, (math.prod(shape),))


def _reshape(b: Building, entry: Entry, x: str) -> str:
    total, target = math.prod(b.shapes[x]), entry.get("target_shape", None)
    if isinstance(target, list | tuple) and all(type(n) is int and n >= -1 for n in target) and target.count(-1) <= 1:
        known = math.prod(n for n in target if n != -1)
        shape = tuple(total // max(known, 1) if n == -1 else n for n in target)
        if math.prod(shape) == total:
            return _to(b, x, shape)
    raise entry.cannot("`target_shape` does not fit a sample.", _AS_KERAS, f"{target!r} for {b.shapes[x]}")


def _permute(b: Building, entry: Entry, x: str) -> str:
    dims = entry.get("dims", None)
    count = len(b.shapes[x])
    if not isinstance(dims, list | tuple) or sorted(dims) != list(range(1, count + 1)):
        raise entry.cannot("`dims` must name each axis of a sample once.", _AS_KERAS, f"dims={dims!r}")
    return _transposed(b, x, [n - 1 for n in dims])


def _repeat_vector(b: Building, entry: Entry, x: str) -> str:
    n, shape = entry.get("n", None), b.shapes[x]
    if type(n) is not int or not 1 <= n <= 65536 or len(shape) != 1:
        raise entry.cannot("`n` must be a whole number up to 65536, the input one row.", _AS_KERAS, f"n={n!r}, {shape}")
    return _affine(b, entry, _to(b, x, (1, *shape)), np.ones((n, 1)), None)


# ---- several inputs


def _merge(kind: str) -> Callable[[Building, Entry, list[str]], str]:
    def rule(b: Building, entry: Entry, inputs: list[str]) -> str:
        if not inputs or (kind == "subtract" and len(inputs) != 2):
            raise entry.cannot("It has the wrong number of inputs.", _AS_KERAS, f"{len(inputs)} inputs")
        most = max(len(b.shapes[x]) for x in inputs)
        y, *rest = (_to(b, x, (1,) * (most - len(b.shapes[x])) + b.shapes[x]) for x in inputs)
        for other in rest:
            y = binary(b, entry, kind, y, other)
        if entry.kind == "Average" and len(inputs) > 1:
            y = _affine(b, entry, y, 1 / len(inputs), None)
        return y

    return rule


def binary(b: Building, entry: Entry, kind: str, one: str, other: str) -> str:
    """Lower an operation of two values and return the name of its output."""
    try:
        shape = broadcast([b.shapes[one], b.shapes[other]])
    except ValueError:
        received = f"{b.shapes[one]} and {b.shapes[other]}"
        raise entry.cannot("Its inputs have incompatible shapes.", _AS_KERAS, received) from None
    return b.emit(kind, [one, other], shape)


def _concatenate(b: Building, entry: Entry, inputs: list[str]) -> str:
    shapes = [b.shapes[x] for x in inputs]
    axis = _axis(entry, entry.get("axis", -1), len(shapes[0]))
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise entry.cannot("Its inputs have incompatible shapes.", _AS_KERAS, f"{shapes}, axis={axis + 1}")
    if len(inputs) == 1:
        return inputs[0]
    total = sum(shape[axis] for shape in shapes)
    return b.emit("concatenate", inputs, (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), axis=axis)


# ---- layers around layers


def _inside(entry: Entry, weights: tuple[np.ndarray, ...]) -> Entry:
    inner = entry.get("layer", None)
    if not isinstance(inner, dict) or not isinstance(inner.get("config"), dict):
        raise entry.cannot("The layer inside cannot be read.", _AS_KERAS)
    return Entry(str(inner.get("class_name")), entry.name, inner["config"], weights)


def _spectral_normalization(b: Building, entry: Entry, x: str) -> str:
    b.note(f"SpectralNormalization layer `{entry.name}` is left out: it only acts in training.")
    return layer(b, _inside(entry, entry.weights[:1] + entry.weights[2:]), [x])


def _time_distributed(b: Building, entry: Entry, x: str) -> str:
    inner = _inside(entry, entry.weights)
    last = inner.get("axis", -1) == -1
    if inner.kind not in _EACH_STEP or not last:
        fix = f"put one of {', '.join(_EACH_STEP)} inside, on the last axis."
        raise entry.cannot(f"`{inner.kind}` cannot be held at each time step.", fix)
    return layer(b, inner, [x])


_EACH_STEP = (
    "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "LayerNormalization", "BatchNormalization",
    "RMSNormalization", "UnitNormalization", "Softmax", "Identity",
)  # fmt: skip

_RULES: dict[str, Callable[[Building, Entry, str], str]] = {
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "Activation": lambda b, entry, x: activation(b, entry, entry.get("activation", None), x),
    "ReLU": _relu_layer,
    "LeakyReLU": lambda b, entry, x: _function(
        b, entry, x, "leaky_relu", negative_slope=entry.get("negative_slope", entry.get("alpha", 0.3))
    ),
    "ELU": lambda b, entry, x: _function(b, entry, x, "elu", alpha=entry.get("alpha", 1.0)),
    "PReLU": _prelu,
    "Softmax": lambda b, entry, x: b.emit(
        "softmax", [x], b.shapes[x], axes=_axes(entry, entry.get("axis", -1), len(b.shapes[x]))
    ),
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "GroupNormalization": _group_normalization,
    "RMSNormalization": _rms_normalization,
    "UnitNormalization": _unit_normalization,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat_vector,
    "Identity": lambda b, entry, x: x,
    "SpectralNormalization": _spectral_normalization,
    "TimeDistributed": _time_distributed,
}
_MERGING: dict[str, Callable[[Building, Entry, list[str]], str]] = {
    "Add": _merge("add"),
    "Subtract": _merge("subtract"),
    "Multiply": _merge("multiply"),
    "Average": _merge("add"),
    "Maximum": _merge("maximum"),
    "Minimum": _merge("minimum"),
    "Concatenate": _concatenate,
}
