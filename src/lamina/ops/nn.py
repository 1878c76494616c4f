"""What networks are made of, under Keras's names: crossentropies, normalizations, one-hot rows.

The activations live in `lamina.activations`; two of them have other arguments there and are here in Keras's form.
"""

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config
from lamina._types import Array
from lamina.errors import invalid
from lamina.ops.basics import as_floats, finfo
from lamina.ops.define import NN, Axis, axes, checked_axis, type_name
from lamina.ops.dispatch import operation

_ACTIVATIONS = """
    celu elu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid log_softmax relu6 selu
    sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh_shrink
    threshold
"""


def __getattr__(name: str) -> Any:
    if name in _ACTIVATIONS.split():
        return getattr(importlib.import_module("lamina.activations"), name)
    raise AttributeError(f"module 'lamina.ops.nn' has no attribute {name!r}")


@operation(NN)
def relu(x: Any) -> Any:
    """Return `max(x, 0)`."""
    return jax.nn.relu(jnp.asarray(x))


@operation(NN)
def gelu(x: Any, approximate: bool = True) -> Any:
    """Return `x` times the normal distribution function of `x`, by default by the formula with `tanh`."""
    return jax.nn.gelu(as_floats(x), approximate)


# ---- classes


@operation(NN)
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Return, for each class number, a row with 1 at its place; a row of zeros for a number out of range.

    Args:
        x: Class numbers.
        num_classes: Length of the rows.
        axis: Where the rows are in the result.
        dtype: Type of the result. Default: `config.floatx()`.
        sparse: Kept for Keras scripts; True is refused.
    """
    _dense_only(sparse)
    return jax.nn.one_hot(jnp.asarray(x), num_classes, axis=axis, dtype=type_name(dtype) or config.floatx())


@operation(NN)
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Any:
    """Return, for each row of class numbers, one row with 1 at the place of each of them.

    Shapes: inputs `(numbers,)` or `(batch, numbers)`, result `(classes,)` or `(batch, classes)`.
    """
    _dense_only(sparse)
    count = kwargs.get("num_tokens") if num_classes is None else num_classes
    if count is None:
        raise invalid("Argument `num_classes` must be specified.")
    inputs = jnp.asarray(inputs).astype(jnp.int32)
    rows = jax.nn.one_hot(inputs, count, axis=axis, dtype=type_name(dtype) or config.floatx())
    return jnp.max(rows, 1 if inputs.ndim > 1 else 0)


def _dense_only(sparse: bool) -> None:
    if sparse:
        raise invalid("Sparse arrays are not supported.", received="sparse=True", fix="leave `sparse` out.")


def _same_shapes(target: Array, output: Array) -> None:
    problem = "Arguments `target` and `output` must have the same shape."
    if target.shape != output.shape:
        raise invalid(problem, received=f"target.shape={target.shape}, output.shape={output.shape}")


def _log_probabilities(output: Array, from_logits: bool, axis: int) -> Array:
    if from_logits:
        return jax.nn.log_softmax(output, axis)
    output = output / jnp.sum(output, axis, keepdims=True)
    return jnp.log(jnp.clip(output, config.epsilon(), 1 - config.epsilon()))


@operation(NN)
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Return minus the sum of `target * log(output)` over the classes.

    Args:
        target: Probabilities that are wanted, one-hot for plain labels.
        output: Probabilities, or logits.
        from_logits: Whether `output` are logits.
        axis: Where the classes are.

    Raises:
        InvalidArgumentError: If the shapes differ or there is no axis.
    """
    target, output = jnp.asarray(target), jnp.asarray(output)
    _same_shapes(target, output)
    if not output.ndim:
        raise invalid("Arguments `target` and `output` must be at least rank 1.", received="scalars")
    return -jnp.sum(target * _log_probabilities(output, from_logits, axis), axis)


