"""Keras's older place for the padding of sequences."""

from lamina.keras.preprocessing import sequence as sequence
