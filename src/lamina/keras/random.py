"""Keras's name for `lamina.random`."""

from lamina.random import *  # noqa: F403
