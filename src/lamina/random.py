"""Random numbers in Keras-on-JAX's own streams: the same seed gives the same bits here and there.

A seed is an integer, which stands for the key `[seed, 0]`, or a `SeedGenerator`, whose key changes at each draw.
"""

import random as python_random
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, names, registry
from lamina._types import Array, Config
from lamina.errors import InvalidArgumentError, invalid, message
from lamina.variables import Variable, is_float, standardize_dtype

_global: "list[SeedGenerator]" = []


@registry.export("seed_generators", module="keras.random")
class SeedGenerator:
    """A source of keys: each `next()` returns the present key and moves on.

    Args:
        seed: An integer; None draws one from Python's `random`, which `set_random_seed` seeds.
        name: Name of the generator.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        if kwargs:
            raise invalid(f"Unrecognized keyword arguments: {kwargs}", owner="SeedGenerator")
        self.name = name or names.auto_name("SeedGenerator")
        self.seed = seed
        start = make_default_seed() if seed is None else seed
        if not isinstance(start, int | np.integer):
            raise invalid("Argument `seed` must be an integer.", received=f"seed={seed!r}")
        with names.name_scope(self.name, self):
            self.state = Variable(
                np.array([int(start) & 0xFFFFFFFF, 0], np.uint32), trainable=False, name="seed_generator_state"
            )

    def next(self, ordered: bool = True) -> Array:
        """Return a key of shape (2,), uint32, and advance the state."""
        key = self.state.value
        step = jnp.array([0, 1], jnp.uint32)
        self.state.assign(key + step if ordered else (key + 1) * 5387 % 933199)
        return key

    def get_config(self) -> Config:
        """Return `seed` and `name`."""
        return {"seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config: Config) -> "SeedGenerator":
        """Return the generator that `get_config` described."""
        return cls(**config)


def make_default_seed() -> int:
    """Draw a seed from Python's `random`, as each of Keras's initializers and dropouts does when it is made."""
    return python_random.randint(1, int(1e9))


def set_random_seed(seed: int) -> None:
    """Seed `random`, `numpy.random` and the library's own generator: the same seed gives the same bits.

    Raises:
        InvalidArgumentError: If the seed is not an integer in [0, 2**32).
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise invalid("Expected `seed` argument to be an integer.", received=f"seed={seed!r} (of type {type(seed)})")
    if not 0 <= seed < 2**32:
        raise invalid("Seed must be between 0 and 2**32 - 1.", received=f"seed={seed}")
    _global.clear()
    python_random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - the stream that Keras shuffles with


def global_generator() -> SeedGenerator:
    """Return the generator behind draws without a seed.

    Raises:
        InvalidArgumentError: Inside a compiled step, where the draw would be frozen into the program.
    """
    if isinstance(jnp.zeros(()), jax.core.Tracer):  # an array made here is traced: so are we
        raise InvalidArgumentError(
            message(
                "A random draw without a seed inside a compiled step would give the same numbers for ever. When "
                "tracing a JAX function, you should only use seeded random ops.",
                fix="make a `SeedGenerator` in `__init__`, set it as an attribute of your layer, pass it as `seed`.",
            )
        )
    if not _global:
        _global.append(SeedGenerator())
    return _global[0]


def draw_key(seed: "int | SeedGenerator | Array | None") -> Array:
    """Return the key of shape (2,), uint32, that a seed stands for; a generator moves on.

    Raises:
        InvalidArgumentError: If it is neither an integer, a `SeedGenerator`, a key nor None.
    """
    if isinstance(seed, SeedGenerator) or hasattr(seed, "next"):
        return seed.next()  # type: ignore[union-attr]
    if isinstance(seed, jax.Array):
        return seed
    if isinstance(seed, int | np.integer):
        return jnp.asarray(np.array([int(seed) & 0xFFFFFFFF, 0], np.uint32))  # a list would be a program to compile
    if seed is None:
        return global_generator().next(ordered=False)
    raise invalid(
        "Argument `seed` must be either an integer or an instance of `SeedGenerator`.",
        received=f"seed={seed!r} (of type {type(seed)})",
    )


def normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: str | None = None, seed: Any = None
) -> Array:
    """Draw from the normal distribution."""
    return jax.random.normal(draw_key(seed), tuple(shape), dtype or config.floatx()) * stddev + mean


def uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: str | None = None, seed: Any = None
) -> Array:
    """Draw uniformly from [minval, maxval).

    Raises:
        InvalidArgumentError: If `dtype` is no float type.
    """
    name = standardize_dtype(dtype)
    if not is_float(name):
        raise invalid(
            "`keras.random.uniform` requires a floating point `dtype`.",
            received=f"dtype={dtype!r}",
            fix="draw integers with `randint`.",
        )
    return jax.random.uniform(draw_key(seed), tuple(shape), name, minval, maxval)


def truncated_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: str | None = None, seed: Any = None
) -> Array:
    """Draw from the normal distribution cut off at two standard deviations."""
    sample = jax.random.truncated_normal(draw_key(seed), -2.0, 2.0, tuple(shape), dtype or config.floatx())
    return sample * stddev + mean


def randint(shape: Sequence[int], minval: int, maxval: int, dtype: str = "int32", seed: Any = None) -> Array:
    """Draw integers from [minval, maxval).

    Raises:
        InvalidArgumentError: If `dtype` is no integer type.
    """
    name = standardize_dtype(dtype)
    if "int" not in name:
        raise invalid(
            "`keras.random.randint` requires an integer `dtype`.",
            received=f"dtype={dtype!r}",
            fix="draw floats with `uniform`.",
        )
    return jax.random.randint(draw_key(seed), tuple(shape), minval, maxval, name)


def categorical(logits: Array, num_samples: int, dtype: str = "int32", seed: Any = None) -> Array:
    """Draw class numbers. Shapes: logits `(batch, classes)`, result `(batch, num_samples)`.

    Raises:
        InvalidArgumentError: If the logits have not two axes.
    """
    logits = jnp.asarray(logits)
    if logits.ndim != 2:
        raise invalid(
            "`logits` should be a 2-D tensor with shape [batch_size, num_classes].", received=f"{logits.shape}"
        )
    shape = (logits.shape[0], num_samples)
    return jax.random.categorical(draw_key(seed), logits[..., None], axis=1, shape=shape).astype(dtype)


def dropout(inputs: Array, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None) -> Array:
    """Set a share `rate` of the inputs to zero and scale the rest by 1 / (1 - rate).

    Shapes: inputs and result alike. `noise_shape` has 1 on axes that share one draw; None stands for the input's size.
    """
    if rate == 1.0:
        return jnp.zeros_like(inputs)
    if rate == 0.0:
        return inputs
    keep = 1.0 - rate
    shape = inputs.shape
    if noise_shape is not None:
        shape = tuple(inputs.shape[i] if size is None else size for i, size in enumerate(noise_shape))
    mask = jnp.broadcast_to(jax.random.bernoulli(draw_key(seed), jnp.asarray(keep, jnp.float32), shape), inputs.shape)
    return jax.lax.select(mask, inputs / keep, jnp.zeros_like(inputs))


def shuffle(x: Array, axis: int = 0, seed: Any = None) -> Array:
    """Return `x` with its entries along `axis` in random order."""
    return jax.random.permutation(draw_key(seed), x, axis, independent=True)


def gamma(shape: Sequence[int], alpha: Any, dtype: str | None = None, seed: Any = None) -> Array:
    """Draw from the gamma distribution."""
    return jax.random.gamma(draw_key(seed), alpha, tuple(shape), dtype or config.floatx())


def beta(shape: Sequence[int], alpha: Any, beta: Any, dtype: str | None = None, seed: Any = None) -> Array:
    """Draw from the beta distribution."""
    return jax.random.beta(
        draw_key(seed), jnp.asarray(alpha), jnp.asarray(beta), tuple(shape), dtype or config.floatx()
    )


def binomial(
    shape: Sequence[int], counts: Any, probabilities: Any, dtype: str | None = None, seed: Any = None
) -> Array:
    """Draw from the binomial distribution."""
    return jax.random.binomial(
        draw_key(seed), jnp.asarray(counts), jnp.asarray(probabilities), tuple(shape), dtype or config.floatx()
    )
