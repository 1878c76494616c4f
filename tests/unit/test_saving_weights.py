"""Weights that do not fit, and the state of optimizers: a failed load changes nothing."""

import io

import h5py
import numpy as np
import pytest
from saving_files import X, Y, changed, same, small, values

from lamina import Dense, Input, Sequential, config, optimizers
from lamina.errors import FileFormatError
from lamina.saving.superblock import lookup3, sealed


@pytest.fixture
def weights(tmp_path):
    model = small()
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    return model, path


# ---- weights that mean harm, or are those of another model


KERNEL = "layers/dense/vars/0"


def _replace(file, **kwargs):
    del file[KERNEL]
    file.create_dataset(KERNEL, **kwargs)


def _external_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/layers/dense_1/vars/0")


def _virtual(file):
    layout = h5py.VirtualLayout(shape=(4, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(4, 3))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def _external_storage(file):
    _replace(file, shape=(4, 3), dtype="f4", external=[("/etc/passwd", 0, 48)])


def _bomb_in_shape(file):
    _replace(file, shape=(2**50,), dtype="f8", chunks=(1024,), compression="gzip", fillvalue=0.0)


def _loop(file):
    file["layers/dense/again"] = file["layers"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_external_link, "Not allowed: H5 file with.*ExternalLink"),
        (_soft_link, "Not allowed: H5 file with.*SoftLink"),
        (_virtual, "virtual Dataset"),
        (_external_storage, "external Dataset"),
        (_bomb_in_shape, "shape bomb"),
        (_loop, "contains itself"),
        (lambda f: _replace(f, data=np.full((4, 3), b"x")), "no plain numbers"),
        (lambda f: _replace(f, data=np.zeros((4, 3), "c8")), "no plain numbers"),
        (lambda f: _replace(f, shape=(4, 3), dtype="f4"), "not whole"),
        (lambda f: _replace(f, shape=(4, 3), dtype="f4", chunks=(1, 1)), "not whole"),
        (lambda f: _replace(f, data=np.zeros((3, 4), "f4")), r"shapes must match.*expected kernel \(4, 3\)"),
        (lambda f: f.__delitem__(KERNEL), "expected 2 variables, but received 1 variables during loading"),
        (lambda f: f.__delitem__("layers/dense"), "expected 2 variables, but received 0 variables"),
        (lambda f: f.create_dataset("layers/dense_7/vars/0", data=np.zeros(3)), "dense_7: the model has no such layer"),
        (lambda f: _replace(f, data=np.full((4, 3), 1e300)), "do not fit into its type float32"),
        (lambda f: f.move(KERNEL, "layers/dense/vars/k"), "must match|expected 2 variables"),
    ],
)
def test_weights_that_do_not_fit_or_lead_elsewhere_are_refused_and_the_model_stays(change, text, weights):
    _, path = weights
    changed(path, change)
    other = small()
    other.compile("adam", "mse")
    other.fit(X, Y, verbose=0)
    before = values(other)
    with pytest.raises(FileFormatError, match=text):
        other.load_weights(path)
    assert same(before, values(other))


def test_integers_and_doubles_in_a_file_become_the_types_of_the_variables(weights):
    model, path = weights
    changed(path, lambda f: _replace(f, data=np.full((4, 3), 7)))
    changed(
        path, lambda f: (f.__delitem__("layers/dense/vars/1"), f.create_dataset("layers/dense/vars/1", data=np.ones(3)))
    )
    model.load_weights(path)
    assert model.layers[0].kernel.dtype == "float32"
    assert np.all(np.asarray(model.layers[0].kernel) == 7)
    assert np.all(np.asarray(model.layers[0].bias) == 1)


def test_nan_in_a_file_warns_once(weights):
    model, path = weights
    changed(path, lambda f: _replace(f, data=np.full((4, 3), np.nan, "f4")))
    changed(path, lambda f: f["layers/dense_1/vars/1"].__setitem__(..., np.inf))
    with pytest.warns(UserWarning, match="NaN or infinity.*layers/dense/vars/0, layers/dense_1/vars/1") as found:
        model.load_weights(path)
    assert len(found) == 1


def test_weights_of_another_architecture_are_refused_with_every_difference(weights):
    deeper = Sequential([Input((4,)), Dense(9), Dense(3), Dense(2)])
    with pytest.raises(FileFormatError) as error:
        deeper.load_weights(weights[1])
    text = str(error.value)
    assert (
        "layers/dense: the shapes must match. Layer 'dense' expected kernel (4, 9), bias (9,); found: (4, 3), (3,)"
        in text
    )
    assert "Layer 'dense_2' expected 2 variables, but received 0 variables during loading" in text
    assert "A total of 3 objects could not be loaded" in text
    assert "skip_mismatch=True" in text
    with pytest.raises(FileFormatError, match=r"layers/dense_1 .`last`.: the model has no such layer"):
        Sequential([Input((4,)), Dense(3)]).load_weights(weights[1])


