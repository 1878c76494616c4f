"""`RematScope` and `remat`: the same numbers, computed again for the gradient instead of kept."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import errors, keras, layers, models
from lamina.keras import RematScope, remat
from lamina.layers.context import get_mask
from lamina.layers.remat import get_current_remat_mode
from lamina.random import set_random_seed

X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
Y = np.random.default_rng(1).normal(size=(64, 2)).astype("float32")


class Counting(layers.Layer):
    """Adds a loss and keeps a count: what a call does beside returning something."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs):
        self.calls.assign_add(1.0)
        self.add_loss(0.01 * jnp.mean(inputs**2))
        return inputs


def network(**scope):
    set_random_seed(3)

    def made():
        return models.Sequential(
            [
                layers.Dense(16, activation="relu", name="first"),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
                Counting(),
                layers.Dense(16, activation="tanh", name="second", activity_regularizer="l2"),
                layers.Dense(2),
            ]
        )

    if not scope:
        return made()
    with RematScope(**scope):
        return made()


def trained(model):
    model.compile("adam", "mse")
    history = model.fit(X, Y, epochs=3, batch_size=20, verbose=0).history["loss"]
    return history, model.get_weights(), model.predict(X, verbose=0)


SCOPES = [
    {"mode": "full"},
    {"mode": "activations"},
    {"mode": "larger_than", "output_size_threshold": 64},
    {"mode": "list_of_layers", "layer_names": ["first", "second"]},
]


@pytest.fixture(scope="module")
def plain():
    return trained(network())


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope["mode"])
def test_training_gives_what_it_gives_without(scope, plain):
    history, weights, outputs = trained(network(**scope))
    np.testing.assert_allclose(history, plain[0], rtol=1e-5)
    for ours, theirs in zip(weights, plain[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(outputs, plain[2], rtol=1e-4, atol=1e-5)


def text_of_a_step(model):
    model.build((None, 8))

    def loss(params, stats, x):
        return jnp.sum(model.stateless_call(params, stats, x, training=True)[0])

    arrays = [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
    return str(jax.make_jaxpr(jax.grad(loss))(*arrays, X))


@pytest.mark.parametrize(
    ("scope", "again"),
    [
        ({"mode": "list_of_layers", "layer_names": ["first", "second"]}, 2),
        ({"mode": "list_of_layers", "layer_names": ["elsewhere"]}, 0),
        ({"mode": "activations"}, 2),
        ({"mode": "larger_than", "output_size_threshold": 64 * 16 - 1}, 5),
        ({"mode": "larger_than", "output_size_threshold": 64 * 16}, 0),
        ({"mode": None}, 0),
    ],
    ids=str,
)
def test_the_layers_asked_for_are_computed_again_and_no_others(scope, again):
    assert text_of_a_step(network(**scope)).count("prevent_cse=True") == again


def test_the_inner_scope_counts_and_the_outer_comes_back():
    assert get_current_remat_mode() is None
    with RematScope("full"):
        with RematScope(None):
            assert get_current_remat_mode().mode is None
        assert get_current_remat_mode().mode == "full"
    assert get_current_remat_mode() is None


def test_a_scope_may_be_entered_twice():
    scope = RematScope("full")
    with scope, scope:
        assert get_current_remat_mode().mode == "full"
    assert get_current_remat_mode() is None


def test_an_activation_is_the_users_again_after_each_call():
    with RematScope("activations"):
        layer = layers.Dense(3, activation="relu")
    before = layer.activation
    layer(X)
    jax.jit(lambda x: layer(x))(X)
    assert layer.activation is before
    assert layer.get_config()["activation"] == "relu"


def test_masks_pass_through():
    class Whole(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Masking()

        def call(self, inputs):
            return self.inner(inputs)

    with RematScope("full"):
        layer = Whole()
    x = np.array([[[0.0, 0.0], [1.0, 2.0]]], "float32")
    np.testing.assert_array_equal(jax.jit(lambda x: get_mask(layer(x)))(x), [[False, True]])


def test_a_function_may_take_keywords_and_give_a_structure():
    def function(x, scale=1.0, both=False):
        return {"x": x * scale, "note": None, "both": (x, "text") if both else x}

    found = remat(function)(X, scale=2.0, both=True)
    np.testing.assert_allclose(found["x"], X * 2)
    assert found["note"] is None
    assert found["both"][1] == "text"
    gradient = jax.grad(lambda x: jnp.sum(remat(jnp.sin)(x)))(X)
    np.testing.assert_allclose(gradient, np.cos(X), rtol=1e-5)


def test_a_layer_may_be_wrapped_and_used_in_a_model():
    inner = layers.Dense(4, activation="relu")

    class Wrapping(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.function = remat(inner)

        def call(self, inputs):
            return self.function(inputs)

    model = models.Sequential([keras.Input((8,)), Wrapping(), layers.Dense(2)])
    model.compile("sgd", "mse")
    before = inner.kernel.numpy()
    model.fit(X, Y, epochs=1, verbose=0)
    assert not np.array_equal(before, inner.kernel.numpy())


def test_a_quantized_layer_trains_its_adapters_in_a_scope():
    with RematScope("full"):
        layer = layers.Dense(2)
    model = models.Sequential([keras.Input((8,)), layer])
    layer.quantize("int8")
    layer.enable_lora(2)
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    assert np.any(layer.lora_kernel_b.numpy())


def test_a_copy_keeps_the_mode():
    with RematScope("full"):
        layer = layers.Dense(2)
    assert copy.deepcopy(layer)._remat_mode.mode == "full"


def test_a_variable_of_nobody_is_refused_also_here():
    lost = keras.Variable(1.0)

    class Touching(layers.Layer):
        def call(self, inputs):
            return inputs * [lost][0].value

    with RematScope("full"):
        layer = Touching()
    model = models.Sequential([keras.Input((8,)), layer, layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.UnboundVariableError):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: RematScope("ful"), ValueError, "Invalid mode 'ful'.*\n?.*Did you mean 'full'"),
        (lambda: RematScope("list_of_layers", layer_names="dense"), ValueError, "must be a list of names"),
        (lambda: remat(3), TypeError, "needs a function or a layer"),
    ],
)
def test_what_cannot_be_is_refused(make, kind, text):
    with pytest.raises(kind, match=text):
        make()
