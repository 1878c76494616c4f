"""Private attributes of Keras's classes that its tests read, on lamina's classes."""

from typing import Any

from lamina.distillation import Distiller
from lamina.layers import EinsumDense
from lamina.models import Model, Sequential
from lamina.models.functional import Functional


def _functional(model: Any) -> Any:
    graph = model._graph
    return None if graph is None else Functional(graph.inputs_struct, graph.outputs_struct)


def install() -> None:
    """Give lamina's classes these attributes."""
    for number, who in enumerate(("teacher", "student")):
        inside = property(lambda distiller, number=number: distiller.__dict__["_inside"][number])
        setattr(Distiller, f"_{who}_feature_extractor", inside)
    Model._operations = property(lambda model: model.operations)  # type: ignore[attr-defined]
    Sequential._functional = property(_functional)  # type: ignore[attr-defined]
    EinsumDense._int4_unpacked_column_size = property(lambda layer: layer._orig_output_dim)  # type: ignore[attr-defined]
