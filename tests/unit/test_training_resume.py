import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import lamina.keras as keras
from lamina.errors import FileFormatError, InUseError, InvalidArgumentError
from lamina.saving import snapshots
from lamina.training import endings, pace, resume

ROWS, EPOCHS = 420, 4
_random = np.random.RandomState(7)
X = _random.randn(ROWS, 6).astype("float32")
Y = (X @ _random.randn(6, 3)).argmax(1)


@pytest.fixture(autouse=True)
def _small_dispatches_and_a_snapshot_after_each(monkeypatch):
    monkeypatch.setattr(resume.Keeper, "due", lambda self: True)
    count = pace.Pace.count
    monkeypatch.setattr(pace.Pace, "count", lambda self: min(6, count(self)))


def network(*, dropout=False, normal=False, schedule=False, seed=5):
    keras.utils.set_random_seed(seed)
    parts = [keras.layers.Input((6,)), keras.layers.Dense(7, "relu")]
    parts += [keras.layers.BatchNormalization()] if normal else []
    parts += [keras.layers.Dropout(0.4)] if dropout else []
    model = keras.Sequential([*parts, keras.layers.Dense(3, "softmax")])
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 9, 0.8) if schedule else 0.01
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Numbered(keras.utils.PyDataset):
    """Batches by number, in another order after each epoch."""

    def __init__(self):
        super().__init__()
        self.order = np.arange(ROWS)

    def __len__(self):
        return ROWS // 20

    def __getitem__(self, index):
        rows = self.order[index * 20 : index * 20 + 20]
        return X[rows], Y[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


def endless():
    while True:
        rows = np.random.randint(0, ROWS, 20)
        yield X[rows], Y[rows]


SOURCES = {
    "shuffled": lambda: {"x": X, "y": Y, "batch_size": 20},
    "in order": lambda: {"x": X, "y": Y, "batch_size": 19, "shuffle": False},
    "part of the data an epoch": lambda: {"x": X, "y": Y, "batch_size": 20, "steps_per_epoch": 7},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 20},
    "dataset": lambda: {"x": Numbered()},
}
NETWORKS = {
    "plain": {},
    "dropout": {"dropout": True},
    "batch normalization": {"normal": True},
    "schedule": {"schedule": True, "dropout": True},
    "validation": {"normal": True, "validation": True},
}


class Copies(keras.callbacks.Callback):
    """Keeps what the folder held at some moment: what a process that is killed then leaves behind."""

    def __init__(self, folder, copy, epoch, blocks):
        super().__init__()
        self.folder, self.copy, self.when = folder, copy, (epoch, blocks)
        self.epoch, self.blocks = 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.blocks = epoch, 0

    def _on_block_end(self, step, logs):
        self.blocks += 1
        if (self.epoch, self.blocks) == self.when:
            for thread in threading.enumerate():
                if thread.name == "lamina-snapshot":
                    thread.join()
            shutil.copytree(self.folder, self.copy)


def train(source, kind, callbacks=(), epochs=EPOCHS, **options):
    given = dict(NETWORKS[kind])
    if given.pop("validation", False):
        options["validation_data"] = (X[:50], Y[:50])
        callbacks = [keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True), *callbacks]
    model = network(**given)
    model.fit(**SOURCES[source](), epochs=epochs, verbose=0, callbacks=list(callbacks), **options)
    return model