def test_what_a_model_lacks_is_accepted_where_keras_accepts_it(weights):
    model, path = weights
    other = Sequential([Input((4,)), Dense(3)])
    config.set_strict(False)
    try:
        other.load_weights(path)
    finally:
        config.set_strict(True)
    assert same(values(other), values(model)[:2])


def test_skip_mismatch_loads_what_fits_and_says_what_was_left(weights):
    model, path = weights
    other = Sequential([Input((4,)), Dense(3, name="a"), Dense(2, name="b")])
    before = values(other)
    with pytest.warns(
        UserWarning, match=r"Layer 'b' expected kernel \(3, 2\), bias \(2,\); found: \(3, 1\), \(1,\)"
    ) as found:
        other.load_weights(path, skip_mismatch=True)
    assert len(found) == 1
    assert same(values(other)[:2], values(model)[:2])
    assert same(values(other)[2:], before[2:])


def test_layers_may_be_left_out_of_both_ways(tmp_path):
    model, other = small(), small()
    before = values(other)
    model.save_weights(tmp_path / "part.weights.h5", objects_to_skip=[model.layers[0]])
    other.load_weights(tmp_path / "part.weights.h5", objects_to_skip=[other.layers[0]])
    assert same(values(other), [*before[:2], *values(model)[2:]])
    model.save_weights(tmp_path / "all.weights.h5")
    other = small()
    before = values(other)
    other.load_weights(tmp_path / "all.weights.h5", objects_to_skip=[other.layers[0]])
    assert same(values(other), [*before[:2], *values(model)[2:]])


@pytest.mark.parametrize("when", [1, 2, 3])
def test_ctrl_c_while_weights_are_assigned_gives_the_old_ones_back(when, weights, monkeypatch):
    _, path = weights
    other = small()
    before = values(other)
    calls = []
    from lamina.variables import Variable

    assign = Variable.assign

    def interrupted(self, value):
        calls.append(self)
        if len(calls) == when:
            raise KeyboardInterrupt
        return assign(self, value)

    monkeypatch.setattr(Variable, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.load_weights(path)
    assert same(before, values(other))


def test_a_model_still_trains_after_a_failed_load(weights):
    other = small(5)
    other.compile("adam", "mse")
    other.fit(X, Y, verbose=0)
    with pytest.raises(FileFormatError):
        other.load_weights(weights[1])
    other.fit(X, Y, verbose=0)
    assert int(other.optimizer.iterations) == 2


# ---- the state of the optimizer


def test_the_state_of_an_optimizer_is_restored_in_a_model_not_yet_trained(tmp_path):
    model = small()
    model.compile(optimizers.Adam(0.02), "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = small()
    other.compile(optimizers.Adam(0.5), "mse")
    other.load_weights(tmp_path / "m.weights.h5")
    assert same(values(model), values(other))


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_the_state_of_another_optimizer_starts_anew_with_one_warning(name, tmp_path):
    model = small()
    model.compile("rmsprop", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / name) if name == "m.keras" else model.save_weights(tmp_path / name)
    other = small()
    other.compile("adagrad", "mse")
    with pytest.warns(UserWarning, match="starts anew.*RMSprop.*Adagrad") as found:
        other.load_weights(tmp_path / name)
    assert len(found) == 1
    assert int(other.optimizer.iterations) == 0
    assert same(values(model)[:4], values(other)[:4])


def test_the_state_of_an_optimizer_with_other_arguments_starts_anew(tmp_path):
    model = small()
    model.compile(optimizers.Adam(amsgrad=True), "mse")
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = small()
    other.compile("adam", "mse")
    with pytest.warns(UserWarning, match="starts anew.*other arguments"):
        other.load_weights(tmp_path / "m.weights.h5")


def test_damage_in_the_state_of_the_optimizer_leaves_the_weights_alone(tmp_path):
    model = small()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        file["optimizer/vars/4"].id.write_direct_chunk((0, 0), b"\0" * 8) if file["optimizer/vars/4"].chunks else None
        del file["optimizer/vars/4"]
        file.create_dataset("optimizer/vars/4", shape=(4, 3), dtype="f4")
    other = small()
    other.compile("adam", "mse")
    before = values(other)
    with pytest.raises(FileFormatError, match="not whole"):
        other.load_weights(path)
    assert same(before, values(other)[: len(before)])


def test_the_checksum_of_hdf5_is_that_of_its_author_and_of_the_library(weights):
    assert lookup3(b"Four score and seven years ago") == 0x17770551
    data = weights[1].read_bytes()
    assert b"".join(sealed(data)) == data
    with h5py.File(io.BytesIO(b"".join(sealed(data[:44] + b"\0\0\0\0" + data[48:]))), "r") as file:
        assert set(file) == {"layers", "vars"}
