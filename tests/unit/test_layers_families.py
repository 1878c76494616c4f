"""What single layers do beyond what Keras's own give for the same input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import config, registry, serialization
from lamina import layers as L
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.graph import KerasTensor
from lamina.layers.context import get_mask

X2, X3 = np.ones((2, 4), "float32"), np.ones((2, 3, 4), "float32")


# ---- embedding


def test_an_embedding_keeps_its_table_when_it_is_built_again():
    table = np.arange(6.0).reshape(3, 2)
    layer = L.Embedding(3, 2, weights=table)
    assert layer.built
    layer.build((None, 7))
    np.testing.assert_array_equal(layer(np.array([2, 0])), table[[2, 0]])
    np.testing.assert_array_equal(L.Embedding(3, 2, weights=[table]).get_weights()[0], table)


def test_numbers_without_a_row_give_what_keras_gives_where_checks_are_off():
    config.set_strict(False)
    try:
        output = L.Embedding(3, 2)(np.array([3, 0]))
    finally:
        config.set_strict(True)
    assert np.isnan(output[0]).all()
    assert not np.isnan(output[1]).any()


def test_an_embedding_takes_floats_that_are_whole_numbers():
    layer = L.Embedding(3, 2)
    np.testing.assert_array_equal(layer(np.array([1.0, 2.0])), layer(np.array([1, 2])))
    assert layer(np.zeros((0, 3), int)).shape == (0, 3, 2)


def test_only_zero_is_masked_and_only_if_asked_for():
    layer = L.Embedding(3, 2, mask_zero=True)
    np.testing.assert_array_equal(get_mask(layer(np.array([[0, 1]]))), [[False, True]])
    assert get_mask(L.Embedding(3, 2)(np.array([[0, 1]]))) is None


def test_the_old_argument_for_the_length_says_that_it_is_old():
    with pytest.warns(UserWarning, match="`input_length` is deprecated"):
        L.Embedding(3, 2, input_length=5)


# ---- merging


def test_inputs_of_fewer_axes_get_axes_behind_the_batch():
    a, b = np.arange(24.0).reshape(2, 3, 4), np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(L.add([a, b]), a + b[:, None])
    assert L.Add().compute_output_shape([(None, 3, 4), (None, 4)]) == (None, 3, 4)
    assert L.Add()([X2]).shape == (2, 4)


def test_whole_numbers_stay_whole_numbers_where_nothing_is_divided():
    a = np.array([[1, 2]])
    for layer in (L.Add(), L.Concatenate(), L.Maximum()):
        kind = layer([a, a]).dtype
        assert kind == "int32"
        assert layer([KerasTensor((None, 2), "int32")] * 2).dtype == "int32"
    assert L.Average()([a, a]).dtype == "float32"


def test_a_concatenation_knows_what_any_input_knows():
    layer = L.Concatenate(axis=1)
    assert layer.compute_output_shape([(None, 2, 4), (5, 3, None)]) == (5, 5, 4)
    assert layer.compute_output_shape([(None, None, 4), (5, 3, 4)]) == (5, None, 4)


def test_masks_are_merged_also_as_stand_ins():
    masked = L.Masking()(L.Input((4, 2)))
    plain = L.Input((4, 2))
    assert get_mask(L.Concatenate(axis=1)([masked, plain])).shape == (None, 8)
    assert get_mask(L.Add()([masked, plain])) is None
    assert get_mask(L.Add()([masked, masked])).shape == (None, 4)


# ---- time steps


def test_a_dense_layer_over_time_is_one_product_not_one_for_each_step():
    layer = L.TimeDistributed(L.Dense(2, "relu"))
    layer.build((None, 50, 4))
    program = str(jax.make_jaxpr(lambda x: layer.call(x))(jnp.ones((2, 50, 4))))
    assert program.count("dot_general") == 1
    steps = np.stack([layer.layer(X3[:, t]) for t in range(3)], 1)
    np.testing.assert_allclose(L.TimeDistributed(layer.layer)(X3), steps, rtol=1e-6)


def test_a_layer_that_is_given_with_weights_keeps_them():
    inner = L.Dense(2)
    inner.build((None, 4))
    kernel = inner.kernel
    for wrapper in (L.TimeDistributed(inner), L.SpectralNormalization(inner), L.Wrapper(inner)):
        wrapper.build((2, 3, 4) if isinstance(wrapper, L.TimeDistributed) else (2, 4))
        assert inner.kernel is kernel


def test_time_steps_that_a_mask_hides_do_not_reach_the_layer_inside():
    seen = []

    class Probe(L.Layer):
        def call(self, x, mask=None):
            seen.append(mask)
            return x

    L.TimeDistributed(Probe())(X3, mask=np.array([[True, False, True]] * 2))
    assert [np.asarray(mask).tolist() for mask in seen] == [[True, True], [False, False], [True, True]]


# ---- functions


def twice(x, by=2, training=None):
    return x * by if training else x


def test_a_lambda_gets_its_arguments_and_what_it_asks_for():
    layer = L.Lambda(twice, arguments={"by": 3})
    np.testing.assert_array_equal(layer(X2, training=True), X2 * 3)
    np.testing.assert_array_equal(layer(X2), X2)
    assert layer(KerasTensor((None, 4))).shape == (None, 4)


def test_the_shape_of_a_lambda_may_be_told():
    assert L.Lambda(lambda x: x, output_shape=(7,))(KerasTensor((None, 4))).shape == (None, 7)
    assert L.Lambda(lambda x: x, output_shape=lambda s: (s[0], 9)).compute_output_shape((3, 4)) == (3, 9)
    assert L.Lambda(lambda xs: xs[0], output_shape=(4,)).compute_output_shape([(3, 4), (3, 5)]) == (3, 4)
    with pytest.raises(NotImplementedError, match="We could not automatically infer the shape"):
        L.Lambda(lambda x: x.no_such_thing).compute_output_shape((2, 3))


def test_the_mask_of_a_lambda_may_be_told():
    x = L.Masking()(X3)
    assert get_mask(L.Lambda(lambda x: x * 1, mask=lambda x, mask: mask)(x)) is get_mask(x)
    with pytest.warns(UserWarning, match="destroy the mask"):
        assert get_mask(L.Lambda(lambda x: x * 1)(x)) is None


def test_only_a_function_that_has_a_name_can_be_saved():
    with pytest.raises(InvalidArgumentError, match="A `lambda` cannot be saved"):
        L.Lambda(lambda x: x).get_config()
    registry.register_keras_serializable("Tests")(twice)
    config_ = serialization.serialize(L.Lambda(twice, arguments={"by": 4}))
    again = serialization.deserialize(config_)
    np.testing.assert_array_equal(again(X2, training=True), X2 * 4)


@pytest.mark.parametrize("key", ["function", "output_shape", "mask"])
def test_a_file_with_code_in_it_is_refused(key):
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    config_ = {"name": "l", "function": "relu", "arguments": {}, key: code}
    with pytest.raises(FileFormatError, match="arbitrary code execution"):
        L.Lambda.from_config(config_)


# ---- the rest


def test_spectral_normalization_brings_the_largest_singular_value_to_one():
    layer = L.SpectralNormalization(L.Dense(5), power_iterations=50)
    layer(X2, training=True)
    assert np.linalg.norm(layer.layer.get_weights()[0], 2) == pytest.approx(1, abs=1e-3)
    zero = L.SpectralNormalization(L.Dense(5, kernel_initializer="zeros"))
    assert not np.isnan(zero(X2, training=True)).any()


def test_a_zero_sample_has_no_direction_and_a_finite_gradient():
    layer = L.UnitNormalization()
    assert not np.any(layer(np.zeros((1, 3), "float32")))
    grad = jax.grad(lambda x: jnp.sum(layer(x) ** 2))(jnp.zeros((1, 3)))
    assert np.isfinite(grad).all()


def test_normalizing_one_feature_works():
    layer = L.BatchNormalization()
    x = np.array([[1.0], [3.0]], "float32")
    mask = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(layer(x, training=True), [[-1.0], [1.0]], atol=1e-3)
    assert L.BatchNormalization()(np.ones((2, 2, 1), "float32"), training=True, mask=mask).shape == (2, 2, 1)


def test_what_a_mask_hides_may_be_nan():
    layer = L.BatchNormalization()
    x = np.array([[[1.0], [np.nan]], [[3.0], [2.0]]], "float32")
    layer(x, training=True, mask=np.array([[True, False], [True, True]]))
    assert np.isfinite(layer.get_weights()[2]).all()


def test_dropout_keeps_the_mean_and_draws_anew_each_time():
    layer = L.Dropout(0.25, seed=1)
    x = np.ones((1000, 20), "float32")
    first, second = layer(x, training=True), layer(x, training=True)
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    assert float((first == 0).mean()) == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(L.Dropout(0.25, seed=1)(x, training=True), first)


def test_alpha_dropout_keeps_mean_and_deviation():
    x = np.random.default_rng(0).normal(size=(2000, 50)).astype("float32")
    output = L.AlphaDropout(0.3, seed=1)(x, training=True)
    assert float(output.mean()) == pytest.approx(0, abs=0.02)
    assert float(output.std()) == pytest.approx(1, abs=0.02)


def test_no_generator_is_made_where_nothing_is_drawn():
    for layer in (L.Dropout(0), L.AlphaDropout(0.0), L.GaussianDropout(0), L.GaussianNoise(0)):
        assert layer.variables == []
        np.testing.assert_array_equal(layer(X2, training=True), X2)


SYMBOLIC = [
    *[lambda name=name: (getattr(L, name)(), (6,)) for name in ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")],
    lambda: (L.Activation("relu"), (6,)),
    lambda: (L.Dense(3), (6,)),
    lambda: (L.Dropout(0.5), (6,)),
    lambda: (L.BatchNormalization(), (6,)),
    lambda: (L.LayerNormalization(), (6,)),
    lambda: (L.RMSNormalization(), (6,)),
    lambda: (L.GroupNormalization(2), (6,)),
    lambda: (L.UnitNormalization(), (6,)),
    lambda: (L.Flatten(), (2, 3)),
    lambda: (L.Reshape((2, 3)), (6,)),
    lambda: (L.Permute((2, 1)), (2, 3)),
    lambda: (L.RepeatVector(2), (6,)),
    lambda: (L.Rescaling(2.0), (6,)),
    lambda: (L.Normalization(), (6,)),
    lambda: (L.Identity(), (6,)),
    lambda: (L.Embedding(3, 2), (6,)),
    lambda: (L.EinsumDense("ab,bc->ac", 3), (6,)),
    lambda: (L.TimeDistributed(L.Dense(2)), (2, 3)),
    lambda: (L.SpectralNormalization(L.Dense(2)), (6,)),
    lambda: (L.ActivityRegularization(0.1), (6,)),
    *[lambda name=name: (getattr(L, name)(), [(6,), (6,)]) for name in ("Add", "Subtract", "Multiply", "Concatenate")],
    lambda: (L.Dot(1), [(6,), (6,)]),
]


@pytest.mark.parametrize("case", SYMBOLIC)
def test_a_symbolic_call_traces_nothing(case, monkeypatch):
    layer, shapes = case()

    def refuse(*args, **kwargs):
        raise AssertionError("traced")

    monkeypatch.setattr(L.Layer, "_traced_spec", refuse)
    inputs = [L.Input(shape) for shape in shapes] if isinstance(shapes, list) else L.Input(shapes)
    assert layer(inputs).shape[0] is None


def test_functions_of_jax_are_saved_by_their_names():
    for function in (jax.nn.relu, jnp.tanh):
        config_ = serialization.serialize(L.Dense(2, activation=function))
        again = serialization.deserialize(config_)
        np.testing.assert_array_equal(again.activation(X2), function(X2))
    with pytest.raises(InvalidArgumentError, match="A `lambda` cannot be saved"):
        serialization.serialize(L.Dense(2, activation=jax.jit(lambda x: x)))
