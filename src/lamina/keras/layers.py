"""Keras's name for `lamina.layers`."""

from lamina.layers import *  # noqa: F403
