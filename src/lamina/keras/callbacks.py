"""Keras's name for `lamina.callbacks`."""

from lamina.callbacks import *  # noqa: F403
