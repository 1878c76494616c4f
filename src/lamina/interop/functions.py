"""Activation functions in terms of a few elementary ones, so that each target needs only those.

Each is written once, over an object that has the elementary operations: arrays here, nodes of a file or source text
in a writer.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

_ALPHA, _SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # of SELU


class Elementary(Protocol):
    """What a target must be able to do, entry by entry. `constant` makes a number one of its values."""

    def constant(self, value: float) -> Any: ...
    def add(self, a: Any, b: Any) -> Any: ...
    def subtract(self, a: Any, b: Any) -> Any: ...
    def multiply(self, a: Any, b: Any) -> Any: ...
    def divide(self, a: Any, b: Any) -> Any: ...
    def maximum(self, a: Any, b: Any) -> Any: ...
    def minimum(self, a: Any, b: Any) -> Any: ...
    def exp(self, a: Any) -> Any: ...
    def log1p(self, a: Any) -> Any: ...
    def sqrt(self, a: Any) -> Any: ...
    def tanh(self, a: Any) -> Any: ...
    def sigmoid(self, a: Any) -> Any: ...
    def erf(self, a: Any) -> Any: ...
    def absolute(self, a: Any) -> Any: ...
    def where_greater(self, a: Any, b: Any, then: Any, otherwise: Any) -> Any: ...


class Arrays:
    """The elementary operations on arrays of NumPy, or of JAX while a program is traced."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "exp", "log1p", "sqrt", "tanh"):
            setattr(self, name, getattr(xp, name))
        self.absolute = xp.abs

    def constant(self, value: float) -> Any:
        return np.float32(value)

    def sigmoid(self, a: Any) -> Any:
        return np.float32(0.5) * self.xp.tanh(np.float32(0.5) * a) + np.float32(0.5)

    def erf(self, a: Any) -> Any:
        if self.xp is np:
            return np.vectorize(math.erf, otypes=[np.float32])(a)
        from jax.scipy.special import erf

        return erf(a)

    def where_greater(self, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
        return self.xp.where(a > b, then, otherwise)


def _clip(o: Any, x: Any, low: float, high: float) -> Any:
    return o.minimum(o.maximum(x, o.constant(low)), o.constant(high))


def _scaled(o: Any, x: Any, factor: float) -> Any:
    return o.multiply(x, o.constant(factor))


def _relu(o: Any, x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    if threshold == 0.0:
        passed = o.maximum(x, o.constant(0))
    else:
        passed = o.where_greater(x, o.constant(threshold), x, o.constant(0))
    if max_value is not None:
        passed = o.minimum(passed, o.constant(max_value))
    if negative_slope == 0.0:
        return passed
    below = o.minimum(o.subtract(x, o.constant(threshold)), o.constant(0))
    return o.add(passed, _scaled(o, below, negative_slope))


def _leaky_relu(o: Any, x: Any, negative_slope: float = 0.2) -> Any:
    return _relu(o, x, negative_slope)


def _elu(o: Any, x: Any, alpha: float = 1.0) -> Any:
    below = o.subtract(o.exp(o.minimum(x, o.constant(0))), o.constant(1))
    return o.add(o.maximum(x, o.constant(0)), _scaled(o, below, alpha))


def _celu(o: Any, x: Any, alpha: float = 1.0) -> Any:
    below = o.subtract(o.exp(_scaled(o, o.minimum(x, o.constant(0)), 1 / alpha)), o.constant(1))
    return o.add(o.maximum(x, o.constant(0)), _scaled(o, below, alpha))


def _gelu(o: Any, x: Any, approximate: bool = False) -> Any:
    if approximate:
        cube = o.multiply(o.multiply(x, x), x)
        inner = _scaled(o, o.add(x, _scaled(o, cube, 0.044715)), math.sqrt(2 / math.pi))
        share = o.tanh(inner)
    else:
        share = o.erf(_scaled(o, x, math.sqrt(0.5)))
    return o.multiply(x, _scaled(o, o.add(share, o.constant(1)), 0.5))


def _hard_sigmoid(o: Any, x: Any) -> Any:
    return _scaled(o, _clip(o, o.add(x, o.constant(3)), 0, 6), 1 / 6)


def _softplus(o: Any, x: Any) -> Any:
    rest = o.log1p(o.exp(_scaled(o, o.absolute(x), -1)))
    return o.add(o.maximum(x, o.constant(0)), rest)


def _sparse_plus(o: Any, x: Any) -> Any:
    inside = o.add(_clip(o, x, -1, 1), o.constant(1))
    parabola = _scaled(o, o.multiply(inside, inside), 0.25)
    return o.add(parabola, o.maximum(o.subtract(x, o.constant(1)), o.constant(0)))


def _hard_shrink(o: Any, x: Any, threshold: float = 0.5) -> Any:
    return o.where_greater(o.absolute(x), o.constant(threshold), x, o.constant(0))


def _soft_shrink(o: Any, x: Any, threshold: float = 0.5) -> Any:
    return o.subtract(x, _clip(o, x, -threshold, threshold))


def _squareplus(o: Any, x: Any, b: float = 4.0) -> Any:
    return _scaled(o, o.add(x, o.sqrt(o.add(o.multiply(x, x), o.constant(b)))), 0.5)


def _threshold(o: Any, x: Any, threshold: float, default_value: float) -> Any:
    return o.where_greater(x, o.constant(threshold), x, o.constant(default_value))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linear": lambda o, x: x,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "relu6": lambda o, x: _clip(o, x, 0, 6),
    "elu": _elu,
    "selu": lambda o, x: _scaled(o, _elu(o, x, _ALPHA), _SCALE),
    "celu": _celu,
    "gelu": _gelu,
    "silu": lambda o, x: o.multiply(x, o.sigmoid(x)),
    "hard_silu": lambda o, x: o.multiply(x, _hard_sigmoid(o, x)),
    "mish": lambda o, x: o.multiply(x, o.tanh(_softplus(o, x))),
    "sigmoid": lambda o, x: o.sigmoid(x),
    "hard_sigmoid": _hard_sigmoid,
    "log_sigmoid": lambda o, x: _scaled(o, _softplus(o, _scaled(o, x, -1)), -1),
    "sparse_sigmoid": lambda o, x: _scaled(o, o.add(_clip(o, x, -1, 1), o.constant(1)), 0.5),
    "tanh": lambda o, x: o.tanh(x),
    "tanh_shrink": lambda o, x: o.subtract(x, o.tanh(x)),
    "hard_tanh": lambda o, x: _clip(o, x, -1, 1),
    "hard_shrink": _hard_shrink,
    "soft_shrink": _soft_shrink,
    "threshold": _threshold,
    "exponential": lambda o, x: o.exp(x),
    "softplus": _softplus,
    "sparse_plus": _sparse_plus,
    "squareplus": _squareplus,
    "softsign": lambda o, x: o.divide(x, o.add(o.absolute(x), o.constant(1))),
    # Not activations, but functions that a graph may hold.
    "absolute": lambda o, x: o.absolute(x),
    "sqrt": lambda o, x: o.sqrt(x),
    "square": lambda o, x: o.multiply(x, x),
    "erf": lambda o, x: o.erf(x),
}
ALIASES = {"swish": "silu", "hard_swish": "hard_silu", "exp": "exponential", "abs": "absolute"}


def known_arguments(name: str) -> tuple[str, ...]:
    """Return the names of the arguments of a function, beside what it is applied to."""
    return tuple(inspect.signature(FUNCTIONS[name]).parameters)[2:]


def apply(o: Any, x: Any, options: Mapping[str, Any]) -> Any:
    """Return the function that `options` names of `x`, with its arguments."""
    return FUNCTIONS[options["name"]](o, x, **{key: value for key, value in options.items() if key != "name"})
