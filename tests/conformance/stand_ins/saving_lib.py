"""Keras's functions that write and read files, under the names of its inside."""

from lamina.saving import load_model as load_model
from lamina.saving import load_weights as load_weights_only
from lamina.saving import save_model as save_model
from lamina.saving import save_weights as save_weights_only

__all__ = ["load_weights_only", "save_weights_only"]
