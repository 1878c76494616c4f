"""Keras's name for `lamina.optimizers`."""

from lamina.optimizers import *  # noqa: F403
