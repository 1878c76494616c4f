"""Floats as small whole numbers with a scale, two 4-bit numbers in a byte, and back.

Two conventions meet here, both Keras's. Without a zero point a scale multiplies: `q = round(x * scale)`. With one it
divides: `q = round(x / scale) + zero`.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import config, registry, serialization
from lamina._types import Array
from lamina.errors import InvalidTypeError, invalid, message
from lamina.serialization import Configurable
from lamina.variables import Variable, standardize_dtype

Axis = int | tuple[int, ...] | list[int]


@registry.export("quantizers", module="keras")
class Quantizer(Configurable):
    """Base of what quantizes an array. A subclass's call returns the whole numbers and their scale.

    Args:
        output_dtype: Type of the whole numbers.
    """

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = output_dtype

    def __call__(self, x: Any) -> Any:
        """Return `x` as it is."""
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal quantizer. To be written by a subclass."""
        raise NotImplementedError(f"{self} does not implement get_config()")


@registry.export("quantizers")
class AbsMaxQuantizer(Quantizer):
    """Scales so that the largest absolute value along an axis becomes the end of the range.

    Args:
        axis: Along which axes a scale is shared. Better given in the call.
        value_range: The least and the largest whole number.
        epsilon: Added to the largest absolute value, so that zeros have a scale.
        output_dtype: Type of the whole numbers.

    Raises:
        InvalidArgumentError: If the range does not fit into the type.
    """

    def __init__(
        self,
        axis: Any = None,
        value_range: tuple[float, float] = (-127, 127),
        epsilon: float | None = None,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        self.axis = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.value_range = (value_range[0], value_range[1])
        self.epsilon = config.epsilon() if epsilon is None else epsilon
        if output_dtype == "int8" and (value_range[0] < -128 or value_range[1] > 127):
            raise invalid(
                "Quantizer with output_dtype='int8' requires value_range to be within the interval [-128, 127].",
                received=f"value_range={value_range}",
            )

    def __call__(self, x: Any, axis: Axis | None = None, to_numpy: bool = False) -> tuple[Array, Array]:
        """Return the whole numbers and the scale, whose `axis` (default: the constructor's, else -1) has size 1."""
        along = axis if axis is not None else self.axis if self.axis is not None else -1
        return abs_max_quantize(x, along, self.value_range, self.output_dtype, self.epsilon, to_numpy)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal quantizer."""
        found = {"value_range": self.value_range, "epsilon": self.epsilon, "output_dtype": self.output_dtype}
        return found if self.axis is None else {**found, "axis": self.axis}


@registry.export("quantizers")
def abs_max_quantize(
    inputs: Any,
    axis: Axis,
    value_range: tuple[float, float] = (-127, 127),
    dtype: str = "int8",
    epsilon: float | None = None,
    to_numpy: bool = False,
) -> tuple[Array, Array]:
    """Return whole numbers, and the scale by which they must be divided to give about `inputs`.

    Args:
        inputs: Floats.
        axis: Along which axes a scale is shared.
        value_range: The least and the largest whole number.
        dtype: Type of the whole numbers.
        epsilon: Added to the largest absolute value. Default: `config.epsilon()`.
        to_numpy: Whether to compute on the host.
    """
    xp: Any = np if to_numpy else jnp
    values = _array(inputs, to_numpy)
    along = tuple(axis) if isinstance(axis, list | tuple) else axis
    least, most = value_range
    largest = xp.max(xp.abs(values), axis=along, keepdims=True)
    scale = xp.divide(most, largest + (config.epsilon() if epsilon is None else epsilon)).astype(values.dtype)
    whole = xp.clip(xp.round(values * scale), least, most).astype(dtype)
    return jnp.asarray(whole), jnp.asarray(scale)


@registry.export("quantizers")
def abs_max_quantize_grouped_with_zero_point(
    inputs: Any,
    block_size: int,
    value_range: tuple[int, int] = (-8, 7),
    dtype: str = "int8",
    epsilon: float | None = None,
    to_numpy: bool = False,
) -> tuple[Array, Array, Array]:
    """Return whole numbers, scales and zero points: `block_size` rows that follow each other share them in a column.

    Args:
        inputs: Floats of shape `(rows, columns)`.
        block_size: Number of rows in a group; the last may be short.
        value_range: The least and the largest whole number.
        dtype: Type of the whole numbers.
        epsilon: Added to the range of values. Default: `config.epsilon()`.
        to_numpy: Whether to compute on the host.

    Shapes:
        whole numbers: `(rows, columns)`
        scale: `(groups, columns)`
        zero: `(groups, columns)`
    """
    xp: Any = np if to_numpy else jnp
    values = _array(inputs, to_numpy)
    rows, columns = values.shape
    groups = math.ceil(rows / block_size)
    least, most = value_range
    padded = xp.pad(values, ((0, groups * block_size - rows), (0, 0))).reshape(groups, block_size, columns)
    low, high = padded.min(axis=1, keepdims=True), padded.max(axis=1, keepdims=True)
    scale = ((high - low + (config.epsilon() if epsilon is None else epsilon)) / (most - least)).astype(values.dtype)
    zero = xp.clip(xp.round(-low / scale) + least, least, most)
    whole = xp.clip(xp.round(padded / scale) + zero, least, most).astype(dtype)
    return (
        jnp.asarray(whole.reshape(groups * block_size, columns)[:rows]),
        jnp.asarray(scale[:, 0]),
        jnp.asarray(zero[:, 0].astype("int8")),
    )


def _array(inputs: Any, on_host: bool) -> Any:
    value = inputs.value if isinstance(inputs, Variable) else inputs
    return np.asarray(value) if on_host else jnp.asarray(value)


@registry.export("quantizers")
def pack_int4(arr: Any, axis: int = 0, dtype: str = "int8") -> tuple[Array, tuple[int, ...], int]:
    """Return an array with two 4-bit numbers in each byte, its shape, and the length of `axis` before.

    The first of two neighbours along `axis` is in the lower half of the byte.

    Args:
        arr: Whole numbers from -8 to 7, or 0 to 15 for uint8.
        axis: Along which axis neighbours share a byte.
        dtype: 'int8' or 'uint8': the type of both arrays.

    Raises:
        InvalidTypeError: If `arr` has another type.
    """
    _check_bytes(dtype)
    if standardize_dtype(arr.dtype) != dtype:
        raise InvalidTypeError(message(f"Expected {dtype} tensor for packing, got {standardize_dtype(arr.dtype)}."))
    values = np.moveaxis(np.asarray(arr), axis, 0)
    length = values.shape[0]
    if length % 2:
        values = np.concatenate([values, np.zeros_like(values[:1])])
    halves = values.view(np.uint8) & 0x0F
    packed = np.moveaxis((halves[::2] | halves[1::2] << 4).view(dtype), 0, axis)
    return jnp.asarray(packed), packed.shape, length


@registry.export("quantizers")
def unpack_int4(packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8") -> Array:
    """Return the numbers that `pack_int4` packed.

    Args:
        packed: Bytes, each with two numbers.
        orig_len: Length of `axis` before packing.
        axis: The axis along which they were packed.
        dtype: 'int8' for -8 to 7, 'uint8' for 0 to 15.

    Raises:
        InvalidTypeError: If `packed` holds no bytes.
    """
    _check_bytes(dtype)
    values = jnp.asarray(packed.value if isinstance(packed, Variable) else packed)
    if values.dtype.name not in ("int8", "uint8"):
        raise InvalidTypeError(message(f"Expected int8 or uint8 tensor for unpacking, got {values.dtype}"))
    axis %= values.ndim
    low, high = values & 0x0F, (values >> 4) & 0x0F
    both = jnp.stack([low, high], axis + 1).astype(jnp.int8)
    if dtype == "int8":
        both = (both ^ 8) - 8  # the sign of a 4-bit number is its highest bit
    shape = (*values.shape[:axis], 2 * values.shape[axis], *values.shape[axis + 1 :])
    index = (slice(None),) * axis + (slice(orig_len),)
    return both.reshape(shape)[index].astype(dtype)


def _check_bytes(dtype: str) -> None:
    if dtype not in ("int8", "uint8"):
        raise invalid(f"Expected dtype to be 'int8' or 'uint8', but got '{dtype}'.")


def compute_quantization_parameters(
    x: Any,
    *,
    bits: int,
    symmetric: bool = False,
    per_channel: bool = False,
    group_size: int = -1,
    compute_dtype: str = "float32",
    epsilon: float = 0.0,
    signed: bool = False,
) -> tuple[Array, Array, Array]:
    """Return the scales, the zero points and the number of steps for the weights of a matrix.

    Args:
        x: Weights of shape `(units, inputs)`.
        bits: Size of a whole number.
        symmetric: Whether the range of values is made symmetric around 0.
        per_channel: Whether each row has its own scale.
        group_size: How many weights of a row share a scale; -1 for all. Only with `per_channel`.
        compute_dtype: Type of the number of steps.
        epsilon: Added to the range of values.
        signed: Whether whole numbers start at `-2**(bits - 1)` rather than 0.

    Shapes:
        scale: `(units, groups)`
        zero: `(units, groups)`

    Raises:
        InvalidArgumentError: If `x` is no matrix or is empty.
    """
    if x is None:
        raise invalid(f"Input tensor {x} cannot be None.")
    values = jnp.asarray(x)
    if values.ndim < 2:
        raise invalid(f"Input weight tensor {x} must have a rank of at least 2, but got rank {values.ndim}.")
    if not values.size:
        raise invalid("Input tensor 'x' cannot be empty.")
    units, inputs = values.shape[:2]
    groups = math.ceil(inputs / group_size) if per_channel and group_size > 0 else 1
    if groups > 1:
        values = jnp.pad(values, ((0, 0), (0, groups * group_size - inputs))).reshape(units, groups, group_size)
    else:
        values = values.reshape(units if per_channel else 1, 1, -1)
    low, high = values.min(axis=-1), values.max(axis=-1)
    if symmetric:
        largest = jnp.maximum(jnp.abs(low), high)
        low, high = jnp.where(low < 0, -largest, low), largest
    low, high = jnp.where(low == high, low - 1, low), jnp.where(low == high, high + 1, high)
    steps = jnp.asarray(2**bits - 1, compute_dtype)
    scale = (high - low + epsilon) / steps
    scale = jnp.where(scale <= 0, 1e-8, scale)
    least = -(2 ** (bits - 1)) if signed else 0
    zero = jnp.full_like(scale, (steps + 1) / 2) if symmetric else jnp.round(-low / scale)
    zero = jnp.clip(zero + least, least, least + 2**bits - 1) if signed else zero
    if not per_channel:
        scale, zero = jnp.tile(scale, (units, 1)), jnp.tile(zero, (units, 1))
    return scale, zero.astype("int8" if signed else "uint8"), steps


def quantize_with_zero_point(input_tensor: Any, scale: Any, zero: Any, maxq: Any) -> Array:
    """Return `round(x / scale + zero)`, kept between 0 and `maxq`."""
    safe = jnp.where(jnp.asarray(scale) == 0, jnp.asarray(1e-8, jnp.asarray(scale).dtype), scale)
    found: Array = jnp.clip(jnp.round(jnp.asarray(input_tensor) / safe + jnp.asarray(zero).astype(safe.dtype)), 0, maxq)
    return found


def dequantize_with_zero_point(input_tensor: Any, scale: Any, zero: Any) -> Array:
    """Return `(q - zero) * scale`."""
    scale = jnp.asarray(scale)
    found: Array = scale * (jnp.asarray(input_tensor) - jnp.asarray(zero).astype(scale.dtype))
    return found


@registry.export("quantizers")
def quantize_with_sz_map(
    weights_matrix: Any, scale: Any, zero: Any, g_idx: Any, maxq: Any, group_axis: int = -1
) -> Array:
    """Return the whole numbers of weights, each of the group that `g_idx` names for its place along `group_axis`."""
    return quantize_with_zero_point(weights_matrix, *_of_groups(scale, zero, g_idx, group_axis), maxq)


@registry.export("quantizers")
def dequantize_with_sz_map(weights_matrix: Any, scale: Any, zero: Any, g_idx: Any, group_axis: int = -1) -> Array:
    """Return the weights that whole numbers stand for, each of the group that `g_idx` names for its place."""
    return dequantize_with_zero_point(weights_matrix, *_of_groups(scale, zero, g_idx, group_axis))


def _of_groups(scale: Any, zero: Any, groups: Any, axis: int) -> tuple[Array, Array]:
    places = jnp.asarray(groups).astype(jnp.int32)
    return jnp.take(jnp.asarray(scale), places, axis=axis), jnp.take(jnp.asarray(zero), places, axis=axis)


def serialize(quantizer: Any) -> Any:
    """Return the config of a quantizer."""
    return serialization.serialize_keras_object(quantizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the quantizer that a config describes."""
    return serialization.deserialize(config, custom_objects)


def get(identifier: Any, **kwargs: Any) -> Any:
    """Return the quantizer that a name, a config, a class or an object stands for; None stays None."""
    if isinstance(identifier, str) and kwargs:
        return registry.lookup("quantizers", identifier, "quantizer")(**kwargs)
    return serialization.get("quantizers", identifier, "quantizer")
