"""Rows of a table for whole numbers."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, constraints, initializers, registry, regularizers
from lamina._types import Array, Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor
from lamina.layers.adaptable import Adaptable, Effective
from lamina.layers.quantized import Int4, floats_of
from lamina.ops.arithmetic import not_equal
from lamina.variables import Variable


@registry.export("layers")
class Embedding(Adaptable):
    """The row of a learned table for each whole number of the input.

    Args:
        input_dim: Number of rows: the largest number plus 1.
        output_dim: Length of a row.
        embeddings_initializer: What fills the table.
        embeddings_regularizer: A function of the table that is added to the loss.
        embeddings_constraint: A function that maps the table back to what is allowed after each update.
        mask_zero: Whether 0 stands for "nothing here": the output then has a mask.
        weights: The table to start with, of shape `(input_dim, output_dim)`.
        lora_rank: Width of low-rank adapters of the table, see `enable_lora`; None for none.
        lora_alpha: Strength of the adapters. Default: their rank.
        quantization_config: Settings for a quantized policy, see `quantize`.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, ...)`, whole numbers from 0 to `input_dim - 1`
        embeddings: `(input_dim, output_dim)`
        result: `(batch, ..., output_dim)`

    Raises:
        InvalidArgumentError: If a size is no positive whole number, or a number of the input has no row.
    """

    embeddings = Effective()
    embeddings_scale: Variable
    rowwise = True
    _large = "embeddings"
    _modes = ("int8", "int4")
    _across = True
    _config_order: tuple[str, ...] = (
        "input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer", "activity_regularizer",
        "embeddings_constraint", "mask_zero", "quantization_config",
    )  # fmt: skip

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        self.input_dim = _size(input_dim, "input_dim")
        self.output_dim = _size(output_dim, "output_dim")
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("Argument `input_length` is deprecated. Just remove it.", stacklevel=2)
        super().__init__(**kwargs)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self._keep(lora_rank, lora_alpha, quantization_config)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [np.asarray(weights)])

    def _start_build(self, shapes: dict[str, Any]) -> None:
        """Keep the table: it does not depend on the shape of the input."""

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self._add_large(
            (self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )

        self._finish_build()

    def call(self, inputs: Any) -> Any:
        numbers = self._numbers(inputs)
        if self.lora_enabled:
            return self._adapted(jnp.take(self._stored.value, numbers, axis=0), numbers)
        return jnp.take(self.embeddings.value, numbers, axis=0).astype(self.compute_dtype)

    def _adapted(self, rows: Any, numbers: Array) -> Any:
        """Return rows of the table with what the adapters add to them."""
        if self.lora_enabled:
            a, b = self._adapters
            rows = rows + self._strength * jnp.matmul(jnp.take(a.value, numbers, axis=0), b.value)
        return rows.astype(self.compute_dtype)

    def _int8_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        numbers = self._numbers(inputs)
        rows = jnp.take(self._stored.value, numbers, axis=0).astype(self.compute_dtype)
        scale = jnp.take(self.embeddings_scale.value, numbers, axis=0)
        return self._adapted(rows / scale[..., None].astype(self.compute_dtype), numbers)

    def _int4_call(self, inputs: Any, training: Any = None) -> Any:
        del training
        numbers = self._numbers(inputs)
        table = self._int4()
        taken = [None if part is None else jnp.take(part, numbers, axis=0) for part in table[:3]]
        rows = [None if part is None else part.reshape(-1, *part.shape[numbers.ndim :]) for part in taken]
        found = floats_of(Int4(rows[0], rows[1], rows[2], table.groups), self.output_dim, True, self.compute_dtype)
        return self._adapted(found.reshape(*numbers.shape, self.output_dim), numbers)

    def _numbers(self, inputs: Any) -> Array:
        numbers: Array = inputs if jnp.issubdtype(inputs.dtype, jnp.integer) else inputs.astype(jnp.int32)
        self._check_numbers(numbers)
        return numbers

    def _int8_axes(self) -> tuple[int, ...]:
        return (-1,)

    def _matrix(self, shape: Any) -> tuple[int, int]:
        return shape[0], shape[1]

    def quantized_call(self, inputs: Any, training: Any = None) -> Any:
        return super().quantized_call(inputs)

    def _check_numbers(self, numbers: Array) -> None:
        """Refuse numbers without a row, where they are known: JAX gives NaN, or for negative ones the last rows."""
        if isinstance(numbers, jax.core.Tracer) or not numbers.size or not config.strict():
            return
        least, most = int(numbers.min()), int(numbers.max())
        if least < 0 or most >= self.input_dim:
            raise invalid(
                f"The inputs must be whole numbers from 0 to {self.input_dim - 1}.",
                owner=f"Embedding layer `{self.name}`",
                received=f"{least if least < 0 else most} among them",
                fix=f"pass a larger `input_dim`, e.g. {most + 1}."
                if least >= 0
                else "shift the numbers to start at 0.",
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return not_equal(inputs, 0) if self.mask_zero else None


def _size(value: Any, name: str) -> int:
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0:
        return int(value)
    raise invalid(
        f"`{name}` must be a positive integer.",
        owner="Embedding layer",
        received=f"{name}={value} (of type {type(value).__name__}).",
    )
