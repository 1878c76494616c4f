"""Layers of Caffe and of Keras: which is which, in both directions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message
from lamina.interop import inference
from lamina.interop.caffe_proto import KINDS, Message, first
from lamina.interop.chain import Step, function_name

_TITLE = "Caffe"
_DATA = ("Input", "Data", "HDF5Data", "MemoryData", "DummyData", "ImageData", "WindowData")
_MEASURES = ("Accuracy", "EuclideanLoss", "HingeLoss", "InfogainLoss", "Silence", "HDF5Output")
_LOSSES = {"SoftmaxWithLoss": "Softmax", "SoftmaxLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
_TRAIN, _TEST = 0, 1
_SIZE_LIMIT = 1 << 31


@dataclass(frozen=True)
class CaffeLayer:
    """A layer as the files have it; `blobs` is None where there is no file with weights."""

    name: str
    kind: str
    said: Message
    blobs: tuple[Numpy, ...] | None

    def settings(self, name: str) -> Message:
        """Return a message of parameters, empty if the file leaves it out."""
        found: Message = first(self.said, name, {})
        return found

    def refused(self, problem: str, source: str, fix: str | None = None) -> FileFormatError:
        """Return the error that names this layer."""
        return FileFormatError(message(f"{self.kind} layer `{self.name}`: {problem}", owner=source, fix=fix))


def layers_of(network: Message, held: Message | None, source: str) -> list[CaffeLayer]:
    """Return the layers that run when a network predicts, in order, with their blobs.

    Raises:
        FileFormatError: If they are no chain.
    """
    blobs = {first(said, "name", ""): said.get("blobs", []) for said in _listed(held)} if held is not None else None
    found = []
    for said in _listed(network):
        name, kind = first(said, "name", ""), first(said, "type", "")
        kind = KINDS.get(kind, f"V1 type {kind}") if isinstance(kind, int) else kind
        if _runs(said):
            arrays = None if blobs is None else tuple(_array(blob, name, source) for blob in blobs.get(name, []))
            found.append(CaffeLayer(name, kind, said, arrays))
    _check_chain(found, source)
    return found


def _listed(network: Message | None) -> list[Message]:
    return [] if network is None else [*network.get("layers", []), *network.get("layer", [])]


def _runs(said: Message) -> bool:
    included = [first(rule, "phase", None) for rule in said.get("include", [])]
    excluded = [first(rule, "phase", None) for rule in said.get("exclude", [])]
    return _TEST not in excluded and (not included or any(phase in (None, _TEST) for phase in included))


def _array(blob: Message, name: str, source: str) -> Numpy:
    parts = blob.get("data") or [np.asarray(part, np.float32) for part in blob.get("double_data", [])]
    data = np.concatenate([np.asarray(p, np.float32).reshape(-1) for p in parts]) if parts else np.zeros(0, np.float32)
    if blob.get("shape"):
        shape = [int(n) for n in blob["shape"][-1].get("dim", [])]
    else:
        shape = [int(first(blob, key, 1)) for key in ("num", "channels", "height", "width")]
    count = 1
    for size in shape:
        count *= size
    if len(shape) > 32 or min(shape, default=1) < 0 or count != data.size:
        raise FileFormatError(
            message(
                f"A blob of layer `{name}` declares the shape {shape} and holds {data.size:,} numbers.", owner=source
            )
        )
    return data.reshape(shape)


def _check_chain(layers: Sequence[CaffeLayer], source: str) -> None:
    before: str | None = None
    for layer in layers:
        if layer.kind in (*_DATA, *_MEASURES):
            before = first(layer.said, "top", before) if layer.kind == "Input" else before
            continue
        bottoms = layer.said.get("bottom", [])
        if layer.kind in _LOSSES:
            bottoms = bottoms[:1]
        if len(bottoms) != 1 or len(layer.said.get("top", [])) > 1 or (before is not None and bottoms[0] != before):
            raise layer.refused(
                f"the network is no chain here: it takes {bottoms}, and the layer before gives {before!r}.",
                source,
                "only layers one behind another are read.",
            )
        before = first(layer.said, "top", layer.name)


def steps_of_layers(layers: Sequence[CaffeLayer], source: str, weighted: bool) -> tuple[list[Step], list[str]]:
    """Return the layers of Keras that compute what a network of Caffe does, and what was left out.

    Raises:
        FileFormatError: If there is none for a layer; the error names it.
    """
    steps: list[Step] = []
    notes: list[str] = []
    for layer in layers:
        if layer.kind in _DATA or layer.kind == "Split":
            continue
        if layer.kind in _MEASURES:
            notes.append(f"{layer.kind} layer `{layer.name}` is left out: it measures, and does not predict.")
            continue
        kind = _LOSSES.get(layer.kind, layer.kind)
        if kind != layer.kind:
            notes.append(f"{layer.kind} layer `{layer.name}` is read as {kind}: the loss itself is left out.")
        rule = _TO_KERAS.get(kind)
        if rule is None:
            known = ", ".join(_TO_KERAS)
            raise layer.refused("there is no layer for it here.", source, f"these are read: {known}, Scale.")
        if kind == "Scale":
            _scale(layer, steps, notes, source)
        else:
            steps.append(rule(layer, source))
    if not steps:
        raise FileFormatError(message("It has no layers.", owner=source))
    return (inference.checked(steps, source) if weighted else steps), notes


def _blobs(layer: CaffeLayer, count: int, source: str) -> tuple[Numpy, ...]:
    blobs = layer.blobs
    assert blobs is not None
    if len(blobs) != count:
        raise layer.refused(f"it needs {count} blobs and has {len(blobs)}.", source)
    return blobs


def _inner_product(layer: CaffeLayer, source: str) -> Step:
    said = layer.settings("inner_product_param")
    bias, units = bool(first(said, "bias_term", True)), int(first(said, "num_output", 0))
    if not 0 < units < _SIZE_LIMIT or first(said, "axis", 1) not in (1, -1):
        raise layer.refused(f"num_output={units}, axis={first(said, 'axis', 1)} cannot be.", source)
    config = {"units": units, "use_bias": bias}
    if layer.blobs is None:
        return Step("Dense", layer.name, config)
    blobs = _blobs(layer, 1 + bias, source)
    turned = bool(first(said, "transpose", False))
    shape: tuple[int, ...] = tuple(blobs[0].shape[-2:]) if blobs[0].ndim >= 2 else ()
    if (
        len(shape) != 2
        or shape[turned] != units
        or blobs[0].size != shape[0] * shape[1]
        or (bias and blobs[1].size != units)
    ):
        raise layer.refused(f"its weights have the shape {blobs[0].shape}, and it gives {units} numbers.", source)
    kernel = blobs[0].reshape(shape) if turned else blobs[0].reshape(shape).T
    return Step("Dense", layer.name, config, (kernel, *(blob.reshape(-1) for blob in blobs[1:])))


def _batch_norm(layer: CaffeLayer, source: str) -> Step:
    said = layer.settings("batch_norm_param")
    config = {
        "epsilon": float(first(said, "eps", 1e-5)), "scale": False, "center": False,
        "momentum": float(first(said, "moving_average_fraction", 0.999)),
    }  # fmt: skip
    if layer.blobs is None:
        return Step("BatchNormalization", layer.name, config)
    mean, variance, factor = (blob.reshape(-1) for blob in _blobs(layer, 3, source))
    if mean.shape != variance.shape or factor.size != 1:
        raise layer.refused(f"its blobs have {mean.size}, {variance.size} and {factor.size} numbers.", source)
    by = np.float32(0.0 if factor[0] == 0 else 1.0 / factor[0])
    return Step("BatchNormalization", layer.name, config, (mean * by, variance * by))


def _scale(layer: CaffeLayer, steps: list[Step], notes: list[str], source: str) -> None:
    """Add the scale and shift to the normalization before it, or as one of its own."""
    said = layer.settings("scale_param")
    bias = bool(first(said, "bias_term", False))
    if first(said, "axis", 1) not in (1, -1) or first(said, "num_axes", 1) != 1:
        raise layer.refused("only a scale over axis 1 is read.", source)
    before = steps[-1] if steps else None
    joined = before is not None and before.kind == "BatchNormalization" and not before.config["scale"]
    arrays: tuple[Numpy, ...] = ()
    if layer.blobs is not None:
        arrays = tuple(blob.reshape(-1) for blob in _blobs(layer, 1 + bias, source))
        width = before.arrays[0].shape if joined and before is not None else arrays[0].shape
        if any(array.shape != width for array in arrays):
            raise layer.refused(f"its blobs have {[array.size for array in arrays]} numbers.", source)
    if joined and before is not None:
        config = {**before.config, "scale": True, "center": bias}
        steps[-1] = Step(before.kind, before.name, config, (*arrays, *before.arrays))
        return
    config = {"scale": True, "center": bias, "epsilon": 0.0}
    statistics = (np.zeros_like(arrays[0]), np.ones_like(arrays[0])) if arrays else ()
    notes.append(f"Scale layer `{layer.name}` is read as a BatchNormalization with mean 0 and variance 1.")
    steps.append(Step("BatchNormalization", layer.name, config, (*arrays, *statistics)))


def _relu(layer: CaffeLayer, source: str) -> Step:
    slope = float(first(layer.settings("relu_param"), "negative_slope", 0.0))
    return Step("LeakyReLU", layer.name, {"negative_slope": slope}) if slope else Step("ReLU", layer.name)


def _power(layer: CaffeLayer, source: str) -> Step:
    said = layer.settings("power_param")
    if first(said, "power", 1.0) != 1.0:
        raise layer.refused("only the power 1 is read.", source)
    return Step("Rescaling", layer.name, {"scale": first(said, "scale", 1.0), "offset": first(said, "shift", 0.0)})


def _prelu(layer: CaffeLayer, source: str) -> Step:
    return Step("PReLU", layer.name, {}, () if layer.blobs is None else (_blobs(layer, 1, source)[0].reshape(-1),))


def _softmax(layer: CaffeLayer, source: str) -> Step:
    axis = first(layer.settings("softmax_param"), "axis", 1)
    if axis not in (1, -1):
        raise layer.refused(f"it acts on axis {axis}; only axis 1 is read.", source)
    return Step("Softmax", layer.name)


def _swish(layer: CaffeLayer, source: str) -> Step:
    if first(layer.settings("swish_param"), "beta", 1.0) != 1.0:
        raise layer.refused("only beta=1 is read.", source)
    return _function("silu")(layer, source)


def _function(name: str) -> Callable[[CaffeLayer, str], Step]:
    return lambda layer, source: Step("Activation", layer.name, {"activation": name})


_TO_KERAS: dict[str, Callable[[CaffeLayer, str], Step]] = {
    "InnerProduct": _inner_product,
    "ReLU": _relu,
    "Sigmoid": _function("sigmoid"),
    "TanH": _function("tanh"),
    "BNLL": _function("softplus"),
    "Swish": _swish,
    "ELU": lambda layer, source: Step("ELU", layer.name, {"alpha": first(layer.settings("elu_param"), "alpha", 1.0)}),
    "PReLU": _prelu,
    "Dropout": lambda layer, source: Step(
        "Dropout", layer.name, {"rate": first(layer.settings("dropout_param"), "dropout_ratio", 0.5)}
    ),
    "BatchNorm": _batch_norm,
    "Scale": _batch_norm,  # see `_scale`
    "Softmax": _softmax,
    "Power": _power,
    "Flatten": lambda layer, source: Step("Flatten", layer.name),
}


# ---- from Keras

_FUNCTIONS = {
    "relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "TanH", "softmax": "Softmax", "softplus": "BNLL", "elu": "ELU",
    "silu": "Swish", "swish": "Swish",
}  # fmt: skip
_NOISE = ("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization")


def caffe_layers(steps: Sequence[Step], shape: tuple[int, ...]) -> tuple[list[Message], list[str]]:
    """Return the layers of Caffe that compute what a chain of layers does.

    Raises:
        InvalidArgumentError: If Caffe has no such layer; the error names it.
    """
    found: list[Message] = []
    notes: list[str] = []
    before = "data"
    for step in steps:
        if step.kind in _NOISE:
            notes.append(f"{step.kind} layer `{step.name}` is left out: it acts in training alone.")
            continue
        if (
            step.kind != "Flatten"
            and len(shape) != 1
            and step.kind not in ("Activation", "ReLU", "Dropout", "Rescaling")
        ):
            raise step.cannot(_TITLE, f"it takes rows of shape {shape}.", "put a `Flatten` before it.")
        for suffix, kind, parameters, arrays in _parts(step):
            name = step.name.replace("/", "_") + suffix
            blobs = [{"shape": [{"dim": list(array.shape)}], "data": [array.reshape(-1)]} for array in arrays]
            said: Message = {
                "name": [name],
                "type": [kind],
                "bottom": [before],
                "top": [name],
                "blobs": blobs,
                **parameters,
            }
            found.append(said)
            before = name
        if step.kind == "Dense":
            shape = (int(step.arrays[0].shape[1]),)
        elif step.kind == "Flatten":
            shape = (int(np.prod(shape)),)
    return found, notes


Part = tuple[str, str, Message, tuple[Numpy, ...]]


def _parts(step: Step) -> list[Part]:
    """Return the layers of Caffe for one of Keras: a suffix, a type, parameters and blobs of each."""
    config = step.config
    if step.kind == "Activation":
        function = function_name(step, _TITLE)
        if function == "leaky_relu":
            return [("", "ReLU", {"relu_param": [{"negative_slope": [0.2]}]}, ())]
        if function != "linear" and function not in _FUNCTIONS:
            raise step.cannot(_TITLE, f"it has no layer for the function `{function}`.", "write ONNX, or use relu.")
        return [("", _FUNCTIONS[function], {}, ())] if function != "linear" else []
    rule = _FROM_KERAS.get(step.kind)
    if rule is None:
        raise step.cannot(_TITLE, f"it has no layer like {step.kind}.", "write ONNX, or replace the layer.")
    if config.get("axis", -1) not in (-1, 1, [-1], [1], None):
        raise step.cannot(_TITLE, f"it acts on axis {config['axis']}.", "use the last axis.")
    return rule(step)


def _dense_part(step: Step) -> list[Part]:
    kernel, *bias = (np.asarray(array, np.float32) for array in step.arrays)
    said = {"num_output": [int(kernel.shape[1])], "bias_term": [bool(bias)]}
    return [("", "InnerProduct", {"inner_product_param": [said]}, (np.ascontiguousarray(kernel.T), *bias))]


def _batch_norm_parts(step: Step) -> list[Part]:
    arrays = [np.asarray(array, np.float32) for array in step.arrays]
    gamma = arrays.pop(0) if step.config.get("scale", True) else None
    beta = arrays.pop(0) if step.config.get("center", True) else None
    said = {
        "use_global_stats": [True], "eps": [float(step.config.get("epsilon", 1e-3))],
        "moving_average_fraction": [float(step.config.get("momentum", 0.99))],
    }  # fmt: skip
    parts: list[Part] = [("", "BatchNorm", {"batch_norm_param": [said]}, (*arrays, np.ones(1, np.float32)))]
    if gamma is not None or beta is not None:
        ones = np.ones_like(arrays[0])
        blobs = (ones if gamma is None else gamma, *(() if beta is None else (beta,)))
        parts.append(("_scale", "Scale", {"scale_param": [{"axis": [1], "bias_term": [beta is not None]}]}, blobs))
    return parts


def _relu_part(step: Step) -> list[Part]:
    slope = float(step.config.get("negative_slope", 0.0) or 0.0)
    if step.config.get("max_value") is not None or step.config.get("threshold", 0.0):
        raise step.cannot(_TITLE, "its ReLU has no threshold or maximum.", "write ONNX.")
    return [("", "ReLU", {"relu_param": [{"negative_slope": [slope]}]} if slope else {}, ())]


def _rescaling_part(step: Step) -> list[Part]:
    scale, offset = step.config.get("scale", 1.0), step.config.get("offset", 0.0)
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        raise step.cannot(_TITLE, "its scale is not one number.", "use one number, or a Dense layer.")
    return [("", "Power", {"power_param": [{"scale": [float(scale)], "shift": [float(offset)]}]}, ())]


def _alpha(step: Step, key: str, default: float) -> float:
    return float(step.config.get(key, default))


_FROM_KERAS: dict[str, Callable[[Step], list[Part]]] = {
    "Dense": _dense_part,
    "BatchNormalization": _batch_norm_parts,
    "ReLU": _relu_part,
    "LeakyReLU": lambda s: [("", "ReLU", {"relu_param": [{"negative_slope": [_alpha(s, "negative_slope", 0.3)]}]}, ())],
    "ELU": lambda s: [("", "ELU", {"elu_param": [{"alpha": [_alpha(s, "alpha", 1.0)]}]}, ())],
    "PReLU": lambda s: [("", "PReLU", {}, (np.asarray(s.arrays[0], np.float32),))],
    "Softmax": lambda s: [("", "Softmax", {}, ())],
    "Dropout": lambda s: [("", "Dropout", {"dropout_param": [{"dropout_ratio": [_alpha(s, "rate", 0.5)]}]}, ())],
    "Rescaling": _rescaling_part,
    "Flatten": lambda s: [("", "Flatten", {}, ())],
    "Identity": lambda s: [],
}
