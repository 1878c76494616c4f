"""A table of rows that is also used backwards: from a row to a score for each whole number."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import quantizers, registry
from lamina._types import Array, Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor
from lamina.layers import quantized
from lamina.layers.context import set_mask
from lamina.layers.embedding import Embedding
from lamina.ops.arithmetic import not_equal
from lamina.quantizers.configs import QuantizationConfig, block_size_of
from lamina.variables import Variable

_PARTS = ("", "_scale", "_zero")


@registry.export("layers")
class ReversibleEmbedding(Embedding):
    """The row of a learned table for each whole number; called with `reverse=True`, a score of each number for a row.

    Args:
        input_dim: Number of rows: the largest number plus 1.
        output_dim: Length of a row.
        tie_weights: Whether the way back uses the table, too; otherwise it has a matrix of its own.
        embeddings_initializer: What fills the table.
        embeddings_regularizer: A function of the table that is added to the loss.
        embeddings_constraint: A function that maps the table back to what is allowed after each update.
        mask_zero: Whether 0 stands for "nothing here": the output then has a mask.
        reverse_dtype: Type in which the scores are computed. Default: the compute dtype.
        logit_soft_cap: Scores are kept between minus and plus this number, smoothly, by a tanh. None: they are not.
        **kwargs: Those of `Embedding`.

    Shapes:
        inputs: `(batch, ...)`, whole numbers; with `reverse=True` `(batch, ..., output_dim)`
        result: `(batch, ..., output_dim)`; with `reverse=True` `(batch, ..., input_dim)`

    Source: Press and Wolf, Using the Output Embedding to Improve Language Models, https://arxiv.org/abs/1608.05859
    """

    reverse_embeddings: Variable
    _config_order: tuple[str, ...] = (*Embedding._config_order, "tie_weights", "reverse_dtype", "logit_soft_cap")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        if logit_soft_cap is not None and not logit_soft_cap > 0:
            problem = "`logit_soft_cap` must be a positive number or None."
            raise invalid(problem, owner="ReversibleEmbedding layer", received=f"logit_soft_cap={logit_soft_cap!r}")
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights and self.quantization_mode not in ("int8", "int4"):
            self.reverse_embeddings = self.add_weight(
                name="reverse_embeddings",
                shape=(self.output_dim, self.input_dim),
                initializer=self.embeddings_initializer,
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        return self._scores(inputs) if reverse else self._masked(inputs, super().call(inputs))

    def quantized_call(self, inputs: Any, reverse: bool = False) -> Any:
        return self._scores(inputs) if reverse else self._masked(inputs, super().quantized_call(inputs))

    def _masked(self, inputs: Any, rows: Any) -> Any:
        if self.mask_zero:
            set_mask(rows, not_equal(inputs, 0))
        return rows

    def _scores(self, rows: Any) -> Any:
        is_quantized = self.quantization_mode is not None
        kind = self.compute_dtype if self.reverse_dtype is None else self.reverse_dtype
        rows, scale = jnp.asarray(rows), None
        if is_quantized and self.inputs_quantizer is not None:
            rows, scale = self.inputs_quantizer(rows)
        scores = jnp.matmul(rows.astype(kind), self._way_back().astype(kind))
        if scale is not None:
            scores = scores / jnp.asarray(scale).astype(kind)
        cap = self.logit_soft_cap
        return scores if cap is None else jnp.tanh(scores / cap) * cap

    def _way_back(self) -> Array:
        """Return the matrix `(output_dim, input_dim)` in floats."""
        mode = self.quantization_mode
        if self.tie_weights:
            if mode is None:
                return jnp.asarray(self.embeddings).T
            return (self._floats() + self._delta() if self.lora_enabled else self._floats()).T
        whole: Array = self.reverse_embeddings.value
        if mode is None:
            return whole
        scale = self.__dict__["reverse_embeddings_scale"].value
        if mode == "int8":
            floats: Array = whole.astype(self.compute_dtype) / scale.astype(self.compute_dtype)
            return floats
        zero, groups = self.__dict__.get("reverse_embeddings_zero"), self.__dict__.get("g_idx")
        parts = quantized.Int4(whole.T, scale.T, None if zero is None else zero.value.T, quantized.value_of(groups))
        return quantized.floats_of(parts, self.output_dim, True, self.compute_dtype).T

    def _int8_build(self, shape: Shape, config: QuantizationConfig | None) -> None:
        super()._int8_build(shape, config)
        self._make_quantized_way_back((self.output_dim, self.input_dim), (self.input_dim,), None, config)

    def _int4_build(self, shape: Shape, config: QuantizationConfig | None) -> None:
        super()._int4_build(shape, config)
        block = block_size_of(self._policy, config)
        packed, scale = quantized.int4_shapes((self.input_dim, self.output_dim), block, True)
        self._make_quantized_way_back(packed[::-1], scale[::-1], block, config)

    def _make_quantized_way_back(
        self, shape: Shape, scale: Shape, block: int | None, config: QuantizationConfig | None
    ) -> None:
        usual = quantizers.AbsMaxQuantizer(axis=-1)
        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, usual)
        if self.tie_weights:
            return
        made = {"": (shape, "zeros", "int8"), "_scale": (scale, "ones", None)}
        if block is not None and block != -1:
            made["_zero"] = (scale, "zeros", None)
        for suffix, (size, initializer, dtype) in made.items():
            name = f"reverse_embeddings{suffix}"
            variable = self.add_weight(name=name, shape=size, initializer=initializer, dtype=dtype, trainable=False)
            variable.from_build = True
            setattr(self, name, variable)

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        old = self.__dict__.get("reverse_embeddings")
        if old is None or mode not in ("int8", "int4"):
            super().quantize(mode, type_check, config)
            return
        values = self._reverse_values(np.asarray(old.value), mode, config)
        super().quantize(mode, type_check, config)
        self._weights = [v for v in self._weights if v is not old]
        for part, value in zip(_PARTS, values, strict=False):
            self.__dict__[f"reverse_embeddings{part}"].assign(value)

    def _reverse_values(self, matrix: Any, mode: str, config: Any) -> list[Any]:
        """Return the way back in whole numbers, its scale, and its zero point if it has one."""
        if mode == "int8":
            usual = quantizers.AbsMaxQuantizer(axis=0)
            whole, scale = QuantizationConfig.weight_quantizer_or_default(config, usual)(matrix, to_numpy=True)
            return [whole, jnp.reshape(scale, -1)]
        quantizer = QuantizationConfig.weight_quantizer_or_default(config, None)
        found = quantized.int4_of(matrix.T, block_size_of(self._policy, config), quantizer, True)
        return [jnp.asarray(part).T for part in (found.packed, found.scale, found.zero) if part is not None]

    @property
    def variable_serialization_spec(self) -> dict[str | None, list[str]]:
        """The names of the variables in a file, in order, for each mode."""
        found = super().variable_serialization_spec
        if self.tie_weights:
            return found
        kept = {None: 1, "int8": 2, "int4": 3}
        return {
            mode: names + [f"reverse_embeddings{part}" for part in _PARTS[: kept[mode]]]
            for mode, names in found.items()
        }

    def compute_output_shape(self, input_shape: Shape, reverse: bool = False) -> Shape:
        return (*input_shape[:-1], self.input_dim) if reverse else super().compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> KerasTensor:
        kind = self.reverse_dtype if reverse and self.reverse_dtype is not None else self.compute_dtype
        return KerasTensor(self.compute_output_shape(inputs.shape, reverse), dtype=kind)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        # Of a call on stand-ins only what goes in is known here: floats as long as a row are rows on the way back.
        rows = jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.shape[-1:] == (self.output_dim,)
        return None if rows else super().compute_mask(inputs, previous_mask)
