"""Inputs of a functional model by position, by name and in its own structure; what is said and refused."""

import warnings

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import InvalidArgumentError
from lamina.models import Functional, Model, Sequential

A, B = np.full((2, 3), 2.0, np.float32), np.full((2, 3), 1.0, np.float32)


def difference(keys=("a", "b")):
    one, two = layers.Input((3,), name="first"), layers.Input((3,), name="second")
    return Model({keys[0]: one, keys[1]: two}, layers.Subtract()([one, two]))


@pytest.mark.parametrize(
    "given", [{"a": A, "b": B}, {"b": B, "a": A}, {"first": A, "second": B}], ids=["keys", "order", "names"]
)
def test_a_dict_is_understood_by_the_models_keys_and_by_the_inputs_names(given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(difference()(given), A - B)


def test_nested_inputs_go_where_they_belong():
    one, two = layers.Input((3,)), layers.Input((3,))
    model = Model({"x": one, "more": {"y": two}}, {"d": layers.Subtract()([one, two])})
    np.testing.assert_array_equal(model({"more": {"y": B}, "x": A})["d"], A - B)
    np.testing.assert_array_equal(model.predict({"more": {"y": B}, "x": A}, verbose=0)["d"], A - B)


@pytest.mark.parametrize("given", [[A, B], {"a": A, "b": B, "c": A}], ids=["list", "too many keys"])
def test_another_structure_is_said_once(given):
    model = difference()
    with pytest.warns(UserWarning, match="structure of `inputs` doesn't match") as said:
        found = [model.predict(given, verbose=0), model(given)]
    np.testing.assert_array_equal(found, [A - B, A - B])
    assert len(said) == 1


def test_a_list_for_a_dict_that_was_not_written_in_order_is_refused_as_a_guess():
    with pytest.raises(InvalidArgumentError, match="structure of `inputs` doesn't match"):
        difference(("t", "s"))([A, B])


def test_none_for_an_input_that_must_be_there_is_refused():
    model = difference()
    with pytest.raises(InvalidArgumentError, match="'second' is not optional"):
        model({"a": A, "b": None})


def test_an_output_that_depends_on_other_inputs_is_named_by_its_place():
    one, two = layers.Input((3,)), layers.Input((3,))
    with pytest.raises(InvalidArgumentError, match="Output with path `wrong` is not connected"):
        Model(one, {"right": one * 2, "wrong": two * 3})


def test_operations_are_layers_and_functions_in_order():
    inputs = layers.Input((3,))
    model = Model(inputs, layers.Dense(2, name="last")(inputs * 2))
    assert len(model.operations) == 3
    assert [model.operations[0].name, model.operations[-1].name] == [inputs.name, "last"]


def test_a_model_that_is_not_trainable_says_so_for_its_layers():
    inputs = layers.Input((3,))
    model = Functional(inputs, layers.Dense(2)(inputs), trainable=False)
    assert model.trainable_weights == []
    assert Functional.from_config(model.get_config()).get_config() == model.get_config()


def test_a_functional_class_of_the_users_gets_its_own_arguments_back():
    class Scaled(Model):
        def __init__(self, *args, factor=1, **kwargs):
            super().__init__(*args, **kwargs)
            self.factor = factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    inputs = layers.Input((3,))
    model = Scaled(inputs=inputs, outputs=layers.Dense(2)(inputs), factor=3)
    assert Scaled.from_config(model.get_config()).factor == 3


@pytest.mark.parametrize("given", [{"a": A, "b": B}, [A, B]], ids=["dict", "list"])
def test_a_chain_may_begin_with_a_layer_that_takes_several_inputs(given):
    class Difference(layers.Layer):
        def call(self, inputs):
            one, two = inputs.values() if isinstance(inputs, dict) else inputs
            return one - two

    model = Sequential([Difference(), layers.Dense(2, kernel_initializer="ones")])
    np.testing.assert_allclose(model(given), 3.0)


def test_a_chain_runs_a_layer_that_cannot_tell_its_shape():
    class Odd(layers.Layer):
        def call(self, inputs):
            return inputs + 1.0

        def compute_output_spec(self, *args, **kwargs):
            raise NotImplementedError

    np.testing.assert_array_equal(Sequential([Odd()])(A), A + 1.0)


def test_a_chain_refuses_a_layer_that_needs_more_than_its_input():
    class Two(layers.Layer):
        def call(self, inputs, other):
            return inputs + other

    with pytest.raises(InvalidArgumentError, match="single positional argument"):
        lamina.Sequential([Two()]).build((None, 2))
