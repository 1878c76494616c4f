"""Tools around models, under Keras's names, each imported when it is first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors
    from lamina.callbacks.progress import Progbar as Progbar
    from lamina.config import disable_interactive_logging as disable_interactive_logging
    from lamina.config import enable_interactive_logging as enable_interactive_logging
    from lamina.config import is_interactive_logging_enabled as is_interactive_logging_enabled
    from lamina.models.dot import model_to_dot as model_to_dot
    from lamina.models.plot import plot_model as plot_model
    from lamina.random import set_random_seed as set_random_seed
    from lamina.registry import CustomObjectScope as CustomObjectScope
    from lamina.registry import custom_object_scope as custom_object_scope
    from lamina.registry import get_custom_objects as get_custom_objects
    from lamina.registry import get_registered_name as get_registered_name
    from lamina.registry import get_registered_object as get_registered_object
    from lamina.registry import register_keras_serializable as register_keras_serializable
    from lamina.saving import deserialize_keras_object as deserialize_keras_object
    from lamina.serialization import serialize_keras_object as serialize_keras_object
    from lamina.training.dataset import PyDataset as PyDataset
    from lamina.utils.batches import pack_x_y_sample_weight as pack_x_y_sample_weight
    from lamina.utils.batches import unpack_x_y_sample_weight as unpack_x_y_sample_weight
    from lamina.utils.downloads import get_file as get_file
    from lamina.utils.feature_space import FeatureSpace as FeatureSpace
    from lamina.utils.named_values import Config as Config
    from lamina.utils.numerical import normalize as normalize
    from lamina.utils.numerical import to_categorical as to_categorical
    from lamina.utils.sequences import pad_sequences as pad_sequences
    from lamina.utils.session import clear_session as clear_session
    from lamina.utils.session import get_source_inputs as get_source_inputs
    from lamina.utils.session import is_keras_tensor as is_keras_tensor
    from lamina.utils.splitting import split_dataset as split_dataset
    from lamina.utils.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
    from lamina.variables import standardize_dtype as standardize_dtype

    Sequence = PyDataset

_HOMES = {
    "callbacks.progress": "Progbar",
    "config": "disable_interactive_logging enable_interactive_logging is_interactive_logging_enabled",
    "models.dot": "model_to_dot",
    "models.plot": "plot_model",
    "random": "set_random_seed",
    "registry": (
        "CustomObjectScope custom_object_scope get_custom_objects get_registered_name get_registered_object "
        "register_keras_serializable"
    ),
    "serialization": "serialize_keras_object",
    "training.dataset": "PyDataset",
    "utils.batches": "pack_x_y_sample_weight unpack_x_y_sample_weight",
    "utils.downloads": "get_file",
    "utils.feature_space": "FeatureSpace",
    "utils.named_values": "Config",
    "utils.numerical": "normalize to_categorical",
    "utils.sequences": "pad_sequences",
    "utils.session": "clear_session get_source_inputs is_keras_tensor",
    "utils.splitting": "split_dataset",
    "utils.timeseries": "timeseries_dataset_from_array",
    "variables": "standardize_dtype",
}
_PLACES = {name: (home, name) for home, names in _HOMES.items() for name in names.split()} | {
    "Sequence": ("training.dataset", "PyDataset"),
    "deserialize_keras_object": ("serialization", "deserialize"),
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name == "summary_utils":
        return importlib.import_module("lamina.models.summary")
    if name not in _PLACES:
        raise AttributeError(f"module 'lamina.utils' has no attribute {name!r}")
    home, own = _PLACES[name]
    found = getattr(importlib.import_module(f"lamina.{home}"), own)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
