"""Several threads and one model; processes that were forked."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from training_models import X, Y, model_of

from lamina import layers, models
from lamina.callbacks import Callback
from lamina.errors import InUseError
from lamina.training import engines


@pytest.fixture(params=["state kept", "state taken over"])
def _both_ways(request, monkeypatch):
    if request.param == "state taken over":
        monkeypatch.setattr(engines, "KEPT_STATE_BYTES", 0)


def together(*calls):
    """Run every call in a thread of its own and return what they raised."""
    errors, start = [], threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return errors


def test_four_threads_predict_on_one_model():
    model = model_of()
    expected = model.predict(X, verbose=0)
    found = []
    calls = [lambda: found.extend(model.predict(X, verbose=0) for _ in range(20))] * 4
    assert together(*calls) == []
    assert len(found) == 80
    assert all(np.array_equal(p, expected) for p in found)


def test_four_threads_make_the_first_call_of_a_model_that_is_not_built():
    model = models.Sequential([layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dense(1)])
    found = []
    assert together(*[lambda: found.append(model.predict(X, verbose=0))] * 4) == []
    assert [w.shape for w in model.get_weights()] == [(4, 8), (8,), (8,), (8,), (8,), (8,), (8, 1), (1,)]
    assert all(np.array_equal(p, found[0]) for p in found)


def test_four_threads_make_the_first_evaluation_of_one_model():
    model = model_of(metrics=["mae"])
    found = []
    assert together(*[lambda: found.append(model.evaluate(X, Y, verbose=0))] * 4) == []
    assert found == [found[0]] * 4
    assert len(model.metrics_variables) == 4


@pytest.mark.usefixtures("_both_ways")
def test_one_thread_fits_while_others_predict_and_evaluate():
    alone, model = model_of(metrics=["mae"]), model_of(metrics=["mae"])
    model.set_weights(alone.get_weights())
    wanted = alone.fit(X, Y, epochs=20, batch_size=8, shuffle=False, verbose=0)
    histories, losses = [], []
    errors = together(
        lambda: histories.append(model.fit(X, Y, epochs=20, batch_size=8, shuffle=False, verbose=0)),
        lambda: [model.predict(X, verbose=0) for _ in range(30)],
        lambda: losses.extend(model.evaluate(X, Y, verbose=0)[0] for _ in range(10)),
        lambda: [model.get_weights() for _ in range(100)],
    )
    assert errors == []
    assert histories[0].history == wanted.history
    for a, b in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(losses).all()


class Barrier(Callback):
    """Holds a fit at its first epoch until it is let go."""

    def __init__(self):
        super().__init__()
        self.inside, self.go = threading.Event(), threading.Event()

    def on_epoch_begin(self, epoch, logs=None):
        self.inside.set()
        assert self.go.wait(60)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_a_second_thread_that_trains_is_refused_and_the_first_goes_on(method):
    model, held = model_of(), Barrier()
    first = threading.Thread(target=model.fit, args=(X, Y), kwargs={"verbose": 0, "callbacks": [held]})
    first.start()
    assert held.inside.wait(60)
    try:
        with pytest.raises(InUseError, match=rf"(?s)`{method}` was called while another thread trains.*clone_model"):
            getattr(model, method)(X, Y)
        assert model.predict(X, verbose=0).shape == (64, 1)
    finally:
        held.go.set()
        first.join(60)
    assert int(model.optimizer.iterations) == 2
    model.fit(X, Y, verbose=0)
    assert int(model.optimizer.iterations) == 4


def test_a_callback_may_train_the_model_that_is_trained():
    class Inner(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.train_on_batch(X, Y)

    model = model_of()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[Inner()])
    assert int(model.optimizer.iterations) == 6


def test_threads_fit_models_of_their_own():
    made = [model_of() for _ in range(3)]
    assert together(*[lambda m=m: m.fit(X, Y, epochs=2, verbose=0) for m in made]) == []
    assert [int(m.optimizer.iterations) for m in made] == [4, 4, 4]


def test_a_prediction_that_changes_statistics_keeps_them_unless_another_thread_trains():
    class Counting(layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.count.assign_add(1.0)
            return x

    model = models.Sequential([layers.Input((4,)), Counting(), layers.Dense(1)])
    model.compile("sgd", "mse")
    count = model.layers[0].count
    model.predict(X, batch_size=64, verbose=0)
    before = float(count.value)
    assert before >= 1
    held = Barrier()
    first = threading.Thread(target=model.fit, args=(X, Y), kwargs={"verbose": 0, "callbacks": [held]})
    first.start()
    assert held.inside.wait(60)
    model.predict(X, batch_size=64, verbose=0)
    assert float(count.value) == before
    held.go.set()
    first.join(60)
    assert float(count.value) == before + 2


FORK = """
import os, signal
import numpy as np
from lamina import layers, models
x = np.ones((640, 4), "float32")

def made():
    model = models.Sequential([layers.Input((4,)), layers.Dense(8), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

{before}
if os.fork() == 0:
    signal.alarm(60)
    try:
        {inside}
        print("worked")
    except BaseException as error:
        print(type(error).__name__, error)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("before", "inside", "answer"),
    [
        pytest.param("model = made(); model.predict(x, verbose=0)", "model.predict(x, verbose=0)", "spawn", id="predict"),
        pytest.param("model = made(); model.predict(x, verbose=0)", "model(x)", "spawn", id="call"),
        pytest.param("model = made(); model.predict(x, verbose=0)", "made().fit(x, x[:, :1], verbose=0)", "spawn", id="fit"),
        pytest.param("", "made().fit(x, x[:, :1], verbose=0)", "worked", id="before JAX was used"),
    ],
)  # fmt: skip
def test_a_forked_process_is_told_instead_of_hanging(before, inside, answer):
    script = textwrap.dedent(FORK).format(before=before, inside=inside)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=200, check=True
    )
    assert answer in done.stdout, done.stdout + done.stderr
    if answer == "spawn":
        assert done.stdout.startswith("ForkedProcessError This process was forked from one that had used JAX already")
