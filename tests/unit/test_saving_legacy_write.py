"""Whole models written to `.h5` files, and read again here."""

import h5py
import numpy as np
import pytest
from saving_files import X, Y, same, small, values

from lamina import Dense, Input, Model, Sequential, layers, saving
from lamina.errors import InvalidArgumentError

LEGACY = "file format is considered legacy"


def _saved(model, path, **options):
    with pytest.warns(UserWarning, match=LEGACY):
        model.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["h5", "hdf5"])
def test_a_trained_model_comes_back_with_the_state_of_its_optimizer(ending, tmp_path):
    model = small()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    loaded = saving.load_model(_saved(model, tmp_path / f"m.{ending}"))
    assert same(values(model), values(loaded))
    assert same([np.asarray(v) for v in model.optimizer.variables], [np.asarray(v) for v in loaded.optimizer.variables])
    for one in (model, loaded):
        one.fit(X, Y, verbose=0, shuffle=False)
    assert same(values(model), values(loaded))


def test_without_the_optimizer_the_model_is_not_compiled(tmp_path):
    model = small()
    model.compile("adam", "mse")
    path = _saved(model, tmp_path / "m.h5", include_optimizer=False)
    with pytest.warns(UserWarning, match="not.*compiled"):
        loaded = saving.load_model(path)
    assert loaded.optimizer is None
    assert same(model.get_weights(), loaded.get_weights())


def test_the_old_argument_may_say_what_the_ending_says(tmp_path):
    _saved(small(), tmp_path / "m.h5", save_format="h5")
    with pytest.raises(InvalidArgumentError, match="save_format"):
        small().save(tmp_path / "m.h5", save_format="tf")


def test_bfloat16_and_frozen_layers_come_back(tmp_path):
    model = Sequential([Input((3,)), Dense(4, dtype="bfloat16"), layers.BatchNormalization(), Dense(2)])
    model.layers[1].trainable = False
    path = _saved(model, tmp_path / "m.h5")
    with pytest.warns(UserWarning, match="compiled"):
        loaded = saving.load_model(path)
    assert loaded.layers[0].kernel.dtype == "bfloat16"
    assert not loaded.layers[1].trainable
    assert same([np.asarray(v) for v in model.weights], [np.asarray(v) for v in loaded.weights])


def test_a_list_of_names_that_is_too_long_for_one_attribute_is_cut(tmp_path):
    many = [layers.Activation("relu", name=f"{'long' * 50}_{i:04d}") for i in range(400)]
    model = Sequential([Input((2,)), Dense(2), *many])
    path = _saved(model, tmp_path / "m.h5")
    with h5py.File(path) as file:
        assert {"layer_names0", "layer_names1"} <= set(file["model_weights"].attrs)
    same_again = Sequential([Input((2,)), Dense(2), *many])
    same_again.load_weights(path)
    assert same(values(model), values(same_again))


def test_layers_of_one_name_are_refused_and_a_file_that_was_there_is_unchanged(tmp_path):
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = Dense(1, name="same"), Dense(1, name="same")

        def call(self, x):
            return self.second(self.first(x))

    path = tmp_path / "m.h5"
    path.write_bytes(b"precious")
    model = Own()
    model(X)
    with pytest.warns(UserWarning, match=LEGACY), pytest.raises(InvalidArgumentError, match="several are called same"):
        model.save(path)
    held = Sequential([Input((4,)), layers.Lambda(lambda x: x)])
    with pytest.warns(UserWarning, match=LEGACY), pytest.raises(ValueError, match="lambda"):
        held.save(path)
    assert path.read_bytes() == b"precious"


def test_a_model_that_was_never_built_is_written_and_read_without_weights(tmp_path):
    path = _saved(Sequential([Dense(2)]), tmp_path / "folder" / "m.h5")
    with pytest.warns(UserWarning, match="compiled"):
        assert not saving.load_model(path).built


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.warns(UserWarning, match=LEGACY), pytest.raises(InvalidArgumentError, match="Only a model"):
        saving.save_model("text", tmp_path / "m.h5")
