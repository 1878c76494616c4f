"""What may differ between networks of one program: numbers where the code computes, not where it decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, regularizers
from lamina.training.likeness import describe, standing_in
from lamina.training.scalars import Inputs, Scalar, Split


def lifted(function, values):
    """Return what a function of a number gives for each value, from one program."""
    inputs = Inputs()
    number = Scalar(values, inputs)
    jax.eval_shape(lambda: function(number))
    inputs.closed = True

    def one(row):
        with inputs.giving(row):
            return jnp.asarray(function(number))

    return jax.jit(jax.vmap(one))(inputs.rows(range(len(values)))), inputs


@pytest.mark.parametrize(
    "function",
    [
        lambda v: jnp.arange(3.0) * v,
        lambda v: v * jnp.arange(3.0) - (1 - v) / 2 + 2**v,
        lambda v: jnp.where(jnp.arange(3) > 1, jnp.asarray(v), 1) / (v + 0.5),
        lambda v: jnp.asarray(abs(-v) + v // 1 + v % 1) * jnp.ones(2),
        lambda v: (1.0 - v) * jnp.float16(2),
        lambda v: jnp.ones(2) > v,
    ],
)
def test_arithmetic_gives_each_network_what_its_own_number_gives(function):
    values = [0.125, 0.25, 0.9]
    found, _ = lifted(function, values)
    for value, row in zip(values, found, strict=True):
        np.testing.assert_allclose(row, function(value), rtol=1e-6)
        assert row.dtype == jnp.asarray(function(value)).dtype


def test_what_plain_numbers_give_is_computed_once_and_in_double_precision():
    found, inputs = lifted(lambda v: jnp.zeros(()) + (1 - v) + (1 - v), [1e-9, 0.5])
    assert len(inputs.columns) == 1
    np.testing.assert_array_equal(inputs.columns[0], [1 - 1e-9, 0.5])
    np.testing.assert_allclose(found, [2, 1])


@pytest.mark.parametrize(
    "decide",
    [
        lambda v: v == 0,
        lambda v: v != 0,
        lambda v: v > 0.1,
        lambda v: v <= 0.1,
        bool,
        lambda v: 1 if v else 2,
    ],
)
def test_a_decision_that_differs_tells_who_belongs_together(decide):
    with pytest.raises(Split) as caught:
        decide(Scalar([0.0, 0.5, 0.0, 0.7], Inputs()))
    parts = caught.value.parts
    assert parts[0] == parts[2] != parts[1] == parts[3]
    assert decide(Scalar([0.5, 0.7], Inputs())) in (True, False, 1)


@pytest.mark.parametrize("build_in", [float, int, hash, lambda v: np.float32(v)])
def test_a_number_that_is_built_in_separates_its_values(build_in):
    with pytest.raises(Split) as caught:
        build_in(Scalar([1.0, 2.0, 1.0], Inputs()))
    assert caught.value.parts.tolist() == [0, 1, 0]
    assert build_in(Scalar([3.0, 3.0], Inputs())) == build_in(3.0)


def test_a_number_that_was_not_there_before_is_no_constant():
    inputs = Inputs()
    inputs.closed = True
    with pytest.raises(RuntimeError, match="other numbers"):
        jnp.asarray(Scalar([1.0, 2.0], inputs))


def model(*, units=3, activation="relu", l2=0.1, rate=0.1, loss="mse", seed=0, scale=1.0, extra=None):
    lamina.set_random_seed(seed)

    def scaled(x):
        return x * scale

    inputs = layers.Input((2,))
    x = layers.Dense(units, activation, kernel_regularizer=regularizers.L2(l2))(inputs)
    x = layers.Dropout(rate)(layers.Activation(scaled)(x))
    x = layers.BatchNormalization()(x)
    if extra is not None:
        x = layers.concatenate([x, extra()(inputs)])
    found = lamina.Model(inputs, layers.Dense(1)(x))
    found.compile(lamina.optimizers.Adam(0.1 * (seed + 1)), loss)
    return found


def chain(*, seed=0):
    lamina.set_random_seed(seed)
    found = lamina.Sequential([layers.Input((2,)), layers.Dense(3, "relu"), layers.Dense(3, "relu"), layers.Dense(1)])
    found.compile("sgd", "mse")
    return found


@pytest.mark.parametrize("make", [model, chain])
def test_models_that_differ_in_seeds_names_and_learning_rates_are_alike(make):
    first, second = describe(make(seed=0)), describe(make(seed=1))
    assert first.structure == second.structure
    assert [p.value for p in first.places] == [p.value for p in second.places]


@pytest.mark.parametrize("change", [{"l2": 0.2}, {"rate": 0.3}])
def test_numbers_are_places_with_names(change):
    first, second = describe(model()), describe(model(**change))
    assert first.structure == second.structure
    differing = [a.label for a, b in zip(first.places, second.places, strict=True) if a.value != b.value]
    assert len(differing) == 1
    assert differing[0].endswith(next(iter(change)))


@pytest.mark.parametrize(
    "change",
    [
        {"units": 4},
        {"activation": "tanh"},
        {"loss": "mae"},
        {"scale": 2.0},
        {"rate": 0},
        {"extra": lambda: layers.Dense(2)},
    ],
)
def test_what_a_step_has_built_in_makes_models_unlike(change):
    assert describe(model()).structure != describe(model(**change)).structure


def test_other_numbers_stand_in_only_inside_the_block():
    found = model(rate=0.1)
    dropout = next(layer for layer in found.layers if isinstance(layer, layers.Dropout))
    places = [place for place in describe(found).places if place.label.endswith("rate") and place.value == 0.1]
    try:
        with standing_in(places, [0.5] * len(places)):
            assert dropout.rate == 0.5
            raise KeyError
    except KeyError:
        assert dropout.rate == 0.1
