"""Normalization of each sample by itself: layer, root mean square, group and unit normalization."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import InvalidTypeError, invalid, message
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import apart, same_shape_with_axis
from lamina.variables import Variable


@registry.export("layers")
class LayerNormalization(Layer):
    """Each sample brought to mean 0 and variance 1 along `axis`, then scaled and shifted (Ba et al. 2016).

    Args:
        axis: The axis, or several.
        epsilon: Added to the variance.
        center: Whether `beta` is added.
        scale: Whether the result is multiplied by `gamma`.
        beta_initializer: What fills `beta`.
        gamma_initializer: What fills `gamma`.
        beta_regularizer: A function of `beta` that is added to the loss.
        gamma_regularizer: A function of `gamma` that is added to the loss.
        beta_constraint: A function that maps `beta` back to what is allowed after each update.
        gamma_constraint: The same for `gamma`.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: e.g. `(batch, features)`
        gamma, beta: the sizes along `axis`
        result: as inputs

    Raises:
        InvalidTypeError: If `axis` is no whole number or list of them.
        InvalidArgumentError: If the input has no such axis, or its size is not known.
    """

    gamma: Variable | None
    beta: Variable | None
    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape_with_axis
    _has_build = True
    _config_order = (
        "axis", "epsilon", "center", "scale", "rms_scaling", "beta_initializer", "gamma_initializer",
        "beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint",
    )  # fmt: skip

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        self.rms_scaling = bool(kwargs.pop("rms_scaling", False))
        if self.rms_scaling:
            warnings.warn(
                "You passed `rms_scaling=True`, which is deprecated: it divides by the standard deviation, not by the "
                "root mean square. Use `RMSNormalization` instead.",
                stacklevel=2,
            )
        super().__init__(**kwargs)
        self.axis = _axis(axis, "Expected an int or a list/tuple of ints for the argument 'axis'")
        self.rowwise = self.rowwise and apart(self.axis)
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        self.axis = sorted([self.axis] if isinstance(self.axis, int) else self.axis)
        shape = _sizes(self, input_shape, self.axis)
        self.gamma = self.beta = None
        if self.scale or self.rms_scaling:
            self.gamma = self.add_weight(
                name="gamma",
                shape=shape,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                autocast=False,
            )
        if self.center and not self.rms_scaling:
            self.beta = self.add_weight(
                name="beta",
                shape=shape,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                autocast=False,
            )

    def call(self, inputs: Any) -> Any:
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        axes, shape = _along(self.axis, x.shape)
        factor = jax.lax.rsqrt(jnp.var(x, axes, keepdims=True) + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value.astype(x.dtype).reshape(shape)
        if self.rms_scaling:
            return (x * factor).astype(inputs.dtype).astype(self.compute_dtype)
        shift = -jnp.mean(x, axes, keepdims=True) * factor
        if self.beta is not None:
            shift = shift + self.beta.value.astype(x.dtype).reshape(shape)
        return (x * factor + shift).astype(inputs.dtype).astype(self.compute_dtype)


@registry.export("layers")
class RMSNormalization(Layer):
    """Each sample divided by its root mean square along `axis`, then scaled (Zhang and Sennrich 2019).

    Args:
        axis: The axis, or several.
        epsilon: Added to the mean square.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: e.g. `(batch, features)`
        scale: the sizes along `axis`
        result: as inputs

    Raises:
        InvalidArgumentError: If the input has no such axis, or its size is not known.
    """

    scale: Variable
    rowwise = True
    compute_output_shape = same_shape_with_axis
    _has_build = True

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis(axis, "Expected an int or a list/tuple of ints for the argument 'axis'")
        self.epsilon = epsilon
        self.rowwise = self.rowwise and apart(self.axis)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        self.axis = sorted([self.axis] if isinstance(self.axis, int) else self.axis)
        self.scale = self.add_weight(name="scale", shape=_sizes(self, input_shape, self.axis), initializer="ones")

    def call(self, inputs: Any) -> Any:
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        axes, shape = _along(self.axis, x.shape)
        factor = jax.lax.rsqrt(jnp.mean(jnp.square(x), axes, keepdims=True) + self.epsilon)
        return (x * factor * self.scale.value.astype(x.dtype).reshape(shape)).astype(inputs.dtype)


@registry.export("layers")
class GroupNormalization(Layer):
    """Each group of features of a sample brought to mean 0 and variance 1, then scaled and shifted (Wu and He 2018).

    Args:
        groups: Into how many groups the features fall; -1: each is a group of its own.
        axis: The axis of the features.
        epsilon: Added to the variance.
        center: Whether `beta` is added.
        scale: Whether the result is multiplied by `gamma`.
        beta_initializer: What fills `beta`.
        gamma_initializer: What fills `gamma`.
        beta_regularizer: A function of `beta` that is added to the loss.
        gamma_regularizer: A function of `gamma` that is added to the loss.
        beta_constraint: A function that maps `beta` back to what is allowed after each update.
        gamma_constraint: The same for `gamma`.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., features)`
        gamma, beta: `(features,)`
        result: as inputs

    Raises:
        InvalidArgumentError: If `groups` is no positive whole number or does not divide the number of features.
    """

    gamma: Variable | None
    beta: Variable | None
    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape_with_axis
    _has_build = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        if type(groups) is not int or (groups <= 0 and groups != -1):
            raise invalid(
                "Received an invalid value for argument `groups`, expected a positive integer (or `-1` for instance "
                "normalization).",
                received=f"groups={groups}",
            )
        super().__init__(**kwargs)
        self.groups, self.axis, self.epsilon = groups, axis, epsilon
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        (features,) = _sizes(self, input_shape, [self.axis])
        if self.groups == -1:
            self.groups = features
        if features < self.groups or features % self.groups:
            rule = "cannot be more than" if features < self.groups else "must be a multiple of"  # Keras's words
            divisors = [n for n in range(1, features + 1) if features % n == 0]
            raise invalid(
                f"Number of groups ({self.groups}) {rule} the number of channels ({features}).",
                owner=f"GroupNormalization layer `{self.name}`",
                received=f"groups={self.groups}, input_shape={input_shape}",
                fix=f"pass a number that divides it: one of {divisors[:12]}.",
            )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: features})
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma",
                shape=(features,),
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                autocast=False,
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta",
                shape=(features,),
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                autocast=False,
            )

    def call(self, inputs: Any) -> Any:
        axis, features = self.axis % inputs.ndim, inputs.shape[self.axis]
        grouped = (*inputs.shape[:axis], self.groups, features // self.groups, *inputs.shape[axis + 1 :])
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32)).reshape(grouped)
        axes = tuple(one for one in range(1, x.ndim) if one != axis)
        shape = [size if one in (axis, axis + 1) else 1 for one, size in enumerate(grouped)]
        factor = jax.lax.rsqrt(jnp.var(x, axes, keepdims=True) + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value.astype(x.dtype).reshape(shape)
        shift = -jnp.mean(x, axes, keepdims=True) * factor
        if self.beta is not None:
            shift = shift + self.beta.value.astype(x.dtype).reshape(shape)
        normalized = (x * factor + shift).astype(inputs.dtype)
        return normalized.reshape(inputs.shape).astype(self.compute_dtype)


@registry.export("layers")
class UnitNormalization(Layer):
    """Each sample divided by its Euclidean length along `axis`.

    Args:
        axis: The axis, or several.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidTypeError: If `axis` is no whole number or list of them.
        InvalidArgumentError: If the input has no such axis.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape_with_axis

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis(axis, "Invalid value for `axis` argument: expected an int or a list/tuple of ints")
        self.rowwise = self.rowwise and apart(self.axis)
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        square = jnp.sum(jnp.square(inputs), axis, keepdims=True)
        scale = jax.lax.rsqrt(jnp.where(square > 0, square, 1))  # the derivative of rsqrt at 0 is not finite
        return inputs * jnp.minimum(scale, 1e12)


def _axis(axis: Any, problem: str) -> int | list[int]:
    if isinstance(axis, list | tuple):
        return list(axis)
    if isinstance(axis, int):
        return axis
    raise InvalidTypeError(message(f"{problem}.", received=f"axis={axis}"))


def _along(axis: int | list[int], shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return axes counted from 0, and the shape that weights along them take to broadcast to the input."""
    axes = tuple(one % len(shape) for one in ([axis] if isinstance(axis, int) else axis))
    return axes, tuple(size if one in axes else 1 for one, size in enumerate(shape))


def _sizes(layer: Layer, input_shape: Shape, axes: list[int]) -> tuple[int, ...]:
    """Return the sizes of the input along axes; each must be known."""
    sizes = [input_shape[axis] for axis in axes]
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        raise invalid(
            f"Axis {axes} of input tensor should have a defined dimension but the layer received an input with shape "
            f"{input_shape}.",
            owner=f"{type(layer).__name__} layer `{layer.name}`",
            fix="say the size, e.g. `Input((784,))`.",
        )
    return known
