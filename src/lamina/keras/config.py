"""Keras's name for `lamina.config`, with the default policy."""

from lamina.config import *  # noqa: F403
from lamina.dtype_policies import dtype_policy as dtype_policy
from lamina.dtype_policies import set_dtype_policy as set_dtype_policy
