"""Batch normalization."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config, constraints, initializers, registry, regularizers
from lamina._types import Array, Shape
from lamina.errors import InvalidArgumentError, invalid
from lamina.layers.base import Layer
from lamina.layers.context import real_rows
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import same_shape_with_axis
from lamina.variables import Variable


@registry.export("layers")
class BatchNormalization(Layer):
    """Inputs brought to mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe and Szegedy 2015).

    In training the mean and variance are those of the batch, and moving averages of them are kept:
    `moving = moving * momentum + batch * (1 - momentum)`. In inference, and where `trainable` is false, the moving
    averages are used. Rows that only fill up a batch do not count.

    Args:
        axis: The axis that keeps its own means: the features.
        momentum: Share of the old moving average that stays at each step.
        epsilon: Added to the variance.
        center: Whether `beta` is added.
        scale: Whether the result is multiplied by `gamma`.
        beta_initializer: What fills `beta`.
        gamma_initializer: What fills `gamma`.
        moving_mean_initializer: What fills the moving mean.
        moving_variance_initializer: What fills the moving variance.
        beta_regularizer: A function of `beta` that is added to the loss.
        gamma_regularizer: A function of `gamma` that is added to the loss.
        beta_constraint: A function that maps `beta` back to what is allowed after each update.
        gamma_constraint: The same for `gamma`.
        renorm: Whether the batch is corrected towards averages of its own (Ioffe 2017), for small batches.
        renorm_clipping: Bounds of the correction: a dict with some of `rmin`, `rmax`, `dmax`.
        renorm_momentum: Momentum of the averages of `renorm`.
        synchronized: Kept for Keras scripts; must be false. A compiled step sees the whole batch anyway.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., features)`
        mask: `(batch, ...)`: False where an entry does not count
        result: as inputs

    Raises:
        InvalidArgumentError: For an unknown key of `renorm_clipping`, or a feature axis of unknown size.
    """

    gamma: Variable | None
    beta: Variable | None
    moving_mean: Variable
    moving_variance: Variable
    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape_with_axis
    _has_build = True
    _config_order = (
        "axis", "momentum", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
        "moving_mean_initializer", "moving_variance_initializer", "beta_regularizer", "gamma_regularizer",
        "beta_constraint", "gamma_constraint", "synchronized", "renorm", "renorm_clipping", "renorm_momentum",
    )  # fmt: skip

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if synchronized:
            raise invalid(
                "Argument synchronized=True is only supported with the TensorFlow backend.",
                fix="leave it out: a compiled step sees the whole batch.",
            )
        self.axis = int(axis)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.center, self.scale, self.synchronized = center, scale, synchronized
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.renorm = renorm
        self.renorm_clipping = _clipping(renorm_clipping or {}) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.gamma = self.beta = None

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        features = input_shape[self.axis]
        if features is None:
            raise invalid(
                f"Axis {self.axis} of the inputs must have a known size: it keeps its own means.",
                owner=f"BatchNormalization layer `{self.name}`",
                received=f"input_shape={input_shape}",
                fix="say the size, or normalize along another `axis`.",
            )
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self._weight(
                "gamma", features, self.gamma_initializer, self.gamma_regularizer, self.gamma_constraint
            )
        if self.center:
            self.beta = self._weight(
                "beta", features, self.beta_initializer, self.beta_regularizer, self.beta_constraint
            )
        self.moving_mean = self._average("moving_mean", features, self.moving_mean_initializer)
        self.moving_variance = self._average("moving_variance", features, self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = self._average("moving_stddev", features, self._initial_deviation)
            self.renorm_mean = self._average("renorm_mean", features, self.moving_mean_initializer)
            self.renorm_stddev = self._average("renorm_stddev", features, self._initial_deviation)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: features})

    def _weight(self, name: str, size: int, initializer: Any, regularizer: Any, constraint: Any) -> Variable:
        return self.add_weight(
            name=name,
            shape=(size,),
            initializer=initializer,
            regularizer=regularizer,
            constraint=constraint,
            autocast=False,
        )

    def _average(self, name: str, size: int, initializer: Any) -> Variable:
        return self.add_weight(name=name, shape=(size,), initializer=initializer, trainable=False, autocast=False)

    def _initial_deviation(self, shape: Any, dtype: Any = None) -> Array:
        initial: Any = self.moving_variance_initializer
        return jnp.sqrt(jnp.asarray(initial(shape, dtype=dtype)))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None and mask.ndim != inputs.ndim - 1:
            raise self._bad_mask(inputs, mask)
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))  # half precision overflows in the squares
        gamma = None if self.gamma is None else self.gamma.value.astype(x.dtype)
        beta = None if self.beta is None else self.beta.value.astype(x.dtype)
        if training and self.trainable:
            mean, variance = self._moments(x, mask)
            if self.renorm:
                gamma, beta = self._corrected(mean, variance, gamma, beta)
                self._update_renorm(mean, variance)
            else:
                _move(self.moving_mean, mean, self.momentum)
                _move(self.moving_variance, variance, self.momentum)
        else:
            mean = self.moving_mean.value.astype(x.dtype)
            variance = self.moving_variance.value.astype(x.dtype)
        shape = [1] * x.ndim
        shape[self.axis] = -1
        factor = jax.lax.rsqrt(variance + self.epsilon)
        factor = factor if gamma is None else factor * gamma
        shift = -mean * factor
        shift = shift if beta is None else shift + beta
        return (x * factor.reshape(shape) + shift.reshape(shape)).astype(self.compute_dtype)

    def _bad_mask(self, inputs: Any, mask: Any) -> InvalidArgumentError:
        return invalid(
            "The mask provided should be one dimension less than the inputs.",
            owner=f"BatchNormalization layer `{self.name}`",
            received=f"mask.shape={tuple(mask.shape)}, inputs.shape={tuple(inputs.shape)}",
        )

    def _moments(self, x: Array, mask: Any) -> tuple[Array, Array]:
        """Return mean and variance `(features,)` over the entries that count."""
        axes = tuple(axis for axis in range(x.ndim) if axis != self.axis % x.ndim)
        rows = real_rows() if 0 in axes else None
        if rows is not None:
            rows = rows.reshape((-1,) + (1,) * (x.ndim - 1))
        if mask is not None:
            keep = jnp.broadcast_to(jnp.expand_dims(mask, -1) != 0, x.shape)
            return _moments_of(x, keep if rows is None else keep & rows, axes)
        if rows is None:
            return jnp.mean(x, axes), jnp.var(x, axes)
        weights = rows.astype(x.dtype)
        count = jnp.sum(weights) * math.prod(x.shape[axis] for axis in axes if axis)
        mean = jnp.sum(x * weights, axes, keepdims=True) / count
        return mean.reshape(-1), jnp.sum(jnp.square(x - mean) * weights, axes) / count

    def _corrected(self, mean: Array, variance: Array, gamma: Array | None, beta: Array | None) -> tuple[Array, Array]:
        """Return `gamma` and `beta` that bring the batch's own normalization to that of the renorm averages."""
        limits = self.renorm_clipping or {}
        least = jnp.sqrt(jnp.asarray(self.epsilon, mean.dtype))
        deviation = jnp.maximum(self.renorm_stddev.value.astype(mean.dtype), least)
        ratio = jnp.sqrt(variance + self.epsilon) / deviation
        shift = (mean - self.renorm_mean.value.astype(mean.dtype)) / deviation
        ratio = jnp.clip(ratio, limits.get("rmin"), limits.get("rmax"))
        if limits.get("dmax") is not None:
            shift = jnp.clip(shift, -limits["dmax"], limits["dmax"])
        ratio, shift = jax.lax.stop_gradient(ratio), jax.lax.stop_gradient(shift)
        if gamma is not None:
            ratio, shift = ratio * gamma, shift * gamma
        return ratio, shift if beta is None else shift + beta

    def _update_renorm(self, mean: Array, variance: Array) -> None:
        deviation = jnp.sqrt(variance + self.epsilon)
        _move(self.renorm_mean, mean, self.renorm_momentum)
        _move(self.renorm_stddev, deviation, self.renorm_momentum)
        _move(self.moving_mean, mean, self.momentum)
        moved = _move(self.moving_stddev, deviation, self.momentum)
        self.moving_variance.assign(jax.nn.relu(moved * moved - self.epsilon))  # rounding may take it below 0


def _moments_of(x: Array, keep: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return mean and variance over the entries that `keep` marks; the others may be anything, NaN too."""
    count = jnp.sum(keep.astype(x.dtype), axes, keepdims=True) + config.epsilon()
    mean = jnp.sum(jnp.where(keep, x, 0), axes, keepdims=True) / count
    squares = jnp.square(jnp.where(keep, x - mean, 0))
    return mean.reshape(-1), (jnp.sum(squares, axes, keepdims=True) / count).reshape(-1)


def _move(average: Variable, value: Array, momentum: float) -> Array:
    """Move an average towards `value` and return it."""
    return average.assign(average.value.astype(value.dtype) * momentum + value * (1.0 - momentum))


def _clipping(given: dict[str, float]) -> dict[str, float]:
    keys = ["rmax", "rmin", "dmax"]
    if set(given) - set(keys):
        raise invalid(
            "Received invalid keys for `renorm_clipping` argument.",
            received=f"{given}. Supported values: {keys}",
        )
    rmax, rmin, dmax = (given.get(key) for key in keys)
    if rmax is not None and rmin is not None and rmax < rmin:
        raise invalid(
            "rmax should be greater than rmin in the `renorm_clipping` argument.", received=f"rmax={rmax}, rmin={rmin}"
        )
    if dmax is not None and dmax < 0:
        raise invalid("dmax should be non-negative in the `renorm_clipping` argument.", received=f"dmax={dmax}")
    return given