@pytest.mark.parametrize(
    ("source", "kind", "moment"),
    [(source, kind, [(1, 2), (2, 1)][i % 2]) for i, (source, kind) in enumerate(itertools.product(SOURCES, NETWORKS))],
)
def test_a_training_that_was_killed_ends_with_the_same_bits(source, kind, moment, tmp_path):
    copy = Copies(tmp_path / "a", tmp_path / "copy", *moment)
    straight = train(source, kind, [copy], resume=tmp_path / "a")
    said = snapshots.read(str(tmp_path / "copy" / resume.FILE), kind="snapshot", fix="").values
    assert 0 < said["epoch"] < EPOCHS
    again = train(source, kind, resume=tmp_path / "copy")
    for one, other in zip(straight.get_weights(), again.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()
    for one, other in zip(straight.optimizer.variables, again.optimizer.variables, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert again.history.history == straight.history.history
    assert again.history.epoch == list(range(EPOCHS))


def test_snapshots_do_not_change_the_numbers(tmp_path):
    one = train("shuffled", "schedule")
    other = train("shuffled", "schedule", resume=tmp_path)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_a_training_that_has_ended_is_not_done_again_and_more_epochs_go_on_from_its_end(tmp_path):
    done = train("shuffled", "dropout", resume=tmp_path / "a")
    again = train("shuffled", "dropout", resume=tmp_path / "a")
    assert again.history.history == done.history.history
    assert int(again.optimizer.iterations) == int(done.optimizer.iterations)
    longer = train("shuffled", "dropout", resume=tmp_path / "a", epochs=EPOCHS + 2)
    straight = train("shuffled", "dropout", epochs=EPOCHS + 2)
    assert longer.history.history == straight.history.history


def test_what_early_stopping_ended_stays_ended(tmp_path):
    def stop():
        return keras.callbacks.EarlyStopping("loss", min_delta=9.0, patience=1)

    first = train("shuffled", "plain", [stop()], resume=tmp_path, epochs=9)
    assert first.history.epoch == [0, 1]
    assert train("shuffled", "plain", [stop()], resume=tmp_path, epochs=9).history.epoch == [0, 1]


class Raises(keras.callbacks.Callback):
    def __init__(self, error, blocks):
        super().__init__()
        self.error, self.blocks = error, blocks

    def _on_block_end(self, step, logs):
        self.blocks -= 1
        if not self.blocks:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine"), SystemExit(3)])
def test_what_ends_a_fit_early_leaves_the_last_dispatch_in_the_folder(error, tmp_path, monkeypatch):
    monkeypatch.setattr(resume.Keeper, "due", lambda self: False)
    straight = train("shuffled", "dropout")
    with pytest.raises(type(error)):
        train("shuffled", "dropout", [Raises(error, 5)], resume=tmp_path)
    said = snapshots.read(str(tmp_path / resume.FILE), kind="snapshot", fix="").values
    assert said["step"] > 0
    again = train("shuffled", "dropout", resume=tmp_path)
    assert again.history.history == straight.history.history


def test_a_snapshot_of_another_model_is_refused_and_nothing_is_changed(tmp_path):
    train("shuffled", "plain", resume=tmp_path)
    model = network(normal=True)
    before = model.get_weights()
    with pytest.raises(
        InvalidArgumentError, match=r"(?s)is another one: its params are 4 of.*, the model's 6 of.*to begin anew"
    ):
        model.fit(X, Y, batch_size=20, verbose=0, resume=tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_snapshot_from_inside_other_data_is_refused(tmp_path):
    copy = Copies(tmp_path / "a", tmp_path / "b", 1, 2)
    train("shuffled", "plain", [copy], resume=tmp_path / "a")
    model = network()
    with pytest.raises(InvalidArgumentError, match=r"stopped in the data .*'rows': 420.*'rows': 400"):
        model.fit(X[:400], Y[:400], batch_size=20, verbose=0, resume=tmp_path / "b")


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "empty"])
def test_a_damaged_snapshot_is_an_error_that_says_what_to_do(damage, tmp_path):
    train("shuffled", "plain", resume=tmp_path)
    path = tmp_path / resume.FILE
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 16
    path.write_bytes({"cut": data[:-9], "bit": data, "text": b"no snapshot at all", "empty": b""}[damage])
    with pytest.raises(FileFormatError, match=r"(?s)damaged.*remove the folder"):
        train("shuffled", "plain", resume=tmp_path)


def test_every_bit_of_a_snapshot_is_guarded(tmp_path):
    path = str(tmp_path / "s")
    snapshots.write(path, {"a": np.arange(5, dtype="float32"), "b": np.ones((2, 2), "int64")}, {"epoch": 3})
    with open(path, "rb") as file:
        data = file.read()
    found = snapshots.read(path, kind="snapshot", fix="")
    assert found.values == {"epoch": 3}
    assert found.arrays["b"].tolist() == [[1, 1], [1, 1]]
    silent = []
    for place in range(len(data) * 8):
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        with open(path, "wb") as file:
            file.write(broken)
        try:
            again = snapshots.read(path, kind="snapshot", fix="")
        except FileFormatError:
            continue
        same = again.values == found.values and all(
            np.array_equal(again.arrays[k], found.arrays[k]) for k in found.arrays
        )
        if not same or set(again.arrays) != set(found.arrays):
            silent.append(place)
    assert not silent


def test_a_snapshot_is_a_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    train("shuffled", "plain", resume=tmp_path)
    arrays = safetensors.load_file(tmp_path / resume.FILE)
    assert arrays["params/0"].shape == (6, 7)


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    held = resume.Keeper(tmp_path)
    with pytest.raises(InUseError, match=r"(?s)Another process trains into .*folder of its own"):
        train("shuffled", "plain", resume=tmp_path)
    held.close()
    train("shuffled", "plain", resume=tmp_path)


def test_a_snapshot_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots.atomic, "write", full)
    with pytest.raises(OSError, match="No space left"):
        train("shuffled", "plain", resume=tmp_path)


def test_callbacks_say_what_they_want_kept(tmp_path):
    class Counts(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.total, self.rest = 0, object()

        def on_epoch_end(self, epoch, logs=None):
            self.total += 1

    class Says(Counts):
        def get_state(self):
            return {"n": self.total, "a": np.arange(3)}

        def set_state(self, state):
            self.total, self.a = state["n"], state["a"]

    for kind in (Counts, Says):
        folder = tmp_path / kind.__name__
        train("shuffled", "plain", [kind()], resume=folder, epochs=2)
        later = kind()
        train("shuffled", "plain", [later], resume=folder, epochs=3)
        assert later.total == 3
    assert later.a.tolist() == [0, 1, 2]


SCRIPT = """
    import sys, time
    import numpy as np
    import lamina.keras as keras

    class Slow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            print("epoch", epoch, flush=True)
            time.sleep(float(sys.argv[2]))

    keras.utils.set_random_seed(1)
    x = np.random.rand(400, 5).astype("float32")
    model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, x.sum(1), epochs=6, verbose=0, callbacks=[Slow()], resume=sys.argv[1])
    print("weights", b"".join(w.tobytes() for w in model.get_weights()).hex())
"""


def run(folder, pause=0.0):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def weights(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.splitlines()[-1]


def test_a_process_that_is_killed_or_told_to_end_goes_on_where_it_was(tmp_path):
    straight = weights(run(tmp_path / "a"))
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, endings.CODE)):
        process = run(tmp_path / "b", 1.2)
        while not (line := process.stdout.readline()).startswith("epoch") or int(line.split()[1]) < 1:
            assert line
        process.send_signal(number)
        process.communicate()
        assert process.returncode == code
    assert weights(run(tmp_path / "b")) == straight


