"""Keras's own callbacks and ours are told the same story; they must decide alike in every epoch."""

import csv
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.callback_fakes import Model, Optimizer

from lamina import callbacks

# Coarse values make ties and differences of exactly `min_delta` frequent.
values = st.lists(st.integers(0, 12).map(lambda k: k / 10) | st.floats(-2, 2, width=32), min_size=1, max_size=14)
modes = st.sampled_from(["min", "max"])
deltas = st.sampled_from([0, 0.1, 0.3, 1e-4, -0.2])


class _Weights(Model):
    """The weights are the number of the epoch that made them."""

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def stops(callback, name, sequence, **params):
    """Return the weights, the state and the epochs after training with this callback alone."""
    model = _Weights()
    kind = callbacks.CallbackList if isinstance(callback, callbacks.Callback) else keras.callbacks.CallbackList
    both = kind([callback], model=model, verbose=0, epochs=len(sequence), steps=1)
    both.on_train_begin()
    for epoch, value in enumerate(sequence):
        both.on_epoch_begin(epoch)
        model.weights = epoch
        both.on_epoch_end(epoch, {name: value})
        if model.stop_training:
            break
    both.on_train_end()
    state = (callback.wait, callback.stopped_epoch, callback.best, callback.best_epoch, callback.best_weights)
    return epoch, model.weights, state


@settings(max_examples=150)
@given(
    sequence=values,
    arguments=st.fixed_dictionaries(
        {
            "mode": modes,
            "min_delta": deltas,
            "patience": st.integers(0, 4),
            "baseline": st.sampled_from([None, 0.5, 0.2]),
            "restore_best_weights": st.booleans(),
            "start_from_epoch": st.integers(0, 3),
        }
    ),
)
def test_early_stopping_decides_as_in_keras(sequence, arguments):
    ours, theirs = (
        stops(kind(monitor="x", **arguments), "x", sequence)
        for kind in (callbacks.EarlyStopping, keras.callbacks.EarlyStopping)
    )
    assert ours == theirs


def rates(callback, name, sequence):
    """Return the learning rate and the counters after each epoch."""
    model = Model(optimizer=Optimizer(0.8))
    kind = callbacks.CallbackList if isinstance(callback, callbacks.Callback) else keras.callbacks.CallbackList
    history = (callbacks.History if kind is callbacks.CallbackList else keras.callbacks.History)()
    both = kind([callback, history], model=model, verbose=0, epochs=len(sequence), steps=1)
    both.on_train_begin()
    seen = []
    for epoch, value in enumerate(sequence):
        both.on_epoch_begin(epoch)
        both.on_epoch_end(epoch, {name: value})
        counters = tuple(getattr(callback, part, None) for part in ("wait", "cooldown_counter", "best"))
        seen.append((model.optimizer.learning_rate, *counters))
    return seen, history.history


@settings(max_examples=150)
@given(
    sequence=values,
    arguments=st.fixed_dictionaries(
        {
            "mode": modes,
            "min_delta": deltas,
            "patience": st.integers(0, 3),
            "factor": st.sampled_from([0.5, 0.1, 0.9]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.1, 0.01]),
        }
    ),
)
def test_reduce_on_plateau_decides_as_in_keras(sequence, arguments):
    ours, theirs = (
        rates(kind(monitor="x", **arguments), "x", sequence)
        for kind in (callbacks.ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau)
    )
    assert ours == theirs


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 1.0 / (1.0 + epoch),
        lambda epoch, rate: rate * 0.7,
        lambda epoch, rate: np.float32(rate if epoch < 3 else rate * 0.5),
    ],
)
def test_the_scheduler_sets_the_rates_of_keras(schedule):
    ours, theirs = (
        rates(kind(schedule), "loss", [1.0] * 6)
        for kind in (callbacks.LearningRateScheduler, keras.callbacks.LearningRateScheduler)
    )
    assert ours == theirs


def saved(kind, sequence, steps, **arguments):
    model = Model()
    callback = kind(**arguments)
    both = (callbacks if isinstance(callback, callbacks.Callback) else keras.callbacks).CallbackList(
        [callback], model=model, verbose=0, epochs=len(sequence), steps=steps
    )
    both.on_train_begin()
    for epoch, value in enumerate(sequence):
        both.on_epoch_begin(epoch)
        for batch in range(steps):
            both.on_train_batch_begin(batch)
            both.on_train_batch_end(batch, {"loss": value + batch / 10})
        both.on_epoch_end(epoch, {"loss": value, "val_x": value})
    both.on_train_end()
    return model.saved


