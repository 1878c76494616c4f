import numpy as np
import pytest
from unit.callback_fakes import Metric, MetricGroup, Model, fit

from lamina import callbacks, config, errors
from lamina.ops.arithmetic import greater, less


@pytest.fixture
def lenient():
    config.set_strict(False)
    yield
    config.set_strict(True)


def losses(*values, name="loss"):
    return [{name: float(value)} for value in values]


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_training_stops_after_so_many_epochs_without_improvement(patience):
    stopper = callbacks.EarlyStopping(monitor="loss", patience=patience)
    fit(callbacks.CallbackList([stopper], model=Model()), losses(10, 9, 8, 9, 8.9, 8.8, 8.7, 8.6, 8.5))
    assert stopper.stopped_epoch == max(patience, 1) + 2


def test_a_second_fit_begins_anew():
    stopper = callbacks.EarlyStopping(monitor="loss", patience=1)
    both = callbacks.CallbackList([stopper], model=Model())
    assert fit(both, losses(1, 2, 3, 4)) == 2
    assert fit(both, losses(9, 8, 7, 6)) == 4
    assert stopper.best == 6


MODEL_METRICS = [
    Metric("loss"),
    MetricGroup(Metric("mse", "down"), Metric("accuracy", "up"), Metric("auc", "up"), Metric("hinge", "down")),
]


@pytest.mark.parametrize(
    ("monitor", "mode", "operation"),
    [
        ("val_mse", "max", greater),
        ("val_accuracy", "min", less),
        ("loss", "auto", less),
        ("val_loss", "auto", less),
        ("val_mse", "auto", less),
        ("accuracy", "auto", greater),
        ("val_auc", "auto", greater),
        ("hinge", "auto", less),
        ("digits_accuracy", "auto", greater),
        ("val_digits_mse", "auto", less),
        ("val_digits_loss", "auto", less),
    ],
)
def test_the_better_direction_comes_from_the_mode_or_from_the_metric(monitor, mode, operation):
    stopper = callbacks.EarlyStopping(monitor=monitor, mode=mode)
    fit(callbacks.CallbackList([stopper], model=Model(MODEL_METRICS)), losses(1, name=monitor))
    assert stopper.monitor_op is operation


@pytest.mark.parametrize("kind", [callbacks.EarlyStopping, callbacks.ReduceLROnPlateau, callbacks.MonitorCallback])
def test_an_unknown_mode_falls_back_with_a_warning(kind):
    with pytest.warns(UserWarning, match=f"{kind.__name__} mode 'least' is unknown, fallback to auto mode"):
        assert kind(mode="least").mode == "auto"


def test_a_metric_of_unknown_direction_ends_the_first_epoch_with_what_to_pass():
    stopper = callbacks.EarlyStopping(monitor="mine")
    with pytest.raises(errors.InvalidArgumentError, match=r"monitor=mine.*\n.*mode='max'"):
        fit(callbacks.CallbackList([stopper], model=Model()), losses(1, name="mine"))


def test_a_metric_of_unknown_direction_that_comes_late_stops_nothing():
    stopper = callbacks.EarlyStopping(monitor="val_mine")
    both = callbacks.CallbackList([stopper], model=Model())
    both.on_train_begin()
    with pytest.warns(UserWarning, match="Nothing was validated in this epoch"):
        both.on_epoch_end(0, {"mine": 1.0})
    with pytest.warns(UserWarning, match="Training goes on unwatched"):
        both.on_epoch_end(1, {"mine": 1.0, "val_mine": 1.0})
    both.on_epoch_end(2, {"mine": 1.0, "val_mine": 1.0})


def test_a_misspelt_monitor_is_mentioned_once_with_the_nearest_name():
    stopper = callbacks.EarlyStopping(monitor="val_acuracy")
    both = callbacks.CallbackList([stopper], model=Model())
    logs = [{"loss": 1.0, "val_accuracy": 0.5}] * 3
    with pytest.warns(UserWarning, match="which is not available") as caught:
        assert fit(both, logs) == 3
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "Available metrics are: loss,val_accuracy." in text
    assert "Did you mean 'val_accuracy'?" in text


def test_a_misspelt_monitor_raises_as_in_keras_if_not_strict(lenient):
    stopper = callbacks.EarlyStopping(monitor="unknown")
    with pytest.raises(ValueError, match="EarlyStopping callback received monitor=unknown"):
        fit(callbacks.CallbackList([stopper], model=Model()), losses(1, 2))


def test_a_monitor_that_needs_validation_says_so():
    stopper = callbacks.EarlyStopping()
    with pytest.warns(UserWarning, match="pass `validation_data`.*or monitor 'loss'"):
        fit(callbacks.CallbackList([stopper], model=Model()), losses(1, 2))


class _Counting(Model):
    """A model whose weights are the number of the epoch."""

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


