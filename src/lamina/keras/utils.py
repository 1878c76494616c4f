"""Keras's name for `lamina.utils`."""

from lamina.utils import *  # noqa: F403
