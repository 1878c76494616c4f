"""Types of elements under TensorFlow's names. JAX counts in 32 bits: what asks for 64 gets 32."""

from typing import Any

import jax.numpy as jnp
import numpy as np

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
bfloat16 = jnp.dtype(jnp.bfloat16)
int8, int16, int32, int64 = np.dtype("int8"), np.dtype("int16"), np.dtype("int32"), np.dtype("int64")
uint8, uint16, uint32, uint64 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("uint32"), np.dtype("uint64")
half, double = float16, float64
bool = np.dtype("bool")

_NARROW = {"float64": float32, "int64": int32, "uint64": uint32}


def narrow(dtype: Any) -> Any:
    """Return a type as JAX keeps it: 64 bits become 32; None stays None."""
    return None if dtype is None else _NARROW.get(jnp.dtype(dtype).name, jnp.dtype(dtype))
