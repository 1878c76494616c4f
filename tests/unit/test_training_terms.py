"""Losses of `compile` for several outputs: by place, by name, over several outputs at once."""

from collections import namedtuple

import jax
import numpy as np
import pytest

from lamina import ops
from lamina.errors import InvalidArgumentError, UnknownKeyError
from lamina.keras import Input, Model, Sequential, layers, losses

Pair = namedtuple("Pair", ["one", "two"])
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = [np.full((8, 1), 1.0, "float32"), np.full((8, 1), 2.0, "float32")]


def model_with(structure):
    x = Input((3,), name="x")
    return Model(x, structure([layers.Dense(1, name="one")(x), layers.Dense(1, name="two")(x)]))


def by_key(pair):
    return {"a": pair[0], "b": pair[1]}


def both(y_true, y_pred):
    total = 0
    for t, p in zip(jax.tree.leaves(y_true), jax.tree.leaves(y_pred), strict=True):
        total = total + losses.mean_absolute_error(t, p)
    return total


@pytest.mark.parametrize(
    ("structure", "loss", "names"),
    [
        (list, (both, ["mse", "mae"]), ["one_loss", "one_two_loss", "two_loss"]),
        (tuple, [both, ("mse", "mae")], ["one_loss", "one_two_loss", "two_loss"]),
        (by_key, [both, {"a": "mse", "b": "mae"}], ["a_b_loss", "a_loss", "b_loss"]),
        (lambda p: Pair(*p), [both, Pair("mse", None)], ["one_loss", "one_two_loss"]),
        (lambda p: {"deep": p}, {"deep": (both, ["mse", "mae"])}, ["deep/one_loss", "deep/two_loss", "deep_loss"]),
        (list, {"two": "mse", "one": "mae"}, ["one_loss", "two_loss"]),
    ],
)
def test_a_loss_may_be_built_like_the_outputs_and_also_ask_for_all_of_them(structure, loss, names):
    model = model_with(structure)
    model.compile("sgd", loss)
    y = structure(Y)
    history = model.fit(X, y, batch_size=3, verbose=0).history
    assert sorted(history) == sorted(["loss", *names])
    assert history["loss"][0] == pytest.approx(sum(history[name][0] for name in names), rel=1e-5)


def test_a_loss_over_two_outputs_is_the_number_that_it_is_outside():
    model = model_with(tuple)
    model.compile("sgd", [both, ("mse", "mae")], loss_weights=[2.0, (3.0, 5.0)])
    one, two = model.predict(X, verbose=0)
    found = model.evaluate(X, tuple(Y), verbose=0, return_dict=True)
    mae = [float(np.mean(np.abs(y - p))) for y, p in zip(Y, (one, two), strict=True)]
    wanted = 2 * sum(mae) + 3 * float(np.mean((Y[0] - one) ** 2)) + 5 * mae[1]
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("structure", "loss", "error", "text"),
    [
        (list, {"one": "mse", "three": "mae"}, InvalidArgumentError, "Expected keys"),
        (by_key, {"a": "mse", "c": "mae"}, UnknownKeyError, "in the `loss` argument, can't be found in either the"),
        (by_key, {"a": {"d": "mse"}}, UnknownKeyError, "can't be found in the model's output"),
        (list, ["mse", "mse", "mse"], InvalidArgumentError, "3 entries"),
    ],
)
def test_a_loss_for_an_output_that_is_not_there_is_refused(structure, loss, error, text):
    model = model_with(structure)
    model.compile("sgd", loss)
    with pytest.raises(error, match=text):
        model.fit(X, structure(Y), verbose=0)


def test_weights_that_are_not_as_many_as_the_losses_are_refused():
    model = model_with(list)
    model.compile("sgd", ["mse", "mse"], loss_weights=[1.0, 2.0, 3.0])
    with pytest.raises(InvalidArgumentError, match="got 2 losses and 3 weights"):
        model.fit(X, Y, verbose=0)


def test_a_loss_over_several_outputs_takes_one_sample_weight():
    model = model_with(tuple)
    model.compile("sgd", [both, ("mse", "mae")])
    model.fit(X, tuple(Y), sample_weight=np.ones(8), verbose=0)
    with pytest.raises(InvalidArgumentError, match="takes one sample weight"):
        model.fit(X, tuple(Y), sample_weight=(np.ones(8), np.full(8, 2.0)), verbose=0)


class Doubled(Model):
    """One output, of which `compute_loss` makes two."""

    def __init__(self):
        x = Input((3,), name="x")
        super().__init__(inputs=x, outputs=layers.Dense(1, name="a")(x))

    def compute_loss(self, x, y, y_pred, sample_weight=None, **more):
        return super().compute_loss(x=x, y=y, y_pred=[y_pred, 2 * y_pred], sample_weight=sample_weight, **more)


def test_a_compute_loss_of_the_users_may_hand_on_other_outputs_than_the_models():
    model = Doubled()
    model.compile("sgd", ["mean_squared_error", "mean_absolute_error"])
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    predicted = model.predict(X, verbose=0)
    assert found["mean_squared_error_loss"] == pytest.approx(float(np.mean((Y[0] - predicted) ** 2)), rel=1e-5)
    assert found["mean_absolute_error_loss"] == pytest.approx(float(np.mean(np.abs(Y[1] - 2 * predicted))), rel=1e-5)
    assert len(model.fit(X, Y, validation_split=0.25, verbose=0).history) == 6


class Own(Sequential):
    """Adds to the loss and to the metrics of `compile`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight) + 1.0

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "more": ops.max(y_pred)}


def test_a_compute_loss_that_adds_to_that_of_compile_trains_on_both():
    model = Own([Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    plain = float(np.mean((Y[0] - model.predict(X, verbose=0)) ** 2))
    before = [w.copy() for w in model.get_weights()]
    history = model.fit(X, Y[0], batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(plain + 1, rel=1e-5)
    assert history["mae"][0] > 0
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
