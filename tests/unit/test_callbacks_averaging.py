"""Evaluation with averaged weights, and results sent to a server."""

import json
import sys
import types

import numpy as np
import pytest

import lamina
from lamina import layers, optimizers
from lamina.callbacks import ModelCheckpoint, RemoteMonitor, SwapEMAWeights
from lamina.errors import InvalidArgumentError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 3)).astype("float32"), RNG.normal(size=(16, 2)).astype("float32")


def compiled(optimizer=None):
    model = lamina.Sequential([layers.Dense(2, kernel_initializer="ones")])
    model.compile(optimizer or optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    return model


def test_the_end_of_fit_puts_the_average_in_place_of_the_weights():
    model = compiled()
    model.fit(X, Y, verbose=0)
    average = model.optimizer._model_variables_moving_average[0]
    np.testing.assert_array_equal(model.get_weights()[0], average.numpy())


@pytest.mark.parametrize("wrap", [lambda o: o, optimizers.LossScaleOptimizer])
def test_validation_sees_the_average_and_training_the_weights(wrap):
    plain, swapped = (compiled(wrap(optimizers.SGD(0.1, use_ema=True))) for _ in range(2))
    history = [
        model.fit(X, Y, epochs=3, validation_data=(X, Y), callbacks=callbacks, verbose=0).history
        for model, callbacks in ((plain, None), (swapped, [SwapEMAWeights()]))
    ]
    np.testing.assert_allclose(history[0]["loss"], history[1]["loss"], rtol=1e-6)
    assert history[0]["val_loss"][-1] != pytest.approx(plain.evaluate(X, Y, verbose=0))
    assert history[1]["val_loss"][-1] == pytest.approx(swapped.evaluate(X, Y, verbose=0))


def test_a_checkpoint_after_it_saves_the_average(tmp_path):
    model = compiled()
    callbacks = [SwapEMAWeights(swap_on_epoch=True), ModelCheckpoint(tmp_path / "{epoch}.keras")]
    model.fit(X, Y, epochs=2, callbacks=callbacks, verbose=0)
    saved = lamina.saving.load_model(tmp_path / "2.keras")
    assert saved.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))


def test_an_optimizer_without_an_average_is_refused():
    with pytest.raises(InvalidArgumentError, match="`use_ema=True`"):
        compiled("sgd").fit(X, Y, validation_data=(X, Y), callbacks=[SwapEMAWeights()], verbose=0)


@pytest.fixture
def sent(monkeypatch):
    posts = []

    class RequestException(Exception):
        """What `requests` raises."""

    def post(url, **kwargs):
        if "nowhere" in url:
            raise RequestException
        posts.append((url, kwargs))

    exceptions = types.SimpleNamespace(RequestException=RequestException)
    monkeypatch.setitem(sys.modules, "requests", types.SimpleNamespace(post=post, exceptions=exceptions))
    return posts


def test_results_go_to_the_server_as_a_form_or_as_json(sent):
    history = compiled().fit(X, Y, callbacks=[RemoteMonitor(), RemoteMonitor(send_as_json=True)], verbose=0).history
    wanted = {"epoch": 0, "loss": history["loss"][0]}
    assert [url for url, _ in sent] == ["http://localhost:9000/publish/epoch/end/"] * 2
    assert json.loads(sent[0][1]["data"]["data"]) == wanted
    assert sent[1][1]["json"] == wanted


def test_a_server_that_cannot_be_reached_ends_no_training(sent):
    with pytest.warns(UserWarning, match="Could not reach"):
        compiled().fit(X, Y, callbacks=[RemoteMonitor("http://nowhere")], verbose=0)
