"""Keras's name for `lamina.ops`."""

from lamina.ops import *  # noqa: F403
from lamina.ops import __getattr__ as __getattr__
