"""Layers of networks for tables: their arithmetic, shapes, files and refusals."""

import math

import jax
import numpy as np
import pytest

import lamina
from lamina import keras, layers
from lamina.errors import InvalidArgumentError
from lamina.layers import tabular

random = np.random.default_rng(0)
X = random.standard_normal((5, 4)).astype("float32")
MEMBERS = random.standard_normal((5, 3, 4)).astype("float32")
EDGES = [[-1.0, 0.0, 0.5, 2.0]] * 4

CASES = {
    "scaled dense": (lambda: layers.ScaledDense(6, "relu"), X, (5, 6), 2),
    "scaled dense without bias": (lambda: layers.ScaledDense(6, use_bias=False), MEMBERS, (5, 3, 6), 1),
    "feature scale": (lambda: layers.FeatureScale(), X, (5, 4), 1),
    "parametric activation": (lambda: layers.ParametricActivation("mish"), X, (5, 4), 1),
    "ensemble dense": (lambda: layers.EnsembleDense(6, 3, "relu"), MEMBERS, (5, 3, 6), 4),
    "periodic embedding": (lambda: layers.PeriodicEmbedding(3, 8), X, (5, 16), 4),
    "piecewise linear embedding": (lambda: layers.PiecewiseLinearEmbedding(7, edges=EDGES), X, (5, 28), 3),
    "bins alone": (lambda: layers.PiecewiseLinearEmbedding(None, edges=EDGES), X, (5, 12), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_what_is_said_and_the_config_makes_an_equal_layer(case):
    make, x, shape, weights = CASES[case]
    layer = make()
    output = layer(x)
    assert output.shape == shape == layer.compute_output_shape(x.shape)
    assert len(layer.weights) == weights
    again = layers.deserialize(layers.serialize(layer))
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), output)


@pytest.mark.parametrize("case", CASES)
def test_a_model_with_the_layer_is_trained_and_saved(case, tmp_path):
    make, x, _, _ = CASES[case]
    model = keras.Sequential([keras.layers.Input(x.shape[1:]), make(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    before = [np.asarray(v) for v in model.trainable_weights]
    model.fit(x, np.ones((5, 1), "float32"), batch_size=2, epochs=2, verbose=0)
    assert all((np.asarray(v) != old).any() for v, old in zip(model.trainable_weights, before, strict=True))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_scaled_product_is_divided_by_the_root_of_the_features():
    layer = layers.ScaledDense(3)
    found = np.asarray(layer(X))
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(found, X @ kernel / 2 + bias, rtol=1e-5)
    assert abs(np.std(layers.ScaledDense(300)(np.ones((1, 400), "float32"))) - 1) < 0.15


def test_a_slope_of_0_is_no_activation_and_a_slope_of_1_is_all_of_it():
    np.testing.assert_array_equal(layers.ParametricActivation("relu", "zeros")(X), X)
    np.testing.assert_allclose(layers.ParametricActivation("relu")(X), np.maximum(X, 0), atol=1e-6)


def test_members_of_equal_scales_are_dense_layers_of_the_same_kernel():
    layer = layers.EnsembleDense(6, 3, bias_initializer="random_normal", input_scale_initializer="random_normal")
    found = np.asarray(layer(MEMBERS))
    kernel, into, out, bias = layer.get_weights()
    for m in range(3):
        np.testing.assert_allclose(
            found[:, m], (MEMBERS[:, m] * into[m]) @ kernel * out[m] + bias[m], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", ["selu", "mish"])
def test_the_quick_forms_of_activations_are_those_of_the_library(name):
    x = np.linspace(-40, 40, 801).astype("float32")
    quick, known = getattr(tabular, name), getattr(lamina.activations, name)
    np.testing.assert_allclose(quick(x), known(x), rtol=2e-5, atol=2e-6)
    slope = jax.vmap(jax.grad(quick))(np.array([-1e4, -2.0, 0.5, 1e4], "float32"))
    assert np.isfinite(slope).all()


def test_waves_are_cosines_for_values_of_any_size():
    turns = np.linspace(-50, 50, 4001).astype("float32")
    np.testing.assert_allclose(tabular.cosine_of_turns(turns), np.cos(2 * np.pi * turns.astype("float64")), atol=2e-6)
    layer = layers.PeriodicEmbedding(2, 5)
    found = np.asarray(layer(X)).reshape(5, 4, 3)
    frequencies, phases, kernel, bias = layer.get_weights()
    waves = np.cos(2 * math.pi * X[:, :, None] * frequencies + phases)
    np.testing.assert_allclose(found[..., 0], X)
    np.testing.assert_allclose(found[..., 1:], np.einsum("rfw,fwo->rfo", waves, kernel) + bias, atol=1e-5)


def test_a_number_fills_the_bins_below_it_and_goes_on_beyond_the_last():
    edges = np.array([[0.0, 1.0, 3.0, 3.0]], "float32")
    found = np.asarray(tabular.piecewise_linear(np.array([[-1.0], [0.25], [2.0], [9.0]], "float32"), edges))[:, 0]
    np.testing.assert_allclose(found, [[-1, 0, 0], [0.25, 0, 0], [1, 0.5, 0], [1, 1, 0]])


def test_bins_hold_equally_many_rows_and_a_frequent_value_does_not_take_them_all():
    values = np.concatenate([np.zeros(900), np.arange(1, 101)]).astype("float32")[:, None]
    layer = layers.PiecewiseLinearEmbedding(None, bins=10)
    layer.adapt(values)
    assert len(np.unique(layer.edges)) == 10  # one bin is that of the zeros alone
    few = layers.PiecewiseLinearEmbedding(None, bins=10)
    few.adapt(np.array([[0.0], [1.0], [1.0]]))
    np.testing.assert_array_equal(few.edges, [[0.0] + [1.0] * 10])
    np.testing.assert_array_equal(few(np.array([[0.5]], "float32")), [[0.5] + [0.0] * 9])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: layers.ScaledDense(0), "`units` must be a positive integer"),
        (lambda: layers.EnsembleDense(3, 0), "`members` must be a positive integer"),
        (lambda: layers.EnsembleDense(3, 2)(MEMBERS), r"\(batch, members, features\)"),
        (lambda: layers.PeriodicEmbedding(sigma=0.0), "`sigma` must be above 0"),
        (lambda: layers.PiecewiseLinearEmbedding(edges=[[1.0, 0.0]]), "ascending"),
        (lambda: layers.PiecewiseLinearEmbedding(edges=[[0.0, 1.0]])(X), "each of the 4 features"),
        (lambda: layers.FeatureScale().build((None, None)), "known size"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make()
