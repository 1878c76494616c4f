"""Keras's name for `lamina.optimizers.schedules`."""

from lamina.optimizers.schedules import *  # noqa: F403
