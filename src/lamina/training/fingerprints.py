"""What a layer computes, apart from the values of its variables, as something that can be compared.

Two layers of one fingerprint give the same program. Everything that a layer holds counts, except its name, its place
in a graph and what only filled its weights; what cannot be looked into is only like itself.
"""

import functools
import types
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina.graph import FunctionOperation, Graph, KerasTensor, Node
from lamina.initializers import Initializer
from lamina.layers.base import Layer
from lamina.metrics import Metric
from lamina.random import SeedGenerator
from lamina.variables import Variable

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type)
_MACHINERY = frozenset(
    ["name", "_path", "_inbound_nodes", "_outbound_nodes", "_losses", "_arguments", "_called", "_building", "runs"]
)
_TRAINER = frozenset(
    ["_chain", "_made", "_tail", "_used",
     "_programs", "_turns", "history", "_known_outputs", "outputs_of_step", "optimizer", "loss", "compiled",
     "_compile_loss", "_compile_metrics", "_compile_config", "_loss_tracker", "stop_training", "steps_per_execution",
     "batch_seconds", "run_eagerly", "jit_compile", "column_names", "_adds", "remat"]
)  # fmt: skip
_SMALL = 4096  # bytes of an array that is compared by its values


class Print(NamedTuple):
    """The fingerprint of an operation and the variables that it leaves open, in the order in which they were met."""

    key: Any
    variables: tuple[Variable, ...]

    def same(self, other: "Print") -> bool:
        """Return whether both give the same program."""
        return bool(self.key == other.key)


class Prints:
    """The fingerprints of the layers of a model."""

    def __init__(self) -> None:
        self._alive: list[Any] = []  # what is compared by its identity must not go, or another could take its place

    def lone(self) -> Print:
        """Return a fingerprint like no other."""
        return Print(object(), ())

    def of(self, operation: Any) -> Print:
        """Return the fingerprint of a layer or a function of a graph."""
        walk = _Walk(self)
        key = walk.value(operation)
        return self.lone() if walk.odd else Print(key, tuple(walk.variables))

    def of_node(self, node: Node) -> Print:
        """Return the fingerprint of a use of an operation: with its other arguments and the shapes of its outputs."""
        own = self.of(node.operation)
        walk = _Walk(self)
        call = walk.call(node)
        return self.lone() if walk.variables else Print((own.key, call), own.variables)


class _Walk:
    """One walk through an operation."""

    def __init__(self, prints: Prints) -> None:
        self.prints = prints
        self.variables: list[Variable] = []
        self.odd = False  # whether it holds what no other may stand for
        self._met: dict[int, int] = {}

    def value(self, value: Any) -> Any:
        """Return what stands for a value."""
        if isinstance(value, _PLAIN):
            return type(value), value
        if id(value) in self._met:
            return "met", self._met[id(value)]
        if isinstance(value, Initializer):
            return "initializer"
        if isinstance(value, list | tuple | dict | set | frozenset):
            return self._container(value)
        self._met[id(value)] = len(self._met)
        self.prints._alive.append(value)
        if isinstance(value, Variable):
            return self._variable(value)
        if isinstance(value, SeedGenerator):
            return SeedGenerator, self.value(value.state)
        if isinstance(value, Layer):
            return self._layer(value)
        if isinstance(value, Graph):
            return self._graph(value)
        if isinstance(value, FunctionOperation):
            return FunctionOperation, self.value(value.function)
        if isinstance(value, Metric):
            self.odd = True
        return self._other(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            return type(value), tuple((self.value(k), self.value(v)) for k, v in value.items())
        if isinstance(value, set | frozenset):
            plain = all(isinstance(item, _PLAIN) for item in value)
            return type(value), frozenset(value) if plain else id(value)
        return type(value), tuple(map(self.value, value))

    def _variable(self, variable: Variable) -> Any:
        self.variables.append(variable)
        flags = (variable.trainable, variable.born_trainable, variable.autocast, variable.overwrite_with_gradient)
        rules = self.value(variable.regularizer), self.value(variable.constraint)
        if variable.overwrite_with_gradient:
            self.odd = True
        return Variable, variable.shape, variable._dtype, flags, rules

    def _layer(self, layer: Layer) -> Any:
        left_out = _MACHINERY | _TRAINER if hasattr(type(layer), "fit") else _MACHINERY
        if type(layer).__module__.startswith("lamina."):
            left_out |= {"seed"}  # it only made the generator
        weights = tuple(map(self.value, layer._weights))
        own = {key: value for key, value in layer.__dict__.items() if key not in left_out and key != "_weights"}
        graph = getattr(layer, "_graph", None)
        if graph is not None:
            own["_graph"] = graph
        return type(layer), weights, tuple((key, self.value(own[key])) for key in sorted(own))

    def _graph(self, graph: Graph) -> Any:
        made: dict[int, int] = {}
        rows = []
        for node in graph.nodes:
            sources = tuple(made.get(id(tensor), -1) for tensor in node.input_tensors)
            rows.append((self.value(node.operation), self.call(node), sources))
            for tensor in node.output_tensors:
                made.setdefault(id(tensor), len(made))
        return (
            tuple(rows),
            tuple(made.get(id(t), -1) for t in graph.outputs),
            str(jax.tree.structure(graph.outputs_struct)),
        )

    def call(self, node: Node) -> Any:
        """Return what stands for the arguments of a node, whatever the arrays, and for the shapes of its outputs."""
        leaves, structure = jax.tree.flatten((node.args, node.kwargs))
        given = tuple("array" if isinstance(leaf, KerasTensor) else self.value(leaf) for leaf in leaves)
        return given, structure, tuple((t.shape, t.dtype) for t in node.output_tensors if t is not None)

    def _other(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.nbytes <= _SMALL and value.dtype != object:
            return np.ndarray, value.shape, value.dtype.str, value.tobytes()
        if isinstance(value, types.FunctionType):
            cells = tuple(self.value(cell.cell_contents) for cell in value.__closure__ or ())
            more = self.value(value.__defaults__), self.value(value.__kwdefaults__), id(value.__globals__)
            return types.FunctionType, value.__code__, cells, more
        if isinstance(value, functools.partial):
            return functools.partial, self.value(value.func), self.value(value.args), self.value(value.keywords)
        if type(value).__module__.startswith("lamina.") and hasattr(value, "__dict__"):
            return type(value), tuple((key, self.value(item)) for key, item in sorted(value.__dict__.items()))
        return "itself", id(value)
