"""Keras's name for `lamina.losses`."""

from lamina.losses import *  # noqa: F403
