"""Copies of models: the same layers, other weights; and models out of JSON."""

import json

import jax
import numpy as np
import pytest

from lamina import layers, models, registry
from lamina.models.cloning import clone_model, model_from_json

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def sequential():
    return models.Sequential(
        [layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dropout(0.5), layers.Dense(2)]
    )


def deferred():
    return models.Sequential([layers.Dense(3), layers.Dense(2)])


def functional():
    inputs = layers.Input((4,), name="in")
    x = layers.Dense(4)(inputs)
    return models.Model(inputs, layers.Add()([x, inputs]) * 2.0 + 1.0, name="net")


def shared():
    inputs = layers.Input((4,))
    layer = layers.Dense(4, name="twice")
    return models.Model(inputs, layer(layer(inputs)))


def nested():
    inner = models.Sequential([layers.Input((4,)), layers.Dense(4), layers.Dense(4)], name="inner")
    inputs = layers.Input((4,))
    return models.Model(inputs, inner(layers.Dense(4)(inputs)))


class Own(models.Model):
    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.first, self.second = layers.Dense(width), layers.Dense(2)

    def call(self, x):
        return self.second(self.first(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


MAKERS = [sequential, deferred, functional, shared, nested, Own]


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_computes_the_same_once_it_has_the_weights(make):
    model = make()
    copy = clone_model(model)
    expected = model(X)
    copy(X)
    assert type(copy) is type(model)
    assert copy.name == model.name
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(X), expected)


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_shares_nothing_with_its_original(make):
    model = make()
    model(X)
    copy = clone_model(model)
    copy(X)
    parts = {id(part) for part in (*model._flatten_layers(), *model.variables)}
    assert not parts & {id(part) for part in (*copy._flatten_layers(), *copy.variables)}
    if make is not Own:
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]


def test_the_original_is_left_as_it_was():
    model = functional()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    before = model.get_weights()
    clone_model(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_layer_used_twice_is_copied_once():
    copy = clone_model(shared())
    assert len(copy.layers) == 2
    assert len(copy.trainable_weights) == 2


def test_the_function_given_makes_the_layers():
    def renamed(layer):
        config = layer.get_config()
        config["name"] += "_new"
        return type(layer).from_config(config)

    for make in (sequential, functional, shared):
        names = [layer.name for layer in make().layers if not isinstance(layer, layers.InputLayer)]
        copy = clone_model(make(), clone_function=renamed)
        found = [layer.name for layer in copy.layers if not isinstance(layer, layers.InputLayer)]
        assert all(name.endswith("_new") for name in found)
        assert len(found) == len(names)


def test_the_call_function_may_put_layers_in_between():
    def call(layer, *args, **kwargs):
        out = layer(*args, **kwargs)
        return layers.Dropout(0.5)(out) if isinstance(layer, layers.Dense) else out

    model = functional()
    copy = clone_model(model, clone_function=lambda layer: layer, call_function=call)
    assert any(isinstance(layer, layers.Dropout) for layer in copy.layers)
    np.testing.assert_array_equal(copy(X), model(X))


def test_models_inside_are_copied_layer_by_layer_if_asked():
    seen = []

    def clone(layer):
        seen.append(layer.name)
        return type(layer).from_config(layer.get_config())

    clone_model(nested(), clone_function=clone)
    assert "inner" in seen
    seen.clear()
    copy = clone_model(nested(), clone_function=clone, recursive=True)
    assert "inner" not in seen
    assert len(seen) == 3
    assert copy.get_layer("inner").layers[0].name in seen


def test_a_copy_may_stand_on_inputs_that_are_given():
    model = functional()
    tensor = layers.Input((4,), name="other")
    copy = clone_model(model, input_tensors=tensor)
    assert copy.input is tensor
    chain = clone_model(sequential(), input_tensors=[tensor])
    assert chain.inputs[0] is tensor
    hidden = layers.Dense(4)(tensor)
    assert clone_model(sequential(), input_tensors=hidden).output_shape == (None, 2)


def test_dicts_of_inputs_and_outputs_stay_dicts():
    x, y = layers.Input((3,)), layers.Input((3,))
    z = x + y
    model = models.Model({"x": x, "y": y}, {"z": z, "w": layers.Dense(5)(z)})
    copy = clone_model(model)
    assert jax.tree.structure(copy.input) == jax.tree.structure(model.input)
    assert set(copy.output) == {"z", "w"}
    with pytest.raises(ValueError, match=r"`input_tensors` must have the same structure as model.input"):
        clone_model(model, input_tensors=(x, y))


def test_a_compiled_model_gives_a_compiled_copy_with_an_optimizer_of_its_own():
    model = sequential()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, np.zeros((3, 2)), verbose=0)
    copy = clone_model(model)
    assert copy.compiled
    assert copy.optimizer is not model.optimizer
    assert int(copy.optimizer.iterations) == 0
    copy.fit(X, np.zeros((3, 2)), verbose=0)


def test_frozen_layers_stay_frozen():
    model = sequential()
    model.layers[0].trainable = False
    assert [layer.trainable for layer in clone_model(model).layers] == [False, True, True]


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (Own, {"clone_function": lambda layer: layer}, "only supported for Sequential models or Functional"),
        (Own, {"input_tensors": [1]}, "only supported for Sequential models or Functional"),
        (Own, {"call_function": lambda *a: a}, "only supported for Sequential models or Functional"),
        (sequential, {"call_function": lambda *a: a}, "not supported with Sequential"),
        (sequential, {"input_tensors": X}, "must be a KerasTensor"),
        (sequential, {"input_tensors": [X, X]}, "single tensor"),
        (functional, {"input_tensors": X}, "must be KerasTensors"),
        (functional, {"clone_function": 3}, "callable"),
        (functional, {"clone": 3}, "Unexpected keyword"),
        (lambda: layers.Dense(3), {}, "to be a model"),
    ],
)
def test_what_does_not_go_together_is_refused(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        clone_model(make(), **arguments)


def test_a_deep_model_is_copied_without_recursion():
    inputs = x = layers.Input((2,))
    for _ in range(1200):
        x = layers.Identity()(x)
    assert len(clone_model(models.Model(inputs, x)).layers) == 1201


@pytest.mark.parametrize("make", [sequential, functional, shared, nested])
def test_json_describes_a_model(make):
    model = make()
    copy = model_from_json(model.to_json())
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(X), model(X))


def test_json_of_a_model_of_the_users_needs_its_class():
    registry.register_keras_serializable("mine")(Own)
    assert model_from_json(Own(width=5).to_json()).width == 5


@pytest.mark.parametrize(
    "text", ["{", None, 3, json.dumps({"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}})]
)
def test_what_describes_no_model_is_refused(text):
    with pytest.raises(ValueError, match="model"):
        model_from_json(text)
