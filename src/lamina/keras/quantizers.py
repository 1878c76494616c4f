"""Keras's name for `lamina.quantizers`."""

from lamina.quantizers import *  # noqa: F403