@operation(NN)
def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Return minus the logarithm of the probability of the class that each target names.

    Shapes: target `(...)` or `(..., 1)`, output `(..., classes)`, result `(...)`.

    Args:
        target: Class numbers.
        output: Probabilities, or logits.
        from_logits: Whether `output` are logits.
        axis: Where the classes are.

    Raises:
        InvalidArgumentError: If the shapes do not belong together.
    """
    target, output = jnp.asarray(target).astype(jnp.int32), jnp.asarray(output)
    if not output.ndim:
        raise invalid("Argument `output` must be at least rank 1.", received=f"output.shape={output.shape}")
    axis = checked_axis(axis, output.ndim)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = target[..., 0]
    if target.shape != tuple(size for i, size in enumerate(output.shape) if i != axis):
        shapes = f"target.shape={target.shape}, output.shape={output.shape}"
        problem = f"Arguments `target` and `output` must have the same shape up until the last dimension: {shapes}"
        raise invalid(problem)
    named = jax.nn.one_hot(target, output.shape[axis], axis=axis)
    return -jnp.sum(named * _log_probabilities(output, from_logits, axis), axis)


@operation(NN)
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Return `-target * log(output) - (1 - target) * log(1 - output)` for each element.

    Args:
        target: 0 or 1, or the probability of 1.
        output: Probabilities of 1, or logits.
        from_logits: Whether `output` are logits.

    Raises:
        InvalidArgumentError: If the shapes differ.
    """
    target, output = jnp.asarray(target), jnp.asarray(output)
    _same_shapes(target, output)
    if from_logits:
        return -target * jax.nn.log_sigmoid(output) - (1.0 - target) * jax.nn.log_sigmoid(-output)
    output = jnp.clip(output, config.epsilon(), 1 - config.epsilon())
    return -(target * jnp.log(output) + (1.0 - target) * jnp.log(1 - output))


# ---- normalizations


