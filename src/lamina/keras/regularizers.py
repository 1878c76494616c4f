"""Keras's name for `lamina.regularizers`."""

from lamina.regularizers import *  # noqa: F403
