"""The fully connected layer."""

from typing import Any

from lamina import activations, constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import InvalidArgumentError, invalid, positive_integer
from lamina.layers.base import Layer
from lamina.layers.context import current
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import rowwise_function
from lamina.ops.dense import dense
from lamina.variables import Variable


@registry.export("layers")
class Dense(Layer):
    """A fully connected layer: `activation(inputs @ kernel + bias)`.

    Args:
        units: Size of the output, a positive integer.
        activation: Function of the output, or its name; None for none.
        use_bias: Whether a bias is added.
        kernel_initializer: What fills the kernel.
        bias_initializer: What fills the bias.
        kernel_regularizer: A function of the kernel that is added to the loss.
        bias_regularizer: A function of the bias that is added to the loss.
        activity_regularizer: A function of the output that is added to the loss.
        kernel_constraint: A function that maps the kernel back to what is allowed after each update.
        bias_constraint: The same for the bias.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(*batch, inputs)`
        kernel: `(inputs, units)`
        bias: `(units,)`
        result: `(*batch, units)`

    Raises:
        InvalidArgumentError: If `units` is no positive integer, or the input has another width than the kernel.
    """

    kernel: Variable
    bias: Variable | None
    rowwise = True
    supports_masking = True
    quantization_config = None
    _has_build = True
    _config_order = (
        "units", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer", "kernel_constraint", "bias_constraint", "quantization_config",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        units = positive_integer(units, "units", owner=f"{type(self).__name__} layer")
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.activation: Any = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self.rowwise = self.rowwise and rowwise_function(self.activation)

    def build(self, input_shape: Shape) -> None:
        inputs = input_shape[-1]
        if inputs is None:
            raise invalid(
                "The last axis of the inputs must have a known size.",
                owner=f"Dense layer `{self.name}`",
                received=f"input_shape={input_shape}",
                fix="say the size, e.g. `Input((784,))` or `build((None, 784))`.",
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.units),
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
        self.input_spec = InputSpec(min_ndim=2, axes={-1: inputs})

    def _check_input(self, value: Any) -> None:
        shape = tuple(getattr(value, "shape", ()))
        if self.built and len(shape) >= 2 and shape[-1] not in (None, self.kernel.shape[0]):
            raise self._mismatch(shape, value)
        super()._check_input(value)

    def _mismatch(self, shape: Shape, value: Any) -> InvalidArgumentError:
        """Return the error for an input of the wrong width, in the words of the lecture and then in plain ones."""
        width, expected = shape[-1], self.kernel.shape[0]
        context = current()
        producer = context.producer(value) if context is not None else None
        history = getattr(value, "_keras_history", None)
        if history is not None:
            producer = history.operation.name
        origin = f"the output of layer `{producer}`" if producer else "the array that the layer was called on"
        wide = "x".join("?" if size is None else str(size) for size in shape)
        return InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: [{_numbers(shape)}], In[1]: [{_numbers(self.kernel.shape)}]\n"
            f"The input of Dense layer `{self.name}` is incompatible with the layer: expected axis -1 of input shape "
            f"to have value {expected}, but received input with shape {shape}: {origin}, {wide}.\n"
            f"To fix it: give it an input whose last axis is {expected}"
            + (f", e.g. `{producer}` with units={expected}" if producer else "")
            + f", or build it anew for {width}: `{self.name}.build((None, {width}))` (its weights are then drawn anew)."
        )

    def call(self, inputs: Any, training: Any = None) -> Any:
        del training
        output = dense(inputs, self.kernel.value, None if self.bias is None else self.bias.value)
        return output if self.activation is None else self.activation(output)

    @property
    def _kernel(self) -> Variable:
        return self.kernel

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


def _numbers(shape: Shape) -> str:
    return ",".join("?" if size is None else str(size) for size in shape)
