"""Transformations of optax given to `compile`, whole: fit, callbacks, files."""

import numpy as np
import optax
import pytest

import lamina
from lamina import layers
from lamina.callbacks import LearningRateScheduler, ReduceLROnPlateau
from lamina.models import Sequential


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 4)).astype("float32")
    return x, x @ np.array([[1.0], [-2.0], [0.5], [3.0]], "float32")


def compiled(transformation):
    lamina.set_random_seed(1)
    model = Sequential([layers.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(1)])
    model.compile(optimizer=transformation, loss="mse")
    return model


TRANSFORMATIONS = {
    "adamw": optax.adamw(1e-2),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2, momentum=0.9)),
    "schedule": optax.adam(optax.cosine_decay_schedule(1e-2, 100)),
    "multi_steps": optax.MultiSteps(optax.adam(1e-2), 2),
    "adafactor": optax.adafactor(1e-2),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_any_transformation_trains(name):
    model, (x, y) = compiled(TRANSFORMATIONS[name]), data()
    history = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_a_step_is_that_of_optax():
    model, (x, y) = compiled(optax.adamw(1e-2)), data()
    before, variables = model.get_weights(), model.trainable_variables
    import jax

    def loss(params):
        return ((model.stateless_call(params, [], x)[0] - y) ** 2).mean()

    params = tuple(v.value for v in variables)
    rule = optax.adamw(1e-2)
    updates, _ = rule.update(jax.grad(loss)(params), rule.init(params), params)
    model.train_on_batch(x, y)
    for old, update, new in zip(before, updates, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old + np.asarray(update), atol=1e-6)


def test_callbacks_change_a_rate_that_was_injected():
    model, (x, y) = compiled(optax.inject_hyperparams(optax.adamw)(learning_rate=1e-2)), data()
    seen = []
    halve = LearningRateScheduler(lambda epoch, rate: seen.append(rate) or rate * 0.5)
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[halve]).history
    np.testing.assert_allclose(seen, [1e-2, 5e-3, 2.5e-3], rtol=1e-6)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 1.25e-3, rtol=1e-6)
    assert len(history["learning_rate"]) == 3
    weights = model.get_weights()
    model.optimizer.learning_rate = 0.0
    model.fit(x, y, verbose=0)
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_that_the_rate_is_a_multiplier():
    model, (x, y) = compiled(optax.sgd(0.1)), data()
    model.fit(x, y, epochs=3, verbose=0, callbacks=[ReduceLROnPlateau("loss", min_delta=1e9, patience=1, factor=0.5)])
    assert float(model.optimizer.learning_rate) < 1.0


def test_its_state_goes_into_a_weights_file_and_its_code_into_none(tmp_path):
    model, (x, y) = compiled(optax.adamw(1e-2)), data()
    model.fit(x, y, verbose=0)
    with pytest.raises(NotImplementedError, match="save_weights"):
        model.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "model.weights.h5")
    twin = compiled(optax.adamw(1e-2))
    twin.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
