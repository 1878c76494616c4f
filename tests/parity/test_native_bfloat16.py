"""Networks that multiply bfloat16 learn as with XLA, to the precision of bfloat16, through the tiles of the processor."""

import numpy as np
import pytest
from native_models import LOSSES, X, fit, needs_tiles

import lamina
from lamina import layers, models
from lamina.training import forward

pytestmark = needs_tiles
CASES = (
    *[(activation, "labels, logits", "adam", 0.0, False) for activation in ("linear", "leaky_relu", "gelu", "selu")],
    *[("tanh", loss, "momentum", 0.0, True) for loss in LOSSES],
    *[("relu", "squares", optimizer, 0.3, False) for optimizer in ("sgd", "nesterov", "adamw", "schedule")],
)


def assert_close(one, other):
    """Losses and metrics within a few roundings, the weights within a part of what they have changed.

    A large part: Adam makes as much of a gradient that is all rounding as of any other, the absolute error of its sign.
    """
    for name, curve in other[0].items():
        tolerance = 0.06 if "acc" in name else 0.02
        np.testing.assert_allclose(one[0][name], curve, rtol=tolerance, atol=tolerance, err_msg=name)
    assert all(array.dtype == np.float32 for array in one[1])
    found, expected, start = (np.concatenate([array.ravel() for array in side]) for side in (one[1], other[1], one[2]))
    assert np.linalg.norm(found - expected) <= 0.2 * np.linalg.norm(expected - start)


def trained(engine, *case, **options):
    start = fit("xla", *case, dtype="mixed_bfloat16", **{**options, "epochs": 0})[1]
    return *fit(engine, *case, dtype="mixed_bfloat16", **options), start


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_activation_loss_and_optimizer_learns_as_with_xla(case):
    assert_close(trained("native", *case), trained("xla", *case))


@pytest.mark.parametrize("batch", [1, 33, 600])
def test_batches_of_any_size_learn_as_with_xla(batch):
    case = ("tanh", "squares", "sgd")
    assert_close(trained("native", *case, batch_size=batch), trained("xla", *case, batch_size=batch))


@pytest.mark.parametrize("last", ["a layer", "an activation"])
def test_a_last_layer_in_float32_learns_as_with_xla(last):
    def run(engine):
        lamina.set_random_seed(1)
        outputs = [layers.Dense(3, "softmax", dtype="float32")]
        if last == "an activation":
            outputs = [layers.Dense(3, dtype="mixed_bfloat16"), layers.Activation("softmax", dtype="float32")]
        hidden = [layers.Dense(40, "relu", dtype="mixed_bfloat16"), layers.Dense(70, "silu", dtype="mixed_bfloat16")]
        model = models.Sequential([layers.Input((7,)), *hidden, *outputs])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], engine=engine)
        start = model.get_weights()
        history = model.fit(X, np.arange(101) % 3, epochs=3, batch_size=16, verbose=0).history
        return history, model.get_weights(), start

    assert_close(run("native"), run("xla"))


def test_an_activation_of_another_type_between_layers_goes_to_xla():
    hidden = [layers.Dense(8, dtype="mixed_bfloat16"), layers.Activation("tanh", dtype="float32")]
    model = models.Sequential([layers.Input((7,)), *hidden, layers.Dense(3, dtype="mixed_bfloat16")])
    model.compile("sgd", "mse", engine="native")
    with pytest.raises(lamina.errors.InvalidArgumentError, match="computes in another type than the layer before it"):
        model.fit(X, X[:, :3], verbose=0)


def test_an_evaluation_gives_what_xla_gives():
    def run(engine):
        lamina.set_random_seed(1)
        model = models.Sequential(
            [layers.Input((7,)), layers.Dense(65, "relu", dtype="mixed_bfloat16"), layers.Dense(3)]
        )
        model.compile("sgd", "mse", metrics=["mae"], engine=engine)
        return model.evaluate(X, np.sin(X[:, :3]), verbose=0, batch_size=40)

    np.testing.assert_allclose(run("native"), run("xla"), rtol=0.01)


def test_inputs_kernels_and_outputs_are_rounded_to_bfloat16():
    model = models.Sequential([layers.Input((2,)), layers.Dense(1, dtype="mixed_bfloat16", bias_initializer="ones")])
    model.layers[0].kernel.assign([[1 + 2**-9], [2**-9]])
    model.compile("sgd", "mse", metrics=["mae"], engine="native")
    x = np.array([[1 + 2**-9, 1.0], [256.0, 0.0]], np.float32)  # both outputs end between two numbers of bfloat16
    y = np.array([[2.0], [256.0]], np.float32)
    assert model.evaluate(x, y, verbose=0) == [0.0, 0.0]


@pytest.mark.parametrize("rows", [7, 40, 101, 1500])
def test_predictions_are_xla_s(rows):
    lamina.set_random_seed(1)
    hidden = [layers.Dense(65, "gelu", dtype="mixed_bfloat16"), layers.Dropout(0.5)]
    model = models.Sequential([layers.Input((7,)), *hidden, layers.Dense(3, "softmax", dtype="mixed_bfloat16")])
    x = np.resize(X, (rows, 7))
    found = model.predict(x, verbose=0)
    model.compile("sgd", "mse", engine="xla")
    model.programs.clear()
    expected = model.predict(x, verbose=0)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.astype("float32"), expected.astype("float32"), rtol=0.02, atol=0.004)


def test_predictions_of_a_wide_network_in_float32_are_xla_s_infinite_ones_too():
    lamina.set_random_seed(1)
    model = models.Sequential([layers.Input((600,)), layers.Dense(2000, "relu"), layers.Dense(3)])
    assert model.count_params() > forward.MOST_WEIGHTS
    x = np.random.default_rng(0).standard_normal((130, 600), np.float32)
    large = np.full_like(x, 3e38)
    found, infinite = model.predict(x, verbose=0), model.predict_on_batch(large)
    model.compile("sgd", "mse", engine="xla")
    model.programs.clear()
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(infinite, model.predict_on_batch(large))
