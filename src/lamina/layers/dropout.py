"""Noise in training: dropout and its kin. In inference each of them returns its input.

The bits of row i depend on the key and on i alone, so that rows which fill up a batch change nothing.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from lamina import random, registry
from lamina.errors import InvalidArgumentError, invalid
from lamina.layers.base import Layer
from lamina.layers.traits import same_shape
from lamina.random import SeedGenerator

# The negative saturation value of SELU is -alpha * scale (Klambauer et al. 2017, equation 14).
_ALPHA, _SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@registry.export("layers")
class Dropout(Layer):
    """In training sets a share of the inputs to 0 and scales the rest, so that the expected sum stays.

    Args:
        rate: The share, from 0 to 1.
        noise_shape: Shape of the mask: 1 on axes that share one draw, None for the size of the input.
        seed: A whole number; None draws one from Python's `random`, which `set_random_seed` seeds.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If the rate is no number from 0 to 1, or the noise shape no shape.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    _config_order = ("rate", "seed", "noise_shape")

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = share(rate, "rate", self)
        self.noise_shape = _noise_shape(noise_shape)
        self.rowwise = self.rowwise and _rows_apart(self.noise_shape)
        self.seed = seed
        if rate > 0:
            self.seed_generator = SeedGenerator(seed)
        self._build_at_init()

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        return random.dropout(inputs, self.rate, noise_shape=self.noise_shape, seed=self.seed_generator)


@registry.export("layers")
class AlphaDropout(Layer):
    """In training sets a share of the inputs to SELU's negative saturation value and keeps mean and variance.

    Args:
        rate: The share, from 0 to 1.
        noise_shape: Shape of the mask: 1 on axes that share one draw, None for the size of the input.
        seed: A whole number; None draws one from Python's `random`, which `set_random_seed` seeds.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If the rate is no number from 0 to 1.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape
    _config_order = ("rate", "seed", "noise_shape")

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = share(rate, "rate", self)
        self.noise_shape = _noise_shape(noise_shape)
        self.rowwise = self.rowwise and _rows_apart(self.noise_shape)
        self.seed = seed
        if rate > 0:
            self.seed_generator = SeedGenerator(seed)
        self._build_at_init()

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        shape = inputs.shape
        if self.noise_shape is not None:
            shape = tuple(n if size is None else size for n, size in zip(inputs.shape, self.noise_shape, strict=True))
        low = -_ALPHA * _SCALE
        kept = (random.uniform(shape, seed=self.seed_generator) >= self.rate).astype(inputs.dtype)
        gain: float = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        return gain * (inputs * kept + low * (1 - kept)) - gain * low * self.rate


@registry.export("layers")
class GaussianDropout(Layer):
    """In training multiplies by normal noise of mean 1 and deviation `sqrt(rate / (1 - rate))`.

    Args:
        rate: As in `Dropout`, from 0 to 1.
        seed: A whole number; None draws one from Python's `random`, which `set_random_seed` seeds.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If the rate is no number from 0 to below 1.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = share(rate, "rate", self)
        if rate == 1:
            raise invalid(
                "A rate of 1 asks for noise of infinite deviation.",
                owner=f"GaussianDropout layer `{self.name}`",
                received=f"rate={rate}",
                fix="pass a rate below 1.",
            )
        self.seed = seed
        if rate > 0:
            self.seed_generator = SeedGenerator(seed)
        self._build_at_init()

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        deviation = math.sqrt(self.rate / (1.0 - self.rate))
        return inputs * random.normal(
            inputs.shape, mean=1.0, stddev=deviation, dtype=self.compute_dtype, seed=self.seed_generator
        )


@registry.export("layers")
class GaussianNoise(Layer):
    """In training adds normal noise of mean 0.

    Args:
        stddev: Its deviation, from 0 to 1.
        seed: A whole number; None draws one from Python's `random`, which `set_random_seed` seeds.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs and result alike.

    Raises:
        InvalidArgumentError: If the deviation is no number from 0 to 1.
    """

    rowwise = True
    supports_masking = True
    compute_output_shape = same_shape

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = share(stddev, "stddev", self)
        self.seed = seed
        if stddev > 0:
            self.seed_generator = SeedGenerator(seed)
        self._build_at_init()

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        return inputs + random.normal(
            inputs.shape, stddev=self.stddev, dtype=self.compute_dtype, seed=self.seed_generator
        )


def share(value: Any, name: str, owner: Layer) -> Any:
    """Return `value`, or raise `InvalidArgumentError` if it is no number from 0 to 1."""
    number = hasattr(value, "__float__") and not isinstance(value, str | bool) and jnp.ndim(value) == 0
    if number and 0 <= value <= 1:
        return value
    raise invalid(
        f"Invalid value received for argument `{name}`. Expected a float value between 0 and 1.",
        owner=f"{type(owner).__name__} layer `{owner.name}`",
        received=f"{name}={value!r}",
        fix=f"pass e.g. {name}=0.5." + (f" {value} percent is {value / 100:g}." if number and 1 < value <= 100 else ""),
    )


def _noise_shape(value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        raise _bad_noise_shape("Expected a tuple or list of integers.", f"noise_shape={value}")
    if not isinstance(value, Iterable):
        raise _bad_noise_shape("Expected an iterable of integers (e.g., a tuple or list).", f"noise_shape={value}")
    shape = tuple(value)
    for i, size in enumerate(shape):
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            kind = type(size).__name__
            raise _bad_noise_shape(
                "Expected all elements to be integers or None.", f"element at index {i}: {size} (type: {kind})"
            )
        if size is not None and size <= 0:
            raise _bad_noise_shape(
                "Expected all dimensions to be positive integers or None.",
                f"negative or zero value at index {i}: {size}",
            )
    return shape


def _bad_noise_shape(problem: str, received: str) -> InvalidArgumentError:
    return invalid(
        f"Invalid value received for argument `noise_shape`. {problem}",
        received=received,
        fix="pass e.g. `(None, 1, 16)`: None for the size of the input, 1 where one draw is shared.",
    )


def _rows_apart(noise_shape: tuple[int | None, ...] | None) -> bool:
    """Return whether the mask has the rows of the input, or one row for all."""
    return noise_shape is None or noise_shape[:1] in ((), (None,), (1,))
