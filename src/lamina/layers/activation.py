"""Activations as layers."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import activations, constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import InvalidArgumentError, invalid
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import apart, rowwise_function, same_shape
from lamina.variables import Variable


@registry.export("layers")
class Activation(Layer):
    """A function of the input, elementwise as a rule.

    Args:
        activation: The function or its name.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.rowwise = self.rowwise and rowwise_function(self.activation)
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)


@registry.export("layers")
class ReLU(Layer):
    """The rectified linear unit: `max(inputs, 0)`, or the general form that the arguments describe.

    Args:
        max_value: Where the output stops to grow; None: nowhere.
        negative_slope: Slope below the threshold.
        threshold: Inputs below it give `negative_slope * (inputs - threshold)`.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If a value is negative.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None and not max_value >= 0.0:
            raise invalid("max_value of a ReLU layer cannot be a negative value.", received=f"max_value={max_value}")
        self.max_value = max_value
        self.negative_slope = _not_negative(negative_slope, "negative_slope")
        self.threshold = _not_negative(threshold, "threshold")
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return activations.relu(
            inputs, negative_slope=self.negative_slope, max_value=self.max_value, threshold=self.threshold
        )


@registry.export("layers")
class LeakyReLU(Layer):
    """`inputs` where they are positive and `negative_slope * inputs` elsewhere.

    Args:
        negative_slope: Slope below 0.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If the slope is negative.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, negative_slope: float | None = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("Argument `alpha` is deprecated. Use `negative_slope` instead.", stacklevel=2)
        super().__init__(**kwargs)
        if negative_slope is None or not negative_slope >= 0:
            raise invalid(
                "The negative_slope value of a Leaky ReLU layer cannot be None or negative value. Expected a float.",
                received=f"negative_slope={negative_slope}",
            )
        self.negative_slope = negative_slope
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)


@registry.export("layers")
class ELU(Layer):
    """`inputs` where they are positive and `alpha * (exp(inputs) - 1)` elsewhere (Clevert et al. 2016).

    Args:
        alpha: Where it tends to for large negative inputs, with the sign changed.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, alpha=self.alpha)


@registry.export("layers")
class PReLU(Layer):
    """`inputs` where they are positive and `alpha * inputs` elsewhere; `alpha` is learned (He et al. 2015).

    Args:
        alpha_initializer: What fills `alpha`.
        alpha_regularizer: A function of `alpha` that is added to the loss.
        alpha_constraint: A function that maps `alpha` back to what is allowed after each update.
        shared_axes: Axes, counted from 1, along which one `alpha` is used.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, *features)`
        alpha: `(*features,)`, 1 on shared axes
        result: `(batch, *features)`

    Raises:
        InvalidArgumentError: If a size that `alpha` needs is not known.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    alpha: Variable
    _has_build = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if isinstance(shared_axes, int):
            shared_axes = [shared_axes]
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, input_shape: Shape) -> None:
        shared = {axis % len(input_shape) for axis in self.shared_axes or ()}
        shape = tuple(1 if axis in shared else size for axis, size in enumerate(input_shape))[1:]
        if None in shape:
            raise invalid(
                "`alpha` has one number for each entry of a sample, so that every size must be known.",
                owner=f"PReLU layer `{self.name}`",
                received=f"input_shape={input_shape}",
                fix="say the sizes, or share `alpha` along the unknown axes with `shared_axes`.",
            )
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        free = {axis: size for axis, size in enumerate(input_shape) if axis and axis not in shared} if shared else {}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=free)

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs) - self.alpha.value * activations.relu(-inputs)


@registry.export("layers")
class Softmax(Layer):
    """`exp(inputs)` divided by its sum along an axis: numbers of at least 0 that add up to 1.

    Args:
        axis: The axis, or several.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: e.g. `(batch, classes)`
        mask: what broadcasts to inputs; False (or at most 0.5) where the result shall be 0
        result: as inputs

    Raises:
        InvalidArgumentError: If a mask does not broadcast to the inputs.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.rowwise = self.rowwise and apart(axis)
        self._build_at_init()

    def call(self, inputs: Any, mask: Any = None) -> Any:
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        if mask is None:
            return activations.softmax(inputs, axis=axis)
        mask = jnp.asarray(mask)
        if mask.ndim > inputs.ndim or any(
            m not in (1, n) for m, n in zip(mask.shape[::-1], inputs.shape[::-1], strict=False)
        ):
            raise self._bad_mask(inputs.shape, mask.shape)
        if mask.dtype != bool:
            mask = mask > 0.5
        floor = -3e4 if inputs.dtype == jnp.float16 else -1e9
        output = activations.softmax(jnp.where(mask, inputs, jnp.asarray(floor, inputs.dtype)), axis=axis)
        return jnp.where(mask, output, jnp.zeros((), output.dtype))

    def _bad_mask(self, shape: Shape, mask: Shape) -> InvalidArgumentError:
        problem = "must not have more dimensions" if len(mask) > len(shape) else "each dimension 1 or the input's"
        return invalid(
            f"The `mask` must be broadcastable to `inputs`: {problem}.",
            owner=f"Softmax layer `{self.name}`",
            received=f"inputs.shape={tuple(shape)}, mask.shape={tuple(mask)}",
        )


def _not_negative(value: Any, name: str) -> float:
    if value is None or not value >= 0.0:
        raise invalid(f"{name} of a ReLU layer cannot be None or a negative value.", received=f"{name}={value}")
    return value  # type: ignore[no-any-return]
