import jax.numpy as jnp
import numpy as np
import pytest
from unit.callback_fakes import Model, Optimizer, ScheduledOptimizer, fit

from lamina import callbacks, config, errors


def losses(*values):
    return [{"val_loss": float(value)} for value in values]


def run(callback, logs, rate=0.1):
    model = Model(optimizer=Optimizer(rate))
    both = callbacks.CallbackList([callback], add_history=True, model=model)
    fit(both, logs)
    return [float(np.float32(r)) for r in model.history.history["learning_rate"]], model


@pytest.mark.parametrize(
    ("arguments", "count", "rate"),
    [
        ({"patience": 1, "min_delta": 100}, 2, 0.01),
        ({"patience": 1, "min_delta": 10, "min_lr": 0.005}, 4, 0.005),
        ({"patience": 1, "min_delta": 100, "cooldown": 2}, 4, 0.001),
        ({"patience": 3, "min_delta": 100}, 3, 0.1),
        ({"patience": 1, "min_delta": 100, "factor": 0.5}, 3, 0.025),
    ],
)
def test_the_rate_falls_when_nothing_improves(arguments, count, rate):
    _, model = run(callbacks.ReduceLROnPlateau(**arguments), losses(*[1.0] * count))
    assert model.optimizer.learning_rate == pytest.approx(rate, rel=1e-6)


def test_rates_are_logged_as_floats_as_they_were_in_the_epoch():
    rates, model = run(callbacks.ReduceLROnPlateau(patience=1, factor=0.5), losses(1, 1, 1), rate=1.0)
    assert rates == [1.0, 1.0, 0.5]
    assert model.optimizer.learning_rate == 0.25
    assert all(type(rate) is float for rate in model.history.history["learning_rate"])


def test_a_second_fit_begins_anew():
    reduce = callbacks.ReduceLROnPlateau(cooldown=2)
    reduce.set_model(Model())
    reduce.best, reduce.wait, reduce.cooldown_counter = 0.5, 3, 2
    reduce.on_train_begin()
    assert (reduce.best, reduce.wait, reduce.cooldown_counter) == (None, 0, 0)


def test_what_it_does_is_printed(capsys):
    run(callbacks.ReduceLROnPlateau(patience=1, verbose=1), losses(1, 1))
    assert capsys.readouterr().out == "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.01.\n"


def test_a_missing_metric_is_mentioned_once():
    with pytest.warns(UserWarning, match="Learning rate reduction is conditioned on metric `val_los`") as caught:
        run(callbacks.ReduceLROnPlateau(monitor="val_los"), losses(1, 1, 1))
    assert len(caught) == 1
    assert "Did you mean 'val_loss'" in str(caught[0].message)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"factor": 1.0}, ValueError, "does not support a factor >= 1.0"),
        ({"factor": -0.1}, errors.InvalidArgumentError, "`factor`"),
        ({"factor": "0.1"}, errors.InvalidArgumentError, "`factor`"),
        ({"patience": "3"}, errors.InvalidArgumentError, "`patience`"),
        ({"min_lr": float("nan")}, errors.InvalidArgumentError, "`min_lr`"),
        ({"patiense": 3}, TypeError, "Unrecognized keyword arguments: patiense.*\n.*`patience`"),
        ({"epsilon": 3}, TypeError, "Unrecognized keyword arguments: epsilon"),
    ],
)
def test_arguments_that_cannot_work_are_refused_when_given(arguments, kind, says):
    with pytest.raises(kind, match=says):
        callbacks.ReduceLROnPlateau(**arguments)


def test_unknown_arguments_pass_as_in_keras_if_not_strict():
    config.set_strict(False)
    try:
        callbacks.ReduceLROnPlateau(epsilon=3)
    finally:
        config.set_strict(True)


