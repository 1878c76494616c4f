"""Successive halving: what is drawn, who goes on, and what comes back."""

import numpy as np
import pytest

import lamina
from lamina import layers, losses
from lamina.errors import InvalidArgumentError
from lamina.many import Choice, Integers, LogUniform, Uniform
from lamina.many.space import standardized
from lamina.many.tune import rounds


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 4), dtype=np.float32)
    return x, np.argmax(x @ random.standard_normal((4, 3)), axis=1).astype(np.int32)


def factory(learning_rate=0.01, units=8):
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(units, "relu"), layers.Dense(3)])
    model.compile(lamina.optimizers.SGD(learning_rate), losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize(
    ("one", "low", "high", "kind"),
    [
        (Uniform(-1, 2), -1, 2, float),
        (LogUniform(1e-4, 1e-1), 1e-4, 1e-1, float),
        (Integers(3, 5), 3, 5, int),
        (Integers(1, 1000, log=True), 1, 1000, int),
        (Choice([1, 2]), 1, 2, int),
    ],
)
def test_what_is_drawn_lies_in_its_range_and_follows_the_seed(one, low, high, kind):
    drawn = [one.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert all(low <= value <= high and type(value) is kind for value in drawn)
    assert drawn == [one.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert (min(drawn) - low) <= 0.1 * (high - low)
    assert repr(one).startswith(type(one).__name__)


def test_ends_are_drawn_and_orders_of_magnitude_are_alike():
    random = np.random.default_rng(0)
    assert {Integers(3, 5).draw(random) for _ in range(100)} == {3, 4, 5}
    logs = np.log10([LogUniform(1e-4, 1).draw(random) for _ in range(2000)])
    assert abs(np.mean(logs < -2) - 0.5) < 0.05


def test_lists_distributions_and_constants_are_spaces_too():
    stats = pytest.importorskip("scipy.stats")
    space = standardized({"a": [1, 2], "b": stats.uniform(0, 1), "c": 7, "d": range(3), "e": np.array([0.5])})
    drawn = {name: one.draw(np.random.default_rng(1)) for name, one in space.items()}
    assert drawn["a"] in (1, 2)
    assert 0 <= drawn["b"] <= 1
    assert type(drawn["b"]) is float
    assert (drawn["c"], drawn["e"]) == (7, 0.5)
    assert drawn["d"] in range(3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Uniform(2, 1), "the least first"),
        (lambda: Uniform(0, float("inf")), "finite"),
        (lambda: LogUniform(0, 1), "above 0"),
        (lambda: Integers(0.5, 2), "whole numbers"),
        (lambda: Integers(0, 2, log=True), "at least 1"),
        (lambda: Choice([]), "nothing to choose"),
        (lambda: standardized([1]), "must be a dict"),
        (lambda: standardized({}), "must be a dict"),
    ],
)
def test_a_space_that_cannot_be_is_refused(make, text):
    with pytest.raises(InvalidArgumentError, match=text):
        make()


@pytest.mark.parametrize(
    ("asked", "budgets"),
    [
        ((64, 81, 3, None), [3, 9, 27, 81]),
        ((81, 81, 3, None), [1, 3, 9, 27, 81]),
        ((9, 4, 2, None), [1, 2, 4]),
        ((9, 90, 3, 20), [20, 30, 90]),
        ((1, 10, 3, None), [10]),
    ],
)
def test_rounds_grow_by_the_factor_up_to_all_epochs(asked, budgets):
    assert rounds(*asked) == budgets


def test_the_better_ones_go_on_and_nothing_is_trained_twice(data):
    found = lamina.tune(factory, *data, {"learning_rate": LogUniform(1e-4, 1)}, n=9, epochs=9, seed=1)
    assert sorted(found.rounds.tolist()) == [1] * 6 + [2] * 2 + [3]
    assert [row["epochs"] for row in found.table] == [{1: 1, 2: 3, 3: 9}[r] for r in found.rounds]
    first = np.array([h["val_loss"][0] for h in found.histories])
    assert set(np.argsort(first)[:3]) == set(np.flatnonzero(found.rounds > 1))
    assert found.rounds[found.best_index] == 3
    assert len(found.configs) == 9
    alone = lamina.fit_many(factory, *data, [found.best_config], epochs=9, seed=1, validation_split=0.2)
    np.testing.assert_allclose(alone.histories[0]["loss"], found.histories[found.best_index]["loss"], rtol=1e-5)


def test_architectures_folds_and_a_maximum_may_be_searched(data, capsys):
    space = {"learning_rate": [0.01, 0.3], "units": [4, 6]}
    found = lamina.tune(factory, *data, space, n=6, epochs=4, factor=2, folds=2, seed=0, verbose=1)
    assert found.programs == len({config["units"] for config in found.configs})
    assert "round 1/3: 6 configurations to epoch 1" in capsys.readouterr().out
    assert len(found.best) == 2


def test_the_time_limit_ends_a_search_with_what_was_reached(data):
    found = lamina.tune(
        factory, *data, {"learning_rate": [0.1]}, n=3, epochs=10**6, min_epochs=10**5, seed=0, time_limit=0.2
    )
    assert found.interrupted
    assert found.best_score < 2
    assert len(found.best.history.history["loss"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"space": {"epochs": [1, 2]}}, "not searched"),
        ({"space": {"unit": [1, 2]}}, "Did you mean 'units'"),
        ({"n": 0}, "`n`"),
        ({"factor": 1}, "`factor`"),
        ({"min_epochs": 0}, "`min_epochs`"),
    ],
)
def test_a_search_that_cannot_be_is_refused(data, arguments, text):
    with pytest.raises(InvalidArgumentError, match=text):
        lamina.tune(factory, *data, **{"space": {"units": [2]}, "n": 1, **arguments})
