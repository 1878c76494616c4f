"""Quantizing layers and models, and low-rank adapters."""

import copy
import pickle

import numpy as np
import pytest

import lamina
from lamina import layers, quantizers
from lamina.errors import InvalidArgumentError
from lamina.models import Sequential

MODES = ["int8", "int4", "float8"]


def network():
    lamina.set_random_seed(4)
    return Sequential([layers.Input((8,)), layers.Dense(16, "relu", name="first"), layers.Dense(3, name="second")])


def data(rows=64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 8)).astype("float32"), rng.normal(size=(rows, 3)).astype("float32")


@pytest.mark.parametrize("mode", MODES)
def test_a_quantized_model_predicts_about_what_it_did_also_after_pickle_and_copy(mode):
    model, (x, _) = network(), data()
    before = model.predict(x, verbose=0)
    model.quantize(mode)
    after = model.predict(x, verbose=0)
    assert 0 < np.abs(after - before).max() < {"int8": 0.05, "int4": 0.5, "float8": 0.3}[mode]
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.predict(x, verbose=0), after)
        assert twin.layers[0].quantization_mode == mode


def test_filters_choose_layers():
    for filters in ("first", ["fir.t", "none"], lambda layer: layer.name == "first"):
        model = network()
        model.quantize("int8", filters=filters)
        assert [layer.quantization_mode for layer in model.layers] == ["int8", None]
    with pytest.raises(InvalidArgumentError, match="`filters`"):
        network().quantize("int8", filters=3)


def test_a_quantization_that_fails_changes_no_layer():
    model = network()
    model.layers[1].quantize("int8")
    weights = [w for w in model.weights]
    with pytest.raises(InvalidArgumentError, match="already quantized"):
        model.quantize("int4")
    assert all(a is b for a, b in zip(model.weights, weights, strict=True))
    assert model.layers[0].quantization_mode is None


def test_what_cannot_be_quantized_is_refused():
    with pytest.raises(InvalidArgumentError, match="isn't yet built"):
        layers.Dense(2).quantize("int8")
    with pytest.raises(InvalidArgumentError, match="isn't yet built"):
        Sequential([layers.Dense(2)]).quantize("int8")
    with pytest.raises(InvalidArgumentError, match="large language models"):
        network().quantize("gptq")
    half = layers.Dense(2, dtype="float16")
    half.build((None, 2))
    with pytest.raises(InvalidArgumentError, match="float16"):
        half.quantize("int8")
    table = layers.Embedding(4, 2)
    table.build()
    with pytest.raises(NotImplementedError, match="Invalid quantization mode"):
        table.quantize("float8")
    assert table.quantization_mode is None


def test_a_class_of_the_users_is_left_alone_with_a_warning_unless_asked_for():
    class Mine(layers.Dense):
        pass

    model = Sequential([layers.Input((8,)), Mine(4), layers.Dense(2)])
    with pytest.warns(UserWarning, match="Mine does not have a `quantize`"):
        model.quantize("int8")
    assert [layer.quantization_mode for layer in model.layers] == [None, "int8"]
    model.layers[0].quantize("int8", type_check=False)
    assert model.layers[0].kernel.dtype == "int8"


def test_the_inputs_of_an_elided_equation_are_quantized():
    layer = layers.EinsumDense("...x,xy->...y", 3)
    x = np.random.default_rng(0).normal(size=(2, 5, 7)).astype("float32")
    expected = np.asarray(layer(x))
    layer.quantize("int8")
    np.testing.assert_allclose(np.asarray(layer(x)), expected, atol=0.03)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_gradients_pass_a_quantized_layer_to_those_below_it(mode):
    model, (x, y) = network(), data()
    model.layers[1].quantize(mode)
    kernel, frozen = model.layers[0].kernel.numpy(), model.layers[1].kernel
    frozen = np.array(frozen)
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=5, verbose=0)
    assert np.abs(model.layers[0].kernel.numpy() - kernel).max() > 1e-3
    np.testing.assert_array_equal(np.array(model.layers[1].kernel), frozen)
    assert model.history.history["loss"][-1] < model.history.history["loss"][0]


