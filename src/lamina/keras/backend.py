"""Keras's names for settings, types and the session."""

from lamina.config import backend as backend
from lamina.config import epsilon as epsilon
from lamina.config import floatx as floatx
from lamina.config import image_data_format as image_data_format
from lamina.config import set_epsilon as set_epsilon
from lamina.config import set_floatx as set_floatx
from lamina.config import set_image_data_format as set_image_data_format
from lamina.names import get_uid as get_uid
from lamina.utils import clear_session as clear_session
from lamina.utils import is_keras_tensor as is_keras_tensor
from lamina.utils import standardize_dtype as standardize_dtype
from lamina.utils.types import is_float_dtype as is_float_dtype
from lamina.utils.types import is_int_dtype as is_int_dtype
from lamina.utils.types import result_type as result_type

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]
