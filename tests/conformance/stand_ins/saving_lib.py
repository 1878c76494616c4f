"""Keras's functions that write and read files, under the names of its inside."""

from lamina.registry import _custom as GLOBAL_CUSTOM_OBJECTS
from lamina.registry import _custom_names as GLOBAL_CUSTOM_NAMES
from lamina.saving import load_model as load_model
from lamina.saving import load_weights as load_weights_only
from lamina.saving import save_model as save_model
from lamina.saving import save_weights as save_weights_only

__all__ = ["GLOBAL_CUSTOM_NAMES", "GLOBAL_CUSTOM_OBJECTS", "load_weights_only", "save_weights_only"]

_CONFIG_FILENAME = "config.json"
_METADATA_FILENAME = "metadata.json"
_VARS_FNAME = "model.weights"
_VARS_FNAME_H5 = "model.weights.h5"
