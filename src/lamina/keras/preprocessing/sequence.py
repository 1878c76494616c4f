"""Keras's older place for the padding of sequences."""

from lamina.utils import pad_sequences as pad_sequences
