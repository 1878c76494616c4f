"""Modules of `torch.nn` and Keras's layers: which is which, in both directions, and how a person writes them."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import did_you_mean, invalid
from lamina.interop.chain import Step, function_name

_TITLE = "PyTorch"
_AS_KERAS = "save it as `.keras`, or replace the layer."


@dataclass(frozen=True)
class Module:
    """A module of `torch.nn`: its class, its name in the state dict, its arguments and its tensors by role."""

    kind: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Numpy] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.kind}({said})"

    def get(self, key: str, default: Any) -> Any:
        """Return an argument, or PyTorch's default."""
        return self.arguments.get(key, default)


# ---- activations: a class of torch.nn, with default arguments, and the function of Keras that computes the same
_FUNCTIONS = {
    "ReLU": "relu", "ReLU6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "SELU": "selu", "SiLU": "silu",
    "Softsign": "softsign", "Hardsigmoid": "hard_sigmoid", "Hardswish": "hard_silu", "Mish": "mish",
    "LogSigmoid": "log_sigmoid", "Tanhshrink": "tanh_shrink", "GELU": "gelu", "Softplus": "softplus",
    "Hardtanh": "hard_tanh", "Softshrink": "soft_shrink", "Hardshrink": "hard_shrink", "CELU": "celu",
}  # fmt: skip
_MODULES = {
    **{function: module for module, function in _FUNCTIONS.items()},
    "swish": "SiLU", "hard_swish": "Hardswish", "elu": "ELU",
}  # fmt: skip
# Arguments that these take: only PyTorch's defaults are Keras's functions.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Softplus": {"beta": 1, "threshold": 20}, "Hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "GELU": {"approximate": "none"},
    "Softshrink": {"lambd": 0.5}, "Hardshrink": {"lambd": 0.5}, "CELU": {"alpha": 1.0},
}  # fmt: skip
# Names of positional arguments.
_POSITIONAL = {
    "Linear": ("in_features", "out_features", "bias"), "BatchNorm1d": ("num_features", "eps", "momentum", "affine"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"), "Dropout": ("p",), "AlphaDropout": ("p",),
    "LeakyReLU": ("negative_slope",), "ELU": ("alpha",), "CELU": ("alpha",), "Softmax": ("dim",),
    "LogSoftmax": ("dim",),
    "PReLU": ("num_parameters", "init"), "GELU": ("approximate",), "Flatten": ("start_dim", "end_dim"),
    "Hardtanh": ("min_val", "max_val"), "Softplus": ("beta", "threshold"), "Softshrink": ("lambd",),
    "Hardshrink": ("lambd",),
}  # fmt: skip
_ROLES = {
    "Linear": ("weight", "bias"), "PReLU": ("weight",), "LayerNorm": ("weight", "bias"),
    "BatchNorm1d": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
}  # fmt: skip
KINDS = (*_FUNCTIONS, "Linear", "BatchNorm1d", "LayerNorm", "Dropout", "AlphaDropout", "LeakyReLU", "ELU", "Softmax",
         "LogSoftmax", "PReLU", "Flatten", "Identity")  # fmt: skip


def holds_tensors(kind: str) -> bool:
    """Return whether a module of this class has entries in a state dict."""
    return kind in _ROLES


# ---- to Keras


def step_of(module: Module, source: str) -> Step | None:
    """Return the layer that computes what a module does; None for `Identity`.

    Raises:
        InvalidArgumentError: If there is none; with the module, and what to do.
    """
    if module.kind == "Identity":
        return None
    if module.kind in _FUNCTIONS:
        return _function_step(module, source)
    rule = _TO_KERAS.get(module.kind)
    if rule is None:
        raise invalid(
            f"Module `{module.name}` is a `{module.kind}`, which has no layer here.",
            owner=source,
            fix=did_you_mean(module.kind, KINDS),
        )
    step = rule(module)
    left = set(module.tensors) - set(_ROLES.get(module.kind, ()))
    if left:
        raise invalid(f"Module `{module.name}` ({module.kind}) has a tensor `{min(left)}` too many.", owner=source)
    return step


def _function_step(module: Module, source: str) -> Step:
    known = _DEFAULTS.get(module.kind, {})
    other = {k: v for k, v in module.arguments.items() if k != "inplace" and v != known.get(k)}
    if module.kind == "GELU" and other == {"approximate": "tanh"}:
        raise invalid(
            f"Module `{module.name}` is a GELU in its approximation by tanh, which has no layer here.",
            owner=source, fix="train it with `GELU()`; the two differ by up to 5e-4.",
        )  # fmt: skip
    if other:
        raise invalid(
            f"Module `{module.name}` ({module.kind}) has the arguments {other}; only the defaults have a layer here.",
            owner=source,
        )
    return Step("Activation", module.name, {"activation": _FUNCTIONS[module.kind]})


def _of_linear(m: Module) -> Step:
    kernel, bias = _matrix(m).T, m.tensors.get("bias")
    arrays = (kernel,) if bias is None else (kernel, bias)
    return Step("Dense", m.name, {"units": int(kernel.shape[1]), "use_bias": bias is not None}, arrays)


def _matrix(m: Module) -> Numpy:
    weight = m.tensors.get("weight")
    if weight is None or weight.ndim != 2:
        found = "none" if weight is None else str(weight.shape)
        raise invalid(f"Linear `{m.name}` needs a weight (out_features, in_features).", received=found)
    return weight


def _of_batch_norm(m: Module) -> Step:
    mean, variance = m.tensors.get("running_mean"), m.tensors.get("running_var")
    if mean is None or variance is None:
        raise invalid(
            f"BatchNorm1d `{m.name}` keeps no running statistics, so what it predicts depends on the batch.",
            fix="train it with `track_running_stats=True`.",
        )
    momentum = m.get("momentum", 0.1)
    gamma, beta = m.tensors.get("weight"), m.tensors.get("bias")
    config = {
        "epsilon": m.get("eps", 1e-5), "scale": gamma is not None, "center": beta is not None,
        "momentum": 0.99 if momentum is None else 1 - momentum,
    }  # fmt: skip
    return Step("BatchNormalization", m.name, config, tuple(a for a in (gamma, beta, mean, variance) if a is not None))


def _of_layer_norm(m: Module) -> Step:
    gamma, beta = m.tensors.get("weight"), m.tensors.get("bias")
    shape = m.get("normalized_shape", None)
    if any(a is not None and a.ndim != 1 for a in (gamma, beta)) or (
        isinstance(shape, tuple | list) and len(shape) != 1
    ):
        raise invalid(f"LayerNorm `{m.name}` acts on several axes.", fix="only the last axis has a layer here.")
    config = {"epsilon": m.get("eps", 1e-5), "scale": gamma is not None, "center": beta is not None}
    return Step("LayerNormalization", m.name, config, tuple(a for a in (gamma, beta) if a is not None))


def _of_prelu(m: Module) -> Step:
    weight = m.tensors.get("weight")
    if weight is None or weight.ndim != 1:
        raise invalid(f"PReLU `{m.name}` needs a weight (num_parameters,).")
    return Step("PReLU", m.name, {}, (weight,))  # one number for all features is spread once their count is known


def _of_softmax(m: Module) -> Step:
    if m.get("dim", -1) not in (-1, 1, None):
        raise invalid(f"{m.kind} `{m.name}` acts on dimension {m.get('dim', None)}.", fix="only the last has a layer.")
    if m.kind == "Softmax":
        return Step("Softmax", m.name, {})
    return Step("Activation", m.name, {"activation": "log_softmax"})


_TO_KERAS: dict[str, Callable[[Module], Step]] = {
    "Linear": _of_linear,
    "BatchNorm1d": _of_batch_norm,
    "LayerNorm": _of_layer_norm,
    "PReLU": _of_prelu,
    "Softmax": _of_softmax,
    "LogSoftmax": _of_softmax,
    "Dropout": lambda m: Step("Dropout", m.name, {"rate": m.get("p", 0.5)}),
    "AlphaDropout": lambda m: Step("AlphaDropout", m.name, {"rate": m.get("p", 0.5)}),
    "LeakyReLU": lambda m: Step("LeakyReLU", m.name, {"negative_slope": m.get("negative_slope", 0.01)}),
    "ELU": lambda m: Step("ELU", m.name, {"alpha": m.get("alpha", 1.0)}),
    "Flatten": lambda m: Step("Flatten", m.name, {}),
}


# ---- from Keras


def module_of(step: Step, name: str, features: int) -> Module | None:
    """Return the module that computes what a layer does; None if the layer does nothing.

    Args:
        step: The layer.
        name: Its name in the state dict.
        features: How many numbers a row has that goes in.

    Raises:
        InvalidArgumentError: If PyTorch has no such module.
    """
    if step.kind == "Activation":
        return _activation(step, name)
    rule = _FROM_KERAS.get(step.kind)
    if rule is None:
        raise step.cannot(_TITLE, f"`torch.nn` has no module like {step.kind}.", _AS_KERAS)
    return rule(step, name, features)


def _activation(step: Step, name: str) -> Module | None:
    function = function_name(step, _TITLE)
    if function == "linear":
        return None
    if function in ("softmax", "log_softmax"):
        return Module("Softmax" if function == "softmax" else "LogSoftmax", name, {"dim": -1})
    if function == "leaky_relu":
        return Module("LeakyReLU", name, {"negative_slope": 0.2})  # Keras's default
    if function not in _MODULES:
        raise step.cannot(_TITLE, f"`torch.nn` has no module for the function `{function}`.", _AS_KERAS)
    return Module(_MODULES[function], name)


def _linear(step: Step, name: str, features: int) -> Module:
    kernel, *bias = step.arrays
    arguments = {"in_features": int(kernel.shape[0]), "out_features": int(kernel.shape[1])}
    more = {} if bias else {"bias": False}
    tensors = {"weight": np.ascontiguousarray(kernel.T), **({"bias": bias[0]} if bias else {})}
    return Module("Linear", name, {**arguments, **more}, tensors)


def _batch_norm(step: Step, name: str, features: int) -> Module:
    _last_axis(step)
    config, arrays = step.config, list(step.arrays)
    gamma = arrays.pop(0) if config.get("scale", True) else None
    beta = arrays.pop(0) if config.get("center", True) else None
    mean, variance = arrays
    arguments = {
        "num_features": features, "eps": config.get("epsilon", 1e-3),
        "momentum": round(1 - config.get("momentum", 0.99), 12),
    }  # fmt: skip
    tensors = {}
    if gamma is None and beta is None:
        arguments["affine"] = False
    else:  # PyTorch has both or none
        tensors = {"weight": _or(gamma, np.ones_like(mean)), "bias": _or(beta, np.zeros_like(mean))}
    tensors.update(running_mean=mean, running_var=variance, num_batches_tracked=np.zeros((), np.int64))
    return Module("BatchNorm1d", name, arguments, tensors)


def _or(array: Numpy | None, default: Numpy) -> Numpy:
    return default if array is None else array


def _last_axis(step: Step, key: str = "axis") -> None:
    axis = step.config.get(key, -1)
    if axis not in (-1, 1, [-1], [1], None):
        raise step.cannot(_TITLE, f"it acts on axis {axis}.", "use the last axis.")


def _layer_norm(step: Step, name: str, features: int) -> Module:
    _last_axis(step)
    config, arrays = step.config, list(step.arrays)
    if config.get("rms_scaling"):
        raise step.cannot(_TITLE, "it scales by the root of the mean square.", _AS_KERAS)
    gamma = arrays.pop(0) if config.get("scale", True) else None
    beta = arrays.pop(0) if config.get("center", True) else None
    arguments: dict[str, Any] = {"normalized_shape": (features,), "eps": config.get("epsilon", 1e-3)}
    if gamma is None and beta is None:
        return Module("LayerNorm", name, {**arguments, "elementwise_affine": False})
    ones, zeros = np.ones(features, np.float32), np.zeros(features, np.float32)
    return Module("LayerNorm", name, arguments, {"weight": _or(gamma, ones), "bias": _or(beta, zeros)})


def _relu(step: Step, name: str, features: int) -> Module:
    limit, slope = step.config.get("max_value"), step.config.get("negative_slope", 0.0)
    if step.config.get("threshold", 0.0) or (limit is not None and (limit != 6 or slope)):
        raise step.cannot(_TITLE, "`torch.nn` has no ReLU with this threshold or maximum.", _AS_KERAS)
    if limit == 6:
        return Module("ReLU6", name)
    return Module("LeakyReLU", name, {"negative_slope": slope}) if slope else Module("ReLU", name)


def _prelu(step: Step, name: str, features: int) -> Module:
    (alpha,) = step.arrays
    return Module("PReLU", name, {"num_parameters": int(alpha.size)}, {"weight": alpha.reshape(-1)})


def _softmax(step: Step, name: str, features: int) -> Module:
    _last_axis(step)
    return Module("Softmax", name, {"dim": -1})


def _nothing(step: Step, name: str, features: int) -> None:
    return None


_FROM_KERAS: dict[str, Callable[[Step, str, int], Module | None]] = {
    "Dense": _linear,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "ReLU": _relu,
    "PReLU": _prelu,
    "Softmax": _softmax,
    "LeakyReLU": lambda s, n, f: Module("LeakyReLU", n, {"negative_slope": s.config.get("negative_slope", 0.3)}),
    "ELU": lambda s, n, f: Module("ELU", n, {"alpha": s.config.get("alpha", 1.0)}),
    "Dropout": lambda s, n, f: Module("Dropout", n, {"p": s.config.get("rate", 0.5)}),
    "AlphaDropout": lambda s, n, f: Module("AlphaDropout", n, {"p": s.config.get("rate", 0.5)}),
    "Flatten": lambda s, n, f: Module("Flatten", n),
    "Identity": _nothing,
}


# ---- as a person writes them


def parsed(text: str | Sequence[str]) -> list[Module]:
    """Return the modules that a text names: `Linear, ReLU, Dropout(0.5), Linear`, or what `print(model)` shows.

    Raises:
        InvalidArgumentError: If it is no such list.
    """
    if not isinstance(text, str | list | tuple) or not all(isinstance(part, str) for part in text):
        raise invalid(
            "`architecture` must be a text or a list of texts.", received=repr(text)[:80], fix="pass `str(module)`."
        )
    text = text if isinstance(text, str) else ", ".join(text)
    found: list[Module] = []
    _parse(text.strip(), "", found)
    if not found:
        raise invalid("`architecture` names no module.", received=repr(text)[:80], fix="e.g. 'Linear, ReLU, Linear'.")
    return found


_ENTRY = re.compile(r"\s*,?\s*(?:\((?P<name>[\w.]+)\)\s*:)?\s*(?:torch\.nn\.|nn\.)?(?P<kind>[A-Za-z_]\w*)\s*")


def own_classes(text: str | Sequence[str]) -> list[str]:
    """Return the classes of a person's own that hold modules in a text: what their `forward` does is not in it."""
    whole = text if isinstance(text, str) else ", ".join(text)
    holders = re.findall(r"([A-Za-z_]\w*)\s*\(\s*\(\w+\)\s*:", whole)
    return sorted({kind for kind in holders if kind not in KINDS} - {"Sequential"})


def _parse(text: str, prefix: str, found: list[Module], depth: int = 0) -> None:
    place = 0
    while text[place:].strip(" \t\n,"):
        match = _ENTRY.match(text, place)
        if match is None or depth > 20:
            raise invalid(
                "`architecture` cannot be read.",
                received=repr(text[place : place + 40]),
                fix="write `Linear, ReLU, Linear`, or pass `str(model)` of the module.",
            )
        place = match.end()
        inside = ""
        if text[place : place + 1] == "(":
            end = _closing(text, place)
            inside, place = text[place + 1 : end], end + 1
        name, kind = match["name"], match["kind"]
        full = f"{prefix}{name}" if name is not None else ""
        if kind not in KINDS and (re.match(r"\s*\(\w+\)\s*:", inside) or kind == "Sequential"):
            _parse(inside, f"{full}." if full else "", found, depth + 1)
        else:
            if kind not in KINDS:
                raise invalid(f"`architecture` names `{kind}`, which has no layer here.", fix=did_you_mean(kind, KINDS))
            found.append(Module(kind, full, _arguments(kind, inside)))


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place
    raise invalid("`architecture` has a parenthesis that is not closed.", received=repr(text[start : start + 40]))


def _arguments(kind: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError(text)
        for name, value in zip(_POSITIONAL.get(kind, ()), call.args, strict=False):
            found[name] = ast.literal_eval(value)
        for keyword in call.keywords:
            if keyword.arg is not None:
                found[keyword.arg] = ast.literal_eval(keyword.value)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise invalid(f"`architecture`: the arguments of {kind} cannot be read.", received=repr(text)[:80]) from error
    return found


def python(modules: Sequence[Module]) -> str:
    """Return the expression that makes the module in Python."""
    return f"nn.Sequential({', '.join(f'nn.{module}' for module in modules)})"


def expected(mapping: Mapping[str, Any]) -> str:
    """Return a short list of names."""
    names = list(mapping)
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") or "none"