@pytest.mark.parametrize(
    ("arguments", "values", "stop_at", "trained", "restored"),
    [
        ({"patience": 2}, [0.2, 0.15, 0.1, 0.11, 0.12], None, 5, 2),
        ({"patience": 5, "baseline": 0.5}, [0.9, 0.8, 0.7, 0.71, 0.72, 0.73], None, 5, 2),
        ({"patience": 5, "baseline": 0.5}, [0.9, 0.8, 0.7, 0.71, 0.72, 0.73], 3, 4, 2),
        ({"patience": 1, "start_from_epoch": 3}, [0.1, 0.2, 0.3, 0.9, 0.8, 0.7], None, 6, 5),
    ],
)
def test_the_best_weights_come_back_whatever_ended_training(arguments, values, stop_at, trained, restored):
    stopper = callbacks.EarlyStopping(restore_best_weights=True, **arguments)
    stopper.set_model(_Counting())
    stopper.on_train_begin()
    done = 0
    for epoch, value in enumerate(values):
        done += 1
        stopper.model.set_weights(epoch)
        stopper.on_epoch_end(epoch, {"val_loss": value})
        if stopper.model.stop_training or epoch == stop_at:
            break
    stopper.on_train_end()
    assert (done, stopper.model.weights) == (trained, restored)


def test_the_kept_weights_are_those_of_the_moment():
    stopper = callbacks.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True)
    model = Model()

    def train(epoch, logs=None):
        model.weights[0] = model.weights[0] + 1

    both = callbacks.CallbackList([callbacks.LambdaCallback(on_epoch_begin=train), stopper], model=model)
    fit(both, losses(3, 1, 2, 2))
    np.testing.assert_array_equal(model.weights[0], [2, 2])


def test_what_it_does_is_printed(capsys):
    stopper = callbacks.EarlyStopping(monitor="loss", verbose=1, restore_best_weights=True)
    fit(callbacks.CallbackList([stopper], model=Model()), losses(1, 2))
    assert capsys.readouterr().out == (
        "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n"
    )


def test_any_number_is_better_than_nan_and_nan_never_resets_the_patience():
    stopper = callbacks.EarlyStopping(monitor="loss", patience=2)
    both = callbacks.CallbackList([stopper], model=Model())
    assert fit(both, losses(np.nan, 3, 2, 1)) == 4
    assert stopper.best == 1
    assert fit(both, losses(np.nan, np.nan, np.nan, np.nan, np.nan)) == 3


def test_values_are_compared_as_training_has_them():
    monitor = callbacks.MonitorCallback(mode="max", min_delta=0.1)
    monitor._set_monitor_op()
    assert 0.8 - 0.1 > 0.7  # in double precision there would be an improvement
    assert not monitor._is_improvement(0.8, 0.7)
    assert monitor._is_improvement(1e300, 1.0)


def test_a_least_change_counts_both_ways():
    for mode, sign in (("max", 1), ("min", -1)):
        monitor = callbacks.MonitorCallback(mode=mode, min_delta=0.5)
        monitor._set_monitor_op()
        assert monitor._is_improvement(sign * 0.75, 0)
        assert monitor._is_improvement(sign * 0.5, None)
        assert not monitor._is_improvement(sign * 0.5, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"patience": "3"}, "`patience` must be a number"),
        ({"patience": -1}, "`patience` must be a number of at least 0"),
        ({"patience": None}, "`patience`"),
        ({"min_delta": "small"}, "`min_delta` must be a number"),
        ({"baseline": "0.5"}, "`baseline` must be a number"),
        ({"monitor": ["val_loss"]}, "`monitor` must be the name"),
        ({"start_from_epoch": -2}, "`start_from_epoch`"),
    ],
)
def test_arguments_that_cannot_work_are_refused_when_given(arguments, says):
    with pytest.raises(errors.InvalidArgumentError, match=says):
        callbacks.EarlyStopping(**arguments)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_ends_training_in_its_epoch(loss, capsys):
    both = callbacks.CallbackList([callbacks.TerminateOnNaN()], add_history=True, model=Model())
    assert fit(both, losses(1, loss, 1)) == 2
    assert "Invalid loss, terminating training" in capsys.readouterr().out
    assert len(both.model.history.epoch) == 2


def test_finite_losses_end_nothing(capsys):
    assert fit(callbacks.CallbackList([callbacks.TerminateOnNaN()], model=Model()), losses(1, 1e30, 0)) == 3
    assert capsys.readouterr().out == ""


def test_a_block_is_enough_to_see_nan_and_says_how_far_it_came(capsys):
    both = callbacks.CallbackList([callbacks.TerminateOnNaN()], model=Model())
    both.on_train_begin()
    both.on_epoch_begin(0)
    both.on_block_end(50, lambda: {"loss": float("nan")})
    assert both.model.stop_training
    assert capsys.readouterr().out == "Batch 49: Invalid loss, terminating training\n"
    both.on_block_end(60, lambda: pytest.fail("looked again"))


def test_blocks_that_follow_at_once_are_not_looked_at_but_the_epoch_is():
    both = callbacks.CallbackList([callbacks.TerminateOnNaN()], model=Model())
    both.on_train_begin()
    both.on_block_end(1, lambda: {"loss": 1.0})
    both.on_block_end(2, lambda: pytest.fail("looked too often"))
    both.on_epoch_end(0, {"loss": float("nan")})
    assert both.model.stop_training


def test_an_error_instead_of_a_stop_skips_the_end_of_training():
    ends = []
    both = callbacks.CallbackList(
        [callbacks.TerminateOnNaN(raise_error=True), callbacks.LambdaCallback(on_train_end=ends.append)], model=Model()
    )
    with pytest.raises(RuntimeError, match=r"NaN or Inf loss encountered at batch 0. Loss value: nan"):
        fit(both, losses(np.nan))
    assert ends == []
