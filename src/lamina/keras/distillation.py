"""Keras's name for `lamina.distillation`."""

from lamina.distillation import *  # noqa: F403
