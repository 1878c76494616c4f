"""Keras's name for `lamina.datasets.mnist`."""

from lamina.datasets.mnist import load_data as load_data
