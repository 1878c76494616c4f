"""Activation functions: pure functions of arrays, one for each name that Keras has.

Each takes anything that becomes an array and returns an array of the same shape, except `glu`, which halves an axis.
Where JAX has the function, it is JAX's: XLA then fuses it with the product before it, and its derivative is written
to be exact at the kinks and finite far out.
"""

import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import registry, serialization
from lamina._types import Array, ArrayLike
from lamina.errors import invalid
from lamina.ops.basics import as_floats
from lamina.ops.dispatch import operation

Activation = Callable[..., Any]
_NN = "keras.src.ops.nn"  # where Keras's files say that an operation in a functional model lives
_OWN = "keras.src.activations.activations"


@registry.export("activations")
def linear(x: Any) -> Any:
    """Return `x` itself."""
    return x


@registry.export("activations")
@operation(_OWN, "ReLU")
def relu(x: ArrayLike, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Array:
    """Return `max(x, 0)`, or the general form that the arguments describe.

    Args:
        x: The input.
        negative_slope: Slope below the threshold.
        max_value: Where the output stops to grow; None: nowhere.
        threshold: Inputs up to here give 0, or `negative_slope * (x - threshold)`.
    """
    x = jnp.asarray(x)
    if negative_slope == 0.0 and threshold == 0.0:
        return _capped_relu(x, max_value)
    if threshold == 0.0 and max_value is None:
        return jax.nn.leaky_relu(x, negative_slope)
    if threshold == 0.0:
        return _capped_relu(x, max_value) - negative_slope * jax.nn.relu(-x)
    passed = jnp.where(x > jnp.asarray(threshold, x.dtype), x, 0)
    if max_value is not None:
        passed = jnp.clip(passed, 0, jnp.asarray(max_value, x.dtype))
    return passed - negative_slope * jax.nn.relu(threshold - x) if negative_slope != 0.0 else passed


def _capped_relu(x: Array, max_value: float | None) -> Array:
    if max_value is None:
        return jax.nn.relu(x)
    if max_value == 6:
        return jax.nn.relu6(x)  # its derivative at 0 and 6 is 0
    return jnp.clip(jax.nn.relu(x), 0, jnp.asarray(max_value, x.dtype))


@registry.export("activations")
@operation(_NN)
def leaky_relu(x: ArrayLike, negative_slope: float = 0.2) -> Array:
    """Return `x` where it is positive and `negative_slope * x` elsewhere."""
    return jax.nn.leaky_relu(jnp.asarray(x), negative_slope)


@registry.export("activations")
@operation(_NN)
def relu6(x: ArrayLike) -> Array:
    """Return `min(max(x, 0), 6)`."""
    return jax.nn.relu6(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive and `alpha * (exp(x) - 1)` elsewhere (Clevert et al. 2016)."""
    return jax.nn.elu(jnp.asarray(x), alpha)


@registry.export("activations")
@operation(_NN)
def selu(x: ArrayLike) -> Array:
    """Return `elu` with the scale and alpha that keep mean and variance (Klambauer et al. 2017)."""
    return jax.nn.selu(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def celu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """Return `max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))` (Barron 2017)."""
    return jax.nn.celu(jnp.asarray(x), alpha)


@registry.export("activations")
@operation(_NN)
def gelu(x: ArrayLike, approximate: bool = False) -> Array:
    """Return `x` times the normal distribution function of `x` (Hendrycks and Gimpel 2016).

    Args:
        x: The input.
        approximate: Use the formula with `tanh` in place of the error function.
    """
    return jax.nn.gelu(as_floats(x), approximate)


@registry.export("activations", "swish")
@operation(_NN)
def silu(x: ArrayLike) -> Array:
    """Return `x * sigmoid(x)`, also called swish."""
    return jax.nn.silu(as_floats(x))


@registry.export("activations", "hard_swish")
@operation(_NN)
def hard_silu(x: ArrayLike) -> Array:
    """Return `x * hard_sigmoid(x)`, also called hard swish (Howard et al. 2019)."""
    return jax.nn.hard_silu(jnp.asarray(x))


@registry.export("activations")
@operation(_OWN)
def mish(x: ArrayLike) -> Array:
    """Return `x * tanh(softplus(x))` (Misra 2019)."""
    return jax.nn.mish(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def glu(x: ArrayLike, axis: int = -1) -> Array:
    """Return the first half of `x` along `axis`, times the sigmoid of the second half (Dauphin et al. 2017).

    Raises:
        InvalidArgumentError: If the size of the axis is odd.
    """
    array = as_floats(x)
    if array.shape[axis] % 2:
        raise invalid(
            "The axis that `glu` halves must have an even size.", received=f"x.shape={array.shape}, axis={axis}"
        )
    return jax.nn.glu(array, axis)


@registry.export("activations")
@operation(_NN)
def sigmoid(x: ArrayLike) -> Array:
    """Return `1 / (1 + exp(-x))`."""
    return jax.nn.sigmoid(as_floats(x))


@registry.export("activations")
@operation(_NN)
def hard_sigmoid(x: ArrayLike) -> Array:
    """Return `min(max(x / 6 + 1 / 2, 0), 1)`."""
    return jax.nn.hard_sigmoid(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def log_sigmoid(x: ArrayLike) -> Array:
    """Return `log(sigmoid(x))`, without overflow."""
    return jax.nn.log_sigmoid(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def sparse_sigmoid(x: ArrayLike) -> Array:
    """Return `min(max((x + 1) / 2, 0), 1)`: the derivative of `sparse_plus`."""
    return jax.nn.sparse_sigmoid(jnp.asarray(x))


@registry.export("activations")
@operation("keras.src.ops.numpy")
def tanh(x: ArrayLike) -> Array:
    """Return the hyperbolic tangent of `x`."""
    return jnp.tanh(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def tanh_shrink(x: ArrayLike) -> Array:
    """Return `x - tanh(x)`."""
    array = jnp.asarray(x)
    return array - jnp.tanh(array)


@registry.export("activations")
@operation(_NN)
def hard_tanh(x: ArrayLike) -> Array:
    """Return `min(max(x, -1), 1)`."""
    return jax.nn.hard_tanh(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def hard_shrink(x: ArrayLike, threshold: float = 0.5) -> Array:
    """Return `x` where its absolute value exceeds the threshold and 0 elsewhere."""
    array = jnp.asarray(x)
    return jnp.where(jnp.abs(array) > threshold, array, 0.0)


@registry.export("activations")
@operation(_NN)
def soft_shrink(x: ArrayLike, threshold: float = 0.5) -> Array:
    """Return `x` moved towards 0 by the threshold, and 0 where it would cross."""
    array = jnp.asarray(x)
    return jnp.where(array > threshold, array - threshold, jnp.where(array < -threshold, array + threshold, 0.0))


@registry.export("activations")
@operation(_NN)
def threshold(x: ArrayLike, threshold: float, default_value: float) -> Array:
    """Return `x` where it exceeds the threshold and `default_value` elsewhere."""
    array = jnp.asarray(x)
    return jnp.where(array > threshold, array, default_value)


@registry.export("activations")
@operation("keras.src.ops.numpy", "Exp")
def exponential(x: ArrayLike) -> Array:
    """Return `exp(x)`."""
    return jnp.exp(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def softplus(x: ArrayLike) -> Array:
    """Return `log(1 + exp(x))`, without overflow."""
    return jax.nn.softplus(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def sparse_plus(x: ArrayLike) -> Array:
    """Return 0 up to -1, `x` from 1 on, and the parabola `(x + 1) ** 2 / 4` between."""
    return jax.nn.sparse_plus(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def squareplus(x: ArrayLike, b: float = 4) -> Array:
    """Return `(x + sqrt(x ** 2 + b)) / 2` (Barron 2021)."""
    return jax.nn.squareplus(jnp.asarray(x), b)


@registry.export("activations")
@operation(_NN)
def softsign(x: ArrayLike) -> Array:
    """Return `x / (1 + abs(x))`."""
    return jax.nn.soft_sign(jnp.asarray(x))


@registry.export("activations")
@operation(_NN)
def softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> Array:
    """Return `exp(x)` divided by its sum along `axis`: numbers of at least 0 that add up to 1.

    Shapes: `x` and result alike, e.g. `(batch, classes)`.
    """
    array = jnp.asarray(x)
    if isinstance(axis, int) and -array.ndim <= axis < array.ndim and array.shape[axis] == 1:
        warnings.warn(
            f"You are using a softmax over axis {axis} of a tensor of shape {array.shape}. This axis has size 1. The "
            "softmax operation will always return the value 1, which is likely not what you intended. Did you mean to "
            "use a sigmoid instead?",
            stacklevel=2,
        )
    return jax.nn.softmax(array, _axes(axis))


@registry.export("activations")
@operation(_NN)
def log_softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> Array:
    """Return the logarithm of `softmax`, without underflow. Shapes: `x` and result alike."""
    return jax.nn.log_softmax(jnp.asarray(x), _axes(axis))


def _axes(axis: int | Sequence[int] | None) -> Any:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


@registry.export("activations")
@operation(_NN)
def sparsemax(x: ArrayLike, axis: int = -1) -> Array:
    """Return the point of the simplex along `axis` that is nearest to `x`: a softmax with exact zeros.

    Shapes: `x` and result alike. Algorithm 1 of Martins and Astudillo (2016): with the entries in falling order, the
    first k of them stay positive, where k is the last position at which `1 + k * x_k` exceeds their running sum.
    """
    array = as_floats(x)
    falling = jnp.flip(jnp.sort(array, axis=axis), axis=axis)
    running = jnp.cumsum(falling, axis=axis)
    position = jnp.arange(1, array.shape[axis] + 1, dtype=array.dtype)
    position = jnp.expand_dims(position, [i for i in range(array.ndim) if i != axis % array.ndim])
    stays = falling - (running - 1) / position > 0
    count = jnp.sum(stays, axis=axis, keepdims=True)
    total = jnp.sum(jnp.where(stays, falling, 0), axis=axis, keepdims=True)
    return jnp.maximum(array - (total - 1) / count, 0)


swish = silu
hard_swish = hard_silu


def get(identifier: Any) -> Activation:
    """Return the function that a name, a config or a callable stands for; None gives `linear`.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        found = registry.lookup("activations", identifier, "activation function")
    else:
        found = deserialize(identifier) if isinstance(identifier, dict) else identifier
    if not callable(found):
        raise registry.unknown("activations", identifier, "activation function")
    return found  # type: ignore[no-any-return]


def serialize(activation: Activation) -> Any:
    """Return the name of a function, or the config of an object such as a layer."""
    config = serialization.serialize(activation)
    if isinstance(config, dict) and isinstance(activation, types.FunctionType):
        return config["config"]
    return config


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Activation:
    """Return the function or object that `serialize` described."""
    if isinstance(config, str):
        return registry.lookup(  # type: ignore[no-any-return]
            "activations", config, "activation function", custom_objects
        )
    return serialization.deserialize(config, custom_objects)  # type: ignore[no-any-return]
