"""Whatever fails, the weights of the last finished dispatch are there and the model goes on."""

import os
import signal
import threading
import warnings

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers, models, optimizers
from lamina.errors import UnboundVariableError
from lamina.training import engines

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype("float32")
Y = RNG.integers(0, 3, 200)


def classifier(optimizer="adam"):
    model = models.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, epochs=1, verbose=0)
    return model


@pytest.fixture(params=["state kept", "state taken over"], autouse=True)
def _both_ways(request, monkeypatch):
    if request.param == "state taken over":
        monkeypatch.setattr(engines, "KEPT_STATE_BYTES", 0)


def same(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


def usable(model):
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert np.isfinite(model.predict(X[:3], verbose=0)).all()
    model.fit(X, Y, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.fit(X[:, :3], Y, verbose=0),
        lambda m: m.predict(X[:, :3], verbose=0),
        lambda m: m.evaluate(X[:, :3], Y, verbose=0),
        lambda m: m(X[:, :3]),
        lambda m: m.fit(X, Y + 1, verbose=0),
        lambda m: m.train_on_batch(X[:, :2], Y),
    ],
)
def test_a_wrong_input_changes_nothing(call):
    model = classifier()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"expected|Labels"):
        call(model)
    assert same(model, weights)
    usable(model)


class _Raising(callbacks.Callback):
    def __init__(self, hook, error):
        super().__init__()
        setattr(self, hook, self._raise)
        self.error = error
        self.seen = None

    def _raise(self, number, logs=None):
        self.seen = self.model.get_weights()
        raise self.error


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end", "on_test_batch_end", "on_epoch_begin"])
@pytest.mark.parametrize("error", [RuntimeError("cb"), KeyboardInterrupt()])
def test_a_callback_that_raises_leaves_the_weights_that_it_saw(hook, error):
    model = classifier()
    raising = _Raising(hook, error)
    with pytest.raises(type(error)):
        model.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[raising], verbose=0)
    assert same(model, raising.seen)
    usable(model)


def test_a_generator_that_raises_keeps_what_was_trained_before():
    model = classifier()
    before = int(model.optimizer.iterations)

    def batches():
        for i in range(40):
            if i == 30:
                raise OSError("disk gone")
            yield X[:32], Y[:32]

    with pytest.raises(OSError, match="disk gone"):
        model.fit(batches(), verbose=0)
    assert before < int(model.optimizer.iterations) <= before + 30
    usable(model)


def test_a_generator_whose_second_batch_is_wrong_names_the_batch():
    model = classifier()
    with pytest.raises(ValueError, match="batch 1"):
        model.fit(iter([(X[:32], Y[:32]), (X[:32, :3], Y[:32])]), verbose=0)
    usable(model)


def test_interrupts_at_any_moment_leave_a_whole_model():
    model = classifier()
    for delay in RNG.uniform(0, 0.08, size=12):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))

        class Starts(callbacks.Callback):  # inside the fit, so that no signal comes before or after it
            def on_train_begin(self, logs=None, timer=timer):
                timer.start()

        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, epochs=10**6, verbose=0, callbacks=[Starts()])
        timer.join()
        assert all(np.isfinite(w).all() for w in model.get_weights())
    usable(model)


def test_a_diverging_fit_warns_once_and_keeps_finite_weights():
    model = models.Sequential([layers.Dense(16, activation="relu"), layers.Dense(1)])
    model.compile(optimizers.SGD(50.0), "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(X, Y.astype("float32"), epochs=4, verbose=0)
    assert np.isnan(history.history["loss"][-1])
    assert len([w for w in caught if "not finite" in str(w.message)]) == 1
    assert all(np.isfinite(w).all() for w in model.get_weights())


class _Log(layers.Layer):
    def call(self, x):
        return lamina.ops.log(x)


def test_the_warning_names_the_layer_whose_output_is_not_finite():
    if engines.KEPT_STATE_BYTES == 0:
        return  # without the old state the first layer may be another
    model = models.Sequential([layers.Dense(16), _Log(name="logarithm"), layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.warns(RuntimeWarning, match="`logarithm`"):
        model.fit(X, Y.astype("float32"), epochs=2, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_terminate_on_nan_stops_with_finite_weights():
    model = models.Sequential([layers.Dense(16, activation="relu"), layers.Dense(1)])
    model.compile(optimizers.SGD(50.0), "mse")
    with pytest.warns(RuntimeWarning, match="not finite"):
        history = model.fit(X, Y.astype("float32"), epochs=50, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) < 50
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_layer_that_the_model_does_not_own_is_named():
    stranger = layers.Dense(4, name="stranger")

    class Borrowing(layers.Layer):
        def call(self, x):
            return globals()["_borrowed"](x)

    globals()["_borrowed"] = stranger
    stranger.build((None, 4))
    model = models.Sequential([Borrowing(), layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(UnboundVariableError, match="stranger/"):
        model.fit(X, np.zeros((200, 3)), verbose=0)


def test_an_array_that_the_user_holds_survives_a_fit():
    model = classifier()
    held = model.layers[0].kernel.value
    copy = np.array(held)
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(np.asarray(held), copy)
    assert not np.array_equal(np.asarray(model.layers[0].kernel.value), copy)


def test_weights_assigned_in_a_callback_are_trained_on_from_there():
    class Reset(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])

    model = classifier("sgd")
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[Reset()])
    assert all((w == 0).all() for w in model.get_weights())
