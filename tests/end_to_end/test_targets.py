"""A model goes out to every target and back, as a user does it; each target's own runtime is asked what it computes."""

import shutil

import numpy as np
import pytest
from interop_nets import MODELS, batch, predictions, randomized

import lamina
from lamina.saving.convert import convert

TARGETS = {"net.onnx": "", "net.tflite": "", "net.stablehlo": "", "net.c": "gcc", "net.html": "chromium"}


@pytest.mark.parametrize("name", TARGETS)
def test_a_converted_model_is_compared_with_its_own_runtime(name, tmp_path):
    if TARGETS[name] and shutil.which(TARGETS[name]) is None:
        pytest.skip(f"{TARGETS[name]} is not installed")
    model = randomized(MODELS["digits"]())
    done = convert(model, tmp_path / name)
    assert done.comparisons[-1].side == "target"
    assert done.comparisons[-1].difference is not None, str(done.comparisons[-1])
    assert done.comparisons[-1].difference < 1e-6
    assert any("only acts in training" in note for note in done.notes)


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite"])
def test_a_converted_model_is_loaded_and_trains_on(name, tmp_path):
    model = randomized(MODELS["digits"]())
    convert(model, tmp_path / name, check=False)
    back = lamina.load_model(str(tmp_path / name))
    inputs = batch(model, 9)
    np.testing.assert_allclose(predictions(back, inputs)[0], predictions(model, inputs)[0], rtol=1e-5, atol=1e-6)
    back.compile("sgd", "sparse_categorical_crossentropy")
    back.fit(inputs[0], np.arange(9) % 10, verbose=0)
    assert np.isfinite(predictions(back, inputs)[0]).all()
