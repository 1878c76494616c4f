"""The native kernels and XLA give the same loss curves, metrics and weights, with each instruction set there is here."""

import functools

import jax
import numpy as np
import pytest
from native_models import ACTIVATIONS, LOSSES, OPTIMIZERS, X, assert_same, fit, needs_kernels, network

import lamina
from lamina import layers, models
from lamina.native import library
from lamina.native import plan as native_plan
from lamina.training import engines

pytestmark = needs_kernels
CASES = (
    *[(activation, "labels, logits", "adam", 0.0, False) for activation in ACTIVATIONS],
    *[("tanh", loss, "adam", 0.0, False) for loss in LOSSES],
    *[("gelu", loss, "momentum", 0.3, True) for loss in LOSSES],
    *[("relu", "squares", optimizer, 0.0, True) for optimizer in OPTIMIZERS],
    *[("selu", "one-hot", optimizer, 0.5, False) for optimizer in ("sgd", "nesterov", "adamw")],
    ("relu", "labels, logits", "schedule", 0.5, True),
)


@functools.cache
def by_xla(case):
    return fit("xla", *case)


@pytest.fixture(params=library.usable() or ["none"])
def instructions(request, monkeypatch):
    library.use(request.param)
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 0)  # tiles, where the instructions have them
    yield request.param
    library.use(None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_activation_loss_and_optimizer_learns_as_with_xla(case, instructions):
    assert_same(by_xla(case), fit("native", *case))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1, "epochs": 1},
        {"batch_size": 101, "epochs": 3},
        {"batch_size": 1000, "epochs": 2},
        {"batch_size": 17, "shuffle": "batch"},
        {"batch_size": 10, "steps_per_epoch": 4, "epochs": 2},
        {"class_weight": {0: 1.0, 1: 0.0, 2: 3.5}},
        {"validation_split": 0.25, "validation_data": None},
    ],
    ids=str,
)
def test_batches_of_any_size_and_every_option_of_fit_learn_as_with_xla(options):
    assert_same(fit("xla", **options), fit("native", **options))


def test_activation_layers_a_flatten_and_a_functional_model_learn_as_with_xla():
    x = X[:, :6].reshape(-1, 2, 3)

    def run(engine):
        lamina.set_random_seed(1)
        inputs = layers.Input((2, 3))
        hidden = layers.ReLU(negative_slope=0.1)(layers.Dense(9, use_bias=False)(layers.Flatten()(inputs)))
        hidden = layers.Activation("tanh")(layers.Dense(5)(layers.Dropout(0.2)(hidden)))
        model = models.Model(inputs, layers.Softmax()(layers.Dense(3)(hidden)))
        model.compile("adam", "sparse_categorical_crossentropy", engine=engine)
        return model.fit(x, np.arange(101) % 3, epochs=3, batch_size=16, verbose=0).history, model.get_weights()

    assert_same(run("xla"), run("native"))


def test_an_evaluation_gives_what_xla_gives():
    def run(engine):
        lamina.set_random_seed(1)
        model = network("silu")
        model.compile("sgd", "mse", metrics=["mae"], engine=engine)
        y = np.sin(X[:, :3])
        return model.evaluate(X, y, verbose=0, batch_size=13, sample_weight=np.abs(X[:, 0]))

    np.testing.assert_allclose(run("native"), run("xla"), rtol=1e-5)


def test_a_step_of_a_generator_learns_as_with_xla():
    class Stream:
        def __iter__(self):
            for start in range(0, 96, 16):
                yield X[start : start + 16], np.sin(X[start : start + 16, :3])

    def run(engine):
        lamina.set_random_seed(1)
        model = network("elu")
        model.compile("adam", "mse", engine=engine)
        return model.fit(iter(Stream()), epochs=1, verbose=0).history, model.get_weights()

    assert_same(run("xla"), run("native"))


def test_dropout_draws_the_bits_of_jax():
    layer = native_plan.DensePlan(5, 5, bias=False, activation="linear", dropout=0.3)
    plan = native_plan.Plan((layer,), optimizer="sgd")
    x = np.ones((2, 3, 5), np.float32)
    key, eye, zero = np.array([7, 9], np.uint32), np.eye(5, dtype=np.float32), np.float32(0)

    @jax.jit
    def loss_of_the_second_batch():
        data = native_plan.Data(x[1:], np.zeros((3, 5), np.float32))
        totals, _ = native_plan.train(
            plan, 3, data, np.int32(1), np.int32(1), np.int32(0), zero, [key + np.array([0, 1], np.uint32)],
            [zero, zero], [eye],
        )  # fmt: skip
        return totals[0]

    kept = jax.random.bernoulli(key + np.array([0, 1], np.uint32), np.float32(0.7), (3, 5))
    expected = float(np.sum(np.square(np.asarray(kept) / np.float32(0.7))) / 5)
    assert float(loss_of_the_second_batch()) == pytest.approx(expected, rel=1e-6)


def test_a_forward_pass_gives_the_outputs_of_the_model(instructions):
    lamina.set_random_seed(0)
    model = models.Sequential(
        [layers.Input((7,)), layers.Dense(33, activation="gelu"), layers.Dropout(0.5), layers.Dense(5, "softmax")]
    )
    plan = native_plan.Plan(
        (
            native_plan.DensePlan(7, 33, bias=True, activation="gelu"),
            native_plan.DensePlan(33, 5, bias=True, activation="softmax", dropout=0.5),
        )
    )
    weights = model.get_weights()
    for rows in (1, 2, 64):
        run = jax.jit(lambda x, n=rows: native_plan.predict(plan, n, x, np.int32(1), np.int32(1), weights))
        np.testing.assert_allclose(run(X[:rows]), model.predict(X[:rows], verbose=0), rtol=1e-5, atol=1e-6)
