"""Quantized layers and low-rank adapters beside Keras's, and their files both ways."""

import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours

INT8, INT4 = "Int8QuantizationConfig", "Int4QuantizationConfig"
MODES = {
    "int8": ("int8", {}),
    "int8_weights_only": (INT8, {"activation_quantizer": None}),
    "int4": ("int4", {}),
    "int4_blocks_of_3": (INT4, {"block_size": 3}),
    "int4_channels": (INT4, {"block_size": None}),
    "float8": ("float8", {}),
}
DENSE = ("Dense", {"units": 6, "activation": "tanh"}, (7,))
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method"),
]
LAYERS = {
    "dense": DENSE,
    "einsum": ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 4, 6), "bias_axes": "de"}, (5, 7)),
    "einsum_crossed": ("EinsumDense", {"equation": "btd,ndh->btnh", "output_shape": (None, 2, 3)}, (5, 7)),
    "embedding": ("Embedding", {"input_dim": 11, "output_dim": 5}, (4,)),
}


def made(side, kind, mode=None, lora=None):
    name, arguments, shape = LAYERS[kind]
    model = side.Sequential([side.layers.Input(shape), getattr(side.layers, name)(**arguments)])
    values = [
        np.random.default_rng(i).normal(size=w.shape).astype("float32") for i, w in enumerate(model.get_weights())
    ]
    model.set_weights(values)
    if mode is not None:
        quantize(side, model, mode)
    if lora:
        model.layers[-1].enable_lora(lora, lora_alpha=3.0, b_initializer="ones")
        first = model.layers[-1].trainable_weights
        for i, weight in enumerate(first):
            weight.assign(np.random.default_rng(50 + i).normal(size=weight.shape).astype("float32") * 0.1)
    return model


def quantize(side, model, mode):
    name, arguments = MODES[mode]
    if name in ("int8", "int4", "float8"):
        model.quantize(name)
    else:
        model.quantize(config=getattr(side.quantizers, name)(**arguments))


def inputs(kind):
    shape = (3, *LAYERS[kind][2])
    rng = np.random.default_rng(9)
    return rng.integers(0, 11, shape) if kind == "embedding" else rng.normal(size=shape).astype("float32")


CASES = [(kind, mode) for kind in LAYERS for mode in MODES if not (kind == "embedding" and mode == "float8")]


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_a_quantized_layer_gives_what_keras_gives_and_reads_its_files_and_writes_files_for_it(kind, mode, tmp_path):
    theirs, mine, x = made(keras, kind, mode), made(ours, kind, mode), inputs(kind)
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(np.asarray(mine(x)), expected, atol=2e-6 * np.abs(expected).max())
    assert [(w.name, str(w.dtype), tuple(w.shape)) for w in mine.weights] == [
        (w.name, str(w.dtype), tuple(w.shape)) for w in theirs.weights
    ]
    for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    theirs.save(tmp_path / "theirs.keras")
    mine.save(tmp_path / "mine.keras")
    read = lamina.saving.load_model(tmp_path / "theirs.keras")
    np.testing.assert_array_equal(np.asarray(read(x)), np.asarray(mine(x)))
    back = keras.saving.load_model(tmp_path / "mine.keras")
    np.testing.assert_array_equal(np.asarray(back(x)), expected)
    kinds = [side.layers[-1].get_config()["quantization_config"]["class_name"] for side in (read, back)]
    assert kinds == [type(theirs.layers[-1].quantization_config).__name__] * 2
    assert read.layers[-1].dtype_policy.name == theirs.layers[-1].dtype_policy.name


@pytest.mark.parametrize("mode", [None, "int8", "int4", "int4_channels"])
@pytest.mark.parametrize("kind", LAYERS)
def test_adapters_add_what_keras_adds_and_a_file_holds_the_sum(kind, mode, tmp_path):
    theirs, mine, x = made(keras, kind, mode, lora=2), made(ours, kind, mode, lora=2), inputs(kind)
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(np.asarray(mine(x)), expected, atol=3e-6 * np.abs(expected).max())
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    mine.save_weights(tmp_path / "mine.weights.h5")
    plain, other = made(ours, kind, mode), made(ours, kind, mode)
    plain.load_weights(tmp_path / "theirs.weights.h5")
    other.load_weights(tmp_path / "mine.weights.h5")
    for one, two in zip(plain.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1 if one.dtype == "int8" else 1e-6)
    mine.save(tmp_path / "mine.keras")
    assert keras.saving.load_model(tmp_path / "mine.keras").layers[-1].lora_enabled


def test_training_in_8_bit_floats_follows_keras():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(256, 7)).astype("float32"), rng.normal(size=(256, 6)).astype("float32")
    histories, scales = [], []
    for side in (keras, ours):
        model = made(side, "dense", "float8")
        model.compile(side.optimizers.Adam(0.01), "mse")
        fit = model.fit(x, y, epochs=3, batch_size=64, shuffle=False, verbose=0)
        histories.append(fit.history["loss"])
        scales.append([np.asarray(w) for w in model.trainable_weights if "scale" in w.name])
    np.testing.assert_allclose(histories[0], histories[1], rtol=2e-3)
    np.testing.assert_allclose(scales[0], scales[1], rtol=2e-2)
