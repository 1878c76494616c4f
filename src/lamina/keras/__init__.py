"""Keras's names for the things of this library: `from lamina import keras`, then as in a Keras script. Only aliases."""

import importlib
from typing import TYPE_CHECKING, Any

from lamina._version import __version__ as __version__

if TYPE_CHECKING:  # for editors; at run time each name is imported when it is first used
    from lamina.dtype_policies import DTypePolicy as DTypePolicy
    from lamina.dtype_policies import FloatDTypePolicy as FloatDTypePolicy
    from lamina.graph import KerasTensor as KerasTensor
    from lamina.initializers import Initializer as Initializer
    from lamina.keras import activations as activations
    from lamina.keras import backend as backend
    from lamina.keras import callbacks as callbacks
    from lamina.keras import config as config
    from lamina.keras import constraints as constraints
    from lamina.keras import datasets as datasets
    from lamina.keras import distillation as distillation
    from lamina.keras import dtype_policies as dtype_policies
    from lamina.keras import initializers as initializers
    from lamina.keras import layers as layers
    from lamina.keras import losses as losses
    from lamina.keras import metrics as metrics
    from lamina.keras import mixed_precision as mixed_precision
    from lamina.keras import models as models
    from lamina.keras import ops as ops
    from lamina.keras import optimizers as optimizers
    from lamina.keras import preprocessing as preprocessing
    from lamina.keras import quantizers as quantizers
    from lamina.keras import random as random
    from lamina.keras import regularizers as regularizers
    from lamina.keras import saving as saving
    from lamina.keras import tree as tree
    from lamina.keras import utils as utils
    from lamina.keras import wrappers as wrappers
    from lamina.layers import Input as Input
    from lamina.layers import InputSpec as InputSpec
    from lamina.layers import Layer as Layer
    from lamina.layers.remat import RematScope as RematScope
    from lamina.layers.remat import remat as remat
    from lamina.losses import Loss as Loss
    from lamina.metrics import Metric as Metric
    from lamina.models import Model as Model
    from lamina.models import Sequential as Sequential
    from lamina.names import name_scope as name_scope
    from lamina.optimizers import Optimizer as Optimizer
    from lamina.quantizers import Quantizer as Quantizer
    from lamina.regularizers import Regularizer as Regularizer
    from lamina.utils.stateless import StatelessScope as StatelessScope
    from lamina.variables import Variable as Variable

_MODULES = frozenset(
    {
        "activations", "backend", "callbacks", "config", "constraints", "datasets", "distillation",
        "dtype_policies", "initializers", "layers", "losses", "metrics", "mixed_precision", "models", "ops",
        "optimizers", "preprocessing", "quantizers", "random", "regularizers", "saving", "tree",
        "utils", "wrappers",
    }
)  # fmt: skip
_NAMES = {
    "DTypePolicy": "dtype_policies",
    "FloatDTypePolicy": "dtype_policies",
    "Initializer": "initializers",
    "Input": "layers",
    "InputSpec": "layers",
    "KerasTensor": "graph",
    "Layer": "layers",
    "Loss": "losses",
    "Metric": "metrics",
    "Model": "models",
    "Optimizer": "optimizers",
    "Quantizer": "quantizers",
    "Regularizer": "regularizers",
    "RematScope": "layers.remat",
    "Sequential": "models",
    "StatelessScope": "utils.stateless",
    "Variable": "variables",
    "name_scope": "names",
    "remat": "layers.remat",
}

# What is not here, and what to use.
_ELSEWHERE = {
    "distribution": "one device trains a model here. For several use `jax.sharding` (Mesh, NamedSharding) with "
    "`layer.stateless_call` and `optimizer.stateless_apply`.",
    "applications": "they are convolutional networks.",
    "export": "use `lamina convert` to write other kinds of files.",
    "visualization": "use `lamina.utils.plot_model` and `lamina.models.plot`.",
    "distillation": "write the loss of the student in `compute_loss` of a model of yours.",
}

__all__ = ["__version__", "version", *sorted(_NAMES), *sorted(_MODULES)]


def version() -> str:
    """Return the version of the library."""
    return __version__


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lamina.keras.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"lamina.{_NAMES[name]}"), name)
    if name in _ELSEWHERE:
        raise AttributeError(f"module 'lamina.keras' has no attribute {name!r}: {_ELSEWHERE[name]}")
    raise AttributeError(f"module 'lamina.keras' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
