"""Keras's families of dtypes, and which type comes out of several."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina.variables import standardize_dtype

BOOL_TYPES = ("bool",)
INT_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOAT_TYPES = ("bfloat16", "float16", "float32", "float64")
FLOAT8_TYPES = ("float8_e4m3fn", "float8_e5m2")
COMPLEX_TYPES = ("complex64", "complex128")
WEAK_TYPES = ("int", "float")
ALLOWED_DTYPES = (
    *("float16", "float32", "float64", *INT_TYPES, "bfloat16", "bool", "string"),
    *FLOAT8_TYPES,
    *COMPLEX_TYPES,
)


def result_type(*dtypes: Any) -> str:
    """Return the name of the type of an operation on arrays of these types."""
    given = [{"int": int, "float": float}.get(d, d) if isinstance(d, str) else d for d in dtypes] or [float]
    return standardize_dtype(jnp.result_type(*[jnp.float32 if d is None else d for d in given]).name)


def same_precision_as_jax() -> bool:
    """Return whether 64-bit types are on in JAX."""
    return bool(jax.config.jax_enable_x64)
