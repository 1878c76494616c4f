"""Random arrays under TensorFlow's names, from the library's own streams: `set_seed` makes a script repeatable."""

from typing import Any

import jax.numpy as jnp

from lamina import random as streams
from lamina.tf.types import float32, int32, narrow


def set_seed(seed: int) -> None:
    """Seed everything random: the same seed gives the same bits."""
    streams.set_random_seed(seed)


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, seed: Any = None, name: str | None = None
) -> Any:
    """Draw from the normal distribution."""
    del name
    return streams.normal(tuple(shape), mean, stddev, narrow(dtype), seed)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, seed: Any = None, name: str | None = None
) -> Any:
    """Draw from the normal distribution cut off at two standard deviations."""
    del name
    return streams.truncated_normal(tuple(shape), mean, stddev, narrow(dtype), seed)


def uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, seed: Any = None, name: str | None = None
) -> Any:
    """Draw uniformly from [minval, maxval); integers need `maxval`."""
    del name
    kind = narrow(dtype)
    if kind.kind in "iu":
        return streams.randint(tuple(shape), minval, maxval, kind, seed)
    return streams.uniform(tuple(shape), minval, 1.0 if maxval is None else maxval, kind, seed)


def shuffle(value: Any, seed: Any = None, name: str | None = None) -> Any:
    """Return an array with its first axis in random order; what belongs together stays together."""
    del name
    array = jnp.asarray(value)
    return array[streams.shuffle(jnp.arange(len(array)), seed=seed)]


def categorical(logits: Any, num_samples: int, dtype: Any = int32, seed: Any = None, name: str | None = None) -> Any:
    """Draw class numbers for each row of logits."""
    del name
    return streams.categorical(jnp.asarray(logits), num_samples, narrow(dtype), seed)
