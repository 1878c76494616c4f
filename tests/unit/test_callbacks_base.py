import warnings

import numpy as np
import pytest
from unit.callback_fakes import Model, Optimizer, fit

from lamina import callbacks, errors
from lamina.callbacks import base
from lamina.callbacks.base import plain


class Recorder(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []


def _record(name):
    def hook(self, *place, logs=None):
        self.calls.append((name, *place))

    return hook


def _nothing(batch, logs=None):
    pass


for _name in base.HOOKS:
    if _name not in ("on_batch_begin", "on_batch_end"):
        setattr(Recorder, _name, _record(_name))
for _name in base.RUN_HOOKS:
    setattr(Recorder, _name, lambda self, logs=None, name=_name: self.calls.append((name,)))
for _name in base.EPOCH_HOOKS:
    setattr(Recorder, _name, lambda self, epoch, logs=None, name=_name: self.calls.append((name, epoch)))


def test_there_are_all_hooks_of_keras():
    import keras

    theirs = {name for name in dir(keras.callbacks.Callback) if name.startswith("on_")}
    assert set(base.HOOKS) == theirs
    assert all(hasattr(callbacks.Callback, name) for name in theirs)


def test_every_hook_reaches_every_callback_in_order():
    first, second = Recorder(), Recorder()
    both = callbacks.CallbackList([first, second], model=Model())
    for name in base.HOOKS:
        if name not in ("on_batch_begin", "on_batch_end"):
            getattr(both, name)(*([] if name in base.RUN_HOOKS else [3]))
    expected = [
        (name,) if name in base.RUN_HOOKS else (name, 3)
        for name in base.HOOKS
        if name not in ("on_batch_begin", "on_batch_end")
    ]
    assert first.calls == second.calls == expected


def test_the_old_batch_names_are_called_for_training_batches():
    class Old(callbacks.Callback):
        seen = ()

        def on_batch_begin(self, batch, logs=None):
            self.seen += (("begin", batch),)

        def on_batch_end(self, batch, logs=None):
            self.seen += (("end", batch, logs["loss"]),)

    old = Old()
    fit(callbacks.CallbackList([old], model=Model()), [{"loss": 2.0}], steps=1)
    assert old.seen == (("begin", 0), ("end", 0, 2.0))


@pytest.mark.parametrize(
    ("make", "hook", "needed"),
    [
        (lambda: callbacks.Callback(), "on_train_batch_end", False),
        (lambda: Recorder(), "on_train_batch_end", True),
        (lambda: Recorder(), "on_test_batch_begin", True),
        (lambda: callbacks.LambdaCallback(on_epoch_end=print), "on_train_batch_end", False),
        (lambda: callbacks.LambdaCallback(on_epoch_end=print), "on_epoch_end", True),
        (lambda: callbacks.LambdaCallback(on_train_batch_end=_nothing), "on_train_batch_end", True),
        (lambda: callbacks.LambdaCallback(on_batch_end=_nothing), "on_train_batch_end", True),
        (lambda: callbacks.LambdaCallback(on_batch_end=_nothing), "on_train_batch_begin", False),
        (lambda: callbacks.LambdaCallback(on_batch_end=_nothing), "on_batch_end", True),
        (lambda: callbacks.LambdaCallback(on_predict_batch_end=_nothing), "on_predict_batch_end", True),
        (lambda: callbacks.LambdaCallback(on_predict_batch_end=_nothing), "on_train_batch_end", False),
        (lambda: callbacks.TerminateOnNaN(), "on_train_batch_end", False),
        (lambda: callbacks.TerminateOnNaN(), "_on_block_end", True),
        (lambda: callbacks.ModelCheckpoint("a.keras"), "on_train_batch_end", False),
        (lambda: callbacks.ModelCheckpoint("a.keras", save_freq=3), "on_train_batch_end", True),
        (lambda: callbacks.ModelCheckpoint("a.keras", save_freq=3), "on_train_batch_begin", False),
        (lambda: callbacks.EarlyStopping(), "on_train_batch_end", False),
        (lambda: callbacks.ProgbarLogger(), "on_train_batch_end", False),
        (lambda: callbacks.History(), "on_train_batch_end", False),
    ],
)
def test_the_loop_learns_which_hooks_do_something(make, hook, needed):
    assert callbacks.CallbackList([make()]).overrides(hook) is needed


def test_an_attribute_set_on_one_object_counts_as_a_hook():
    callback = callbacks.Callback()
    callback.on_train_batch_end = lambda batch, logs=None: None
    assert callbacks.CallbackList([callback]).overrides("on_train_batch_end")


@pytest.mark.parametrize(
    ("make", "late"),
    [
        (lambda: [], True),
        (lambda: [callbacks.History(), callbacks.ProgbarLogger()], True),
        (lambda: [callbacks.Callback()], True),
        (lambda: [callbacks.LambdaCallback(on_train_end=print)], True),
        (lambda: [callbacks.LambdaCallback(on_epoch_end=print)], False),
        (lambda: [callbacks.LambdaCallback(on_test_end=print)], False),
        (lambda: [callbacks.EarlyStopping()], False),
        (lambda: [callbacks.TerminateOnNaN()], False),
        (lambda: [callbacks.ModelCheckpoint("a.keras", save_freq=2)], False),
    ],
)
def test_the_end_of_an_epoch_may_be_late_only_where_all_record(make, late, tmp_path):
    both = callbacks.CallbackList([*make(), callbacks.CSVLogger(tmp_path / "a.csv")], add_history=True)
    assert both.passive is late
    if not late and not both.overrides("on_test_end") and not both.needs_batches:
        assert both.needs_logs_now


def test_a_subclass_of_a_recorder_that_looks_at_the_end_of_an_epoch_is_told_at_once():
    class Stopper(callbacks.History):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)

    assert not callbacks.History().needs_logs_now
    assert Stopper().needs_logs_now
    assert not callbacks.CallbackList([Stopper()]).passive


