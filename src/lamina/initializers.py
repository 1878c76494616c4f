"""Initializers: what a weight is before training. Same seed, same bits as in Keras on JAX.

A random initializer without a seed draws one from Python's `random` when it is made, as Keras's does. It then gives the
same array for the same shape each time, unless its seed is a `SeedGenerator`, which moves on with each draw.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina import random, registry, serialization
from lamina._types import Array, ArrayLike
from lamina.errors import InvalidArgumentError, invalid
from lamina.variables import Variable, standardize_dtype

Axes = Sequence[int] | None
Seed = int | random.SeedGenerator | None
_TRUNCATED = 0.87962566103423978  # standard deviation of the normal distribution cut off at two of its own


@registry.export("initializers")
class Initializer(serialization.Configurable):
    """The base of initializers: a subclass returns an array of the shape in `__call__`."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type. Default type: `config.floatx()`."""
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def clone(self) -> Self:
        """Return a new initializer from this one's config. Without a seed the new one draws its own."""
        return type(self).from_config(self.get_config())


@registry.export("initializers", "zero")
class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        return jnp.zeros(tuple(shape), standardize_dtype(dtype))


@registry.export("initializers", "one")
class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        return jnp.ones(tuple(shape), standardize_dtype(dtype))


@registry.export("initializers")
class Constant(Initializer):
    """All the same number.

    Args:
        value: The number, or an array that broadcasts to the shape.
    """

    def __init__(self, value: ArrayLike = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        dtype = standardize_dtype(dtype)
        return jnp.asarray(self.value, dtype) * jnp.ones(tuple(shape), dtype)

    def _argument(self, name: str, cls: type) -> Any:
        return serialization.serialize(super()._argument(name, cls))  # an array as plain lists


@registry.export("initializers", "IdentityInitializer")
class Identity(Initializer):
    """The identity matrix times `gain`.

    Args:
        gain: The factor.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return a matrix of this shape and type.

        Raises:
            InvalidArgumentError: If the shape does not have two axes.
        """
        if len(shape) != 2:
            raise invalid(
                "Identity matrix initializer can only be used for 2D matrices.",
                received=f"shape={shape} of rank {len(shape)}.",
            )
        rows, columns = shape
        return self.gain * jnp.eye(rows, columns, dtype=standardize_dtype(dtype))


class RandomInitializer(Initializer):
    """The base of random initializers.

    Args:
        seed: An integer, a `SeedGenerator`, or None: then one is drawn now.

    Raises:
        InvalidArgumentError: If the seed is something else.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, dict):
            seed = serialization.deserialize(seed)
        self._init_seed = seed
        if seed is None:
            seed = random.make_default_seed()
        elif isinstance(seed, np.integer):
            self._init_seed = seed = int(seed)
        elif not isinstance(seed, int | random.SeedGenerator):
            raise invalid(
                "`seed` argument should be an instance of `keras.random.SeedGenerator()` or an integer.",
                owner=type(self).__name__,
                received=f"seed={seed!r}",
            )
        self.seed = seed

    def _argument(self, name: str, cls: type) -> Any:
        return self._init_seed if name == "seed" else super()._argument(name, cls)


@registry.export("initializers", "normal")
class RandomNormal(RandomInitializer):
    """Draws from the normal distribution.

    Args:
        mean: Its mean.
        stddev: Its standard deviation.
        seed: An integer, a `SeedGenerator` or None.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        return random.normal(shape, self.mean, self.stddev, standardize_dtype(dtype), self.seed)


@registry.export("initializers")
class TruncatedNormal(RandomInitializer):
    """Draws from the normal distribution, cut off at two standard deviations.

    Args:
        mean: Its mean.
        stddev: Its standard deviation before it is cut.
        seed: An integer, a `SeedGenerator` or None.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        return random.truncated_normal(shape, self.mean, self.stddev, standardize_dtype(dtype), self.seed)


@registry.export("initializers", "uniform")
class RandomUniform(RandomInitializer):
    """Draws evenly from `[minval, maxval)`.

    Args:
        minval: The least number.
        maxval: The bound above.
        seed: An integer, a `SeedGenerator` or None.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        return random.uniform(shape, self.minval, self.maxval, standardize_dtype(dtype), self.seed)


@registry.export("initializers", "OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A matrix with orthogonal rows or columns of length `gain`, whichever are fewer (Saxe et al. 2014).

    Args:
        gain: The length.
        seed: An integer, a `SeedGenerator` or None.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type; all axes but the last count as rows.

        Raises:
            InvalidArgumentError: If the shape has fewer than two axes.
        """
        shape = tuple(shape)
        if len(shape) < 2:
            raise invalid(
                "The tensor to initialize must be at least two-dimensional.",
                received=f"shape={shape} of rank {len(shape)}.",
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        sample = random.normal(tall, dtype=standardize_dtype(dtype), seed=self.seed)
        q, r = jnp.linalg.qr(sample.astype(jnp.promote_types(sample.dtype, "float32")))
        q = q * jnp.sign(jnp.diag(r))  # makes the draw uniform over the orthogonal matrices
        q = q.T if rows < columns else q
        return (self.gain * jnp.reshape(q, shape)).astype(sample.dtype)


@registry.export("initializers")
class VarianceScaling(RandomInitializer):
    """Draws whose variance is `scale / n`, where n is the number of inputs, of outputs, or their mean.

    Args:
        scale: The factor.
        mode: "fan_in", "fan_out" or "fan_avg": what n is.
        distribution: "truncated_normal" (also "normal"), "untruncated_normal" or "uniform".
        seed: An integer, a `SeedGenerator` or None.
        input_axes: Axes of the shape that are inputs; with `output_axes` in place of the usual rule.
        output_axes: Axes of the shape that are outputs.

    Raises:
        InvalidArgumentError: If the scale is not positive or a name is not one of these.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Axes = None,
        output_axes: Axes = None,
    ) -> None:
        if not scale > 0.0:
            raise invalid("Argument `scale` must be positive float.", received=f"scale={scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise _no_such("mode", mode, "'fan_in', 'fan_out' or 'fan_avg'")
        distribution = str(distribution).lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise _no_such("distribution", distribution, "'uniform', 'truncated_normal' or 'untruncated_normal'")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return an array of this shape and type."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, fan)
        dtype = standardize_dtype(dtype)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        return random.truncated_normal(shape, 0.0, math.sqrt(variance) / _TRUNCATED, dtype, self.seed)


def _no_such(argument: str, value: Any, allowed: str) -> InvalidArgumentError:
    return invalid(f"Invalid `{argument}` argument: {value}. Please use one of {allowed}.")


def compute_fans(shape: Sequence[int], input_axes: Axes = None, output_axes: Axes = None) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a weight: for `(inputs, units)` these two.

    Shapes: with more axes, as a convolution has, those before the last two multiply both.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        size = int(shape[0]) if shape else 1
        return size, size
    field = math.prod(shape[:-2])
    return int(shape[-2] * field), int(shape[-1] * field)


class _Scaled(VarianceScaling):
    """Variance scaling with everything but the seed and the axes fixed by the class.

    Args:
        seed: An integer, a `SeedGenerator` or None.
        input_axes: Axes of the shape that are inputs; with `output_axes` in place of the usual rule.
        output_axes: Axes of the shape that are outputs.
    """

    _fixed: tuple[float, str, str]

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        scale, mode, distribution = self._fixed
        super().__init__(scale, mode, distribution, seed, input_axes, output_axes)


@registry.export("initializers", "xavier_uniform")
class GlorotUniform(_Scaled):
    """Uniform with variance `2 / (inputs + outputs)` (Glorot and Bengio 2010, also called Xavier)."""

    _fixed = (1.0, "fan_avg", "uniform")


@registry.export("initializers", "xavier_normal")
class GlorotNormal(_Scaled):
    """Truncated normal with variance `2 / (inputs + outputs)` (Glorot and Bengio 2010, also called Xavier)."""

    _fixed = (1.0, "fan_avg", "truncated_normal")


@registry.export("initializers")
class LecunUniform(_Scaled):
    """Uniform with variance `1 / inputs` (LeCun et al. 1998)."""

    _fixed = (1.0, "fan_in", "uniform")


@registry.export("initializers")
class LecunNormal(_Scaled):
    """Truncated normal with variance `1 / inputs` (LeCun et al. 1998); for `selu`."""

    _fixed = (1.0, "fan_in", "truncated_normal")


@registry.export("initializers", "kaiming_uniform")
class HeUniform(_Scaled):
    """Uniform with variance `2 / inputs` (He et al. 2015, also called Kaiming); for `relu`."""

    _fixed = (2.0, "fan_in", "uniform")


@registry.export("initializers", "kaiming_normal")
class HeNormal(_Scaled):
    """Truncated normal with variance `2 / inputs` (He et al. 2015, also called Kaiming); for `relu`."""

    _fixed = (2.0, "fan_in", "truncated_normal")


zeros = Zeros
ones = Ones
constant = Constant
identity = IdentityInitializer = Identity
random_normal = RandomNormal
truncated_normal = TruncatedNormal
random_uniform = RandomUniform
orthogonal = OrthogonalInitializer = Orthogonal
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
lecun_uniform = LecunUniform
lecun_normal = LecunNormal
he_uniform = HeUniform
he_normal = HeNormal


def get(identifier: Any) -> Callable[..., Array] | None:
    """Return the initializer that a name, a config, a class, an array or a callable stands for; None stays None.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    if isinstance(identifier, jax.Array | np.ndarray | np.generic | Variable):
        return _copies(identifier)
    return serialization.get("initializers", identifier, "initializer")  # type: ignore[no-any-return]


def _copies(array: Any) -> Callable[..., Array]:
    def initialize(shape: Sequence[int], dtype: Any = None) -> Array:
        if tuple(shape) != tuple(array.shape):
            raise invalid(
                f"Expected `shape` to be {tuple(array.shape)} for direct tensor as initializer.",
                received=f"shape={shape}",
            )
        return jnp.array(array, standardize_dtype(dtype))

    return initialize


def serialize(initializer: Initializer) -> Any:
    """Return the config of an initializer."""
    return serialization.serialize(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the initializer that `serialize` described."""
    return serialization.deserialize(config, custom_objects)
