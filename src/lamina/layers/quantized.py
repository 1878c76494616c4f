"""Products with quantized weights, and the variables that they need."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import dtype_policies, quantizers
from lamina._types import Array
from lamina.quantizers import float8
from lamina.variables import Variable

Product = Callable[[Any, Any], Any]


class Int4(NamedTuple):
    """A weight in 4 bits, as a matrix with two numbers in a byte.

    Attributes:
        packed: `(rows, ceil(columns / 2))`, int8
        scale: `(groups, columns)` with a zero point, else `(columns,)`; along the other axis if `across`
        zero: like `scale`, or None
        groups: The group of each row, or None
    """

    packed: Any
    scale: Any
    zero: Any = None
    groups: Any = None


def int4_of(weights: Any, block_size: int | None, quantizer: Any, across: bool) -> Int4:
    """Return a matrix in 4 bits.

    Args:
        weights: `(rows, columns)`
        block_size: How many weights share a scale and a zero point; None or -1: all of them share a scale.
        quantizer: Used without blocks; None for the usual one.
        across: Whether weights share a scale along a row rather than down a column.
    """
    if block_size is None or block_size == -1:
        axis = -1 if across else 0
        usual = quantizers.AbsMaxQuantizer(axis=axis, value_range=(-8, 7), output_dtype="int8")
        whole, scale = (quantizer or usual)(weights, to_numpy=True)
        return Int4(quantizers.pack_int4(whole, axis=-1)[0], jnp.squeeze(scale, axis))
    matrix = jnp.asarray(weights).T if across else weights
    found = quantizers.abs_max_quantize_grouped_with_zero_point(matrix, block_size, to_numpy=True)
    whole, scale, zero = (part.T for part in found) if across else found
    return Int4(quantizers.pack_int4(whole, axis=-1)[0], scale, zero)


def floats_of(weights: Int4, columns: int, across: bool, dtype: str) -> Array:
    """Return the matrix that 4-bit numbers stand for."""
    whole = quantizers.unpack_int4(weights.packed, columns, axis=-1)
    if weights.zero is None:
        scale = jnp.asarray(weights.scale)
        return whole.astype(dtype) / (scale[:, None] if across else scale).astype(dtype)
    axis = -1 if across else 0
    found = quantizers.dequantize_with_sz_map(whole, weights.scale, weights.zero, weights.groups, group_axis=axis)
    return found.astype(dtype)


def int4_shapes(matrix: tuple[int, int], block_size: int | None, across: bool) -> tuple[tuple[int, int], Any]:
    """Return the shapes of the packed matrix and of its scale."""
    rows, columns = matrix
    packed = rows, (columns + 1) // 2
    if block_size is None or block_size == -1:
        return packed, (rows if across else columns,)
    groups = math.ceil((columns if across else rows) / block_size)
    return packed, (rows, groups) if across else (groups, columns)


def with_quantized_inputs(
    product: Product, weights: Any, floats: Callable[[Any], Any], quantizer: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Return a function of the inputs: `product` of them, quantized, with whole-number or float weights.

    Rounding has no gradient, so that of the float product with the same weights stands in for it.

    Args:
        product: A bilinear function of inputs and weights.
        weights: Its weights, as they are multiplied.
        floats: Gives the float weights from `weights`.
        quantizer: Gives the quantized inputs and what the product must be divided by.
    """

    @jax.custom_vjp
    def run(inputs: Any, weights: Any) -> Any:
        whole, divisor = quantizer(inputs)
        return product(whole, weights) / divisor

    def forward(inputs: Any, weights: Any) -> tuple[Any, Any]:
        return run(inputs, weights), (inputs, weights)

    def backward(kept: Any, upstream: Any) -> tuple[Any, None]:
        inputs, weights = kept
        _, pull = jax.vjp(lambda x: product(x, floats(weights)), inputs)
        return pull(upstream)[0], None

    run.defvjp(forward, backward)
    return lambda inputs: run(inputs, weights)


# ---- 8-bit floats


def float8_weights(layer: Any) -> None:
    """Give a layer the scales of its inputs, kernel and gradients and the histories behind them.

    Their "gradients" are their next values (`overwrite_with_gradient`).
    """
    length = getattr(
        layer._policy, "amax_history_length", dtype_policies.QuantizedFloat8DTypePolicy.default_amax_history_length
    )
    for part in ("inputs", "kernel", "outputs_grad"):
        for name, shape, initializer in ((f"{part}_scale", (), "ones"), (f"{part}_amax_history", (length,), "zeros")):
            variable = layer.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                dtype="float32",
                autocast=False,
                overwrite_with_gradient=True,
            )
            variable.from_build = True
            setattr(layer, name, variable)


def float8_product(layer: Any, product: Product, inputs: Any, kernel: Any, training: bool) -> Any:
    """Return `product(inputs, kernel)` with both rounded to 8-bit floats, and its gradient rounded too."""
    dtype = layer.compute_dtype

    def rounded(x: Any, part: str) -> Any:
        scale, history = getattr(layer, f"{part}_scale").value, getattr(layer, f"{part}_amax_history").value
        return _rounded(x, scale, history, dtype, bool(training))

    outputs = product(rounded(inputs, "inputs"), rounded(kernel, "kernel"))
    return _rounded_gradient(outputs, layer.outputs_grad_scale.value, layer.outputs_grad_amax_history.value, dtype)


def _next(x: Any, scale: Any, history: Any, kind: str) -> tuple[Any, Any]:
    """Return the scale that the history asks for, and the history with `x` in it."""
    new = float8.compute_float8_scale(jnp.max(history), scale, jnp.float32(float8.LARGEST[kind]))
    return new, float8.compute_float8_amax_history(x, history)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _rounded(x: Any, scale: Any, history: Any, dtype: str, training: bool) -> Any:
    return float8.quantize_and_dequantize(x, scale, "float8_e4m3fn", dtype)


def _rounded_forward(x: Any, scale: Any, history: Any, dtype: str, training: bool) -> tuple[Any, Any]:
    kept = _next(x, scale, history, "float8_e4m3fn") if training else (jnp.zeros_like(scale), jnp.zeros_like(history))
    return _rounded(x, scale, history, dtype, training), (kept, jnp.zeros((), x.dtype))


def _rounded_backward(dtype: str, training: bool, kept: Any, upstream: Any) -> tuple[Any, Any, Any]:
    (scale, history), like = kept
    return upstream.astype(like.dtype), scale, history


_rounded.defvjp(_rounded_forward, _rounded_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _rounded_gradient(outputs: Any, scale: Any, history: Any, dtype: str) -> Any:
    return outputs


def _rounded_gradient_forward(outputs: Any, scale: Any, history: Any, dtype: str) -> tuple[Any, Any]:
    return outputs, (scale, history)


def _rounded_gradient_backward(dtype: str, kept: Any, upstream: Any) -> tuple[Any, Any, Any]:
    scale, history = _next(upstream, kept[0], kept[1], "float8_e5m2")
    return (
        float8.quantize_and_dequantize(upstream, kept[0], "float8_e5m2", dtype).astype(upstream.dtype),
        scale,
        history,
    )


_rounded_gradient.defvjp(_rounded_gradient_forward, _rounded_gradient_backward)


def value_of(variable: Any) -> Any:
    """Return the array of a variable; anything else as it is."""
    return variable.value if isinstance(variable, Variable) else variable
