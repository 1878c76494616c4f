"""Layers of networks for tables: scaled products, learned scales, learned activations, ensembles in one product."""

from typing import Any

from lamina import activations, constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import invalid
from lamina.layers import tabular
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import rowwise_function, same_shape
from lamina.variables import Variable


def last_size(layer: Layer, input_shape: Shape) -> int:
    """The size of the last axis, which must be known."""
    size = input_shape[-1] if len(input_shape) else None
    if size is None:
        raise invalid(
            "The last axis of the input must have a known size.",
            owner=f"{type(layer).__name__} layer `{layer.name}`",
            received=f"input_shape={tuple(input_shape)}",
        )
    return int(size)


def positive(value: Any, name: str, owner: str) -> int:
    """The whole number, which must be at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise invalid(f"`{name}` must be a positive integer.", owner=owner, received=f"{name}={value!r}")
    return value


@registry.export("layers")
class ScaledDense(Layer):
    """A layer `activation(inputs @ kernel / sqrt(features) + bias)`.

    Its kernel starts with numbers of size 1 whatever its width, so that one learning rate suits layers of all widths:
    the neural-tangent parametrization (Jacot et al. 2018). Rates are larger than with `Dense`: 0.04 is usual.

    Args:
        units: Size of the output.
        activation: Function of the output, or its name; None for none.
        use_bias: Whether there is a bias.
        kernel_initializer: What fills the kernel. Default: normal numbers of deviation 1.
        bias_initializer: What fills the bias.
        kernel_regularizer: A function of the kernel that is added to the loss.
        bias_regularizer: A function of the bias that is added to the loss.
        kernel_constraint: A function that maps the kernel back to what is allowed after each update.
        bias_constraint: The same for the bias.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., features)`
        kernel: `(features, units)`
        bias: `(units,)`
        result: `(batch, ..., units)`

    Raises:
        InvalidArgumentError: If `units` is no positive whole number.
    """

    rowwise = True
    kernel: Variable
    bias: Variable | None
    _has_build = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = positive(units, "units", f"ScaledDense layer `{self.name}`")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer or initializers.RandomNormal(stddev=1.0))
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.rowwise = self.rowwise and rowwise_function(self.activation)

    def build(self, input_shape: Shape) -> None:
        features = last_size(self, input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        bias = None if self.bias is None else self.bias.value
        return self.activation(tabular.scaled_product(inputs, self.kernel.value, bias))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


@registry.export("layers")
class FeatureScale(Layer):
    """Inputs times a learned number for each feature: which of them matter, softly.

    Args:
        scale_initializer: What fills the scale.
        scale_regularizer: A function of the scale that is added to the loss.
        scale_constraint: A function that maps the scale back to what is allowed after each update.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., features)`
        scale: `(features,)`
        result: as inputs
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    scale: Variable
    _has_build = True

    def __init__(
        self,
        scale_initializer: Any = "ones",
        scale_regularizer: Any = None,
        scale_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scale_initializer = initializers.get(scale_initializer)
        self.scale_regularizer = regularizers.get(scale_regularizer)
        self.scale_constraint = constraints.get(scale_constraint)

    def build(self, input_shape: Shape) -> None:
        features = last_size(self, input_shape)
        self.scale = self.add_weight(
            name="scale",
            shape=(features,),
            initializer=self.scale_initializer,
            regularizer=self.scale_regularizer,
            constraint=self.scale_constraint,
        )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale.value


@registry.export("layers")
class ParametricActivation(Layer):
    """`inputs + slope * (activation(inputs) - inputs)`: each unit learns how much of the activation it wants.

    Args:
        activation: The function or its name.
        slope_initializer: What fills the slope: 1 is the activation, 0 is none.
        slope_regularizer: A function of the slope that is added to the loss.
        slope_constraint: A function that maps the slope back to what is allowed after each update.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ..., units)`
        slope: `(units,)`
        result: as inputs
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    slope: Variable
    _has_build = True

    def __init__(
        self,
        activation: Any = "selu",
        slope_initializer: Any = "ones",
        slope_regularizer: Any = None,
        slope_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.slope_initializer = initializers.get(slope_initializer)
        self.slope_regularizer = regularizers.get(slope_regularizer)
        self.slope_constraint = constraints.get(slope_constraint)
        self.rowwise = self.rowwise and rowwise_function(self.activation)

    def build(self, input_shape: Shape) -> None:
        units = last_size(self, input_shape)
        self.slope = self.add_weight(
            name="slope",
            shape=(units,),
            initializer=self.slope_initializer,
            regularizer=self.slope_regularizer,
            constraint=self.slope_constraint,
        )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: units})

    def call(self, inputs: Any) -> Any:
        return tabular.parametric(inputs, self.slope.value, self.activation)


@registry.export("layers")
class EnsembleDense(Layer):
    """Dense layers of many members that share a kernel; scales of input and output and the bias are each member's own.

    Members' rows stand beside each other on an axis before the features: repeat the input along it before the first
    such layer, and average the outputs after the last (BatchEnsemble, Wen et al. 2020; TabM, Gorishniy et al. 2025).

    Args:
        units: Size of the output.
        members: How many.
        activation: Function of the output, or its name; None for none.
        use_bias: Whether there is a bias.
        kernel_initializer: What fills the kernel.
        input_scale_initializer: What fills the scales of the input. In a first layer "random_normal" or random signs
            make the members differ.
        output_scale_initializer: What fills the scales of the output.
        bias_initializer: What fills the bias.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, members, features)`
        kernel: `(features, units)`
        input_scale: `(members, features)`
        output_scale, bias: `(members, units)`
        result: `(batch, members, units)`

    Raises:
        InvalidArgumentError: If a size is no positive whole number, or the input has another number of members.
    """

    rowwise = True
    kernel: Variable
    input_scale: Variable
    output_scale: Variable
    bias: Variable | None
    _has_build = True

    def __init__(
        self,
        units: int,
        members: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        input_scale_initializer: Any = "ones",
        output_scale_initializer: Any = "ones",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = f"EnsembleDense layer `{self.name}`"
        self.units, self.members = positive(units, "units", owner), positive(members, "members", owner)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.input_scale_initializer = initializers.get(input_scale_initializer)
        self.output_scale_initializer = initializers.get(output_scale_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.rowwise = self.rowwise and rowwise_function(self.activation)

    def build(self, input_shape: Shape) -> None:
        features, members = last_size(self, input_shape), self.members
        if len(input_shape) != 3 or input_shape[1] not in (members, None):
            raise invalid(
                "The input must have the shape (batch, members, features).",
                owner=f"EnsembleDense layer `{self.name}`",
                received=f"input_shape={tuple(input_shape)}, members={members}",
                fix=f"repeat rows for the members first: RepeatVector({members}).",
            )
        self.kernel = self.add_weight(name="kernel", shape=(features, self.units), initializer=self.kernel_initializer)
        self.input_scale = self.add_weight(
            name="input_scale", shape=(members, features), initializer=self.input_scale_initializer
        )
        self.output_scale = self.add_weight(
            name="output_scale", shape=(members, self.units), initializer=self.output_scale_initializer
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(members, self.units), initializer=self.bias_initializer)
        self.input_spec = InputSpec(ndim=3, axes={1: members, -1: features})

    def call(self, inputs: Any) -> Any:
        bias = None if self.bias is None else self.bias.value
        scales = self.input_scale.value, self.output_scale.value
        return self.activation(tabular.ensemble_product(inputs, self.kernel.value, *scales, bias))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)
