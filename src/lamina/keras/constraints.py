"""Keras's name for `lamina.constraints`."""

from lamina.constraints import *  # noqa: F403