@operation(NN)
def moments(x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Return mean and variance along axes, taken in float32 at least.

    Args:
        x: The array; integers become floats.
        axes: Along which axes.
        keepdims: Whether the axes stay, with size 1.
        synchronized: Kept for Keras scripts; True is refused, as by Keras on JAX.
    """
    if synchronized:
        raise NotImplementedError("Argument synchronized=True is not supported with JAX.")
    x = as_floats(x)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    along = tuple(axes) if isinstance(axes, list) else axes
    mean, variance = jnp.mean(wide, along, keepdims=keepdims), jnp.var(wide, along, keepdims=keepdims)
    if wide.dtype != x.dtype:  # float16 ends early
        low, high = finfo(jnp.float16).min, finfo(jnp.float16).max
        mean, variance = jnp.clip(mean, low, high), jnp.clip(variance, low, high)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@operation(NN, "BatchNorm")
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """Return `(x - mean) / sqrt(variance + epsilon) * scale + offset`, with a number of each for each entry of an axis.

    Args:
        x: The array.
        mean: A vector as long as the axis.
        variance: The same.
        axis: The axis that keeps its own numbers: the features.
        offset: Vector that is added. None: nothing.
        scale: Vector that it is multiplied with. None: 1.
        epsilon: Keeps the root away from 0.

    Raises:
        InvalidArgumentError: If a vector has another length.
    """
    x = jnp.asarray(x)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]

    def along(vector: Any, name: str) -> Any:
        vector = jnp.asarray(vector)
        if vector.shape != (x.shape[axis],):
            problem = f"`{name}` must be a vector of length `x.shape[axis]`. Expected: `{x.shape[axis]}`."
            raise invalid(problem, received=f"{name}.shape={vector.shape}")
        return vector.reshape(shape)

    factor = jax.lax.rsqrt(along(variance, "variance") + epsilon)
    if scale is not None:
        factor = factor * along(scale, "scale")
    shift = -along(mean, "mean") * factor
    if offset is not None:
        shift = shift + along(offset, "offset")
    return x * factor + shift


@operation(NN, "LayerNorm")
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> Any:
    """Return `x` with mean 0 and variance 1 along axes, times `gamma`, plus `beta`.

    Args:
        x: The array; it is computed in float32 at least.
        gamma: Factors, in the shape of those axes. None: 1.
        beta: What is added. None: nothing.
        axis: One axis or several.
        epsilon: Keeps the root away from 0. Default: `config.epsilon()`.
        rms_scaling: Divide by the deviation only. Keras has given it up.
    """
    if rms_scaling:
        problem = "You passed `rms_scaling=True`, which is deprecated: it divides by the variance's root."
        warnings.warn(f"{problem} Use `ops.rms_normalization`.", stacklevel=3)
    x = jnp.asarray(x)
    epsilon = config.epsilon() if epsilon is None else epsilon
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    along = sorted([axis] if isinstance(axis, int) else list(axis))
    shape = [1] * x.ndim
    for one in along:
        shape[one] = x.shape[one]

    def fitted(weights: Any) -> Any:
        weights = jnp.asarray(weights, wide.dtype)
        return weights.reshape(shape) if weights.ndim != x.ndim and along != [x.ndim - 1] else weights

    mean, variance = jnp.mean(wide, along, keepdims=True), jnp.var(wide, along, keepdims=True)
    factor = jax.lax.rsqrt(variance + epsilon)
    factor = factor if gamma is None else factor * fitted(gamma)
    if rms_scaling:
        return (wide * factor).astype(x.dtype)
    shift = -mean * factor
    return (wide * factor + (shift if beta is None else shift + fitted(beta))).astype(x.dtype)


@operation(NN, "RMSNorm")
def rms_normalization(x: Any, scale: Any = None, axis: int | Sequence[int] = -1, epsilon: float | None = None) -> Any:
    """Return `x` divided by the root of its mean square along axes, times `scale`.

    Args:
        x: The array; it is computed in float32 at least.
        scale: Factors. None: 1.
        axis: One axis or several.
        epsilon: Keeps the root away from 0. Default: `config.epsilon()`.
    """
    x = jnp.atleast_1d(jnp.asarray(x))
    epsilon = config.epsilon() if epsilon is None else epsilon
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    result = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axes(axis), keepdims=True) + epsilon)
    return (result if scale is None else result * jnp.asarray(scale, wide.dtype)).astype(x.dtype)


@operation(NN)
def normalize(x: Any, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """Return `x` divided by its norm along axes; a vector shorter than `epsilon` is divided by that.

    Args:
        x: The array.
        axis: One axis or several.
        order: Which norm: 1 for the sum of absolute values, 2 for the length, ...
        epsilon: Default: `config.epsilon()`.

    Raises:
        InvalidArgumentError: If `order` is not a whole number of at least 1.
    """
    if not isinstance(order, int) or isinstance(order, bool) or order < 1:
        raise invalid("Argument `order` must be an int >= 1.", received=f"order={order}")
    x = jnp.atleast_1d(as_floats(x))
    epsilon = config.epsilon() if epsilon is None else epsilon
    if order == 2:
        square = jnp.sum(jnp.square(x), axes(axis), keepdims=True)
        return x * jnp.minimum(jax.lax.rsqrt(square), 1.0 / epsilon)
    return x / jnp.maximum(jnp.linalg.norm(x, order, axes(axis), True), epsilon)


@operation(NN, "PSNR")
def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """Return the peak signal-to-noise ratio of two arrays in decibels; `max_val` is the largest possible value.

    Raises:
        InvalidArgumentError: If the shapes differ.
    """
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    if x1.shape != x2.shape:
        raise invalid(f"Input shapes {x1.shape} and {x2.shape} must match for PSNR calculation.")
    return 20 * jnp.log10(jnp.asarray(max_val, x2.dtype)) - 10 * jnp.log10(jnp.mean(jnp.square(x1 - x2)))
