"""Optimizers: Keras's classes, slots and numbers over pure update rules."""

from typing import Any

from lamina import registry, serialization
from lamina._types import Config
from lamina.optimizers import schedules
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam, ScheduleFreeAdamW
from lamina.optimizers.adaptive import Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from lamina.optimizers.base import Optimizer
from lamina.optimizers.loss_scale_optimizer import LossScaleOptimizer
from lamina.optimizers.momentum import SGD, Lion, Muon
from lamina.optimizers.multi_optimizer import MultiOptimizer, OptimizerMap
from lamina.optimizers.optax_optimizer import OptaxOptimizer, is_transformation

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "LossScaleOptimizer",
    "MultiOptimizer", "Muon", "Nadam", "OptaxOptimizer", "Optimizer", "OptimizerMap", "RMSprop", "ScheduleFreeAdamW",
    "deserialize", "get", "schedules", "serialize",
]  # fmt: skip


def serialize(optimizer: Optimizer) -> Config:
    """Return an optimizer's class and arguments, without its state, as plain dicts."""
    return serialization.serialize(optimizer)  # type: ignore[no-any-return]


def deserialize(config: Config, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the optimizer that a config describes. Names of the library's classes may be in any case."""
    name = config.get("class_name")
    if isinstance(name, str):
        config = {**config, "class_name": _any_case(name)}
    return serialization.get("optimizers", config, "optimizer", custom_objects)


def get(identifier: Any) -> Any:
    """Return the optimizer that a name, a config, a class, an optimizer or an optax transformation stands for.

    Raises:
        InvalidArgumentError: If it stands for none, with the nearest names.
    """
    if isinstance(identifier, dict):
        found = deserialize(identifier)
    elif not isinstance(identifier, Optimizer) and is_transformation(identifier):
        found = OptaxOptimizer(identifier)
    else:
        name = _any_case(identifier) if isinstance(identifier, str) else identifier
        found = serialization.get("optimizers", name, "optimizer")
    if found is not None and not isinstance(found, Optimizer):
        raise registry.unknown("optimizers", identifier, "optimizer")
    return found


def _any_case(name: str) -> str:
    """Return the registered name that differs from `name` in case only, or `name`."""
    if registry.find("optimizers", name) is not None:
        return name
    lower = name.lower()
    return next((known for known in registry.names("optimizers") if known.lower() == lower), name)
