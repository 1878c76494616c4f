"""Names for the things that pass between rooms."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array
ArrayLike: TypeAlias = jax.Array | np.ndarray[Any, Any] | float | int | bool | Sequence[Any]
Arrays: TypeAlias = tuple[jax.Array, ...]
Numpy: TypeAlias = np.ndarray[Any, Any]
Shape: TypeAlias = tuple[int | None, ...]
Config: TypeAlias = dict[str, Any]
Tree: TypeAlias = Any  # arrays, or tuples, lists and dicts of trees