def test_a_model_may_be_quantized_and_given_adapters_between_two_fits():
    model, (x, y) = network(), data()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.quantize("int8")
    model.fit(x, y, verbose=0)
    for layer in model.layers:
        layer.enable_lora(2)
    before = model.predict(x, verbose=0)
    model.fit(x, y, epochs=20, verbose=0)
    assert model.evaluate(x, y, verbose=0) < np.mean((before - y) ** 2)


def test_adapters_start_at_what_was_there_and_alone_are_trained():
    model, (x, y) = network(), data()
    before = model.predict(x, verbose=0)
    model.layers[0].enable_lora(4)
    np.testing.assert_allclose(model.predict(x, verbose=0), before, rtol=1e-4, atol=1e-6)
    assert [w.name for w in model.layers[0].trainable_weights] == ["bias", "lora_kernel_a", "lora_kernel_b"]
    kernel = model.layers[0]._kernel.numpy()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.layers[0]._kernel.numpy(), kernel)
    model.trainable = False
    model.trainable = True
    assert not model.layers[0]._kernel.trainable
    expected = model.predict(x, verbose=0)
    layer = model.layers[0]
    np.testing.assert_allclose(
        np.maximum(x @ np.asarray(layer.kernel) + layer.bias.numpy(), 0) @ model.layers[1].kernel.numpy()
        + model.layers[1].bias.numpy(),
        expected,
        atol=1e-5,
    )


def test_a_layer_built_again_has_new_adapters_of_the_new_width():
    layer = layers.Dense(3, lora_rank=2)
    layer.build((None, 5))
    layer.build((None, 7))
    assert layer.lora_kernel_a.shape == (7, 2)
    assert len(layer.weights) == 4
    quantized = layers.Dense(3, dtype="int8_from_float32")
    quantized.build((None, 5))
    quantized.build((None, 7))
    assert [w.shape for w in quantized.weights] == [(3,), (7, 3), (3,)]


def test_adapters_are_refused_where_they_cannot_be():
    layer = layers.Dense(3)
    with pytest.raises(ValueError, match="isn't yet built"):
        layer.enable_lora(2)
    layer.build((None, 4))
    with pytest.raises(InvalidArgumentError, match="positive integer"):
        layer.enable_lora(0)
    layer.enable_lora(2)
    with pytest.raises(InvalidArgumentError, match="already enabled"):
        layer.enable_lora(2)
    held = layers.Dense(3, kernel_constraint="non_neg")
    held.build((None, 4))
    with pytest.raises(InvalidArgumentError, match="constraints"):
        held.enable_lora(2)


def test_a_layer_without_a_quantized_call_computes_as_before_under_a_quantized_default_policy():
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(layers.ReLU(dtype="int8_from_float32")(x), x)


def test_a_kernel_of_the_users_own_making_is_the_kernel():
    class Mine(layers.Dense):
        def build(self, input_shape):
            self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer="ones")
            self.bias = None

    assert np.asarray(Mine(2)(np.ones((1, 3)))).tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("length", [4, 5])
def test_numbers_of_4_bits_come_back_from_their_bytes(axis, length):
    whole = np.random.default_rng(0).integers(-8, 8, (length, length)).astype("int8")
    packed, shape, before = quantizers.pack_int4(whole, axis)
    assert shape[axis] == (length + 1) // 2
    np.testing.assert_array_equal(quantizers.unpack_int4(packed, before, axis), whole)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(InvalidArgumentError, match="Contradictory"):
        network().quantize("int8", config=quantizers.Int4QuantizationConfig())
    with pytest.raises(InvalidArgumentError, match="block_size must be"):
        quantizers.Int4QuantizationConfig(block_size=0)
    with pytest.raises(InvalidArgumentError, match="does not support custom quantizers"):
        quantizers.Int4QuantizationConfig(quantizers.AbsMaxQuantizer(0, (-8, 7)))
    with pytest.raises(InvalidArgumentError, match=r"\[-128, 127\]"):
        quantizers.AbsMaxQuantizer(value_range=(-200, 200))
