"""Models made of stand-ins: `Model(inputs, outputs)`."""

from lamina import registry
from lamina.models.model import Model


@registry.export("models", module="keras.src.models.functional")
class Functional(Model):
    """The graph of operations between stand-ins. See `Model`."""
