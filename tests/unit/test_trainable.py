"""`trainable` changed at any time holds from the next step."""

import numpy as np
import pytest

from lamina import layers
from lamina.callbacks import Callback
from lamina.models import Sequential


def model_and_data():
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    model = Sequential([layers.Input((5,)), layers.Dense(6, "tanh"), layers.BatchNormalization(), layers.Dense(1)])
    model.compile("adam", "mse")
    return model, x, x[:, :1]


def moved(model, before):
    return [float(np.abs(new - old).max()) > 0 for new, old in zip(model.get_weights(), before, strict=True)]


def test_after_compile_and_after_fit():
    model, x, y = model_and_data()
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert moved(model, before) == [False, False, True, True, True, True, True, True]
    model.layers[0].trainable = True
    model.layers[1].trainable = False
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert moved(model, before) == [True, True, False, False, False, False, True, True]
    model.layers[2].kernel.trainable = False
    before = model.get_weights()
    model.train_on_batch(x, y)
    assert moved(model, before)[-2:] == [False, True]


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
def test_from_inside_fit(hook):
    model, x, y = model_and_data()
    seen = []

    class Freeze(Callback):
        def toggle(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[0].trainable = False
            seen.append(self.model.layers[0].kernel.numpy())

    setattr(Freeze, hook, Freeze.toggle)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[Freeze()])
    last = model.layers[0].kernel.numpy()
    assert np.abs(seen[1] - seen[0]).max() > 0
    np.testing.assert_array_equal(seen[2], last)
    np.testing.assert_array_equal(seen[1], last)


def test_what_adam_remembers_of_a_frozen_layer_is_there_when_it_thaws():
    model, x, y = model_and_data()
    model.fit(x, y, epochs=3, verbose=0)
    slots = [v.numpy() for v in model.optimizer.variables if "dense_kernel_momentum" in v.path or v.shape == (5, 6)]
    model.layers[0].trainable = False
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = True
    after = [v.numpy() for v in model.optimizer.variables if "dense_kernel_momentum" in v.path or v.shape == (5, 6)]
    assert slots
    for one, other in zip(slots, after, strict=True):
        np.testing.assert_array_equal(one, other)
