"""Files that TensorFlow 2.15 (Keras 2) and 2.21 (Keras 3) wrote; `fixtures/make_tensorflow.py` makes them."""

import importlib.util
import pathlib
import shutil

import numpy as np
import pytest

import lamina
from lamina.errors import FileFormatError, InvalidArgumentError, LaminaError

HERE = pathlib.Path(__file__).parents[1] / "fixtures" / "tensorflow"
MODELS = ["sequential", "functional", "activated"]
VERSIONS = ["tf215", "tf221"]


def expected(version, name):
    with np.load(HERE / f"{version}_{name}.npz") as file:
        return file["x"], file["y"]


def same(model, version, name):
    x, y = expected(version, name)
    return np.allclose(np.asarray(model(x, training=False)), y, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The graph says:UserWarning")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_model_computes_what_tensorflow_did(version, name):
    assert same(lamina.load_model(HERE / f"{version}_{name}_saved"), version, name)


@pytest.mark.filterwarnings("ignore:The graph says:UserWarning")
@pytest.mark.parametrize("name", ["functional", "activated"])
def test_the_graph_alone_says_the_layers_of_keras_2_too(name, tmp_path):
    shutil.copytree(HERE / f"tf215_{name}_saved", tmp_path / "m")
    (tmp_path / "m" / "keras_metadata.pb").unlink()
    assert same(lamina.load_model(tmp_path / "m"), "tf215", name)


@pytest.mark.filterwarnings("ignore:The graph says:UserWarning")
def test_a_graph_becomes_layers_that_can_be_trained():
    model = lamina.load_model(HERE / "tf221_sequential_saved" / "saved_model.pb")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Dense", "Activation", "BatchNormalization", "Dense", "LeakyReLU", "LayerNormalization", "Dense",
                     "Activation", "Activation", "Dense", "Softmax"]  # fmt: skip
    assert model.layers[0].name == "first"
    assert model.layers[2].epsilon == pytest.approx(1e-2)
    x, _ = expected("tf221", "sequential")
    model.compile("adam", "mse")
    model.fit(x, np.zeros((6, 3), "float32"), verbose=0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_checkpoint_with_the_architecture_given_computes_the_same(version):
    for name in MODELS:
        config = lamina.load_model(HERE / f"tf215_{name}.keras", compile=False).to_json()
        for path in (HERE / f"{version}_{name}_weights", HERE / f"{version}_{name}_weights" / "w"):
            assert same(lamina.load_model(path, architecture=config), version, name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_checkpoint_with_the_functions_given_has_the_weights_and_says_what_it_took(version):
    index = HERE / f"{version}_sequential_weights" / "w.index"
    with pytest.raises(InvalidArgumentError, match=r"what stands between them(.|\n)*activations='relu'"):
        lamina.load_model(index)
    with pytest.warns(UserWarning, match=r"those of `activations`|epsilon"):
        model = lamina.load_model(index, activations=["relu", "linear", "tanh", "softmax"])
    whole = lamina.load_model(HERE / "tf215_sequential.keras", compile=False)
    assert [w.shape for w in model.get_weights()] == [w.shape for w in whole.get_weights()]
    assert model.layers[-1].activation.__name__ == "softmax"


@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.parametrize("name", MODELS)
def test_files_of_keras_2_compute_the_same_and_are_compiled(name, ending):
    model = lamina.load_model(HERE / f"tf215_{name}.{ending}")
    assert same(model, "tf215", name)
    assert type(model.optimizer).__name__ == "Adam"
    assert int(model.optimizer.iterations) == 1
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    first, second = (np.asarray(v) for v in model.optimizer.variables[2:4])
    assert np.allclose(first**2 / 10, second, rtol=1e-3)  # after one step m = 0.1 g and v = 0.001 g²


def test_a_saved_model_is_converted_and_compared_with_tensorflow_where_it_is(tmp_path):
    done = lamina.convert(HERE / "tf221_functional_saved", tmp_path / "m.keras")
    source, target = done.comparisons
    assert target.difference < 1e-6
    if importlib.util.find_spec("tensorflow") is None:
        assert "not installed" in source.why
    else:
        assert source.difference < 1e-5, source.why
    done = lamina.convert(HERE / "tf215_sequential_weights", tmp_path / "n.pt", check=False, activations="relu")
    assert done.comparisons == ()


def test_a_saved_model_of_keras_2_is_converted(tmp_path):
    lamina.convert(HERE / "tf215_sequential_saved", tmp_path / "m.keras", check=False)
    assert same(lamina.load_model(tmp_path / "m.keras"), "tf215", "sequential")


def test_a_saved_model_is_not_told_its_architecture():
    with pytest.raises(InvalidArgumentError, match="says its architecture itself"):
        lamina.load_model(HERE / "tf221_sequential_saved", activations="relu")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(
    "part", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_saved_model_cut_short_is_refused(part, share, tmp_path):
    shutil.copytree(HERE / "tf221_functional_saved", tmp_path / "m")
    data = (tmp_path / "m" / part).read_bytes()
    (tmp_path / "m" / part).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(LaminaError):
        lamina.load_model(tmp_path / "m")


def test_a_missing_part_is_named(tmp_path):
    shutil.copytree(HERE / "tf221_functional_saved", tmp_path / "m")
    (tmp_path / "m" / "variables" / "variables.data-00000-of-00001").unlink()
    with pytest.raises(FileFormatError, match=r"variables\.data-00000-of-00001 is missing"):
        lamina.load_model(tmp_path / "m")
