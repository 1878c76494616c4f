"""Tables: networks that stand beside boosted trees, for columns of any kind.

The estimators need scikit-learn; `load` and what it returns do not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.tabular.estimators import DenseClassifier as DenseClassifier
    from lamina.tabular.estimators import DenseRegressor as DenseRegressor
    from lamina.tabular.predictor import Predictor as Predictor
    from lamina.tabular.predictor import load as load
    from lamina.tabular.predictor import save as save

_NAMES = {
    "DenseClassifier": "lamina.tabular.estimators",
    "DenseRegressor": "lamina.tabular.estimators",
    "Predictor": "lamina.tabular.predictor",
    "load": "lamina.tabular.predictor",
    "save": "lamina.tabular.predictor",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'lamina.tabular' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
