"""Objects to plain dicts and back, alone."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Dense, Input, Sequential, activations, layers, losses, optimizers, registry, saving, serialization
from lamina.errors import FileFormatError, InvalidArgumentError


def there_and_back(value, **kwargs):
    config = saving.serialize_keras_object(value)
    return saving.deserialize_keras_object(json.loads(json.dumps(config)), **kwargs)


@pytest.fixture(autouse=True)
def clean_registry():
    before = dict(registry._custom), dict(registry._custom_names)
    yield
    for table, old in zip((registry._custom, registry._custom_names), before, strict=True):
        table.clear()
        table.update(old)


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 1.5, "text", b"bytes", ..., ["a", 0, [1.0, False]], {"a": {"b": None}}, slice(None, 20, 2),
     slice(0, None)],
)  # fmt: skip
def test_plain_values_come_back_equal(value):
    assert there_and_back(value) == value


@pytest.mark.parametrize("value", [np.array([0, 1]), np.array([[0.5]], "float32"), jnp.arange(3.0), jnp.zeros((2, 0))])
def test_arrays_come_back_with_their_types(value):
    back = there_and_back({"x": value})["x"]
    assert isinstance(back, np.ndarray) == isinstance(value, np.ndarray)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


def test_numbers_of_numpy_become_plain_numbers():
    assert serialization.serialize([np.float32(0.5), np.int64(3), np.array(2)]) == [0.5, 3, 2]


def test_a_layer_comes_back_with_its_arguments():
    layer = Dense(3, "relu", kernel_regularizer="l2", name="foo", trainable=False, dtype="float16")
    back = there_and_back(layer)
    assert back.get_config() == layer.get_config()
    assert (back.name, back.trainable, back.compute_dtype) == ("foo", False, "float16")
    assert saving.serialize_keras_object(back) == saving.serialize_keras_object(layer)


def test_a_layer_may_be_the_activation_of_another():
    back = there_and_back(Dense(4, activation=layers.LeakyReLU(0.15, name="mine")))
    assert isinstance(back.activation, layers.LeakyReLU)
    assert (back.activation.negative_slope, back.activation.name) == (0.15, "mine")


def test_functions_are_written_as_keras_writes_them():
    config = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    assert saving.serialize_keras_object(activations.relu) == config
    assert serialization.serialize(activations.relu) == "relu"
    assert there_and_back(activations.relu) is activations.relu
    assert there_and_back(losses.mean_squared_error) is losses.mean_squared_error


def test_functions_of_the_users_are_found_with_and_without_their_package():
    @saving.register_keras_serializable("mine")
    def square(x):
        return x * x

    assert saving.serialize_keras_object(square)["config"] == "mine>square"
    assert there_and_back(square) is square
    old = {"module": "builtins", "class_name": "function", "config": "square", "registered_name": "function"}
    assert saving.deserialize_keras_object(old) is square  # Keras up to 3.6

    def other(x):
        return x

    assert there_and_back(other, custom_objects={"other": other}) is other
    assert saving.deserialize_keras_object("other", custom_objects={"other": other}) is other


def test_a_schedule_stands_in_the_config_of_its_optimizer():
    optimizer = optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.5)
    back = there_and_back(optimizer)
    assert back.get_config() == optimizer.get_config()
    assert isinstance(back._learning_rate, optimizers.schedules.ExponentialDecay)


def test_objects_that_occur_twice_have_one_id_and_are_made_once():
    class Power:
        def __init__(self, n=2):
            self.n = n

        def __call__(self, x):
            return x**self.n

        def get_config(self):
            return {"n": self.n}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    power = Power(3)
    config = serialization.serialize_shared([power, {"again": power}, Power()])
    assert config[0]["shared_object_id"] == config[1]["again"]["shared_object_id"]
    assert "shared_object_id" not in config[2]
    with serialization.sharing():
        first, second, third = saving.deserialize_keras_object(config, custom_objects={"Power": Power})
    assert first is second["again"]
    assert first is not third
    assert (first.n, third.n) == (3, 2)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (lambda x: x, InvalidArgumentError, "arbitrary code execution"),
        (object(), TypeError, "Cannot serialize an object of type object"),
        ([1, {2, 3}], TypeError, "type set"),
    ],
)
def test_what_no_config_can_describe_is_refused(value, kind, text):
    with pytest.raises(kind, match=text):
        saving.serialize_keras_object(value)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"class_name": "__lambda__", "config": {"value": "4wEA"}}, "arbitrary code execution"),
        ({"class_name": "__typespec__", "config": "x"}, "Expected 'config' to be a list or a tuple"),
        ({"class_name": "__typespec__", "config": []}, "arbitrary code execution"),
        ({"class_name": "__numpy__", "config": {"value": [1]}}, "is not whole"),
        ({"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}}, "must hold numbers"),
        ({"class_name": "__numpy__", "config": {"value": [[1], [1, 2]], "dtype": "float32"}}, "cannot be read"),
        ({"class_name": "__numpy__", "config": {"value": [-1], "dtype": "uint8"}}, "cannot be read"),
        ({"class_name": "Dense", "config": [1, 2]}, "Expected 'config' to be a dict"),
        ({"class_name": "function", "config": ["a"]}, "Expected 'config' to be a non-null str"),
        ({"class_name": "Nothing", "config": {}}, "Could not locate class 'Nothing'"),
        (
            {"module": "keras.callbacks", "class_name": "CSVLogger", "config": {"filename": "x"}},
            "Could not locate class",
        ),
        ({"module": "builtins", "class_name": "function", "config": "Input"}, "Could not locate function 'Input'"),
        ({"module": "builtins", "class_name": "function", "config": "save_model"}, "Could not locate function"),
        ({"module": "keras.layers", "class_name": "Conv2D", "config": {}}, "lamina has only fully connected networks"),
        ({"module": "keras.layers", "class_name": "Dens", "config": {}}, "Did you mean 'Dense'"),
        ({"module": "keras.layers", "class_name": "Dense", "config": {"unit": 3}}, "could not be deserialized|unit"),
    ],
)
def test_a_config_that_cannot_be_an_object_says_why(config, text):
    with pytest.raises(FileFormatError, match=text):
        saving.deserialize_keras_object(config)


def test_a_class_without_from_config_is_refused_with_what_to_write():
    @saving.register_keras_serializable("mine")
    class Growth:
        def get_config(self):
            return {}

    with pytest.raises(TypeError, match=r"Unable to reconstruct an instance(.|\n)*from_config"):
        there_and_back(Growth())


def test_a_name_of_the_users_does_not_take_the_place_of_a_class_of_the_library():
    class Evil(Dense):
        pass

    config = saving.serialize_keras_object(Dense(2))
    assert type(saving.deserialize_keras_object(config, custom_objects={"Evil": Evil})) is Dense
    with pytest.raises(InvalidArgumentError, match="resolved to a Keras built-in"):
        saving.deserialize_keras_object({**config, "registered_name": "mine>Evil"})
    assert type(saving.deserialize_keras_object({**config, "registered_name": "Dense"})) is Dense


def test_a_model_comes_back_uncompiled_from_its_config():
    model = Sequential([Input((4,)), Dense(3), Dense(1)])
    back = there_and_back(model)
    assert back.get_config() == model.get_config()
    assert back.built
    assert [w.shape for w in back.weights] == [w.shape for w in model.weights]
