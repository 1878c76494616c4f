"""A model as plain data, between any two file formats."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Net:
    """What a file says of a model: no class, no code, no device.

    Attributes:
        config: `{"class_name": "Sequential" or "Functional", "config": {...}}`, as in the `config.json` of a `.keras`
            file.
        weights: Arrays of each layer that has any, by the name of the layer (`outer/inner` inside a nested model), in
            the order of `layer.weights`.
        notes: What the file holds that this description cannot, a sentence each; shown to the user, never dropped.
    """

    config: dict[str, Any]
    weights: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
