"""Models made of stand-ins: `Model(inputs, outputs)`."""

from typing import Any

from lamina import registry
from lamina.models.model import Model


class _MadeOfStandIns(type):
    """Counts every model that was made from inputs and outputs as a functional one, whatever its class."""

    def __instancecheck__(cls, thing: Any) -> bool:
        if super().__instancecheck__(thing):
            return True
        own = cls.__dict__.get("_is_functional", False) and isinstance(thing, Model)
        return own and thing._graph is not None and not hasattr(thing, "_chain")


@registry.export("models", module="keras.src.models.functional")
class Functional(Model, metaclass=_MadeOfStandIns):
    """The graph of operations between stand-ins. See `Model`."""

    _is_functional = True