@pytest.mark.parametrize(
    "make", [callbacks.ReduceLROnPlateau, lambda: callbacks.LearningRateScheduler(lambda epoch: 0.1)]
)
def test_an_optimizer_with_a_schedule_is_refused_before_the_first_step(make):
    both = callbacks.CallbackList([make()], model=Model(optimizer=ScheduledOptimizer()))
    with pytest.raises(TypeError, match="This optimizer was created with a `LearningRateSchedule`"):
        both.on_train_begin()


def test_a_model_without_a_learning_rate_is_refused_before_the_first_step():
    model = Model()
    model.optimizer = None
    both = callbacks.CallbackList([callbacks.LearningRateScheduler(lambda epoch: 0.1)], model=model)
    with pytest.raises(ValueError, match='Optimizer must have a "learning_rate" attribute'):
        both.on_train_begin()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda epoch: 1.0 / (2.0 + epoch), [0.5, 1 / 3, 0.25]),
        (lambda epoch, rate: rate / 2, [0.5, 0.25, 0.125]),
        (lambda epoch, rate=7.0: rate / 2, [0.5, 0.25, 0.125]),
        (lambda *place: np.float32(place[1] / 2), [0.5, 0.25, 0.125]),
        (lambda epoch: jnp.asarray(0.5), [0.5, 0.5, 0.5]),
        (lambda epoch: 1, [1.0, 1.0, 1.0]),
    ],
)
def test_the_schedule_gives_the_rate_of_each_epoch(schedule, expected):
    rates, _ = run(callbacks.LearningRateScheduler(schedule), losses(1, 1, 1), rate=1.0)
    assert rates == pytest.approx(expected, rel=1e-6)


def test_an_error_inside_the_schedule_is_not_taken_for_another_signature():
    def schedule(epoch, rate=0.1):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        run(callbacks.LearningRateScheduler(schedule), losses(1))


@pytest.mark.parametrize("result", [None, "0.1", True, [0.1], float("nan"), -0.1, float("inf"), np.ones(2)])
def test_what_the_schedule_gives_must_be_a_rate(result):
    with pytest.raises(ValueError, match="The output of the `schedule` function should be a float"):
        run(callbacks.LearningRateScheduler(lambda epoch: result), losses(1))


@pytest.mark.parametrize("schedule", [None, 0.1, lambda: 0.1, lambda a, b, c: 0.1])
def test_what_is_no_schedule_is_refused_when_given(schedule):
    with pytest.raises(errors.InvalidArgumentError, match="`schedule` must"):
        callbacks.LearningRateScheduler(schedule)


def test_the_scheduler_prints_each_rate(capsys):
    run(callbacks.LearningRateScheduler(lambda epoch: 1.0 / (1.0 + epoch), verbose=1), losses(1, 1))
    assert capsys.readouterr().out == (
        "Epoch 1: LearningRateScheduler setting learning rate to 1.0.\n"
        "Epoch 2: LearningRateScheduler setting learning rate to 0.5.\n"
    )


def test_messages_go_to_the_logger_if_interactive_logging_is_off(caplog, capsys):
    config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO"):
            run(callbacks.LearningRateScheduler(lambda epoch: 1.0, verbose=1), losses(1))
    finally:
        config.enable_interactive_logging()
    assert "LearningRateScheduler setting learning rate to 1.0" in caplog.text
    assert capsys.readouterr().out == ""


def test_several_optimizers_have_their_rates_each():
    model = Model()
    model.optimizer = type("Several", (), {"optimizers": [Optimizer(1.0, "a"), Optimizer(0.1, "b")]})()
    reduce = callbacks.ReduceLROnPlateau(patience=1, factor=0.5)
    both = callbacks.CallbackList([reduce], add_history=True, model=model)
    fit(both, losses(1, 1))
    assert [float(o.learning_rate) for o in model.optimizer.optimizers] == pytest.approx([0.5, 0.05])
    assert {"learning_rate_a", "learning_rate_b"} <= set(model.history.history)
