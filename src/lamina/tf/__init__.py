"""The few names of TensorFlow that a script about fully connected networks uses: `import lamina.tf as tf`.

Only aliases: arrays are JAX arrays, their shapes plain tuples. There is no graph, no session and no tape; gradients
are `jax.grad`'s.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lamina._version import __version__ as __version__
from lamina.errors import nearest

if TYPE_CHECKING:  # for editors; at run time each name is imported when it is first used
    from jax import Array as Tensor

    from lamina import keras as keras
    from lamina.tf import errors as errors
    from lamina.tf import math as math
    from lamina.tf import nn as nn
    from lamina.tf import random as random
    from lamina.tf.arrays import *  # noqa: F403
    from lamina.tf.math import *  # noqa: F403
    from lamina.tf.types import *  # noqa: F403
    from lamina.variables import Variable as Variable

_MODULES = frozenset({"errors", "math", "nn", "random"})
_HOMES = {
    "tf.arrays": (
        "argmax argmin cast clip_by_value concat constant convert_to_tensor expand_dims eye fill gather identity "
        "linspace matmul norm one_hot ones ones_like range rank reduce_all reduce_any reduce_max reduce_mean "
        "reduce_min reduce_prod reduce_sum reshape shape size squeeze stack tensordot tile transpose where zeros "
        "zeros_like"
    ),
    "tf.math": (
        "abs add cos divide equal exp floor greater greater_equal less less_equal logical_and logical_not logical_or "
        "maximum minimum multiply negative not_equal pow round sigmoid sign sin sqrt square subtract tan tanh"
    ),
    "tf.types": ("bfloat16 bool double float16 float32 float64 half int16 int32 int64 int8 uint16 uint32 uint64 uint8"),
    "ops": "is_tensor stop_gradient",
    "variables": "Variable",
}
_PLACES = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = ["Tensor", "__version__", "keras", *sorted(_MODULES), *sorted(_PLACES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lamina.tf.{name}")
    if name == "keras":
        return importlib.import_module("lamina.keras")
    if name == "Tensor":
        return importlib.import_module("jax").Array
    if name in _PLACES:
        return getattr(importlib.import_module(f"lamina.{_PLACES[name]}"), name)
    close = ", ".join(f"`tf.{one}`" for one in nearest(name, __all__))
    hint = "Gradients are `jax.grad`'s. " if name == "GradientTape" else ""
    raise AttributeError(
        f"module 'lamina.tf' has no attribute {name!r}: it has only the names that scripts about fully connected "
        f"networks use. {hint}{f'Near it are {close}.' if close else ''}".rstrip()
    )


def __dir__() -> list[str]:
    return __all__
