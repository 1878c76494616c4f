"""Mixed policies beside Keras's: types, loss scaling, loss curves."""

import keras
import numpy as np
import pytest

from lamina import keras as ours

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _default_policy():
    yield
    for side in (keras, ours):
        side.config.set_dtype_policy("float32")


def trained(side, policy, rate=0.003):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 20)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype("int32")
    side.utils.set_random_seed(3)
    side.config.set_dtype_policy(policy)
    model = side.Sequential(
        [
            side.layers.Input((20,)),
            side.layers.Dense(64, "relu"),
            side.layers.BatchNormalization(),
            side.layers.Dense(32, "relu", dtype="float32"),
            side.layers.Dense(2),
        ]
    )
    loss = side.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(side.optimizers.Adam(rate), loss)
    return model, model.fit(x, y, epochs=4, batch_size=64, verbose=0).history["loss"]


@pytest.mark.parametrize(("policy", "compute"), [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])
def test_loss_curves_are_keras_s_with_float32_weights(policy, compute):
    theirs, expected = trained(keras, policy)
    mine, losses = trained(ours, policy)
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    assert losses[-1] < losses[0]
    assert {str(w.dtype) for w in mine.weights} == {"float32"}
    assert [layer.compute_dtype for layer in mine.layers] == [layer.compute_dtype for layer in theirs.layers]
    assert mine.layers[0].compute_dtype == compute
    assert str(mine(np.zeros((1, 20))).dtype) == compute
    assert type(mine.optimizer).__name__ == type(theirs.optimizer).__name__


def test_a_scale_that_overflows_is_halved_and_the_step_left_out():
    theirs, _ = trained(keras, "mixed_float16")
    mine, _ = trained(ours, "mixed_float16")
    x, y = np.full((8, 20), 100.0, "float32"), np.zeros(8, "int32")
    for model in (theirs, mine):
        model.optimizer.dynamic_scale.assign(2.0**60)
    before = mine.layers[0].kernel.numpy()
    for model in (theirs, mine):
        model.train_on_batch(x, y)
    assert float(mine.optimizer.dynamic_scale) == float(theirs.optimizer.dynamic_scale) == 2.0**59
    np.testing.assert_array_equal(mine.layers[0].kernel.numpy(), before)
