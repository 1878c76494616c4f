"""`lamina convert`, `lamina info FILE` and `lamina diff`."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from saving_files import changed, small

from lamina.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small()
    model.save("a.keras")
    model.save_weights("a.weights.h5")
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_convert_says_what_came_of_it_and_compares(run):
    result = run("convert", "a.keras", "b.safetensors")
    assert result.exit_code == 0, result.output
    assert "a.keras -> b.safetensors: 19 parameters" in result.output
    assert "Its module: nn.Sequential(nn.Linear(in_features=4, out_features=3), nn.ReLU()" in result.output
    assert "safetensors (target) beside lamina: 64 inputs, largest difference" in result.output


def test_convert_passes_options_on_and_says_which_there_are(run):
    assert run("convert", "a.keras", "b.pt", "--no-check").exit_code == 0
    result = run("convert", "b.pt", "c.keras", "--no-check", "--activations", '["relu", null]')
    assert result.exit_code == 0, result.output
    assert "The functions between the layers" in result.output
    result = run("convert", "b.pt", "c.keras", "--no-check", "--activatoins", "relu")
    assert result.exit_code == 1
    assert "Did you mean 'activations'?" in result.output
    assert "Traceback" not in result.output
    result = run("convert", "a.keras", "b.xyz")
    assert result.exit_code == 1
    assert "does not say what to write" in result.output


def test_the_help_of_convert_lists_the_formats(run):
    text = run("convert", "--help").output
    for word in ("torch", "safetensors", "tensorflow", "caffe", "--architecture", "read only"):
        assert word in text


def test_info_of_a_file_shows_its_layers(run):
    text = run("info", "a.keras").output
    assert "kind: Keras" in text
    assert "parameters: 19" in text
    assert "hidden" in text
    assert "kernel (4, 3) float32" in text
    run("convert", "a.keras", "b.pt", "--no-check")
    assert "kind: PyTorch" in run("info", "b.pt").output
    text = run("info", "a.weights.h5").output
    assert "kind: Keras weights" in text
    assert "layers/dense" in text
    for name in ("missing.keras", "missing.weights.h5", "missing.pt"):
        result = run("info", name)
        assert result.exit_code == 1
        assert "File not found" in result.output
        assert isinstance(result.exception, SystemExit)
    result = run("convert", "a.keras", "no_folder/b.pt", "--no-check")
    assert "make the folder first" in result.output
    assert isinstance(result.exception, SystemExit)


def test_diff_of_equal_files_ends_with_0_and_of_others_with_1(run):
    result = run("diff", "a.keras", "a.weights.h5")
    assert result.exit_code == 0, result.output
    assert "hold the same 19 numbers" in result.output

    def change(file):
        kernel = file["layers/dense/vars/0"]
        kernel[0, 0] = kernel[0, 0] + np.float32(0.5)

    with h5py.File("b.weights.h5", "w") as new, h5py.File("a.weights.h5") as old:
        for part in old:
            old.copy(part, new)
    changed("b.weights.h5", change)
    result = run("diff", "a.weights.h5", "b.weights.h5")
    assert result.exit_code == 1
    assert "hidden 0  1 of 12 values differ, by up to 0.5" in result.output
    assert run("diff", "a.weights.h5", "b.weights.h5", "--tolerance", "1").exit_code == 0


def test_diff_names_layers_and_shapes(run):
    small(units=5).save("b.keras")
    result = run("diff", "a.keras", "b.keras")
    assert result.exit_code == 1
    assert "hidden kernel  shape (4, 3) against (4, 5)" in result.output
    run("convert", "a.keras", "c.pt", "--no-check")
    assert "values differ" not in run("diff", "a.keras", "c.pt").output
