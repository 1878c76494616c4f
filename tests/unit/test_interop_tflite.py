"""TFLite files, run by LiteRT, against the models themselves."""

from pathlib import Path

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop import tflite
from lamina.models import Model, Sequential
from lamina.saving.bridge import model_of

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


def all_activations():
    x = layers.Input((6,), name="x")
    return randomized(Model(x, [layers.Dense(8, activation=name, name=name)(x) for name in ACTIVATIONS]))


def run(path, inputs):
    """Return what LiteRT computes, in this process: a start of another for each test takes a minute in all."""
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(path)
    ends = net.get_input_details()
    for one, x in zip(ends, inputs, strict=True):
        net.resize_tensor_input(one["index"], x.shape)
    net.allocate_tensors()
    for one, x in zip(ends, inputs, strict=True):
        net.set_tensor(one["index"], x)
    net.invoke()
    return [net.get_tensor(one["index"]) for one in net.get_output_details()]


CASES = {**{name: (lambda name=name: randomized(MODELS[name]())) for name in MODELS}, "activations": all_activations}


@pytest.mark.parametrize("name", CASES)
def test_litert_predicts_what_the_model_predicts(name, tmp_path):
    model = CASES[name]()
    path = str(tmp_path / "net.tflite")
    tflite.write(net_of(model), path)
    for rows in (1, 6):
        inputs = batch(model, rows)
        found = run(path, inputs)
        for y, wanted in zip(found, predictions(model, inputs), strict=True):
            assert y.shape == wanted.shape
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=5e-5)


def branches():
    a, b = layers.Input((5,), name="left"), layers.Input((5,), name="right")
    one, other = layers.Dense(4, activation="tanh")(a), layers.Dense(4, activation="gelu")(b)
    merged = layers.Average()([layers.Multiply()([one, other]), layers.Maximum()([one, other])])
    ends = [layers.Dense(2, name="kind")(layers.Concatenate()([one, other])), layers.PReLU(name="size")(merged)]
    return Model([a, b], ends)


@pytest.mark.parametrize("make", [MODELS["digits"], MODELS["one output of a middle layer"], branches])
def test_what_was_written_is_read_again(make, tmp_path):
    model = randomized(make())
    path = str(tmp_path / "net.tflite")
    tflite.write(net_of(model), path)
    assert tflite.matches(path, (tmp_path / "net.tflite").read_bytes()[:512])
    back = model_of(tflite.read(path))
    inputs = batch(model, 6)
    for y, wanted in zip(predictions(back, inputs), predictions(model, inputs), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=3e-5)


def pixels(rows):
    return [np.random.default_rng(0).uniform(0, 255, (rows, 8, 8)).astype(np.float32)]


def test_eight_bits_in_litert_are_the_eight_bits_that_were_measured(tmp_path):
    from lamina.interop.lowered import compact
    from lamina.interop.lowering import lower
    from lamina.interop.quantized import Data, ranges_of
    from lamina.interop.tflite_write import _rounded

    model = randomized(MODELS["digits"]())
    inputs = pixels(64)
    np.savez(tmp_path / "data.npz", x=inputs[0], y=predictions(model, inputs)[0].argmax(1))
    path = str(tmp_path / "net.tflite")
    notes = tflite.write(net_of(model), path, int8=True, calibration=str(tmp_path / "data.npz"))
    assert any("accuracy 100.00% with floats" in note for note in notes)
    small = compact(lower(net_of(model)))
    data = Data(inputs)
    found = run(path, inputs)[0]
    np.testing.assert_allclose(found, _rounded(small, ranges_of(small, data), data)[0], atol=2e-2)
    assert np.abs(found - predictions(model, inputs)[0]).max() < 0.15
    assert (found.argmax(1) == predictions(model, inputs)[0].argmax(1)).mean() > 0.9
    back = model_of(tflite.read(path))  # the same rounded weights, in floats
    np.testing.assert_allclose(predictions(back, inputs)[0], predictions(model, inputs)[0], atol=0.1)


def test_eight_bits_without_data_say_so(tmp_path):
    notes = tflite.write(net_of(randomized(MODELS["several"]())), str(tmp_path / "net.tflite"), int8=True)
    assert any("Measured on random inputs" in note for note in notes)
    model = randomized(MODELS["several"]())
    inputs = [np.random.default_rng(2).normal(size=(5, *x.shape[1:])).astype(np.float32) for x in model.inputs]
    for y, wanted in zip(run(str(tmp_path / "net.tflite"), inputs), predictions(model, inputs), strict=True):
        np.testing.assert_allclose(y, wanted, atol=0.3)


def test_what_litert_has_no_operator_for_is_refused_by_name(tmp_path):
    from lamina import ops

    x = layers.Input((3,), name="x")
    model = Model(x, ops.erf(layers.Dense(2, name="before")(x)))
    with pytest.raises(InvalidArgumentError, match="TFLite cannot hold the operation `erf`"):
        tflite.write(net_of(model), str(tmp_path / "net.tflite"))
    assert not list(tmp_path.iterdir())


def test_an_operator_that_no_layer_is_is_refused_by_name(tmp_path):
    model = Sequential([layers.Input((4,)), layers.Dense(4), layers.LayerNormalization()])
    path = str(tmp_path / "net.tflite")
    tflite.write(net_of(model), path)
    with pytest.raises(InvalidArgumentError, match="TFLite operator MEAN"):
        tflite.read(path)


def test_cut_and_changed_files_are_refused_or_read_but_never_fail_otherwise(tmp_path):
    path = tmp_path / "net.tflite"
    tflite.write(net_of(randomized(MODELS["several"]())), str(path))
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        for _ in range(rng.integers(1, 6)):
            if data:
                data[rng.integers(0, len(data))] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            tflite.read(str(path))
        except (FileFormatError, InvalidArgumentError):
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(("name", "tolerance"), [("float", 1e-6), ("dynamic", 0.02), ("int8", 0.03)])
def test_files_of_tensorflows_converter_are_read(name, tolerance):
    folder = Path(__file__).parents[1] / "fixtures" / "tflite"
    with np.load(folder / "expected.npz") as made:
        x, y = made["x"], made["y"]
    model = model_of(tflite.read(str(folder / f"{name}.tflite")))
    np.testing.assert_allclose(predictions(model, [x])[0], y, atol=tolerance)
