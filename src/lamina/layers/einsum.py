"""A fully connected layer along any axes, described by an equation."""

import math
import re
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from lamina import activations, config, constraints, initializers, registry, regularizers
from lamina._types import Shape
from lamina.errors import InvalidArgumentError, invalid
from lamina.layers import quantized
from lamina.layers.adaptable import Adaptable, Effective
from lamina.layers.input_spec import InputSpec
from lamina.layers.traits import rowwise_function
from lamina.variables import Variable

_FORMS = (
    r"(?P<left>)([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)",
    r"(?P<left>0)([a-zA-Z]+),([a-zA-Z]+)->0([a-zA-Z]+)",
    r"(?P<left>)([a-zA-Z]{2,})0,([a-zA-Z]+)->([a-zA-Z]+)0",
)


class _Plan(NamedTuple):
    """What the equation says for one input shape."""

    kernel: tuple[Any, ...]
    bias: tuple[Any, ...] | None
    output: Shape
    input_axes: list[int]
    output_axes: list[int]


@registry.export("layers")
class EinsumDense(Adaptable):
    """A layer `activation(einsum(equation, inputs, kernel) + bias)`.

    Args:
        equation: E.g. "ab,bc->ac" (which is `Dense`), "...x,xy->...y" or "ab...,bc->ac...".
        output_shape: Shape of the output without the batch axis and without what "..." stands for; None where the
            input says the size.
        activation: Function of the output, or its name; None for none.
        bias_axes: The letters of the output that the bias has; None for no bias.
        kernel_initializer: What fills the kernel.
        bias_initializer: What fills the bias.
        kernel_regularizer: A function of the kernel that is added to the loss.
        bias_regularizer: A function of the bias that is added to the loss.
        kernel_constraint: A function that maps the kernel back to what is allowed after each update.
        bias_constraint: The same for the bias.
        lora_rank: Width of low-rank adapters of the kernel, see `enable_lora`; None for none.
        lora_alpha: Strength of the adapters. Default: their rank.
        quantization_config: Settings for a quantized policy, see `quantize`.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Raises:
        InvalidArgumentError: If the equation has another form, or does not fit the shapes.
    """

    kernel = Effective()
    kernel_scale: Variable
    bias: Variable | None
    rowwise = True
    _config_order = (
        "output_shape", "equation", "activation", "bias_axes", "kernel_initializer", "bias_initializer",
        "kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint",
        "quantization_config",
    )  # fmt: skip

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.equation = equation
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.bias_axes = bias_axes
        self.activation: Any = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self._keep(lora_rank, lora_alpha, quantization_config)
        self.rowwise = self.rowwise and rowwise_function(self.activation) and _batch_first(equation)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The argument of this name."""
        return self.partial_output_shape

    @property
    def original_kernel_shape(self) -> Shape:
        """Shape of the kernel as numbers, however it is kept."""
        return tuple(self._float_shape())

    def build(self, input_shape: Shape) -> None:
        plan = self._plan(input_shape)
        if None in plan.kernel or None in (plan.bias or ()):
            raise self._error("The sizes of the kernel and the bias must be known.", f"input_shape={input_shape}")
        self.input_spec = InputSpec(ndim=len(input_shape))
        initializer = self.kernel_initializer
        if isinstance(initializer, initializers.VarianceScaling) and None in (
            initializer.input_axes,
            initializer.output_axes,
        ):
            arguments = {**initializer.get_config(), "seed": initializer.seed}
            arguments.update(input_axes=plan.input_axes, output_axes=plan.output_axes)
            initializer = type(initializer).from_config(arguments)
        self._add_large(
            plan.kernel,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if plan.bias is not None:
            self.bias = self.add_weight(
                name="bias",
                shape=plan.bias,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

        self._finish_build()

    def call(self, inputs: Any, training: Any = None) -> Any:
        del training
        if "..." not in self.equation and inputs.ndim != self.equation.index(","):
            raise self._error("The equation names another number of axes of the input.", f"{inputs.shape=}")
        if self.lora_enabled:
            return self._adapted(inputs, self._product(inputs, self._stored.value))
        return self._finished(jnp.einsum(self.equation, inputs, self.kernel.value))

    def _finished(self, output: Any) -> Any:
        output = output if self.bias is None else output + self.bias.value
        return output if self.activation is None else self.activation(output)

    def _adapted(self, inputs: Any, output: Any) -> Any:
        """Return the output from the product: with adapters, bias and activation."""
        if self.lora_enabled:
            output = output + jnp.einsum(self.equation, inputs, self._delta().astype(self.compute_dtype))
        return self._finished(output.astype(self.compute_dtype))

    def _product(self, inputs: Any, kernel: Any) -> Any:
        """Return the product in the type of computation; whole numbers are added up as 32-bit ones."""
        if inputs.dtype == kernel.dtype == jnp.int8:
            found = jnp.einsum(self.equation, inputs, kernel, preferred_element_type=jnp.int32)
            return found.astype(self.compute_dtype)
        return jnp.einsum(self.equation, inputs.astype(self.compute_dtype), kernel.astype(self.compute_dtype))

    def _int8_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        kernel, scale = self._stored.value, self.kernel_scale.value
        if self.inputs_quantizer is None:
            return self._adapted(inputs, self._product(inputs, kernel) / scale)

        def floats(whole: Any) -> Any:
            return whole.astype(self.compute_dtype) / self._spread_scale(scale)

        def quantizer(x: Any) -> tuple[Any, Any]:
            whole, divisor = self._quantized_inputs(x)
            return whole, divisor * scale

        return self._adapted(inputs, quantized.with_quantized_inputs(self._product, kernel, floats, quantizer)(inputs))

    def _int4_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        kernel = self._floats()
        if self.inputs_quantizer is None:
            return self._adapted(inputs, self._product(inputs, kernel))
        run = quantized.with_quantized_inputs(self._product, kernel, lambda weights: weights, self._quantized_inputs)
        return self._adapted(inputs, run(inputs))

    def _float8_call(self, inputs: Any, training: Any = None) -> Any:
        if self.lora_enabled:
            raise NotImplementedError("Currently, `_float8_call` doesn't support LoRA")
        output = quantized.float8_product(self, self._product, inputs, self._stored.value, bool(training))
        if self.bias is not None:
            output = output + self.bias.value.astype(jnp.bfloat16).astype(output.dtype)
        return output if self.activation is None else self.activation(output)

    def _quantized_inputs(self, inputs: Any) -> tuple[Any, Any]:
        """Return the inputs as whole numbers, and the scale in the layout of the output."""
        ins, _, outs = self._labels(inputs.ndim)
        axes = tuple(i for i, letter in enumerate(ins) if letter not in outs)
        whole, scale = self.inputs_quantizer(inputs, axis=axes)
        return whole, _laid_out(scale, ins, outs)

    def _labels(self, rank: int) -> tuple[str, str, str]:
        """Return the letters of input, kernel and output, with letters of our own for what "..." stands for."""
        ins, weights, outs = re.split(",|->", self.equation)
        free = [letter for letter in string.ascii_letters if letter not in self.equation]
        elided = "".join(free[: rank - len(ins.replace("...", ""))])
        return ins.replace("...", elided), weights, outs.replace("...", elided)

    def _rank(self) -> int:
        return self.input_spec.ndim if self.input_spec is not None else len(re.split(",", self.equation)[0])

    def _int8_axes(self) -> tuple[int, ...]:
        _, weights, outs = self._labels(self._rank())
        return tuple(i for i, letter in enumerate(weights) if letter not in outs)

    def _keep_scale(self, scale: Any) -> Any:
        """Return the scale of 8-bit numbers in the layout of the output, as Keras keeps it."""
        _, weights, outs = self._labels(self._rank())
        return _laid_out(jnp.asarray(scale), weights, outs)

    def _spread_scale(self, scale: Any) -> Any:
        _, weights, outs = self._labels(self._rank())
        kept = "".join(letter for letter in outs if letter in weights)
        thin = jnp.squeeze(scale, tuple(i for i, letter in enumerate(outs) if letter not in weights))
        order = [kept.index(letter) for letter in weights if letter in outs]
        return jnp.expand_dims(jnp.transpose(thin, order), self._int8_axes())

    def _matrix(self, shape: Any) -> tuple[int, int]:
        shared = self._int8_axes()
        rows = math.prod(size for i, size in enumerate(shape) if i in shared)
        return rows, math.prod(size for i, size in enumerate(shape) if i not in shared)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._plan(input_shape).output

    def _error(self, problem: str, received: str | None = None) -> InvalidArgumentError:
        return invalid(
            problem,
            owner=f"EinsumDense layer `{self.name}`",
            received=f"equation='{self.equation}'" + (f", {received}" if received else ""),
        )

    def _plan(self, input_shape: Shape) -> _Plan:
        """Return the shapes that follow from the equation for an input of this shape."""
        found = next((m for m in (re.fullmatch(f, self.equation.replace("...", "0")) for f in _FORMS) if m), None)
        if found is None:
            raise self._error(
                f"Invalid einsum equation '{self.equation}'. Equations must be in the form [X],[Y]->[Z], "
                "...[X],[Y]->...[Z], or [X]...,[Y]->[Z]...."
            )
        left, (ins, weights, outs) = bool(found["left"]), found.groups()[1:]
        elided = len(input_shape) - len(ins)
        if elided < 0:
            raise self._error(
                f"The equation names {len(ins)} axes of the input, but the input has {len(input_shape)}.",
                f"input_shape={input_shape}",
            )
        output = [input_shape[0], *self.partial_output_shape]
        trailing = 0 if left else elided
        if left:
            output[1:1] = input_shape[1:elided]
        elif elided:
            output += input_shape[len(ins) :]
        start = elided if left else 0
        surplus = len(output) - len(outs) - elided
        if surplus < 0 or (surplus and config.strict()):
            raise self._error(
                f"`output_shape` does not fit: the equation names {len(outs)} axes of the output.",
                f"output_shape={self.partial_output_shape}, input_shape={input_shape}",
            )
        at_output = dict(zip(outs, output[start:], strict=False))
        if surplus:  # Keras goes by the equation and ignores them
            del output[-surplus - trailing : len(output) - trailing]
        return self._sizes(
            (ins, weights, outs),
            dict(zip(ins, input_shape[start:], strict=False)),
            at_output,
            tuple(output),
            trailing,
        )

    def _sizes(
        self,
        parts: tuple[str, str, str],
        at_input: dict[str, Any],
        at_output: dict[str, Any],
        output: Shape,
        trailing: int,
    ) -> _Plan:
        ins, weights, outs = parts
        for letter in ins:
            wanted = at_output.get(letter)
            if wanted is not None and wanted != at_input[letter]:
                raise self._error(
                    f"Input shape and output shape do not match at shared dimension '{letter}'. Input shape is "
                    f"{at_input[letter]}, and output shape is {wanted}."
                )
        for letter in outs:
            if letter not in ins and letter not in weights:
                raise self._error(
                    f"Dimension '{letter}' was specified in the output '{outs}' but has no corresponding dim in the "
                    f"input spec '{ins}' or weight spec '{weights}'."
                )
        for letter in weights:
            if letter not in outs and letter not in ins:
                raise self._error(
                    f"Weight dimension '{letter}' did not have a match in either the input spec '{ins}' or the output "
                    f"spec '{outs}'. For this layer, the weight must be fully specified."
                )
        kernel = tuple(at_output[n] if n in at_output else at_input[n] for n in weights)
        bias = None
        if self.bias_axes is not None:
            for letter in self.bias_axes:
                if letter not in outs:
                    raise self._error(
                        f"Bias dimension '{letter}' was requested, but is not part of the output spec '{outs}'."
                    )
            first = min(outs.find(letter) for letter in self.bias_axes)
            bias = (*(at_output[n] if n in self.bias_axes else 1 for n in outs[first:]), *([1] * trailing))
        input_axes = [i for i, n in enumerate(weights) if n not in at_output]
        output_axes = [i for i, n in enumerate(weights) if n in at_output]
        return _Plan(kernel, bias, output, input_axes, output_axes)


def _batch_first(equation: str) -> bool:
    """Return whether the first axis of the input is that of the output and the kernel has nothing to do with it."""
    first, _, result = equation.partition("->")
    given, _, kernel = first.partition(",")
    return given[:1] == result[:1] != "" and given[:1] not in kernel


def _laid_out(scale: Any, letters: str, outs: str) -> Any:
    """Return a scale, of size 1 where no letter of the output is, in the layout of the output."""
    kept = "".join(letter for letter in letters if letter in outs)
    thin = jnp.squeeze(scale, tuple(i for i, letter in enumerate(letters) if letter not in outs))
    ordered = jnp.transpose(thin, [kept.index(letter) for letter in outs if letter in letters])
    return jnp.expand_dims(ordered, tuple(i for i, letter in enumerate(outs) if letter not in letters))
