"""C files, compiled by gcc with every warning an error and with both sanitizers, against the models themselves."""

import shutil
import subprocess

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop import c
from lamina.interop.lowered import compact, evaluate
from lamina.interop.lowering import lower
from lamina.interop.quantized import Data, dense_rule, ranges_of
from lamina.models import Model, Sequential

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=address,undefined"]
MAIN = """
#include "{name}.h"
#include <stdio.h>
{buffers}
int main(void) {{
  for (;;) {{
{read}
    {name}_predict({arguments});
{write}
  }}
}}
"""


def run(folder, name, net, inputs):
    """Compile the files and return what they compute for batches of inputs."""
    lowered = lower(net)
    program = c._Program(compact(lowered), name, False, None)
    names = program.arguments
    count = len(lowered.inputs)
    sizes = {n: f"{name.upper()}_{n.upper()}_SIZE" for n in names}
    text = MAIN.format(
        name=name,
        buffers="\n".join(f"static float b{i}[{sizes[n]}];" for i, n in enumerate(names)),
        read="\n".join(
            f"    if (fread(b{i}, sizeof(float), {sizes[n]}, stdin) != {sizes[n]}) return 0;"
            for i, n in enumerate(names[:count])
        ),
        arguments=", ".join(f"b{i}" for i in range(len(names))),
        write="\n".join(
            f"    fwrite(b{i}, sizeof(float), {sizes[n]}, stdout);" for i, n in enumerate(names) if i >= count
        ),
    )
    (folder / "main.c").write_text(text)
    files = [str(folder / f"{name}.c"), str(folder / "main.c")]
    subprocess.run(["gcc", *FLAGS, *files, "-o", str(folder / "run"), "-lm"], check=True)
    rows = len(inputs[0])
    flat = np.concatenate([x.reshape(rows, -1) for x in inputs], axis=1).astype("<f4")
    out = subprocess.run([str(folder / "run")], input=flat.tobytes(), capture_output=True, check=True).stdout
    found = np.frombuffer(out, "<f4").reshape(rows, -1)
    ends = np.cumsum([int(np.prod(lowered.shapes[n])) for n in lowered.outputs])[:-1]
    parts = np.split(found, ends, axis=1)
    return [y.reshape(rows, *lowered.shapes[n]) for y, n in zip(parts, lowered.outputs, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_compiled_c_predicts_what_the_model_predicts(name, tmp_path):
    model = randomized(MODELS[name]())
    inputs = batch(model, 7)
    c.write(net_of(model), str(tmp_path / "net.c"))
    for y, wanted in zip(run(tmp_path, "net", net_of(model), inputs), predictions(model, inputs), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=2e-5)


def all_activations():
    x = layers.Input((6,), name="x")
    ends = [layers.Dense(8, activation=name, name=name)(x) for name in ACTIVATIONS]
    return randomized(Model(x, ends))


def test_every_activation_is_equal_in_c(tmp_path):
    model = all_activations()
    inputs = batch(model, 5)
    c.write(net_of(model), str(tmp_path / "net.c"))
    found = run(tmp_path, "net", net_of(model), inputs)
    for name, y, wanted in zip(ACTIVATIONS, found, predictions(model, inputs), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("calibrated", [True, False])
def test_eight_bits_in_c_are_the_eight_bits_that_were_measured(calibrated, tmp_path):
    model = randomized(MODELS["digits"]())
    inputs = [np.random.default_rng(0).uniform(0, 255, (20, 8, 8)).astype(np.float32)]
    np.savez(tmp_path / "data.npz", x=inputs[0], y=predictions(model, inputs)[0].argmax(1))
    options = {"calibration": str(tmp_path / "data.npz")} if calibrated else {}
    notes = c.write(net_of(model), str(tmp_path / "small.c"), int8=True, **options)
    assert any("8 bits, " in note for note in notes)
    assert any("accuracy 100.00% with floats" in note for note in notes) is calibrated
    assert any("Measured on random inputs" in note for note in notes) is not calibrated
    small = compact(lower(net_of(model)))
    ranges = ranges_of(small, Data(inputs)) if calibrated else None
    expected = evaluate(small, inputs, rules={"dense": dense_rule(ranges)})[0]
    found = run(tmp_path, "small", net_of(model), inputs)[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - predictions(model, inputs)[0]).max() < 0.1


def test_inputs_far_outside_and_not_finite_are_no_undefined_behaviour(tmp_path):
    model = randomized(MODELS["digits"]())
    x = np.full((4, 8, 8), 1e30, np.float32)
    x[1], x[2], x[3] = -1e30, np.inf, np.nan
    c.write(net_of(model), str(tmp_path / "small.c"), int8=True)
    assert run(tmp_path, "small", net_of(model), [x])[0].shape == (4, 10)


def test_names_that_are_no_c_names_are_changed(tmp_path):
    x = layers.Input((2,), name="int")
    model = Model(x, [layers.Dense(1, name="2 *: x")(x), layers.Dense(1, name="work")(x)])
    c.write(net_of(model), str(tmp_path / "7-net.c"))
    assert "net_7_net_predict" in (tmp_path / "7-net.h").read_text()
    subprocess.run(["gcc", *FLAGS, "-c", str(tmp_path / "7-net.c"), "-o", str(tmp_path / "o.o")], check=True)


REFUSED = {
    "weights that are not finite": (
        lambda m: m.layers[0].kernel.assign(np.full((3, 2), np.nan)),
        {},
        "NaN or infinity",
    ),
    "calibration without int8": (lambda m: None, {"calibration": np.zeros((2, 3))}, "add `--int8`"),
    "calibration of another shape": (lambda m: None, {"int8": True, "calibration": np.zeros((2, 4))}, "do not fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused(case, tmp_path):
    spoil, options, phrase = REFUSED[case]
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    spoil(model)
    with pytest.raises(InvalidArgumentError, match=phrase):
        c.write(net_of(model), str(tmp_path / "net.c"), **options)
    assert not list(tmp_path.iterdir())


def test_a_calibration_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no arrays")
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(FileFormatError, match="Not a file of arrays"):
        c.write(net_of(model), str(tmp_path / "net.c"), int8=True, calibration=str(tmp_path / "x.npz"))
