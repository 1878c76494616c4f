"""Keras's `backend`: one place with the names of arrays, variables, settings and scopes."""

from typing import Any

import jax
import numpy as np
from tests.conformance.stand_ins.dtypes import result_type as result_type

from lamina import names, ops
from lamina.config import backend as backend
from lamina.config import epsilon as epsilon
from lamina.config import floatx as floatx
from lamina.config import image_data_format as image_data_format
from lamina.config import set_epsilon as set_epsilon
from lamina.config import set_floatx as set_floatx
from lamina.config import set_image_data_format as set_image_data_format
from lamina.graph import KerasTensor as KerasTensor
from lamina.graph import infer
from lamina.graph import standardize_shape as standardize_shape
from lamina.layers.context import get_mask as get_keras_mask
from lamina.layers.context import set_mask as set_keras_mask
from lamina.utils import clear_session as clear_session
from lamina.utils import is_keras_tensor as is_keras_tensor
from lamina.utils.stateless import StatelessScope as StatelessScope
from lamina.variables import Variable as Variable
from lamina.variables import autocast as AutocastScope
from lamina.variables import standardize_dtype as standardize_dtype

__all__ = ["AutocastScope", "get_keras_mask", "set_keras_mask"]

SUPPORTS_SPARSE_TENSORS = True
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
IS_THREAD_SAFE = True

name_scope = names.name_scope


def is_float_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of floating point numbers."""
    return "float" in standardize_dtype(dtype)


def is_int_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of integers."""
    return "int" in standardize_dtype(dtype)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """Return a JAX array."""
    return ops.convert_to_tensor(x, dtype=dtype, sparse=sparse)


def convert_to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """Return a NumPy array."""
    return ops.convert_to_numpy(x.value if isinstance(x, Variable) else x)


def is_tensor(x: Any) -> bool:
    """Return whether a value is a JAX array."""
    return ops.is_tensor(x)


def cast(x: Any, dtype: Any) -> Any:
    """Return the array in another type."""
    return ops.cast(x, standardize_dtype(dtype))


def shape(x: Any) -> tuple[int, ...]:
    """Return the shape of an array."""
    return tuple(x.shape)


def random_seed_dtype() -> str:
    """Return the type of the state of a seed generator."""
    return "uint32"


def compute_output_spec(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Return stand-ins for what a function gives on stand-ins."""
    return infer(function, args, kwargs, owner=getattr(function, "__name__", "function"))


def standardize_data_format(data_format: str | None) -> str:
    """Return where the channels are."""
    return data_format or image_data_format()


def device(name: str) -> Any:
    """Return a context in which arrays are made on a device such as `cpu:0`."""
    kind, _, number = name.partition(":")
    return jax.default_device(jax.devices(kind)[int(number or 0)])


def in_symbolic_scope() -> bool:
    """Return whether only shapes are wanted. Here a function cannot tell, so: no."""
    return False
