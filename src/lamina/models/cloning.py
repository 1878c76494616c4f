"""Copies of models: the same layers with weights of their own."""

import json
from collections.abc import Callable
from typing import Any

import jax

from lamina import serialization
from lamina._types import Tree
from lamina.errors import InvalidArgumentError, invalid
from lamina.graph import FunctionOperation, Graph, KerasTensor
from lamina.layers.input import Input, InputLayer
from lamina.models.functional import Functional
from lamina.models.model import Model, takes_graph
from lamina.models.sequential import Sequential

Clone = Callable[[Any], Any]


def clone_model(
    model: Model,
    input_tensors: Tree = None,
    clone_function: Clone | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Model:
    """Return a model like `model` with new layers, and so with new weights, on new inputs.

    A layer that is used twice is copied once. A compiled model gives a compiled one.

    Args:
        model: The model. One with a `call` of its own is copied by its config.
        input_tensors: Stand-ins to build the copy on. Default: new ones.
        clone_function: `f(layer)` returns the layer of the copy. Default: one made from the layer's config.
        call_function: `f(layer, *args, **kwargs)` returns what the copied layer gives. Only for functional models.
        recursive: Whether models inside are copied layer by layer with the same functions.
        **kwargs: None.

    Raises:
        InvalidArgumentError: If an argument does not go with this kind of model.
    """
    cache: dict[int, Any] = kwargs.pop("cache", {})
    if kwargs:
        raise invalid(f"Unexpected keyword argument(s): {tuple(kwargs)}", owner="`clone_model`")
    if not isinstance(model, Model):
        raise invalid("Expected `model` argument to be a model.", owner="`clone_model`", received=f"model={model!r}")
    if clone_function is not None and not callable(clone_function):
        raise invalid(
            "Expected `clone_function` argument to be a callable.", received=f"clone_function={clone_function!r}"
        )
    copy = _copier(clone_function or _from_config, call_function, recursive, cache)
    if isinstance(model, Sequential):
        if call_function is not None:
            raise invalid(
                "`call_function` argument is not supported with Sequential models, whose layers are only listed.",
                owner=f"Model `{model.name}`",
                received=f"call_function={call_function!r}",
                fix="make a functional model: `Model(model.inputs, model.outputs)`.",
            )
        return _compiled_like(model, _sequential(model, copy, input_tensors))
    if model._graph is not None:
        return _compiled_like(model, _functional(model, model._graph, copy, call_function, input_tensors))
    _refuse(model, clone_function=clone_function, input_tensors=input_tensors, call_function=call_function)
    config = serialization.serialize(model)
    found: Model = serialization.deserialize(config, {type(model).__name__: type(model)})
    return found


def _refuse(model: Model, **given: Any) -> None:
    names = [f"`{name}`" for name, value in given.items() if value is not None]
    if names:
        raise invalid(
            f"{'Arguments' if len(names) > 1 else 'Argument'} {' and '.join(names)} "
            f"{'are' if len(names) > 1 else 'is'} only supported for Sequential models or Functional models.",
            owner=f"Model `{model.name}` of type {type(model).__name__}",
            fix="leave them out: a model with a `call` of its own is copied by its config.",
        )


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _copier(clone: Clone, call: Callable[..., Any] | None, recursive: bool, cache: dict[int, Any]) -> Clone:
    """Return a function that copies each layer once. The cache holds the layer too, so that its `id` stays its own."""

    def copy(layer: Any) -> Any:
        if id(layer) not in cache:
            if isinstance(layer, FunctionOperation):
                made: Any = FunctionOperation(layer.function, name=layer.name)
            elif recursive and isinstance(layer, Sequential):
                made = clone_model(layer, clone_function=clone, recursive=True, cache=cache)
            elif recursive and isinstance(layer, Model) and layer._graph is not None:
                made = clone_model(layer, clone_function=clone, call_function=call, recursive=True, cache=cache)
            else:
                made = clone(layer)
            cache[id(layer)] = (layer, made)
        return cache[id(layer)][1]

    return copy


def _sequential(model: Sequential, copy: Clone, input_tensors: Tree) -> Model:
    layers = [copy(layer) for layer in model.layers]
    first = model._chain[0] if model._chain and isinstance(model._chain[0], InputLayer) else None
    if input_tensors is not None:
        layers.insert(0, _one_tensor(input_tensors, first.name if first else None))
    elif first is not None:
        layers.insert(0, _new_input(first._input_tensor, first))
    return Sequential(layers, name=model.name, trainable=model.trainable)


def _one_tensor(given: Any, name: str | None) -> Any:
    """Return the stand-in that a chain is to begin with."""
    if isinstance(given, list | tuple):
        if len(given) != 1:
            raise invalid("Argument `input_tensors` must contain a single tensor.", received=f"{len(given)} tensors")
        given = given[0]
    if not isinstance(given, KerasTensor):
        raise invalid(
            "Argument `input_tensors` must be a KerasTensor.", received=f"input_tensors={given!r}", fix="use `Input`."
        )
    history = getattr(given, "_keras_history", None)
    if history is not None and isinstance(history.operation, InputLayer):
        return given
    return Input(batch_shape=given.shape, dtype=given.dtype, name=name)


def _new_input(tensor: KerasTensor, layer: Any) -> Any:
    optional = bool(getattr(layer, "optional", False))
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name, optional=optional)


def _functional(
    model: Model, graph: Graph, copy: Clone, call_function: Callable[..., Any] | None, input_tensors: Tree
) -> Model:
    if input_tensors is None:
        inputs = jax.tree.map(lambda tensor: _new_input(tensor, _maker(tensor)), graph.inputs_struct)
    else:
        inputs = _same_structure(input_tensors, graph)

    def call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = copy(operation)
        return made(*args, **kwargs) if call_function is None else call_function(made, *args, **kwargs)

    outputs = graph.run(jax.tree.leaves(inputs), call)
    cls = type(model) if takes_graph(type(model)) else Functional
    return cls(inputs, outputs, name=model.name)


def _maker(tensor: KerasTensor) -> Any:
    history = getattr(tensor, "_keras_history", None)
    return history.operation if history is not None else None


def _same_structure(given: Tree, graph: Graph) -> Tree:
    wrong = [leaf for leaf in jax.tree.leaves(given) if not isinstance(leaf, KerasTensor)]
    if wrong:
        raise invalid(
            "All entries in `input_tensors` must be KerasTensors.", received=f"input_tensors={wrong[0]!r} among them"
        )
    if jax.tree.structure(given) == jax.tree.structure(graph.inputs_struct):  # type: ignore[operator]
        return given
    raise invalid(
        "`input_tensors` must have the same structure as model.input.",
        received=f"{given!r} instead of {graph.inputs_struct!r}",
    )


def _compiled_like(model: Model, made: Model) -> Model:
    config = model.get_compile_config()
    if config is not None:
        made.compile_from_config(config)
    return made


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Model:
    """Return the model, with new weights, whose architecture `model.to_json()` wrote.

    Args:
        json_string: The text.
        custom_objects: Names to classes and functions of yours.

    Raises:
        InvalidArgumentError: If the text is no JSON, or describes no model.
    """
    try:
        config = json.loads(json_string)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"`model_from_json` needs the text that `model.to_json()` gave: {error}") from error
    found = serialization.deserialize(config, custom_objects)
    if not isinstance(found, Model):
        raise invalid("The text describes no model.", owner="`model_from_json`", received=f"a {type(found).__name__}")
    return found
