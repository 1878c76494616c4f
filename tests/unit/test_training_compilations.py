"""Nothing is compiled twice that need not be."""

import jax
import numpy as np
import pytest

from lamina import layers, models, optimizers
from lamina.callbacks import Callback, LearningRateScheduler

RNG = np.random.default_rng(0)


def data(rows):
    return RNG.normal(size=(rows, 6)).astype("float32"), RNG.integers(0, 3, rows)


@pytest.fixture
def compilations():
    """Counts compilations by JAX's own events."""
    counts = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            counts.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counts
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def model():
    model = models.Sequential(
        [layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(3, activation="softmax")]
    )
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data(150)
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y))
    model.predict(x[:40], verbose=0)
    return model


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda m: m.fit(*data(150), epochs=2, verbose=0), id="a second fit"),
        pytest.param(lambda m: m.fit(*data(150), epochs=7, verbose=0), id="another number of epochs"),
        pytest.param(lambda m: m.fit(*data(128), epochs=2, verbose=0), id="no short last batch"),
        pytest.param(lambda m: m.fit(*data(1111), epochs=2, verbose=0), id="other numbers of rows and batches"),
        pytest.param(lambda m: m.fit(*data(150), epochs=2, verbose=0, shuffle=False), id="no shuffling"),
        pytest.param(
            lambda m: m.fit(*data(150), epochs=2, verbose=0, validation_data=data(77)), id="other validation rows"
        ),
        pytest.param(lambda m: m.evaluate(*data(99), verbose=0), id="evaluate on other rows"),
        pytest.param(
            lambda m: [m.predict(data(n)[0], verbose=0) for n in (33, 64, 100, 128)], id="predict on other rows"
        ),
        pytest.param(lambda m: m.fit(iter([data(32), data(32), data(7)]), verbose=0), id="batches from a generator"),
    ],
)
def test_nothing_is_compiled_again_for(again, model, compilations):
    again(model)
    assert compilations == []


def test_a_changed_learning_rate_compiles_nothing(model, compilations):
    x, y = data(150)
    model.optimizer.learning_rate = 0.5
    model.fit(x, y, epochs=1, verbose=0)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 / 3)
    assert compilations == []


def test_a_first_fit_compiles_the_step_once(compilations):
    class EveryBatch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    model = models.Sequential([layers.Input((6,)), layers.Dense(5), layers.Dense(3)])
    model.compile("adam", "mse")
    x, _ = data(150)
    y = RNG.normal(size=(150, 3))
    model.fit(x, y, epochs=1, verbose=0)
    compilations.clear()
    model.fit(x, y, epochs=3, verbose=0, callbacks=[EveryBatch()])
    assert compilations == []
    model.fit(x, y, epochs=1, verbose=0)
    assert compilations == []


def test_freezing_a_layer_holds_from_the_next_fit_on(model):
    x, y = data(150)
    model.layers[0].trainable = False
    frozen, rest = model.layers[0].get_weights(), model.layers[3].get_weights()
    model.fit(x, y, epochs=1, verbose=0)
    for before, after in zip(frozen, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(rest[0], model.layers[3].get_weights()[0])
    model.layers[0].trainable = True
    model.fit(x, y, epochs=1, verbose=0)
    assert not np.array_equal(frozen[0], model.layers[0].get_weights()[0])
