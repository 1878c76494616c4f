"""Generators and callbacks that fail, end early or give what they should not: what was trained before is kept."""

import numpy as np
import pytest
from training_models import CLASSES, X, Y, model_of, snapshot, unchanged

from lamina import callbacks, layers, models
from lamina.callbacks import Callback
from lamina.errors import InvalidArgumentError

BATCH = (X[:8], Y[:8])


def fit(model, x, **kwargs):
    return model.fit(x, **{"verbose": 0, **kwargs})


def steps(model):
    return int(model.optimizer.iterations)


FIRST_BATCH = [  # found out before the first step
    pytest.param([], "at least one batch(?s:.)*made anew", id="nothing"),
    pytest.param([None], "batch 0: The generator yielded None", id="None"),
    pytest.param([(X[:8],) * 4], r"format `x`, `\(x,\)`, `\(x, y\)`.*length 4", id="tuples of four"),
    pytest.param([()], "length 0", id="empty tuples"),
    pytest.param([X[:8]], "In batch 0 of the data: `y`: There is a loss.*y=None", id="x alone"),
    pytest.param([(X[:8, :3], Y[:8])], r"(?s)In batch 0 of the data: .*`x` has shape \(8, 3\)", id="3 features"),
    pytest.param([(X[:8], Y[:7])], "In batch 0 of the data: .*`x` has 8, `y` has 7", id="other lengths"),
    pytest.param([(X[:0], Y[:0])], "In batch 0 of the data: .*no samples", id="no rows"),
    pytest.param([(X[:8] * np.nan, Y[:8])], "In batch 0 of the data: `x`: .*finite", id="NaN"),
    pytest.param([("a", Y[:8])], "In batch 0 of the data: `x`: Unrecognized", id="a string"),
    pytest.param([(X[:8], Y[:8], np.ones(7))], "In batch 0 of the data: .*`sample_weight` has 7", id="weights of 7"),
]


@pytest.fixture(scope="module")
def model():
    made = model_of()
    made.build_optimizer()
    return made


@pytest.mark.parametrize(("batches", "words"), FIRST_BATCH)
@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_a_first_batch_that_cannot_be_meant_changes_nothing(batches, words, verb, model):
    before = snapshot(model)
    with pytest.raises(InvalidArgumentError, match=words):
        getattr(model, verb)(iter(batches), verbose=0)
    assert unchanged(model, before)


LATER = [
    pytest.param((X[:8, :3], Y[:8]), r"(?s)In batch 11 of the data.*`x` has shape \(8, 3\)", id="3 features"),
    pytest.param(None, "batch 11: The generator yielded None", id="None"),
    pytest.param((X[:0], Y[:0]), "In batch 11 of the data: .*no samples", id="no rows"),
    pytest.param((X[:8], Y[:8] * np.nan), "In batch 11 of the data: `y`: .*finite", id="NaN"),
    pytest.param((X[:8],), "In batch 11 of the data: `y`: There is a loss", id="no targets"),
    pytest.param((X[:8], np.ones((8, 2))), "In batch 11 of the data: `y` .*same shape", id="two targets"),
]


@pytest.mark.parametrize(("bad", "words"), LATER)
def test_a_later_batch_that_cannot_be_meant_is_named_and_those_before_it_are_trained(bad, words):
    model, same = model_of(optimizer="sgd"), model_of(optimizer="sgd")
    same.set_weights(model.get_weights())
    with pytest.raises(InvalidArgumentError, match=words):
        fit(model, iter([*[BATCH] * 11, bad, BATCH]))
    fit(same, iter([BATCH] * 11))
    assert steps(model) == 11
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    fit(model, iter([BATCH]))


def test_a_generator_that_raises_keeps_its_error_and_all_that_it_gave_before():
    def batches():
        yield from [BATCH] * 3
        raise RuntimeError("disk gone at batch 3")

    model = model_of()
    with pytest.raises(RuntimeError, match="disk gone at batch 3"):
        fit(model, batches())
    assert steps(model) == 3
    fit(model, X, y=Y)


def test_a_generator_that_raises_after_a_spoilt_batch_leaves_finite_weights():
    def batches():
        yield from [BATCH] * 3
        yield X[:8] * 1e37, Y[:8]
        raise RuntimeError("disk gone")

    model = model_of(optimizer="sgd")
    with pytest.warns(RuntimeWarning, match="not finite"), pytest.raises(RuntimeError, match="disk gone"):
        fit(model, batches())
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_generator_may_give_lists_instead_of_tuples():
    model = model_of()
    fit(model, iter([list(BATCH)] * 2))
    assert steps(model) == 2


DRY = [  # batches that it has, arguments, steps and epochs done, what is said
    pytest.param(2, {"steps_per_epoch": 10, "epochs": 3}, 2, 1, "2 of 10 batches in epoch 1, the last", id="in the first epoch"),
    pytest.param(12, {"steps_per_epoch": 5, "epochs": 4}, 12, 3, "2 of 5 batches in epoch 3, the last", id="in a later epoch"),
    pytest.param(12, {"steps_per_epoch": 6, "epochs": 3}, 12, 2, "0 of 6 batches in epoch 3", id="between two epochs"),
    pytest.param(12, {"epochs": 3}, 12, 1, "12 batches in epoch 1, the last", id="read once"),
    pytest.param(3, {"steps_per_epoch": 4}, 3, 1, "3 of 4 batches", id="in the only epoch"),
]  # fmt: skip


