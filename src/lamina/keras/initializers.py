"""Keras's name for `lamina.initializers`."""

from lamina.initializers import *  # noqa: F403
