"""Models made of stand-ins: `Model(inputs, outputs)`."""

from typing import Any, Self

from lamina import registry
from lamina._types import Config
from lamina.models.model import Model


@registry.export("models", module="keras.src.models.functional")
class Functional(Model):
    """The graph of operations between stand-ins. See `Model`."""

    def get_config(self) -> Config:
        """Return the layers and how they are connected."""
        from lamina.saving.functional import functional_config

        return functional_config(self)

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model that `get_config` described."""
        from lamina.saving.functional import functional_from_config

        inputs, outputs, name, trainable = functional_from_config(config, custom_objects)
        model = cls(inputs, outputs, name=name)
        if trainable is not None and not trainable:
            model.trainable = False
        return model
