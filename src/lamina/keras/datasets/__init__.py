"""Keras's name for `lamina.datasets`."""

from lamina.keras.datasets import mnist as mnist
