"""Keras's name for `lamina.saving`."""

from lamina.saving import *  # noqa: F403
