"""Keras's name for `lamina.dtype_policies`."""

from lamina.dtype_policies import *  # noqa: F403