@pytest.mark.parametrize(("count", "arguments", "done", "epochs", "words"), DRY)
@pytest.mark.parametrize("watched", [False, True], ids=["passive", "watched"])
def test_a_generator_that_runs_dry_says_how_much_it_gave_and_training_stops(
    count, arguments, done, epochs, words, watched
):
    class Watching(Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    model = model_of()
    with pytest.warns(UserWarning, match=f"Your input ran out of data; interrupting training.*{words}") as caught:
        history = fit(model, iter([BATCH] * count), callbacks=[Watching()] if watched else None, **arguments)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (steps(model), len(history.history["loss"]), history.epoch) == (done, epochs, list(range(epochs)))


def test_a_generator_that_gives_enough_says_nothing():
    model = model_of()
    history = fit(model, iter([BATCH] * 12), steps_per_epoch=4, epochs=3)
    assert (steps(model), len(history.history["loss"])) == (12, 3)


def test_predict_says_when_a_generator_runs_dry_and_refuses_an_empty_one():
    model = model_of()
    with pytest.warns(UserWarning, match=r"interrupting prediction\. It gave 2 of 5 batches"):
        assert model.predict(iter([X[:8]] * 2), steps=5, verbose=0).shape == (16, 1)
    with pytest.raises(InvalidArgumentError, match="at least one batch"):
        model.predict(iter([]), verbose=0)
    with pytest.raises(InvalidArgumentError, match=r"(?s)In batch 1 of the data.*\(8, 3\)"):
        model.predict(iter([X[:8], X[:8, :3]]), verbose=0)
    assert model.predict(iter([X[:8]] * 9), steps=2, verbose=0).shape == (16, 1)


def test_a_validation_that_runs_dry_says_so():
    model = model_of()
    with pytest.warns(UserWarning, match=r"interrupting evaluation\. It gave 0 batches"):
        history = fit(model, X, y=Y, epochs=2, validation_data=iter([BATCH]))
    assert (len(history.history["loss"]), len(history.history["val_loss"])) == (2, 1)
    with pytest.warns(UserWarning, match=r"interrupting evaluation\. It gave 1 of 3 batches"):
        model.evaluate(iter([BATCH]), steps=3, verbose=0)


def test_a_batch_size_beside_whole_batches_is_said_to_mean_nothing():
    with pytest.warns(UserWarning, match="`batch_size` is ignored"):
        fit(model_of(), iter([BATCH]), batch_size=4)


def test_a_wrong_batch_of_the_validation_says_that_it_is_one_of_the_validation():
    with pytest.raises(InvalidArgumentError, match=r"(?s)In batch 0 of validation_data: .*no samples"):
        fit(model_of(), X, y=Y, validation_data=iter([(X[:0], Y[:0])]))


@pytest.mark.parametrize("beside", [{"y": Y}, {"sample_weight": np.ones(64)}], ids=["targets", "weights"])
def test_what_each_batch_should_bring_is_refused_beside_a_generator(beside, model):
    with pytest.raises(InvalidArgumentError, match="each batch brings its own"):
        fit(model, iter([BATCH]), **beside)


def test_a_share_for_validation_needs_arrays(model):
    with pytest.raises(InvalidArgumentError, match=r"(?s)`validation_split` needs arrays.*validation_data"):
        fit(model, iter([BATCH]), validation_split=0.5)


def test_class_weights_count_in_batches_and_not_beside_weights_of_the_batch():
    batch = (X[:32], CLASSES[:32])
    model, same = model_of("classes"), model_of("classes")
    same.set_weights(model.get_weights())
    fit(model, iter([batch]), class_weight={0: 1.0, 1: 2.0, 2: 3.0})
    fit(same, iter([(*batch, np.array([1.0, 2.0, 3.0])[CLASSES[:32]])]))
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InvalidArgumentError, match="at the same time"):
        fit(model, iter([(*batch, np.ones(32))]), class_weight={0: 1.0})


def test_a_class_without_a_weight_is_said_once_for_a_whole_stream():
    batches = [(X[:8], CLASSES[:8]), (X[8:16], CLASSES[8:16])] * 3
    with pytest.warns(UserWarning, match="no weight for class 2") as caught:
        fit(model_of("classes"), iter(batches), class_weight={0: 1.0, 1: 2.0, 7: 1.0})
    assert len(caught) == 1


class Raising(Callback):
    """Raises at the 11th batch and keeps what the weights were then."""

    def __init__(self, error):
        super().__init__()
        self.error, self.count, self.seen = error, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == 11:
            self.seen = self.model.get_weights()
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("cb"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_after_a_callback_that_raises_at_batch_11_the_model_can_be_saved_and_used(error, tmp_path):
    model, raising = model_of(), Raising(error)
    with pytest.raises(type(error)):
        fit(model, X, y=Y, batch_size=8, epochs=5, callbacks=[raising])
    assert steps(model) == 11
    for a, b in zip(model.get_weights(), raising.seen, strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    fit(model, X, y=Y)


def test_weights_that_a_callback_reads_after_a_batch_are_those_of_that_batch():
    class Reading(Callback):
        def __init__(self):
            super().__init__()
            self.kernels = []

        def on_train_batch_end(self, batch, logs=None):
            self.kernels.append(self.model.layers[0].kernel.numpy())

    model, reading = model_of(), Reading()
    fit(model, X, y=Y, batch_size=8, callbacks=[reading])
    assert len({k.tobytes() for k in reading.kernels}) == 8
    np.testing.assert_array_equal(reading.kernels[-1], model.layers[0].kernel.numpy())


def test_terminate_on_nan_leaves_finite_weights():
    model = models.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1e20
    with pytest.warns(RuntimeWarning, match="not finite"):
        fit(model, X, y=Y, epochs=9, callbacks=[callbacks.TerminateOnNaN()])
    assert all(np.isfinite(w).all() for w in model.get_weights())
