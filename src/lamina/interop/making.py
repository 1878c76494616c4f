"""Making a `Net` out of another framework's graph, one Keras layer at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, message
from lamina.interop.net import Net

Shape = tuple[int, ...]


@dataclass
class Making:
    """The layers made so far. A value is named by the layer that gives it.

    Attributes:
        name: Name of the model.
        shapes: Shape of a sample of each value.
        notes: What cannot be held, for the user.
        room: Bytes that weights and settings may still take: a file that names one array a thousand times is refused.
    """

    name: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    room: int = 1 << 26
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def take(self, size: int) -> None:
        """Count bytes that are held beside the file's own.

        Raises:
            FileFormatError: If they are more than an honest file needs.
        """
        self.room -= size
        if self.room < 0:
            raise FileFormatError(
                message("The file uses the same weights so often that the model would be far larger than the file.")
            )

    def free(self, name: str) -> str:
        """Return a name for a layer: without slashes, and not taken."""
        plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("_.-") or "layer"
        found = base = plain[:100]
        while found in self.entries:
            self._numbers[base] = number = self._numbers.get(base, 0) + 1
            found = f"{base}_{number}"
        return found

    def input(self, name: str, shape: Shape) -> str:
        """Add an input and return its value."""
        own = self.free(name)
        config = {"name": own, "batch_shape": [None, *shape], "dtype": "float32"}
        self._add(own, {"module": "keras.layers", "class_name": "InputLayer", "config": config}, [])
        self.inputs.append(own)
        self.shapes[own] = shape
        return own

    def layer(
        self,
        kind: str,
        inputs: Sequence[str],
        shape: Shape,
        config: dict[str, Any] | None = None,
        weights: Sequence[np.ndarray] = (),
        name: str = "",
    ) -> str:
        """Add a layer and return its value."""
        own = self.free(name or kind)
        entry = {"module": "keras.layers", "class_name": kind, "config": {"name": own, **(config or {})}}
        given = [self._stand_in(x) for x in inputs]
        self._add(own, entry, [{"args": [given if len(given) > 1 else given[0]], "kwargs": {}}])
        if len(weights):
            self.take(sum(w.nbytes for w in weights))
            self.weights[own] = tuple(np.ascontiguousarray(w) for w in weights)
        self.shapes[own] = shape
        return own

    def function(self, module: str, kind: str, args: Sequence[Any], shape: Shape, name: str = "") -> str:
        """Add an array function, e.g. `("numpy", "Divide", [value, 2.0])`, and return its value."""
        own = self.free(name or kind)
        entry = {"module": f"keras.src.ops.{module}", "class_name": kind, "config": {"name": own}}
        given = [self._stand_in(x) if isinstance(x, str) else x for x in args]
        self._add(own, {**entry, "registered_name": kind}, [{"args": given, "kwargs": {}}])
        self.shapes[own] = shape
        return own

    def _add(self, own: str, entry: dict[str, Any], nodes: list[Any]) -> None:
        self.entries[own] = {"registered_name": None, **entry, "name": own, "inbound_nodes": nodes}

    def _stand_in(self, value: str) -> dict[str, Any]:
        inner = {"shape": [None, *self.shapes[value]], "dtype": "float32", "keras_history": [value, 0, 0]}
        return {"class_name": "__keras_tensor__", "config": inner}

    def last(self, value: str) -> dict[str, Any]:
        """Return the entry of the layer that gives a value; its config may still be changed."""
        return self.entries[value]

    def net(self, outputs: Sequence[str]) -> Net:
        """Return what was made; a chain of layers is a Sequential."""
        notes, entries = tuple(self.notes), list(self.entries.values())
        chain = len(self.inputs) == 1 and len(outputs) == 1 and entries[-1]["name"] == outputs[0]
        for before, entry in pairwise(entries):
            args = entry["inbound_nodes"][0]["args"] if entry["inbound_nodes"] else []
            chain = chain and entry["module"] == "keras.layers" and args == [self._stand_in(before["name"])]
        if chain and len(entries) > 1:
            plain = [{k: v for k, v in one.items() if k not in ("name", "inbound_nodes")} for one in entries]
            return Net(
                {"class_name": "Sequential", "config": {"name": self.name, "layers": plain}}, self.weights, notes
            )
        config = {
            "name": self.name,
            "trainable": True,
            "layers": entries,
            "input_layers": [[name, 0, 0] for name in self.inputs],
            "output_layers": [[name, 0, 0] for name in outputs],
        }
        return Net({"class_name": "Functional", "config": config}, self.weights, notes)
