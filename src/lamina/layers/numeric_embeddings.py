"""Numbers as vectors: waves and bins of each, for networks for tables (Gorishniy et al. 2022)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import initializers, registry
from lamina._types import Numpy, Shape
from lamina.errors import invalid
from lamina.layers import tabular
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.layers.scaled import last_size, positive
from lamina.variables import Variable


@registry.export("layers")
class PeriodicEmbedding(Layer):
    """Each number beside `outputs` learned mixtures of waves of it: PBLD (Holzmüller et al. 2024).

    Args:
        outputs: Mixtures of a number; with the number itself it becomes `outputs + 1` numbers.
        waves: Waves of a number.
        sigma: Deviation of the frequencies at the start, in turns for each unit of the input.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, features)`
        frequencies, phases: `(features, waves)`
        kernel: `(features, waves, outputs)`
        bias: `(features, outputs)`
        result: `(batch, features * (outputs + 1))`

    Raises:
        InvalidArgumentError: If a size is no positive whole number, or sigma is not above 0.
    """

    rowwise = True
    frequencies: Variable
    phases: Variable
    kernel: Variable
    bias: Variable
    _has_build = True

    def __init__(self, outputs: int = 3, waves: int = 16, sigma: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = f"PeriodicEmbedding layer `{self.name}`"
        self.outputs, self.waves = positive(outputs, "outputs", owner), positive(waves, "waves", owner)
        if not sigma > 0:
            raise invalid("`sigma` must be above 0.", owner=owner, received=f"sigma={sigma!r}")
        self.sigma = sigma

    def build(self, input_shape: Shape) -> None:
        features, limit = last_size(self, input_shape), 1 / math.sqrt(self.waves)
        shape = (features, self.waves)
        even = initializers.RandomUniform
        self.frequencies = self.add_weight(
            name="frequencies", shape=shape, initializer=initializers.RandomNormal(stddev=self.sigma)
        )
        self.phases = self.add_weight(name="phases", shape=shape, initializer=even(-math.pi, math.pi))
        self.kernel = self.add_weight(name="kernel", shape=(*shape, self.outputs), initializer=even(-limit, limit))
        self.bias = self.add_weight(name="bias", shape=(features, self.outputs), initializer=even(-limit, limit))
        self.input_spec = InputSpec(ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        found = tabular.periodic(inputs, self.frequencies.value, self.phases.value, self.kernel.value, self.bias.value)
        return found.reshape(found.shape[0], -1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], (input_shape[1] or 0) * (self.outputs + 1))


@registry.export("layers")
class PiecewiseLinearEmbedding(Layer):
    """How far each number has come through each of its bins, mapped to a vector by a product of its own.

    The bins come from data: from `adapt`, or as `edges`.

    Args:
        outputs: Length of the vector of a number, or None for the bins themselves.
        bins: Bins of a number, where `adapt` finds them.
        edges: Where the bins begin and end, features times bins + 1 numbers in ascending order.
        kernel_initializer: What fills the products' kernels.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: `(batch, features)`
        edges: `(features, bins + 1)`
        kernel: `(features, bins, outputs)`
        bias: `(features, outputs)`
        result: `(batch, features * outputs)`

    Raises:
        InvalidArgumentError: If a size is no positive whole number, or the edges are not ascending or of another shape.
    """

    rowwise = True
    edges_array: Variable
    kernel: Variable | None
    bias: Variable | None
    _has_build = True

    def __init__(
        self,
        outputs: int | None = 16,
        bins: int = 48,
        edges: Sequence[Sequence[float]] | Numpy | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = f"PiecewiseLinearEmbedding layer `{self.name}`"
        self.outputs = None if outputs is None else positive(outputs, "outputs", owner)
        self.edges = None if edges is None else self._checked(edges).tolist()
        self.bins = positive(bins, "bins", owner) if self.edges is None else len(self.edges[0]) - 1
        self.kernel_initializer = initializers.get(kernel_initializer)

    def _checked(self, edges: Any) -> Numpy:
        found = np.asarray(edges, np.float32)
        if found.ndim != 2 or found.shape[1] < 2 or not np.isfinite(found).all() or (np.diff(found, axis=1) < 0).any():
            raise invalid(
                "`edges` must be ascending finite numbers, of shape (features, bins + 1).",
                owner=f"PiecewiseLinearEmbedding layer `{self.name}`",
                received=f"edges of shape {found.shape}",
            )
        return found

    def adapt(self, data: Any) -> None:
        """Makes the bins: as many rows in each, a value of many rows counting as one bin's.

        Shapes: data: rows features
        """
        edges = tabular.bin_edges(np.asarray(data, np.float32), self.bins)
        self.edges = edges.tolist()
        if self.built:
            self.edges_array.assign(edges)

    def build(self, input_shape: Shape) -> None:
        features = last_size(self, input_shape)
        shape = (features, self.bins + 1)
        if self.edges is not None and np.shape(self.edges) != shape:
            raise invalid(
                f"`edges` must have a row for each of the {features} features.",
                owner=f"PiecewiseLinearEmbedding layer `{self.name}`",
                received=f"edges of shape {np.shape(self.edges)}",
            )
        self.edges_array = self.add_weight(name="edges", shape=shape, initializer="zeros", trainable=False)
        if self.edges is not None:
            self.edges_array.assign(np.asarray(self.edges, np.float32))
        self.kernel = self.bias = None
        if self.outputs is not None:
            self.kernel = self.add_weight(
                name="kernel", shape=(features, self.bins, self.outputs), initializer=self.kernel_initializer
            )
            self.bias = self.add_weight(name="bias", shape=(features, self.outputs), initializer="zeros")
        self.input_spec = InputSpec(ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        found = tabular.piecewise_linear(inputs, self.edges_array.value)
        if self.kernel is not None and self.bias is not None:
            found = tabular.per_feature(found, self.kernel.value, self.bias.value)
        return found.reshape(found.shape[0], -1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], (input_shape[1] or 0) * (self.outputs or self.bins))
