"""Keras's trainer as a class to mix with any layer: only its tests write a model like that."""

from typing import Any

from lamina.models import Model

_OF_THE_LAYER = ("build", "call", "compute_output_shape", "compute_output_spec", "get_config")


class JAXTrainer(Model):
    """A model that takes `call`, `build` and the like from the layer that it is mixed with."""

    layers: Any = ()
    rowwise = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        others = [base for base in cls.__mro__ if base not in JAXTrainer.__mro__]
        for name in _OF_THE_LAYER:
            owner = next((base for base in others if name in base.__dict__), None)
            if owner is not None:
                setattr(cls, name, owner.__dict__[name])

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self) -> None:
        pass
