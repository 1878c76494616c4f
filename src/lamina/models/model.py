"""Models: layers with a way in and a way out, which can be trained, saved and described."""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import registry, serialization
from lamina._types import Array, Config, Tree
from lamina.errors import did_you_mean, invalid
from lamina.graph import FunctionOperation, Graph, KerasTensor
from lamina.layers import InputLayer, signatures
from lamina.layers.base import Layer
from lamina.layers.context import CallContext, calling, set_mask
from lamina.models import optimizing, quantizing, stepping, structures
from lamina.models.trainer import Trainer
from lamina.ops import rows
from lamina.training import checks, repeats
from lamina.training.outputs import Outputs, leaves


def is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the arguments of a constructor are the inputs and outputs of a functional model."""
    return len(args) == 2 or (len(args) == 1 and "outputs" in kwargs) or ("inputs" in kwargs and "outputs" in kwargs)


def takes_graph(cls: type) -> bool:
    """Return whether a class of models is made from inputs and outputs, as `Model` itself, or has its own arguments."""
    if cls.__init__ is Model.__init__:  # type: ignore[misc]
        return True
    found = inspect.getfullargspec(cls.__init__)  # type: ignore[misc]
    return found.args[1:] == ["inputs", "outputs", "name"] or (found.varargs is not None and found.varkw is not None)


@registry.export("models", module="keras")
class Model(Trainer, Layer):
    """A network that can be trained.

    Three ways to make one: `Model(inputs, outputs)` from stand-ins; a subclass that sets layers in `__init__` and
    writes `call`; `Sequential(layers)`.

    Args:
        inputs: Stand-ins made by `Input`, or a list or dict of them.
        outputs: Stand-ins computed from `inputs`, or a list or dict of them.
        name: Name of the model.

    Raises:
        InvalidArgumentError: If an output cannot be computed from the inputs.
    """

    _graph: Graph | None = None
    _has_build = True
    _takes_anything = True
    outputs_of_step: Outputs | None = None
    column_names: list[str] | None = None
    quantize = quantizing.quantize  # type: ignore[assignment]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and is_functional(args, kwargs):
            from lamina.models.functional import Functional

            return super().__new__(Functional)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not is_functional(args, kwargs):
            super().__init__(*args, **kwargs)
            return
        given = dict(zip(("inputs", "outputs", "name"), args, strict=False)) | kwargs
        inputs, outputs = given.pop("inputs"), given.pop("outputs")
        super().__init__(**given)
        self._connect(inputs, outputs)
        if "trainable" in given:
            self.trainable = given["trainable"]  # of its layers too

    def _connect(self, inputs: Tree, outputs: Tree) -> None:
        """Make the model the graph between `inputs` and `outputs`."""
        for name, tree in (("inputs", inputs), ("outputs", outputs)):
            for leaf in leaves(tree):
                if not isinstance(leaf, KerasTensor):
                    raise invalid(
                        f"All `{name}` values must be KerasTensors.",
                        owner=f"Model `{self.name}`",
                        received=f"{name}={tree!r} including invalid value {leaf!r} of type {type(leaf)}",
                        fix="make inputs with `Input(shape)` and outputs by calling layers on them.",
                    )
        self._graph = _with_inputs(Graph(inputs, outputs))
        self.built = True

    # ---- parts

    def _sublayers(self) -> list[Any]:
        found: dict[int, Any] = {id(layer): layer for layer in self._graph_layers()}
        found.update((id(layer), layer) for layer in super()._sublayers())
        return list(found.values())

    def _graph_layers(self) -> list[Layer]:
        return [op for op in self._graph.operations if isinstance(op, Layer)] if self._graph is not None else []

    @property
    def layers(self) -> list[Layer]:
        """Its layers, from the inputs to the outputs."""
        own: list[Any] = list(super()._sublayers())
        return self._graph_layers() or own

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError("`Model.layers` attribute is reserved and should not be used. Please use another name.")

    @property
    def operations(self) -> list[Any]:
        """The layers and functions of its graph, from the inputs to the outputs."""
        return list(self._need_graph("operations").operations)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place.

        Raises:
            InvalidArgumentError: If there is none, with the nearest names.
        """
        if (name is None) == (index is None):
            raise invalid(
                "Provide either a layer name or layer index, not both or none.", received=f"name={name}, index={index}"
            )
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise invalid(
                    f"Was asked to retrieve layer at index {index} but model only has {len(layers)} layers.",
                    owner=f"Model `{self.name}`",
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise invalid(
            f"No such layer: {name}. Existing layers are: {[layer.name for layer in layers][:20]}.",
            owner=f"Model `{self.name}`",
            fix=did_you_mean(str(name), [layer.name for layer in layers]),
        )

    @property
    def inputs(self) -> list[KerasTensor]:
        """The stand-ins of its inputs."""
        return list(self._need_graph("inputs").inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The stand-ins of its outputs."""
        return list(self._need_graph("outputs").outputs)

    @property
    def input(self) -> Tree:
        """The stand-ins of its inputs, in the structure in which they were given."""
        return self._need_graph("input").inputs_struct

    @property
    def output(self) -> Tree:
        """The stand-ins of its outputs, in the structure in which they were given."""
        return self._need_graph("output").outputs_struct

    @property
    def input_shape(self) -> Tree:
        """Shape of the input, or a list of shapes."""
        shapes = [x.shape for x in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Tree:
        """Shape of the output, or a list of shapes."""
        shapes = [x.shape for x in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return [x.name for x in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the layers that make the outputs."""
        return [x._keras_history.operation.name for x in self.outputs]

    def _need_graph(self, what: str) -> Graph:
        if self._graph is None:
            raise AttributeError(
                f"Model `{self.name}` has no `{what}`: "
                + ("it is a subclassed model." if type(self) is not Model and self.built else "it is not built yet.")
            )
        return self._graph

    # ---- calling

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self._graph is None:
            raise NotImplementedError(f"Model {type(self).__name__} does not have a `call()` method implemented.")
        inputs = args[0] if args else kwargs.get("inputs")
        mask = kwargs.get("mask")
        return self._run_graph(self._graph, inputs, mask)

    def _run_graph(self, graph: Graph, inputs: Tree, mask: Any) -> Tree:
        flat = self.name_inputs(inputs)
        if flat is None:
            raise invalid(
                f"The structure of `inputs` doesn't match the expected structure: {[x.name for x in graph.inputs]}.",
                owner=f"Model `{self.name}`",
                received=f"{len(leaves(inputs))} arrays",
            )
        ready = []
        masks = leaves(mask) if mask is not None else [None] * len(flat)
        for tensor, value, one in zip(graph.inputs, flat, masks, strict=False):
            if value is not None and not isinstance(value, KerasTensor):
                value = jnp.asarray(value, jnp.dtype(tensor.dtype))
                value = structures.squeezed(value, tensor.shape)
            if one is not None:
                set_mask(value, one)
            ready.append(value)
        return graph.run(ready)

    def _check_input(self, value: Any) -> None:
        if self._graph is None:
            super()._check_input(value)
            return
        if self.input_spec is not None:
            super()._check_input(value)
        flat = self.name_inputs(value)
        if flat is not None:
            structures.check_optional(self._graph, flat, f"Model `{self.name}`")
            for tensor, array in zip(self._graph.inputs, flat, strict=True):
                if array is not None and hasattr(array, "shape"):
                    _check_call(self, tensor, array)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Tree:
        """Return stand-ins for the outputs on stand-ins."""
        graph = self._graph
        if graph is None or type(self).call not in (Model.call, _sequential_call()):
            return super().compute_output_spec(*args, **kwargs)
        flat = self.name_inputs(args[0] if args else kwargs.get("inputs"))
        if flat is not None and all(
            x is None or tuple(x.shape) == t.shape for x, t in zip(flat, graph.inputs, strict=True)
        ):
            return jax.tree.map(lambda t: KerasTensor(t.shape, dtype=t.dtype), graph.outputs_struct)
        return graph.run(flat or [], lambda op, a, k: op.compute_output_spec(*a, **k))

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape, e.g. `(None, 784)`; for several a list or dict of shapes."""
        if self._graph is not None:
            self.built = True
            return
        stand_in = jax.tree.map(
            lambda shape: KerasTensor(shape, dtype=self.compute_dtype), input_shape, is_leaf=signatures.is_shape
        )
        self.built = True
        with calling(CallContext(training=False)):
            Layer.compute_output_spec(self, stand_in)

    # ---- what the training room asks

    def input_specs(self) -> list[KerasTensor] | None:
        """Return the stand-ins of the inputs, or None if they are not known."""
        return self._graph.inputs if self._graph is not None else None

    def name_inputs(self, x: Tree) -> list[Any] | None:
        """Return the arrays of `x` in the order of the model's inputs, or None if they are not as many."""
        graph = self._graph
        if graph is None:
            return None
        flat = structures.in_order(graph, x)
        if flat is not None:
            structures.say_once(self, graph, x)
        return flat

    def pack_inputs(self, flat: Sequence[Any]) -> Tree:
        """Return arrays in the order of the inputs in the structure that `call` takes."""
        graph = self._graph
        if graph is None or (len(flat) == 1 and not isinstance(graph.inputs_struct, dict | list | tuple)):
            return flat[0]
        return jax.tree.unflatten(jax.tree.structure(graph.inputs_struct), flat)

    def vary(self, shape: tuple[int, ...]) -> bool:
        """Let the input have this shape too, if nobody said which it has. Return whether it may."""
        del shape
        return False

    def first_layer_after(self, tensor: KerasTensor) -> Layer | None:
        """Return the first layer with weights that an input goes into."""
        graph = self._graph
        for node in graph.nodes if graph is not None else ():
            if any(t is tensor for t in node.input_tensors) and isinstance(node.operation, Layer):
                return node.operation
        return None

    def names_of_outputs(self) -> list[str] | None:
        """Return the names of the outputs, or None if they have none."""
        return self.output_names if self._graph is not None else None

    def build_for(self, x: Tree) -> None:
        """Build the model for a batch of these specs, if it is not built."""
        if self.built and all(layer.built for layer in self._flatten_layers()):
            return
        self._outputs_for(x)

    def output_specs(self, x: Tree) -> Tree:
        """Return shapes and types of the outputs for a batch of these specs."""
        return self._outputs_for(x)

    def concrete_outputs(self, x: Tree) -> Tree:
        """Return shapes and types of the outputs for a batch of these specs, all sizes known."""
        return self._outputs_for(x)

    def _outputs_for(self, x: Tree) -> Tree:
        key = (jax.tree.structure(x), tuple((s.shape, str(s.dtype)) for s in jax.tree.leaves(x)), self.built)
        known = self.__dict__.get("_known_outputs")
        if known is None or known[0] != key:

            def run(inputs: Tree) -> Tree:
                with calling(CallContext(training=False, collecting=True)) as context:
                    outputs = self.call_in_step(inputs, training=False)
                    self._adds = bool(context.losses)
                    return outputs

            found = repeats.traced(self, run, x)
            known = self._known_outputs = ((*key[:2], self.built), found)
        return known[1]  # not the attribute: another thread may have asked for other shapes meanwhile

    def adds_losses(self) -> bool:
        """Return whether layers add losses of their own."""
        return bool(self._adds or self._penalties())

    _adds = False

    @property
    def rowwise(self) -> bool:  # type: ignore[override]
        """Whether each row of the outputs depends on that row of the inputs alone, as far as the library can know."""
        graph = self._graph
        return graph is not None and self.is_plain_graph and all(_keeps_rows(op) for op in graph.operations)

    @property
    def is_plain_graph(self) -> bool:
        """Whether its graph says all that a call does."""
        return self._graph is not None and type(self).call in (Model.call, _sequential_call())

    def build_optimizer(self) -> None:
        """Build the optimizer for the weights that are trainable now."""
        optimizing.build(self)

    def call_in_step(self, x: Tree, training: bool) -> Tree:
        """Return the outputs for a batch, inside a step."""
        return self(x, training=training)

    def loss_in_step(self, *args: Any) -> Array:
        """Return the loss of a batch, inside a step."""
        return stepping.loss_in_step(self, *args)

    def metrics_in_step(self, *args: Any) -> None:
        """Add a batch to the metrics, inside a step."""
        stepping.metrics_in_step(self, *args)

    def predict_in_step(self, x: Tree) -> Tree:
        """Return the outputs of `predict` for a batch, inside a step."""
        if not self.has_own_step("predict_step"):
            return self(x, training=False)
        variables = self.trainable_variables, self.non_trainable_variables
        outputs, stats = self.predict_step(([v.value for v in variables[0]], [v.value for v in variables[1]]), (x,))
        for variable, array in zip(variables[1], stats, strict=True):
            variable.assign(array)
        return outputs

    # ---- description and files

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print the layers, their output shapes, parameters, work and memory; see `lamina.models.summary`."""
        from lamina.models.summary import print_summary

        print_summary(self, *args, **kwargs)

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """Write the model to a `.keras` file, or of another kind; see `lamina.saving.save_model`."""
        from lamina import saving

        saving.save_model(self, filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def export(self, filepath: Any, format: str | None = None, **options: Any) -> tuple[str, ...]:
        """Write a file of another framework and return what is to be known of it; see `lamina.saving.export`."""
        from lamina import saving

        return saving.export(self, filepath, format, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the weights to a `.weights.h5` file."""
        from lamina import saving

        saving.save_weights(self, filepath, overwrite=overwrite, **kwargs)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read the weights of a file: all of them, or none if one does not fit."""
        from lamina import saving

        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """Return the model's architecture as JSON."""
        import json

        return json.dumps(serialization.serialize(self), **kwargs)

    def get_config(self) -> Config:
        """Return what makes an equal model: the layers and how they are connected, or the constructor's arguments."""
        if self._graph is None or not takes_graph(type(self)):
            return super().get_config()
        from lamina.saving.functional import functional_config

        return functional_config(self)

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Any:
        """Return the model that `get_config` described."""
        if not {"layers", "input_layers", "output_layers"} <= set(config) or not takes_graph(cls):
            with registry.custom_object_scope(custom_objects or {}):
                return super().from_config(config)
        from lamina.saving.functional import functional_from_config

        inputs, outputs, name, trainable = functional_from_config(config, custom_objects)
        own = {"name", "trainable", "layers", "input_layers", "output_layers"}
        more = {key: serialization.decode(value) for key, value in config.items() if key not in own}
        model = cls(inputs, outputs, name=name, **more)
        if not trainable:
            model.trainable = False
        return model

    def get_build_config(self) -> Config | None:
        """Return the shapes with which it was built, or None."""
        made_of_stand_ins = self._graph is not None and not hasattr(self, "_chain")
        return {"input_shape": None} if made_of_stand_ins else super().get_build_config()

    def build_from_config(self, config: Config) -> None:
        """Build it with the shapes that `get_build_config` gave."""
        if config and config.get("input_shape") is not None and not self.built:
            self.build(config["input_shape"])

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: v
            for k, v in super().__getstate__().items()
            if k not in ("_programs", "_known_outputs", "_turns", "history")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._graph is not None:
            self._graph.attach()


def _with_inputs(graph: Graph) -> Graph:
    """Return a graph that begins at `Input`s: where it is cut out of another, new ones stand in place of the cuts."""

    def fresh(tensor: KerasTensor) -> KerasTensor:
        history = tensor._keras_history
        if history is None or history.operation._inbound_nodes[history.node_index].is_input:
            return tensor
        entry: KerasTensor = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"{tensor.name}CLONE").output
        return entry

    inputs = jax.tree.map(fresh, graph.inputs_struct)
    flat = jax.tree.leaves(inputs)
    if all(new is old for new, old in zip(flat, graph.inputs, strict=True)):
        return graph
    return Graph(inputs, graph.run(flat))


def _sequential_call() -> Any:
    from lamina.models.sequential import Sequential

    return Sequential.call


def _keeps_rows(operation: Any) -> bool:
    if isinstance(operation, FunctionOperation):
        return all(rows.keeps_rows(operation.function, node.args, node.kwargs) for node in operation._inbound_nodes)
    return isinstance(operation, InputLayer) or bool(operation.rowwise)


def _check_call(model: Model, tensor: KerasTensor, array: Any) -> None:
    shape, wanted = tuple(array.shape), tensor.shape
    if len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif len(shape) == len(wanted) - 1 and wanted[-1:] == (1,):
        shape = (*shape, 1)
    fits = len(shape) == len(wanted) and all(
        want is None or size is None or want == size for want, size in zip(wanted[1:], shape[1:], strict=True)
    )
    if not fits and not model.vary(shape):
        checks.raise_shape(model, tensor, array, "inputs")
