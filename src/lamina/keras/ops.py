"""Keras's name for `lamina.ops`."""

from lamina.ops import *  # noqa: F403
