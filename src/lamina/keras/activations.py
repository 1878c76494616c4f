"""Keras's name for `lamina.activations`."""

from lamina.activations import *  # noqa: F403
