"""The fully connected layer."""

from typing import Any

import jax.numpy as jnp

from lamina import activations, constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import InvalidArgumentError, invalid, positive_integer
from lamina.layers import quantized
from lamina.layers.adaptable import Adaptable, Effective
from lamina.layers.context import current
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import rowwise_function
from lamina.ops.dense import dense
from lamina.variables import Variable


@registry.export("layers")
class Dense(Adaptable):
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
        lora_rank: Width of low-rank adapters of the kernel, see `enable_lora`; None for none.
        lora_alpha: Strength of the adapters. Default: their rank.
        quantization_config: Settings for a quantized policy, see `quantize`.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(*batch, inputs)`
        kernel: `(inputs, units)`
        bias: `(units,)`
        result: `(*batch, units)`

    Raises:
        InvalidArgumentError: If `units` is no positive integer, or the input has another width than the kernel.
    """

    kernel = Effective()
    kernel_scale: Variable
    bias: Variable | None
    rowwise = True
    supports_masking = True
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
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
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
        self._keep(lora_rank, lora_alpha, quantization_config)
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
        self._add_large(
            (inputs, self.units),
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
        self._finish_build()

    def _check_input(self, value: Any) -> None:
        shape = tuple(getattr(value, "shape", ()))
        if self.built and len(shape) >= 2 and shape[-1] not in (None, self._inputs):
            raise self._mismatch(shape, value)
        super()._check_input(value)

    def _mismatch(self, shape: Shape, value: Any) -> InvalidArgumentError:
        """Return the error for an input of the wrong width, in the words of the lecture and then in plain ones."""
        width, expected = shape[-1], self._inputs
        context = current()
        producer = context.producer(value) if context is not None else None
        history = getattr(value, "_keras_history", None)
        if history is not None:
            producer = history.operation.name
        origin = f"the output of layer `{producer}`" if producer else "the array that the layer was called on"
        wide = "x".join("?" if size is None else str(size) for size in shape)
        return InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: [{_numbers(shape)}], In[1]: [{_numbers((self._inputs, self.units))}]\n"
            f"The input of Dense layer `{self.name}` is incompatible with the layer: expected axis -1 of input shape "
            f"to have value {expected}, but received input with shape {shape}: {origin}, {wide}.\n"
            f"To fix it: give it an input whose last axis is {expected}"
            + (f", e.g. `{producer}` with units={expected}" if producer else "")
            + f", or build it anew for {width}: `{self.name}.build((None, {width}))` (its weights are then drawn anew)."
        )

    @property
    def _inputs(self) -> int:
        """The width of the input."""
        weight = self.kernel if f"_{self._large}" not in self.__dict__ else self._stored
        return int(weight.shape[0])  # also that of the kernel in 4 bits: two units share a byte

    def call(self, inputs: Any, training: Any = None) -> Any:
        del training
        bias = None if self.bias is None else self.bias.value
        if self.lora_enabled:
            return self._activated(dense(inputs, self._stored.value, bias) + self._low_rank(inputs))
        return self._activated(dense(inputs, self.kernel.value, bias))

    def _activated(self, output: Any) -> Any:
        return output if self.activation is None else self.activation(output)

    def _low_rank(self, inputs: Any) -> Any:
        """Return what the adapters add to the output. Two thin products cost less than the sum of two kernels."""
        a, b = self._adapters
        added = self._strength * jnp.matmul(jnp.matmul(inputs, a.value), b.value)
        return added.astype(self.compute_dtype)

    def _int8_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        kernel, scale = self._stored.value, self.kernel_scale.value
        if self.inputs_quantizer is None:
            return self._adapted(inputs, dense(inputs, kernel.astype(self.compute_dtype)) / scale)

        def quantizer(x: Any) -> tuple[Any, Any]:
            whole, divisor = self.inputs_quantizer(x, axis=-1)
            return whole, scale * divisor

        def floats(whole: Any) -> Any:
            return whole.astype(self.compute_dtype) / scale

        return self._adapted(inputs, quantized.with_quantized_inputs(self._product, kernel, floats, quantizer)(inputs))

    def _int4_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        kernel = self._floats()
        if self.inputs_quantizer is None:
            return self._adapted(inputs, dense(inputs, kernel))
        run = quantized.with_quantized_inputs(
            self._product, kernel, lambda weights: weights, lambda x: self.inputs_quantizer(x, axis=-1)
        )
        return self._adapted(inputs, run(inputs))

    def _product(self, inputs: Any, kernel: Any) -> Any:
        """Return the product in the type of computation; whole numbers are added up as 32-bit ones."""
        if inputs.dtype == kernel.dtype == jnp.int8:
            return jnp.matmul(inputs, kernel, preferred_element_type=jnp.int32).astype(self.compute_dtype)
        return dense(inputs.astype(self.compute_dtype), kernel.astype(self.compute_dtype))

    def _adapted(self, inputs: Any, output: Any) -> Any:
        """Return the output from the product: with adapters, bias and activation."""
        if self.lora_enabled:
            output = output + self._low_rank(inputs)
        output = output.astype(self.compute_dtype)
        return self._activated(output if self.bias is None else output + self.bias.value)

    def _float8_call(self, inputs: Any, training: Any = None) -> Any:
        if self.lora_enabled:
            raise NotImplementedError("Currently, `_float8_call` doesn't support LoRA")
        output = quantized.float8_product(self, self._product, inputs, self._stored.value, bool(training))
        bias = self.bias
        if bias is not None:
            output = output + bias.value.astype(jnp.bfloat16).astype(output.dtype)
        return self._activated(output)

    def _int8_axes(self) -> tuple[int, ...]:
        return (0,)

    def _matrix(self, shape: Any) -> tuple[int, int]:
        return shape[0], shape[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


def _numbers(shape: Shape) -> str:
    return ",".join("?" if size is None else str(size) for size in shape)
