"""`OrbaxCheckpoint`: Orbax's files where Orbax is installed, and what to use where it is not."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lamina import errors, keras, layers, models

X = np.ones((12, 3), "float32")


class Recording:
    """Stands for Orbax's `Checkpointer`, of which only what is asked of it matters here."""

    made = None  # a list while the fixture is in use

    def __init__(self, directory, preservation_policy, save_decision_policy):
        self.directory, self.keep, self.saved, self.closed = directory, preservation_policy, [], False
        Recording.made.append(self)

    def save_checkpointables(self, step, parts):
        self.saved.append((step, parts, "waited for"))

    def save_checkpointables_async(self, step, parts):
        self.saved.append((step, parts, "beside"))

    def close(self):
        self.closed = True


@pytest.fixture
def orbax(monkeypatch):
    training = SimpleNamespace(
        Checkpointer=Recording,
        preservation_policies=SimpleNamespace(LatestN=lambda count: ("latest", count)),
        save_decision_policies=SimpleNamespace(FixedIntervalPolicy=lambda steps: ("every", steps)),
    )
    package = SimpleNamespace(v1=SimpleNamespace(training=training))
    monkeypatch.setitem(sys.modules, "orbax", SimpleNamespace(checkpoint=package))
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", package)
    monkeypatch.setattr(Recording, "made", [])


def trained(folder, **arguments):
    model = models.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("adam", "mse")
    callback = keras.callbacks.OrbaxCheckpoint(folder, **arguments)
    model.fit(X, X[:, :1], epochs=3, batch_size=4, verbose=0, callbacks=[callback])
    return model, Recording.made[-1]


def test_each_epoch_is_saved_beside_training_with_all_state(orbax, tmp_path):
    model, found = trained(tmp_path / "new")
    assert [(step, how) for step, _, how in found.saved] == [(0, "beside"), (1, "beside"), (2, "beside")]
    assert (found.directory, found.keep, found.closed) == (str(tmp_path / "new"), ("latest", 1), True)
    parts = found.saved[-1][1]
    assert keras.models.model_from_json(parts["model_config"]["config"]).count_params() == 4
    last = model.get_weights()
    model.set_weights([0 * weight for weight in last])
    model.set_state_tree(parts["pytree"])
    assert all(map(np.array_equal, model.get_weights(), last))


def test_it_saves_after_so_many_batches_counted_over_epochs(orbax, tmp_path):
    _, found = trained(tmp_path, save_freq=2, max_to_keep=None, save_on_background=False, save_weights_only=True)
    assert [(step, how) for step, _, how in found.saved] == [(s, "waited for") for s in (2, 4, 6, 8)]
    assert found.keep is None
    assert set(found.saved[0][1]) == {"pytree"}
    assert set(found.saved[0][1]["pytree"]) == {"trainable_variables", "non_trainable_variables"}


def test_only_the_best_is_saved_if_that_is_asked_for(orbax, tmp_path):
    _, found = trained(tmp_path, save_best_only=True, monitor="loss", mode="max")
    assert [step for step, _, _ in found.saved] == [0]


def test_without_the_value_nothing_is_saved_and_that_is_said(orbax, tmp_path):
    with pytest.warns(UserWarning, match="Can save best model only with val_loss available"):
        _, found = trained(tmp_path, save_best_only=True)
    assert found.saved == []


@pytest.mark.parametrize("arguments", [{"save_freq": "batch"}, {"save_freq": 0}, {"max_to_keep": 0}])
def test_arguments_that_cannot_be_are_refused(orbax, tmp_path, arguments):
    with pytest.raises(errors.InvalidArgumentError):
        keras.callbacks.OrbaxCheckpoint(tmp_path, **arguments)


def test_without_orbax_the_error_names_it_and_what_there_is_instead(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax", None)
    with pytest.raises(ImportError, match=r"pip install orbax-checkpoint(.|\n)*resume=(.|\n)*BackupAndRestore"):
        keras.callbacks.OrbaxCheckpoint(tmp_path)
