"""Private attributes of Keras's classes that its tests read, on lamina's classes."""

from typing import Any

from lamina import layers
from lamina.models import Model, Sequential
from lamina.models.functional import Functional


def _functional(model: Any) -> Any:
    graph = model._graph
    return None if graph is None else Functional(graph.inputs_struct, graph.outputs_struct)


def install() -> None:
    """Give lamina's classes these attributes."""
    Model._operations = property(lambda model: model.operations)  # type: ignore[attr-defined]
    Sequential._functional = property(_functional)  # type: ignore[attr-defined]
    layers.Dense._kernel = property(lambda layer: layer.kernel)  # type: ignore[attr-defined]
    layers.EinsumDense._kernel = property(lambda layer: layer.kernel)  # type: ignore[attr-defined]
    layers.Embedding._embeddings = property(lambda layer: layer.embeddings)  # type: ignore[attr-defined]
