"""Models and weights to files and back: `.keras` and `.weights.h5`, as Keras reads and writes them."""

from lamina.registry import CustomObjectScope as CustomObjectScope
from lamina.registry import custom_object_scope as custom_object_scope
from lamina.registry import get_custom_objects as get_custom_objects
from lamina.registry import get_registered_name as get_registered_name
from lamina.registry import get_registered_object as get_registered_object
from lamina.registry import register_keras_serializable as register_keras_serializable
from lamina.saving.convert import convert as convert
from lamina.saving.loading import export as export
from lamina.saving.loading import load_model as load_model
from lamina.saving.loading import save_model as save_model
from lamina.saving.weight_files import load_weights as load_weights
from lamina.saving.weight_files import save_weights as save_weights
from lamina.serialization import deserialize as deserialize_keras_object
from lamina.serialization import serialize_keras_object as serialize_keras_object

__all__ = [
    "CustomObjectScope",
    "convert",
    "custom_object_scope",
    "deserialize_keras_object",
    "export",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