def test_callbacks_get_the_model_and_the_params():
    callback, model = callbacks.Callback(), Model()
    callbacks.CallbackList([callback], model=model, verbose=0, epochs=3, steps=7)
    assert callback.model is model
    assert callback.params == {"verbose": 0, "epochs": 3, "steps": 7}


def test_a_callback_without_the_constructor_of_its_base_works():
    class Bare(callbacks.Callback):
        def __init__(self):
            self.ends = 0

        def on_epoch_end(self, epoch, logs=None):
            self.ends += 1

    bare = Bare()
    assert bare.model is None
    fit(callbacks.CallbackList([bare], model=Model()), [{"loss": 1.0}] * 2)
    assert bare.ends == 2


def test_lists_are_flattened_and_history_and_progress_are_added_once():
    history = callbacks.History()
    both = callbacks.CallbackList(
        [[callbacks.Callback()], (history,)], add_history=True, add_progbar=True, model=Model()
    )
    assert [type(c).__name__ for c in both.callbacks] == ["Callback", "History", "ProgbarLogger"]
    assert both.model.history is history
    assert callbacks.CallbackList(history).callbacks == [history]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("EarlyStopping", r"`EarlyStopping\(\.\.\.\)`"),
        ("early_stopping", r"`EarlyStopping\(\.\.\.\)`"),
        (["EarlyStoping"], r"Did you mean 'EarlyStopping'"),
        (callbacks.EarlyStopping, r"add parentheses: `EarlyStopping\(\)`"),
        ([callbacks.Callback(), callbacks.History], r"add parentheses: `History\(\)`"),
        ([lambda epoch, logs: None], r"wrap it: `LambdaCallback\(on_epoch_end=f\)`"),
        (print, r"wrap it: `LambdaCallback\(on_epoch_end=print\)`"),
        ([3], "list of objects"),
        ([None], "list of objects"),
        ({"stop": callbacks.EarlyStopping()}, "list of objects"),
    ],
)
def test_what_is_no_callback_is_refused_with_what_to_write(given, says):
    with pytest.raises(errors.InvalidTypeError, match="`callbacks` must be a list of Callback objects") as caught:
        callbacks.CallbackList(given)
    with pytest.raises(errors.InvalidTypeError, match=says):
        raise caught.value


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("on_epoch_end", lambda self, epoch: None),
        ("on_train_begin", lambda self: None),
        ("on_train_batch_end", lambda self, batch: None),
        ("on_train_batch_end", lambda self, batch, results: None),
    ],
)
def test_a_hook_that_cannot_take_its_arguments_is_refused_before_the_run(name, hook):
    kind = type("Mine", (callbacks.Callback,), {name: hook})
    with pytest.raises(errors.InvalidTypeError, match=f"Mine: The hook `{name}` must take"):
        callbacks.CallbackList([kind()])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_epoch_start", "on_epoch_begin"),
        ("on_train_batch_start", "on_train_batch_begin"),
        ("on_validation_end", "on_test_end"),
        ("on_epoch_ends", "on_epoch_end"),
    ],
)
def test_a_method_that_looks_like_a_hook_is_mentioned_once(name, meant):
    kind = type("Mine", (callbacks.Callback,), {name: lambda self, *a: None})
    with pytest.warns(UserWarning, match=f"`Mine.{name}` is not a hook.*`{meant}`"):
        callbacks.CallbackList([kind()])
    callbacks.CallbackList([kind()])


def test_a_method_of_ones_own_is_not_mentioned():
    class Mine(callbacks.Callback):
        def on_new_best(self):
            pass

    callbacks.CallbackList([Mine()])


def test_logs_are_sorted_flat_floats():
    logs = plain({"loss": np.float32(0.5), "b": {"x": 1}, "acc": np.ones(2), "name": "3", "none": None})
    assert list(logs) == ["acc", "x", "loss", "name", "none"]
    assert type(logs["loss"]) is float
    assert type(logs["x"]) is float
    assert logs["name"] == "3"
    assert logs["none"] is None
    assert logs["acc"].shape == (2,)


def test_what_a_callback_adds_to_the_logs_is_in_the_history():
    def add(epoch, logs):
        logs["mine"] = epoch * 2.0

    both = callbacks.CallbackList([callbacks.LambdaCallback(on_epoch_end=add)], add_history=True, model=Model())
    given = {"loss": 1.0}
    fit(both, [given] * 3)
    assert both.model.history.history == {"loss": [1.0] * 3, "mine": [0.0, 2.0, 4.0]}
    assert both.model.history.epoch == [0, 1, 2]
    assert given == {"loss": 1.0}


def test_an_end_without_a_beginning_is_an_error():
    with pytest.raises(ValueError, match="called without corresponding `on_xxx_begin`"):
        callbacks.CallbackList([]).on_train_end()


def test_callbacks_of_keras_work_here():
    import keras

    stopper = keras.callbacks.EarlyStopping(monitor="loss", patience=2)
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    both = callbacks.CallbackList([stopper, rates], add_history=True, model=Model(optimizer=Optimizer(1.0)))
    assert not both.overrides("on_train_batch_end")
    assert fit(both, [{"loss": 1.0}] * 9) == 3
    assert both.model.history.history["learning_rate"] == [0.5, 0.25, 0.125]


def test_a_mock_is_a_callback():
    from unittest.mock import MagicMock

    mock = MagicMock()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(callbacks.CallbackList([mock], model=Model()), [{"loss": 1.0}])
    assert mock.on_epoch_end.call_count == 1
    assert mock.on_train_batch_end.call_count == 4
