"""Keras's name for `lamina.metrics`."""

from lamina.metrics import *  # noqa: F403
