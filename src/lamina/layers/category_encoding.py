"""Whole numbers as rows of zeros and ones."""

from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor
from lamina.layers import encoding
from lamina.layers.host import DataLayer, as_array


@registry.export("layers")
class CategoryEncoding(DataLayer):
    """Whole numbers from 0 to `num_tokens - 1` as rows of zeros and ones.

    Args:
        num_tokens: How many numbers there are: the size of the last axis of the result.
        output_mode: "one_hot" makes a row of each number (of shape `(batch, 1)`: of each sample); "multi_hot" one row
            of each sample, with a 1 for each number that occurs in it; "count" says how often.
        sparse: Kept for Keras scripts; the result is an array.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, tokens)`, or `(tokens,)` for one sample
        count_weights: as inputs, what each number counts; for "count" alone
        result: `(batch, num_tokens)`; for "one_hot" `(batch, tokens, num_tokens)`

    Raises:
        InvalidArgumentError: If an argument is unknown, or a number of the input is not in the range.
    """

    rowwise = True

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = f"CategoryEncoding layer `{self.name}`"
        output_mode = "multi_hot" if output_mode == "binary" else output_mode
        if output_mode not in ("count", "one_hot", "multi_hot"):
            raise invalid(
                f"Unknown arg for output_mode: {output_mode}.",
                owner=owner,
                fix="pass 'multi_hot', 'one_hot' or 'count'.",
            )
        if num_tokens is None:
            raise invalid(
                "num_tokens must be set to use this layer.",
                owner=owner,
                fix="if it is not known beforehand, use the IntegerLookup layer instead.",
            )
        if num_tokens < 1:
            raise invalid("`num_tokens` must be >= 1.", owner=owner, received=f"num_tokens={num_tokens}.")
        encoding.refuse_sparse(sparse, output_mode, owner)
        self.num_tokens, self.output_mode, self.sparse = int(num_tokens), output_mode, False
        self._build_at_init()

    _config_order = ("num_tokens", "output_mode")

    def _convert(self, value: Any) -> Any:
        return value if value is None else super()._convert(as_array(value, f"CategoryEncoding layer `{self.name}`"))

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        owner = f"CategoryEncoding layer `{self.name}`"
        if count_weights is not None:
            if self.output_mode != "count":
                raise invalid(
                    "`count_weights` is not used when `output_mode` is not `'count'`.",
                    owner=owner,
                    received=f"`count_weights={count_weights}`.",
                )
            count_weights = count_weights.astype(self.compute_dtype)
        numbers = inputs.astype(jnp.int32)
        if config.strict():
            encoding.check_range(numbers, self.num_tokens, owner)
        return self._encode(numbers, count_weights)

    def _encode(self, inputs: Any, count_weights: Any = None) -> Any:
        numbers = jnp.asarray(inputs).astype(jnp.int32)
        axis = 1 if numbers.ndim > 1 else -1
        return encoding.encode(
            numbers,
            self.output_mode,
            self.num_tokens,
            self.compute_dtype,
            axis=axis,
            weights=count_weights,
            xp=jnp,
        )

    def compute_output_shape(self, input_shape: Shape, count_weights_shape: Any = None) -> Shape:
        axis = 1 if len(input_shape) > 1 else -1
        return encoding.shape_of(input_shape, self.output_mode, self.num_tokens, axis)

    def compute_output_spec(self, inputs: Any, count_weights: Any = None) -> KerasTensor:
        self.rowwise = self.output_mode == "one_hot" or len(inputs.shape) > 1
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)
