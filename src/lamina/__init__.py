"""Fully connected networks: the Keras API, on JAX, at the speed of the machine.

Each public name lives in the file of the same path and is imported when it is first used, so that `import lamina`
costs nothing and the command line can answer without JAX.
"""

import importlib
from typing import Any

from lamina._version import __version__ as __version__

_MODULES = frozenset(
    {
        "activations", "callbacks", "config", "constraints", "datasets", "distillation", "dtype_policies", "errors",
        "initializers", "inspect", "keras", "layers", "losses", "many", "metrics", "models", "ops", "optimizers",
        "random", "registry", "regularizers", "saving", "speed", "tabular", "tf", "training", "utils", "wrappers",
    }
)  # fmt: skip
_NAMES = {
    "Input": "lamina.layers",
    "Layer": "lamina.layers",
    "Dense": "lamina.layers",
    "Model": "lamina.models",
    "Sequential": "lamina.models",
    "KerasTensor": "lamina.graph",
    "Variable": "lamina.variables",
    "DTypePolicy": "lamina.dtype_policies",
    "set_random_seed": "lamina.random",
    "load_model": "lamina.saving",
    "save_model": "lamina.saving",
    "convert": "lamina.saving",
    "fit_many": "lamina.many",
    "tune": "lamina.many",
}

__all__ = ["__version__", *sorted(_NAMES), *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lamina.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
