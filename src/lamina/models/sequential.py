"""Models that are a chain of layers."""

import inspect
from typing import Any, Self

from lamina import names, registry, serialization
from lamina._types import Config
from lamina.errors import invalid
from lamina.graph import Graph, KerasTensor
from lamina.layers import InputLayer
from lamina.layers.base import Layer
from lamina.models.model import Model


@registry.export("models", module="keras")
class Sequential(Model):
    """A chain of layers: the output of each is the input of the next.

    Args:
        layers: The layers; the first may be `Input(shape)`. Without it the model is built at its first call, at `build`
            or by `fit`.
        trainable: Whether its weights may be trained.
        name: Its name.

    Raises:
        InvalidArgumentError: If something in `layers` is no layer, or two have one name.
    """

    _made: Graph | None = None
    _tail: Any = None  # what the last layer gives, if the chain begins with an input

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None) -> None:
        Layer.__init__(self, name=name)
        self._chain: list[Layer] = []
        self._used: set[str] = set()  # names of layers; what is renamed later is found when the graph is made
        self._guessed = False  # whether the input's shape is that of the first data, not one that was said
        for layer in layers or []:
            self.add(layer, rebuild=False)
        self._build_if_known()
        if not trainable:
            self.trainable = False

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer."""
        if isinstance(layer, KerasTensor):
            layer = layer._keras_history.operation
        if not isinstance(layer, Layer):
            raise invalid(
                "Only instances of `keras.Layer` can be added to a Sequential model.",
                owner=f"Sequential `{self.name}`",
                received=f"{layer!r} (of type {type(layer)})",
                fix="call the class: `Dense(10)`, not `Dense`."
                if isinstance(layer, type)
                else "wrap a function in a `Lambda`.",
            )
        shape = getattr(layer, "_input_shape_arg", None)
        if not self._chain and shape is not None and not isinstance(layer, InputLayer):
            self.add(InputLayer(shape=shape), rebuild=False)
        if layer.name in self._used and any(layer.name == other.name for other in self._chain):
            raise invalid(
                "All layers added to a Sequential model should have unique names. "
                f"Name '{layer.name}' is already the name of a layer in this model.",
                owner=f"Sequential `{self.name}`",
                fix="pass another `name`.",
            )
        if isinstance(layer, InputLayer) and self._chain:
            raise invalid(
                f"Sequential model '{self.name}' has already been configured to use input shape "
                f"{self._chain[0].batch_shape}. You cannot add a different Input layer to it."
                if isinstance(self._chain[0], InputLayer)
                else "An `Input` must be the first layer.",
                owner=f"Sequential `{self.name}`",
            )
        self._chain.append(layer)
        self._used.add(layer.name)
        tail, guessed = self._tail, self._guessed
        self._unbuild()
        if rebuild and tail is not None and isinstance(self._chain[0], InputLayer) and not guessed:
            self._go_on(tail, layer)
        elif rebuild:
            self._build_if_known()

    def _go_on(self, tail: KerasTensor, layer: Layer) -> None:
        """Call a new last layer on what the one before it gives: growing layer by layer takes linear time."""
        _check_call(layer)
        with names.name_scope(self.name, self):
            try:
                self._tail = layer(tail)
            except NotImplementedError:
                self._tail = None
        self.built = True
        self._build_shapes = {"input_shape": self._chain[0].batch_shape}  # type: ignore[attr-defined]

    @property
    def _graph(self) -> Graph | None:
        """The graph of the chain, made when it is asked for; None if there is none."""
        if self._made is None and self._tail is not None:
            self._made = Graph(self._chain[0].output, self._tail)
        return self._made

    @_graph.setter
    def _graph(self, graph: Graph | None) -> None:
        self._made = self._tail = None
        if graph is not None:
            self._made, self._tail = graph, graph.outputs_struct

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": self._graph}

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it."""
        if not self._chain:
            raise invalid("There is no layer to remove.", owner=f"Sequential `{self.name}`")
        layer = self._chain.pop()
        self._unbuild()
        if rebuild:
            self._build_if_known()
        return layer

    def _unbuild(self) -> None:
        self.built, self._graph = False, None
        self.programs.clear()

    @property
    def layers(self) -> list[Layer]:
        """Its layers without the input."""
        return [layer for layer in self._chain if not isinstance(layer, InputLayer)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Sequential.layers` attribute is reserved and should not be used. Use `add()` and `pop()`."
        )

    def _sublayers(self) -> list[Any]:
        found: dict[int, Any] = {id(layer): layer for layer in self.layers}
        own = {id(layer) for layer in self._chain}
        found.update((id(p), p) for p in self._parts() if isinstance(p, Layer) and id(p) not in own)
        return list(found.values())

    def _build_if_known(self) -> None:
        if len(self._chain) > 1 and isinstance(self._chain[0], InputLayer):
            with names.name_scope(self.name, self):
                self._chain_up(self._chain[0])
            self.built = True
            self._build_shapes = {"input_shape": self._chain[0].batch_shape}

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of this shape, e.g. `(None, 784)`. Built again, it gets new ones."""
        if not self._chain:
            raise invalid(
                f"Sequential model {self.name} cannot be built because it has no layers.",
                fix="call `model.add(layer)`.",
            )
        if isinstance(input_shape, dict | list):
            return  # a first layer that takes several inputs: built at the first call, layer by layer
        if not isinstance(input_shape, tuple):
            if isinstance(self._chain[0], InputLayer):
                input_shape = self._chain[0].batch_shape
            else:
                raise invalid(
                    "`build` needs the shape of the input.",
                    owner=f"Sequential `{self.name}`",
                    received=f"input_shape={input_shape!r}",
                    fix="pass e.g. `(None, 784)`.",
                )
        first = self._chain[0]
        dtype = first.dtype if isinstance(first, InputLayer) else first.compute_dtype
        entry = InputLayer(batch_shape=input_shape, dtype=dtype)
        guessed = not isinstance(first, InputLayer)
        before = [(layer, dict(layer.__dict__)) for layer in self._flatten_layers(include_self=False)]
        chain = list(self._chain)
        try:
            self._forget_graph()
            self._chain = [entry, *self.layers]
            self._chain_up(entry)
            self._guessed = guessed or self._guessed
        except BaseException:
            self._chain = chain  # a build that fails leaves the model as it was
            for layer, state in before:
                layer.__dict__.clear()
                layer.__dict__.update(state)
            raise

    def _forget_graph(self) -> None:
        """Take this model's own nodes out of its layers, so that they may be built for another shape."""
        if self._graph is None:
            return
        self._forget_nodes()
        for layer in self.layers:
            if layer._inbound_nodes:
                raise invalid(
                    "The layer is part of another model too, which building it again would break.",
                    owner=f"Layer `{layer.name}` of Sequential `{self.name}`",
                    fix="make a new layer for one of the models.",
                )
            for part in layer._flatten_layers():
                part.built = False
                if isinstance(part, Layer) and type(part).build is not Layer.build:
                    part.input_spec = None  # it names the old width; `build` sets it anew

    def vary(self, shape: tuple[int, ...]) -> bool:
        """Let sizes of the input vary that were taken from data, if the layers as they are take this shape.

        Returns:
            Whether they do. The weights stay.
        """
        first = self._chain[0] if self._chain else None
        if not self._guessed or self._graph is None or not isinstance(first, InputLayer):
            return False
        nodes = {id(node) for node in self._graph.nodes}
        known = first.batch_shape
        alone = all(id(node) in nodes for layer in self.layers for node in layer._inbound_nodes)
        if len(known) != len(shape) or not alone:
            return False
        try:
            x: Any = KerasTensor((None, *shape[1:]), dtype=first.dtype)
            for layer in self.layers:
                x = layer.compute_output_spec(x)
        except Exception:
            return False
        sizes = [None if old != new else old for old, new in zip(known[1:], shape[1:], strict=True)]
        self._forget_nodes()
        entry = InputLayer(batch_shape=(None, *sizes), dtype=first.dtype, name=first.name)
        self._chain = [entry, *self.layers]
        self._chain_up(entry)
        return True

    def _forget_nodes(self) -> None:
        nodes = {id(node) for node in self._graph.nodes} if self._graph is not None else set()
        for layer in self.layers:
            layer._inbound_nodes = [node for node in layer._inbound_nodes if id(node) not in nodes]
            layer._outbound_nodes = [node for node in layer._outbound_nodes if id(node) not in nodes]

    def _chain_up(self, entry: InputLayer) -> None:
        x = entry.output
        for layer in self.layers:
            _check_call(layer)
            try:
                x = layer(x)
            except NotImplementedError:
                return  # a layer that cannot tell its output's shape: the chain is run as it stands
        self._graph = Graph(entry.output, x)
        self.programs.clear()

    def call(self, inputs: Any, training: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        if self._graph is not None:
            return self._run_graph(self._graph, inputs, mask)
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for an input of this shape."""
        shape = input_shape
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def get_config(self) -> Config:
        """Return the layers and the input shape."""
        config: Config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialization.serialize(self.dtype_policy),
        }
        config["layers"] = [serialization.serialize(layer) for layer in self._chain]
        if self._chain and isinstance(self._chain[0], InputLayer):
            config["build_input_shape"] = self._chain[0].batch_shape
        return config

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model that `get_config` described.

        Raises:
            InvalidArgumentError: If the config lacks its name or layers, or a layer in it lacks its config.
        """
        if isinstance(config, dict) and not {"name", "layers"} <= set(config):
            raise invalid(
                "A Sequential model configuration must be a dictionary containing the 'name' and 'layers' keys.",
                received=f"keys {sorted(config)}",
            )
        layers = config["layers"] if isinstance(config, dict) else config
        for layer in layers:
            if isinstance(layer, dict) and "config" not in layer:
                raise invalid("Expected a dictionary containing a 'config' key.", received=f"the layer {layer!r:.80}")
        model = cls(name=config.get("name") if isinstance(config, dict) else None)
        for layer in layers:
            model.add(
                serialization.deserialize(layer, custom_objects) if isinstance(layer, dict) else layer, rebuild=False
            )
        model._build_if_known()
        shape = config.get("build_input_shape") if isinstance(config, dict) else None
        if not model.built and shape:
            model.build(tuple(shape))
        if isinstance(config, dict) and config.get("trainable") is False:
            model.trainable = False
        return model


def _check_call(layer: Layer) -> None:
    """Raise `InvalidArgumentError` if a layer needs more than the output of the one before."""
    needed = [p for p in inspect.signature(layer.call).parameters.values() if p.default is p.empty]
    needed = [p for p in needed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise invalid(
            "Layers added to a Sequential model can only have a single positional argument, the input tensor.",
            owner=f"{type(layer).__name__} layer `{layer.name}`",
            received=f"call({', '.join(p.name for p in needed)})",
            fix="give the others defaults, or build the model with `Model(inputs, outputs)`.",
        )
