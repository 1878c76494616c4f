"""Features brought to a common scale."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, registry
from lamina._types import Array, Config, Numpy, Shape
from lamina.errors import InvalidTypeError, invalid, message
from lamina.layers.host import DataLayer
from lamina.layers.moments import Moments
from lamina.layers.traits import same_shape
from lamina.variables import Variable


@registry.export("layers")
class Rescaling(DataLayer):
    """`inputs * scale + offset`, e.g. `Rescaling(1 / 255)` for pixels.

    Args:
        scale: A number, or an array that broadcasts to the inputs.
        offset: The same.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike. The result has the layer's compute type, whatever the input's.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, inputs: Any) -> Any:
        scale = jnp.asarray(self.scale, self.compute_dtype)
        offset = jnp.asarray(self.offset, self.compute_dtype)
        if scale.ndim and config.image_data_format() == "channels_first":
            scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
        return inputs.astype(self.compute_dtype) * scale + offset


@registry.export("layers")
class Normalization(DataLayer):
    """`(inputs - mean) / sqrt(variance)`, with mean and variance of known data.

    Give `mean` and `variance`, or let `adapt` compute them before training.

    Args:
        axis: The axis, or several, that keep their own mean and variance; None for one of each for everything.
        mean: The mean: a number, or an array that broadcasts to the sizes along `axis`.
        variance: The variance: the same.
        invert: Whether normalized inputs are turned back: `inputs * sqrt(variance) + mean`.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: e.g. `(batch, features)`
        mean, variance: e.g. `(1, features)`
        result: as inputs

    Raises:
        InvalidArgumentError: If only one of `mean` and `variance` is given, or they do not fit.
    """

    adapt_mean: Variable
    adapt_variance: Variable
    count: Variable
    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    _has_build = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.rowwise = self.rowwise and 0 not in self.axis
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        self._keep_axis: tuple[int, ...] = ()
        self._broadcast_shape: tuple[int, ...] = ()
        self._given: tuple[Numpy, Numpy] | None = None
        owner = f"Normalization layer `{self.name}`"
        if (mean is None) != (variance is None):
            raise invalid(
                "When setting values directly, both `mean` and `variance` must be set.",
                owner=owner,
                received=f"mean={mean} and variance={variance}",
            )
        if np.shape(mean) != np.shape(variance):
            raise invalid(
                "When setting values directly, `mean` and `variance` must have the same shape.",
                owner=owner,
                received=f"mean shape {np.shape(mean)} and variance shape {np.shape(variance)}",
            )
        if mean is not None and np.ndim(mean) > len(self.axis):
            raise invalid(
                f"The rank of `mean` must be less than or equal to the number of axes ({len(self.axis)}).",
                owner=owner,
                received=f"mean shape {np.shape(mean)} for axis {self.axis}",
            )

    # ---- build

    def _start_build(self, shapes: dict[str, Any]) -> None:
        """Keep what was learned from data, unless the features are others."""
        shape = next(iter(shapes.values()), None)
        if not (self.built and isinstance(shape, tuple) and self._fits(shape)):
            super()._start_build(shapes)

    def _fits(self, shape: Shape) -> bool:
        old = self._built_for
        kept = tuple(axis % len(shape) for axis in self.axis if -len(shape) <= axis < len(shape))
        return old is not None and len(old) == len(shape) and all(old[axis] == shape[axis] for axis in kept)

    @property
    def _built_for(self) -> Shape | None:
        return next(iter(self._build_shapes.values()), None) if self._build_shapes else None

    def build(self, input_shape: Any) -> None:
        if input_shape is None or (self.built and self._fits(input_shape)):
            return
        ndim = len(input_shape)
        if any(not -ndim <= axis < ndim for axis in self.axis):
            raise invalid(
                "All `axis` values must be in the range [-ndim, ndim).",
                owner=f"Normalization layer `{self.name}`",
                received=f"inputs with ndim={ndim}, while axis={self.axis}",
            )
        keep = tuple(sorted(axis % ndim for axis in self.axis))
        for axis in keep:
            if input_shape[axis] is None:
                raise invalid(
                    "All `axis` values to be kept must have a known shape.",
                    owner=f"Normalization layer `{self.name}`",
                    received=f"axis={self.axis}, inputs.shape={input_shape}, with unknown axis at index {axis}",
                )
        self._keep_axis = keep
        self._broadcast_shape = tuple(input_shape[axis] if axis in keep else 1 for axis in range(ndim))
        if self.input_mean is not None:
            self._given = (self._spread(self.input_mean), self._spread(self.input_variance))
            return
        shape = tuple(input_shape[axis] for axis in keep)
        self.adapt_mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)
        self.adapt_variance = self.add_weight(name="variance", shape=shape, initializer="ones", trainable=False)
        self.count = self.add_weight(name="count", shape=(), dtype="int", initializer="zeros", trainable=False)

    def _spread(self, value: Any) -> Numpy:
        """Return a given mean or variance spread over the kept axes: its axes are the last of them."""
        array = np.asarray(value, np.float64)
        shape = [1] * len(self._broadcast_shape)
        for size, axis in zip(array.shape[::-1], self._keep_axis[::-1], strict=False):
            shape[axis] = size
        return np.broadcast_to(array.reshape(shape), self._broadcast_shape).astype(np.float32)

    # ---- what it has learned

    @property
    def mean(self) -> Array | None:
        """The mean in the shape that broadcasts to the inputs, in the compute type; None before it is built."""
        return self._statistic(0)

    @property
    def variance(self) -> Array | None:
        """The variance in the shape that broadcasts to the inputs, in the compute type; None before it is built."""
        return self._statistic(1)

    def _statistic(self, which: int) -> Array | None:
        if self._given is not None:
            return jnp.asarray(self._given[which], self.compute_dtype)
        if "adapt_mean" not in self.__dict__:
            return None
        value = (self.adapt_mean, self.adapt_variance)[which].value
        return value.reshape(self._broadcast_shape).astype(self.compute_dtype)

    def finalize_state(self) -> None:
        """Do nothing: `mean` and `variance` always follow the weights. Kept for Keras scripts."""

    def adapt(self, data: Any) -> None:
        """Compute the mean and variance of data, in float64, one batch at a time; earlier ones are forgotten.

        Args:
            data: An array, or anything that gives batches one after the other: a list of arrays, a generator, a
                data set. A batch `(x, y)` or `(x, y, sample_weight)` counts by its `x`.

        Raises:
            InvalidArgumentError: If there is no batch, the shape is not the one that the layer was built for, or a
                number is NaN or infinite. The layer then stays as it was.
            InvalidTypeError: If the data are neither arrays nor batches of arrays.
        """
        batches = _batches(data)
        first = next(batches, None)
        if first is None:
            raise invalid(
                "adapt() received an empty iterable (no batches). Expected at least one batch.",
                owner=f"Normalization layer `{self.name}`",
                fix="pass an array, or batches of arrays: `layer.adapt([x])`.",
            )
        if not self.built:
            self.build(first.shape)
        found = Moments(self._keep_axis)
        for batch in chain([first], batches):
            self._check_batch(batch.shape)
            found.add(batch)
        if config.strict() and not (np.isfinite(found.mean).all() and np.isfinite(found.variance).all()):
            raise invalid(
                "The data hold NaN or infinite numbers.",
                owner=f"Normalization layer `{self.name}`",
                fix="leave them out, e.g. `x[np.isfinite(x).all(axis=1)]`. The layer is as it was.",
            )
        if self.input_mean is None:
            self.adapt_mean.assign(found.mean.astype(np.float32))
            self.adapt_variance.assign(found.variance.astype(np.float32))

    def _check_batch(self, shape: Shape) -> None:
        old = self._built_for or ()
        if len(old) != len(shape) or any(shape[axis] != old[axis] for axis in self._keep_axis):
            raise invalid(
                f"The layer was built with input_shape={old}, but adapt() is being called with data with an "
                f"incompatible shape, data.shape={tuple(shape)}.",
                owner=f"Normalization layer `{self.name}`",
            )

    def call(self, inputs: Any) -> Any:
        mean, variance = self.mean, self.variance
        if mean is None or variance is None:
            raise invalid(
                "You must call `.build(input_shape)` on the layer before using it.",
                owner=f"Normalization layer `{self.name}`",
            )
        deviation = jnp.maximum(jnp.sqrt(variance), config.epsilon())
        x = inputs.astype(self.compute_dtype)
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "axis": self.axis,
            "invert": self.invert,
            "mean": np.array(self.input_mean).tolist(),
            "variance": np.array(self.input_variance).tolist(),
        }


def _batches(data: Any) -> Iterator[Numpy]:
    """Yield the batches of data as NumPy arrays: one for an array, many for anything that iterates over batches."""
    if hasattr(data, "__array__") or isinstance(data, jax.Array):
        yield np.asarray(data)
        return
    spec = getattr(data, "element_spec", None)  # a `tf.data.Dataset` says what one element is
    if spec is not None and len((spec[0] if isinstance(spec, tuple) else spec).shape) == 1:
        data = data.batch(128)
    if not isinstance(data, Iterable):
        if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            raise InvalidTypeError(
                message(
                    f"Unsupported data type: {type(data)}.",
                    fix="pass an array, or batches of arrays: a list, a generator, a data set.",
                )
            )
        batches: Iterable[Any] = map(data.__getitem__, range(len(data)))
    else:
        batches = data
    for batch in batches:
        x = batch[0] if isinstance(batch, tuple) else batch
        if not hasattr(x, "shape"):
            raise InvalidTypeError(
                message(
                    "adapt() expects an iterable that yields arrays or tensors with a `.shape` attribute.",
                    received=f"an element of type {type(x).__name__}",
                    fix="make it one array: `layer.adapt(np.array(data))`.",
                )
            )
        yield np.asarray(x)
