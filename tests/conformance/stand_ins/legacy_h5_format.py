"""Keras's functions for whole models in `.h5` files, which know no ending."""

import os
import warnings
from typing import Any

from lamina.saving import legacy, legacy_write

__all__ = ["load_model_from_hdf5", "save_model_to_hdf5"]


def save_model_to_hdf5(model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
    """Write a model."""
    legacy_write.save_model(model, os.fspath(filepath), overwrite, include_optimizer)


def load_model_from_hdf5(
    filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """Read a model. Keras only logs that a file has no training configuration."""
    del safe_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return legacy.load_model(os.fspath(filepath), custom_objects, compile)