@settings(max_examples=60)
@given(sequence=values, mode=modes, threshold=st.sampled_from([None, 0.5]), best=st.booleans())
def test_checkpoints_are_the_files_of_keras(sequence, mode, threshold, best):
    arguments = {
        "filepath": "{epoch:02d}-{val_x:.3f}-{loss}.keras",
        "monitor": "val_x",
        "mode": mode,
        "save_best_only": best,
        "initial_value_threshold": threshold,
    }
    ours, theirs = (
        saved(kind, sequence, 1, **arguments) for kind in (callbacks.ModelCheckpoint, keras.callbacks.ModelCheckpoint)
    )
    assert ours == theirs


@settings(max_examples=60)
@given(frequency=st.integers(1, 9), steps=st.integers(1, 5), epochs=st.integers(1, 6))
def test_checkpoints_by_batches_are_the_files_of_keras(frequency, steps, epochs):
    arguments = {"filepath": "{epoch}-{batch}.weights.h5", "save_freq": frequency, "save_weights_only": True}
    ours, theirs = (
        saved(kind, [1.0] * epochs, steps, **arguments)
        for kind in (callbacks.ModelCheckpoint, keras.callbacks.ModelCheckpoint)
    )
    assert ours == theirs


@settings(max_examples=40)
@given(
    logs=st.lists(
        st.dictionaries(st.sampled_from(["loss", "mse", "val_loss"]), st.floats(width=32), min_size=1), min_size=1,
        max_size=4,
    ),
    separator=st.sampled_from([",", "\t", ";"]),
)  # fmt: skip
def test_the_csv_file_is_that_of_keras(logs, separator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    tables = []
    for module in (callbacks, keras.callbacks):
        path = folder / f"{module.__name__}.csv"
        both = module.CallbackList([module.CSVLogger(str(path), separator=separator)], model=Model())
        both.on_train_begin()
        for epoch, each in enumerate(logs):
            both.on_epoch_end(epoch, each)
        both.on_train_end()
        with open(path, newline="") as file:
            tables.append(list(csv.reader(file, delimiter=separator)))
    assert tables[0] == tables[1]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1.0])
@pytest.mark.parametrize("raise_error", [False, True])
def test_a_loss_that_is_not_finite_has_the_outcome_of_keras(loss, raise_error, capsys):
    outcomes = []
    for module in (callbacks, keras.callbacks):
        model = Model()
        both = module.CallbackList([module.TerminateOnNaN(raise_error=raise_error)], model=model)
        both.on_train_begin()
        try:
            both.on_train_batch_end(3, {"loss": loss})
        except RuntimeError as error:
            outcomes.append(str(error).split("\n")[0])
        else:
            outcomes.append((model.stop_training, capsys.readouterr().out))
    assert outcomes[0] == outcomes[1]


def test_every_public_callback_has_the_arguments_of_keras():
    import inspect

    for name in callbacks.__all__:
        ours = getattr(callbacks, name)
        theirs = getattr(keras.callbacks, name, None) or getattr(keras.src.callbacks, name)
        signatures = [
            [(p.name, p.default, p.kind) for p in inspect.signature(cls).parameters.values()] for cls in (ours, theirs)
        ]
        assert signatures[0] == signatures[1], name


def test_messages_hold_the_phrases_of_keras(capsys, tmp_path):
    for module in (callbacks, keras.callbacks):
        model = Model(optimizer=Optimizer(0.5))
        both = module.CallbackList(
            [
                module.EarlyStopping(monitor="loss", verbose=1, patience=1, restore_best_weights=True),
                module.ReduceLROnPlateau(monitor="loss", verbose=1, patience=1, factor=0.5),
                module.LearningRateScheduler(lambda epoch: 0.5, verbose=1),
                module.ModelCheckpoint(str(tmp_path / "m.keras"), monitor="loss", verbose=1, save_best_only=True),
                module.ModelCheckpoint(str(tmp_path / "m.keras"), verbose=1),
            ],
            model=model,
        )
        both.on_train_begin()
        for epoch in range(2):
            both.on_epoch_begin(epoch)
            both.on_epoch_end(epoch, {"loss": 0.25})
        both.on_train_end()
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(lines) % 2 == 0
    half = len(lines) // 2
    assert lines[:half] == lines[half:]


def test_a_missing_monitor_is_mentioned_in_the_words_of_keras():
    for make in ("EarlyStopping", "ReduceLROnPlateau"):
        texts = []
        for module in (callbacks, keras.callbacks):
            callback = getattr(module, make)(monitor="absent", mode="min")
            callback.set_model(Model())
            callback.on_train_begin()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                callback.on_epoch_end(0, {"loss": 1.0})
            texts.append(str(caught[0].message).rstrip("."))
        assert texts[0].startswith(texts[1])
