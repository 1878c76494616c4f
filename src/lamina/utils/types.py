"""Questions about dtypes, under Keras's names."""

from typing import Any

import jax.numpy as jnp

from lamina.variables import standardize_dtype


def is_float_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of floats."""
    return "float" in standardize_dtype(dtype)


def is_int_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of whole numbers, signed or not."""
    return "int" in standardize_dtype(dtype)


def result_type(*dtypes: Any) -> str:
    """Return the name of the type of an operation on arrays of these types; `int` and `float` stand for numbers.

    JAX decides: a type of 64 bits comes out only where they are switched on.
    """
    weak = {"int": int, "float": float}
    given = [weak.get(d, d) if isinstance(d, str) else jnp.float32 if d is None else d for d in dtypes]
    return standardize_dtype(jnp.result_type(*(given or [float])).name)
