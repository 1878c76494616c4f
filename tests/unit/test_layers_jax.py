"""A JAX function as a layer; layers one after another as one; configs of layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import registry
from lamina.errors import InvalidArgumentError
from lamina.keras import Input, Sequential, layers, saving

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@registry.register_keras_serializable(package="test_layers_jax")
def init(rng, inputs):
    return {"w": jax.random.normal(rng, (inputs.shape[-1], 2)), "b": [jnp.zeros(2)]}


@registry.register_keras_serializable(package="test_layers_jax")
def apply(params, inputs):
    return jnp.tanh(inputs @ params["w"] + params["b"][0])


def counting(params, state, inputs, training):
    return inputs * params, state + 1 if training else state


def noisy(inputs, rng, training):
    return inputs + jax.random.normal(rng, inputs.shape) if training else inputs


def test_a_function_with_parameters_is_trained_saved_and_read(tmp_path):
    model = Sequential([Input((3,)), layers.JaxLayer(apply, init), layers.Dense(1)])
    model.compile("sgd", "mse")
    layer = model.layers[0]
    assert [w.shape for w in layer.trainable_weights] == [(2,), (3, 2)]
    before = np.array(layer.params["w"])
    model.fit(X, np.ones((6, 1)), verbose=0)
    assert np.any(before != np.array(layer.params["w"]))
    np.testing.assert_allclose(layer(X), jnp.tanh(X @ layer.params["w"].value + layer.params["b"][0].value), rtol=1e-6)
    model.save(tmp_path / "m.keras")
    again = saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_state_moves_on_in_training_alone_and_numbers_may_be_given():
    layer = layers.JaxLayer(counting, params=2.0, state=np.float32(0))
    model = Sequential([Input((3,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((6, 1)), batch_size=2, epochs=2, verbose=0)
    assert float(layer.state.value) == 6
    model.predict(X, verbose=0)
    assert float(layer.state.value) == 6
    assert len(layer.trainable_weights) == len(layer.non_trainable_weights) == 1


def test_a_state_of_another_structure_is_refused():
    layer = layers.JaxLayer(lambda state, inputs: (inputs, [state]), state=1.0)
    with pytest.raises(InvalidArgumentError, match="a state of the structure"):
        layer(X)


def test_a_function_that_draws_gets_a_key_in_training():
    layer = layers.JaxLayer(noisy, seed=1)
    np.testing.assert_array_equal(layer(X), X)
    assert np.any(layer(X, training=True) != layer(X, training=True))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((lambda params: params,), "Missing required argument in `call_fn`: `inputs`"),
        ((lambda inputs, key: inputs,), "Unsupported argument in `call_fn`: `key`"),
        ((apply,), "cannot all be `None`"),
        ((apply, lambda inputs, state: 1), "Unsupported argument in `init_fn`: `state`"),
    ],
)
def test_a_function_of_another_form_is_refused(arguments, text):
    with pytest.raises(InvalidArgumentError, match=text):
        layers.JaxLayer(*arguments)


def test_a_pipeline_is_its_layers_one_after_another_in_training_too():
    dense, dropout = layers.Dense(4), layers.Dropout(0.5, seed=1)
    pipeline = layers.Pipeline([layers.Rescaling(2.0), dense, dropout])
    np.testing.assert_allclose(pipeline(X, training=False), dense(2 * X), rtol=1e-6)
    assert np.any(np.array(pipeline(X, training=True)) == 0)
    assert pipeline.compute_output_shape((None, 3)) == (None, 4)
    again = layers.deserialize(layers.serialize(pipeline))
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in pipeline.layers]
    assert len(pipeline.trainable_weights) == 2


def test_only_a_layer_is_read_as_a_layer():
    from lamina.keras import losses

    with pytest.raises(InvalidArgumentError, match="is not a"):
        layers.deserialize(losses.serialize(losses.MeanSquaredError()))


def test_a_mask_goes_through_a_pipeline():
    class Masked(layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            return inputs if mask is None else inputs * mask

    mask = np.array([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0]], "float32")
    np.testing.assert_array_equal(layers.Pipeline([layers.Identity(), Masked()])(X), X)
    np.testing.assert_array_equal(layers.Pipeline([Masked()])(X, mask=mask), X * mask)
