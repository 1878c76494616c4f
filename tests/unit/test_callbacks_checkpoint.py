import os
import stat

import pytest
from unit.callback_fakes import Metric, Model, fit

from lamina import callbacks, config, errors


@pytest.fixture
def lenient():
    config.set_strict(False)
    yield
    config.set_strict(True)


def run(callback, *values, name="val_loss", steps=4, model=None):
    model = model or Model([Metric("auc", "up")])
    fit(callbacks.CallbackList([callback], model=model), [{name: float(v)} for v in values], steps=steps)
    return [os.path.basename(path) for path in model.saved]


def test_it_saves_after_each_epoch_and_makes_the_folder(tmp_path):
    assert run(callbacks.ModelCheckpoint(tmp_path / "a" / "b" / "m.keras"), 1, 2) == ["m.keras"] * 2
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("arguments", "name", "values", "saved"),
    [
        ({}, "val_loss", [3, 4, 2, 2, 1], ["1", "3", "5"]),
        ({"mode": "max"}, "val_loss", [3, 4, 2, 5], ["1", "2", "4"]),
        ({"monitor": "val_auc"}, "val_auc", [0.5, 0.4, 0.6], ["1", "3"]),
        ({"initial_value_threshold": 2.5}, "val_loss", [3, 2, 1], ["2", "3"]),
        ({"initial_value_threshold": 0}, "val_loss", [3, 2], []),
        ({}, "val_loss", ["nan", 2, "nan", 1], ["1", "2", "4"]),
    ],
)
def test_only_the_best_are_saved(arguments, name, values, saved, tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", save_best_only=True, **arguments)
    assert run(callback, *values, name=name) == [f"{number}.keras" for number in saved]


def test_the_best_is_kept_over_several_fits(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "m.keras", save_best_only=True)
    assert len(run(callback, 1.0)) == 1
    assert len(run(callback, 2.0)) == 0


def test_weights_alone_are_saved_by_save_weights(tmp_path):
    model = Model()
    model.save = lambda *a, **k: pytest.fail("saved the whole model")
    path = tmp_path / "w.weights.h5"
    assert run(callbacks.ModelCheckpoint(path, save_weights_only=True), 1, model=model) == ["w.weights.h5"]


def test_names_hold_the_epoch_and_the_results(tmp_path):
    callback = callbacks.ModelCheckpoint(str(tmp_path / "{epoch:02d}-{val_loss:.2f}.keras"))
    assert run(callback, 0.126, 12) == ["01-0.13.keras", "02-12.00.keras"]


def test_a_number_of_batches_counts_on_over_epochs(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.keras", save_freq=15)
    assert run(callback, *range(10), steps=5) == ["03.keras", "06.keras", "09.keras"]


def test_a_number_of_batches_has_its_batch_in_the_name(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch:02d}.keras", save_freq=1)
    assert run(callback, 1, 2, steps=2) == ["1-01.keras", "1-02.keras", "2-01.keras", "2-02.keras"]


def test_a_number_of_batches_in_blocks_counts_all_of_them(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=5)
    callback.set_model(Model())
    callback.on_epoch_begin(0)
    for batch in (3, 7, 11):
        callback.on_train_batch_end(batch, {})
    assert [os.path.basename(path) for path in callback.model.saved] == ["1-8.keras"]


def test_the_best_can_be_saved_by_batches(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", monitor="loss", save_best_only=True, save_freq=2)
    assert run(callback, 3, 4, 2, name="loss", steps=2) == ["1.keras", "3.keras"]


def test_a_misspelt_monitor_saves_every_time_and_says_so_once(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "m.keras", monitor="val_los", save_best_only=True)
    with pytest.warns(UserWarning, match="Can save best model only with val_los available") as caught:
        assert len(run(callback, 1, 2, 3)) == 3
    assert len(caught) == 1
    assert "Did you mean 'val_loss'" in str(caught[0].message)


def test_a_misspelt_name_in_the_file_name_costs_no_training(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{val_los:.2f}.keras")
    with pytest.warns(UserWarning, match="no 'val_los' .*'NA'.*Did you mean 'val_loss'") as caught:
        assert run(callback, 1, 2) == ["1-NA.keras", "2-NA.keras"]
    assert len(caught) == 1


def test_a_misspelt_name_in_the_file_name_raises_as_in_keras_if_not_strict(lenient, tmp_path):
    with pytest.raises(KeyError, match="Failed to format this callback filepath"):
        run(callbacks.ModelCheckpoint(tmp_path / "{val_los:.2f}.keras"), 1)


def test_what_it_does_is_printed(tmp_path, capsys):
    path = tmp_path / "m.keras"
    run(callbacks.ModelCheckpoint(path, save_best_only=True, verbose=1), 1, 2)
    assert capsys.readouterr().out == (
        f"Epoch 1: val_loss improved from None to 1.00000, saving model to {path}\n"
        f"Epoch 1: finished saving model to {path}\n"
        "Epoch 2: val_loss did not improve from 1.00000\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"filepath": "m.h5py"}, "must end in `.keras`.*\n.*'m.keras'"),
        ({"filepath": "m"}, "must end in `.keras`"),
        ({"filepath": "m.keras", "save_weights_only": True}, "must end in `.weights.h5`.*\n.*'m.weights.h5'"),
        ({"filepath": "m.weights.h5"}, "holds weights alone.*\n.*`save_weights_only=True`"),
        ({"filepath": "m.keras", "save_freq": "batch"}, "Unrecognized save_freq: batch"),
        ({"filepath": "m.keras", "save_freq": 0}, "Unrecognized save_freq: 0"),
        ({"filepath": "m.keras", "save_freq": True}, "Unrecognized save_freq: True"),
        ({"filepath": "{epoch.keras"}, "stands in braces"),
        ({"filepath": "{}.keras"}, "stands in braces"),
        ({"filepath": "{batch}.keras"}, "asks for {batch}"),
        ({"filepath": "m.keras", "initial_value_threshold": "1"}, "`initial_value_threshold`"),
    ],
)
def test_arguments_that_cannot_work_are_refused_when_given(arguments, says):
    with pytest.raises(errors.InvalidArgumentError, match=says):
        callbacks.ModelCheckpoint(**arguments)


def test_a_folder_as_file_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "m.keras").mkdir()
    with pytest.raises(OSError, match="Please specify a non-directory filepath for ModelCheckpoint"):
        callbacks.CallbackList([callbacks.ModelCheckpoint(tmp_path / "m.keras")], model=Model()).on_train_begin()


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))
    both = callbacks.CallbackList([callbacks.ModelCheckpoint(tmp_path / "new" / "m.keras")], model=Model())
    with pytest.raises(PermissionError, match="No file can be written into this folder"):
        both.on_train_begin()
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        callbacks.CallbackList([callbacks.ModelCheckpoint(tmp_path / "m.keras")], model=Model()).on_train_begin()
