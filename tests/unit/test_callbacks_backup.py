import json
import os

import numpy as np
import pytest
from unit.callback_fakes import Model, Optimizer

from lamina import callbacks, errors


class Stored(Model):
    """A model that counts its steps, and keeps the count in its files."""

    _initial_epoch = None

    def __init__(self):
        super().__init__(optimizer=Optimizer())
        self.optimizer.built = True
        self.steps = 0

    def save_weights(self, filepath, overwrite=True):
        np.asarray([self.steps]).tofile(filepath)

    def load_weights(self, filepath):
        loaded = np.fromfile(filepath, dtype=np.int64)
        if len(loaded) != 1:
            raise errors.FileFormatError("damaged")
        self.steps = int(loaded[0])


def fit(model, callback, epochs, steps=3, stop_after=None):
    """Train as the loop does; an error interrupts after so many steps. Returns the epochs that ran."""
    both = callbacks.CallbackList([callback], model=model)
    both.on_train_begin()
    ran = []
    for epoch in range(model._initial_epoch or 0, epochs):
        both.on_epoch_begin(epoch)
        for batch in range(steps):
            if stop_after is not None and model.steps == stop_after:
                raise RuntimeError("interrupted")
            model.steps += 1
            both.on_train_batch_end(batch)
        both.on_epoch_end(epoch)
        ran.append(epoch)
    both.on_train_end()
    return ran


def test_training_goes_on_after_the_last_whole_epoch(tmp_path):
    folder = tmp_path / "backup"
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(Stored(), callbacks.BackupAndRestore(folder), epochs=6, stop_after=8)
    model = Stored()
    assert fit(model, callbacks.BackupAndRestore(folder), epochs=5) == [2, 3, 4]
    assert model.steps == 15
    assert not folder.exists()


def test_a_backup_by_batches_keeps_the_steps_of_a_broken_epoch(tmp_path):
    callback, model = callbacks.BackupAndRestore(tmp_path / "b", save_freq=1), Stored()
    assert callbacks.CallbackList([callback]).overrides("on_train_batch_end")
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(model, callback, epochs=2, stop_after=2)
    assert (callback._current_epoch, callback._last_batch_seen) == (0, 1)
    assert fit(model, callback, epochs=5) == [0, 1, 2, 3, 4]
    assert model.steps == 2 + 15


@pytest.mark.parametrize("damage", ["latest.weights.h5", "training_metadata.json"])
def test_the_backup_before_the_last_serves_if_that_is_damaged(tmp_path, damage):
    callback = callbacks.BackupAndRestore(tmp_path, double_checkpoint=True)
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(Stored(), callback, epochs=6, stop_after=6)
    (tmp_path / damage).write_text("0")
    model = Stored()
    assert fit(model, callback, epochs=5) == [1, 2, 3, 4]
    assert model.steps == 15


@pytest.mark.parametrize("damage", ["latest.weights.h5", "training_metadata.json"])
def test_a_damaged_backup_without_another_is_an_error(tmp_path, damage):
    fit(Stored(), callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=1)
    (tmp_path / damage).write_text("0")
    with pytest.raises(errors.FileFormatError, match="damaged"):
        fit(Stored(), callbacks.BackupAndRestore(tmp_path), epochs=1)


def test_a_save_that_fails_leaves_the_old_backup(tmp_path):
    callback = callbacks.BackupAndRestore(tmp_path)
    model = Stored()
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(model, callback, epochs=6, stop_after=4)

    def full(filepath, overwrite=True):
        with open(filepath, "w") as file:
            file.write("half")
        raise OSError("No space left on device")

    model.save_weights = full
    with pytest.raises(OSError, match="No space left"):
        callback.on_epoch_end(1)
    again = Stored()
    assert fit(again, callbacks.BackupAndRestore(tmp_path), epochs=2) == [1]


def test_files_of_others_and_backups_to_be_kept_stay(tmp_path):
    (tmp_path / "mine.txt").touch()
    fit(Stored(), callbacks.BackupAndRestore(tmp_path), epochs=1)
    assert os.listdir(tmp_path) == ["mine.txt"]
    fit(Stored(), callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=2)
    assert sorted(os.listdir(tmp_path)) == ["latest.weights.h5", "mine.txt", "training_metadata.json"]
    assert json.loads((tmp_path / "training_metadata.json").read_text()) == {"epoch": 2, "batch": 0}


def test_a_finished_training_does_not_shorten_the_next(tmp_path):
    callback, model = callbacks.BackupAndRestore(tmp_path / "b"), Stored()
    assert fit(model, callback, epochs=2) == [0, 1]
    assert fit(model, callback, epochs=2) == [0, 1]


def test_a_model_that_is_not_built_is_refused(tmp_path):
    model = Stored()
    model.built = False
    with pytest.raises(ValueError, match="must be built before you call `fit"):
        fit(model, callbacks.BackupAndRestore(tmp_path), epochs=1)


@pytest.mark.parametrize("save_freq", ["batch", 0.15, 0, False, None])
def test_save_freq_is_epoch_or_a_number_of_batches(save_freq):
    with pytest.raises(errors.InvalidArgumentError, match="Invalid value for argument `save_freq`"):
        callbacks.BackupAndRestore("b", save_freq=save_freq)


@pytest.mark.parametrize("backup_dir", ["", None])
def test_a_folder_must_be_given(backup_dir):
    with pytest.raises(errors.InvalidArgumentError, match="Empty `backup_dir` argument passed"):
        callbacks.BackupAndRestore(backup_dir)