# ---- BackupAndRestore, on the same snapshots


def interrupted(folder, error_at, **options):
    class Interrupts(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == error_at:
                raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        train("shuffled", "validation", [keras.callbacks.BackupAndRestore(folder, **options), Interrupts()])


def test_a_backup_goes_on_after_the_last_whole_epoch_to_the_same_bits(tmp_path):
    straight = train("shuffled", "validation")
    interrupted(tmp_path / "b", 1)
    assert json.loads((tmp_path / "b" / "training_metadata.json").read_text()) == {"epoch": 2, "batch": 0}
    again = train("shuffled", "validation", [keras.callbacks.BackupAndRestore(tmp_path / "b")])
    assert again.history.epoch == [2, 3]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(straight.get_weights(), again.get_weights(), strict=True))
    assert not (tmp_path / "b").exists()


def test_the_backup_before_the_last_serves_if_that_is_damaged(tmp_path):
    interrupted(tmp_path, 2, double_checkpoint=True)
    (tmp_path / "latest.safetensors").write_text("0")
    again = train("shuffled", "validation", [keras.callbacks.BackupAndRestore(tmp_path)])
    assert again.history.epoch == [2, 3]


def test_a_damaged_backup_without_another_is_an_error(tmp_path):
    interrupted(tmp_path, 2)
    (tmp_path / "latest.safetensors").write_text("0")
    with pytest.raises(FileFormatError, match="damaged"):
        train("shuffled", "validation", [keras.callbacks.BackupAndRestore(tmp_path)])


def test_a_backup_inside_an_epoch_does_that_epoch_again_as_keras_does(tmp_path):
    class Interrupts(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 7:
                raise RuntimeError("interrupted")

    backup = keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=1)
    with pytest.raises(RuntimeError, match="interrupted"):
        train("shuffled", "plain", [backup, Interrupts()])
    assert (backup._current_epoch, backup._last_batch_seen) == (0, 7)
    again = train("shuffled", "plain", [keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=1)])
    assert int(again.optimizer.iterations) == 8 + 21 * EPOCHS


def test_a_backup_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    interrupted(tmp_path, 1)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.atomic, "write", full)
        with pytest.raises(OSError, match="No space left"):
            train("shuffled", "validation", [keras.callbacks.BackupAndRestore(tmp_path)])
    assert train("shuffled", "validation", [keras.callbacks.BackupAndRestore(tmp_path)]).history.epoch == [2, 3]


def test_a_backup_written_while_training_goes_on_holds_the_weights_of_its_epoch(tmp_path, monkeypatch):
    write, seen, kept = snapshots.write, [], []

    def slowly(path, arrays, values):
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.2)  # by then the next epoch has changed every weight
        write(path, arrays, values)
        kept.append((values["epoch"], [a.tobytes() for name, a in arrays.items() if name.startswith("params/")]))

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch + 1, [np.asarray(v).tobytes() for v in self.model.trainable_variables]))

    monkeypatch.setattr(snapshots, "write", slowly)
    backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    train("shuffled", "validation", [backup, Looks()], epochs=3)
    assert kept == seen
    assert [epoch for epoch, _ in kept] == [1, 2, 3]


def test_files_of_others_and_backups_to_be_kept_stay(tmp_path):
    (tmp_path / "mine.txt").touch()
    train("shuffled", "plain", [keras.callbacks.BackupAndRestore(tmp_path)], epochs=1)
    assert os.listdir(tmp_path) == ["mine.txt"]
    train("shuffled", "plain", [keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)], epochs=1)
    assert sorted(os.listdir(tmp_path)) == ["latest.safetensors", "mine.txt", "training_metadata.json"]


def test_a_model_that_is_not_built_is_backed_up_too(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b")])
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("save_freq", ["batch", 0.15, 0, False, None])
def test_save_freq_is_epoch_or_a_number_of_batches(save_freq):
    with pytest.raises(InvalidArgumentError, match="Invalid value for argument `save_freq`"):
        keras.callbacks.BackupAndRestore("b", save_freq=save_freq)


@pytest.mark.parametrize("backup_dir", ["", None])
def test_a_folder_must_be_given(backup_dir):
    with pytest.raises(InvalidArgumentError, match="Empty `backup_dir` argument passed"):
        keras.callbacks.BackupAndRestore(backup_dir)
