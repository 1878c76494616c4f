"""The training program of tables: what it learns, keeps, restores, and that nothing but the seed decides it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lamina.errors import InvalidArgumentError
from lamina.tabular import fitting, scoring
from lamina.tabular.encoded import Encoded
from lamina.tabular.recipes import PRESETS, Recipe, recipe, sized

SMALL = {"width": 16, "epochs": 15, "members": 2, "batch": 32, "bins": 4, "waves": 4, "folds": 4}
random = np.random.default_rng(0)
ROWS = 300
DATA = Encoded(
    random.standard_normal((ROWS, 3)).astype(np.float32),
    random.choice([-1.0, 1.0], (ROWS, 2)).astype(np.float32),
    random.integers(0, 5, (ROWS, 1)).astype(np.int32),
    (5,),
)
VALUE = 100 + 20 * DATA.numeric[:, 0] + 10 * DATA.onehot[:, 0] + 5 * (DATA.codes[:, 0] == 2)
LABEL = (VALUE > 95).astype(int) + (VALUE > 110)


def small(task, **changes):
    return replace(recipe("default", task), **SMALL | changes)


def fit(task="classification", data=DATA, **arguments):
    target = LABEL if task == "classification" else VALUE
    known = {"target": target[: data.rows], "outputs": 3 if task == "classification" else 1, "recipe": small(task)}
    return fitting.fit(data, task=task, **known | arguments)


def test_a_regression_learns_and_stays_within_what_was_seen():
    fitted = fit("regression")
    found = fitted.predict(DATA)[:, 0]
    assert 1 - np.mean((found - VALUE) ** 2) / VALUE.var() > 0.9
    far = fitted.predict(DATA._replace(numeric=DATA.numeric * 50))
    assert far.min() >= VALUE.min()
    assert far.max() <= VALUE.max()


@pytest.mark.parametrize("objective", ["log_loss", "accuracy", "auc"])
def test_a_classification_learns_whatever_its_aim(objective):
    fitted = fit(objective=objective)
    found = fitted.predict(DATA)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert np.mean(found.argmax(1) == LABEL) > 0.85
    assert [len(curve) for curve in fitted.curves] >= fitted.epochs
    for curve, epoch in zip(fitted.curves, fitted.epochs, strict=True):
        assert curve[epoch - 1] == min(curve)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_is_restored_from_json_and_arrays_predicts_the_same_bits(task):
    fitted = fit(task)
    config, arrays = fitted.state()
    again = fitting.Fitted.restore(json.loads(json.dumps(config)), arrays)
    np.testing.assert_array_equal(again.predict(DATA), fitted.predict(DATA))
    assert again.curves == fitted.curves
    name = "member0/kernel1"
    with pytest.raises(InvalidArgumentError, match=name):
        fitting.Fitted.restore(config, arrays | {name: arrays[name][:3]})


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first, second, other = (fit("regression", seed=s).predict(DATA) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_the_number_of_cores_changes_no_bit():
    code = (
        "import os, sys; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])\n"
        "import numpy as np; from lamina.tabular import fitting, recipes, encoded; from dataclasses import replace\n"
        "r = np.random.default_rng(0); x = r.standard_normal((700, 20)).astype('f4'); y = (x[:, 0] > 0).astype(int)\n"
        "e = encoded.Encoded(x, x[:, :0], np.zeros((700, 0), 'i4'))\n"
        "p = replace(recipes.recipe('default', 'classification'), epochs=2, members=2)\n"
        "f = fitting.fit(e, y, task='classification', outputs=2, recipe=p)\n"
        "import hashlib; print(hashlib.sha256(f.predict(e).tobytes()).hexdigest())"
    )
    told = [subprocess.run([sys.executable, "-c", code, n], capture_output=True, text=True, check=True) for n in "12"]
    assert told[0].stdout == told[1].stdout != ""


def test_a_row_is_predicted_alike_alone_and_among_others():
    fitted = fit()
    np.testing.assert_array_equal(fitted.predict(DATA)[7:9], fitted.predict(DATA.take(slice(7, 9))))
    assert fitted.predict(DATA.take(slice(0, 0))).shape == (0, 3)


def test_rows_of_weight_0_are_not_learned_from():
    wrong = DATA.rows // 2
    target, weight = LABEL.copy(), np.ones(DATA.rows)
    target[:wrong], weight[:wrong] = 0, 0.0
    found = fit(target=target, weight=weight).predict(DATA)
    assert np.mean(found.argmax(1)[:wrong] == LABEL[:wrong]) > 0.7


@pytest.mark.parametrize("rows", [1, 2, 19, 33])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_few_rows_are_enough_to_give_something_finite(task, rows):
    fitted = fit(task, DATA.take(slice(0, rows)), recipe=small(task, members=1, epochs=3))
    assert np.isfinite(fitted.predict(DATA)).all()


def test_columns_of_one_kind_alone_are_enough():
    for kind in ("numeric", "onehot", "codes"):
        kept = {k: getattr(DATA, k) if k == kind else getattr(DATA, k)[:, :0] for k in ("numeric", "onehot", "codes")}
        data = Encoded(**kept, sizes=(5,) if kind == "codes" else ())
        assert np.isfinite(fit(data=data, recipe=small("classification", members=1, epochs=2)).predict(data)).all()


def test_progress_is_told_and_a_time_limit_shortens_the_schedule():
    told = []
    fit(progress=lambda *a: told.append(a), recipe=small("classification", members=1, patience=False))
    assert [t[1] for t in told] == list(range(1, 16))
    assert told[0][0] == 0
    fitted = fit(time_limit=0.0, recipe=small("classification", members=1))
    assert len(fitted.curves[0]) == 1


def test_what_the_first_network_gained_nothing_by_the_others_are_spared():
    recipe = small("classification", epochs=30)
    ends = fitting.cycle_ends(recipe, recipe.epochs)
    assert ends == [2, 6, 14, 30]
    falling = [1 / (epoch + 1) for epoch in range(30)]
    assert fitting.enough(recipe, falling) is None
    assert fitting.enough(recipe, falling[:14] + [falling[13]] * 16) == 14
    assert fitting.enough(recipe, falling[:6]) is None
    fitted = fit(recipe=small("classification", epochs=30, members=3))
    last = fitting.enough(recipe, fitted.curves[0])
    assert all(len(curve) <= (last or 30) for curve in fitted.curves[1:])


@pytest.mark.parametrize(
    ("rows", "numbers", "batch", "epochs"),
    [
        (100, 5, 32, 120),  # 2 steps in an epoch: as many epochs as there may be
        (500, 5, 32, 34),
        (2_000, 5, 128, 34),
        (8_000, 5, 256, 30),
        (200_000, 5, 512, 16),
        (10_000_000, 5, 512, 7),
        (500, 5_000, 128, 30),
    ],
)
def test_few_rows_have_small_batches_and_many_rows_few_epochs(rows, numbers, batch, epochs):
    found = sized(Recipe(), rows, numbers)
    assert (found.batch, found.epochs) == (batch, epochs)
    assert bool(found.bins) == bool(found.waves) == (numbers < 1_000)


@pytest.mark.parametrize("outputs", [0, 2])
def test_bins_go_in_as_they_are_or_as_what_is_learned_from_them(outputs):
    steps = np.where(DATA.numeric[:, 0] > 0.3, 5.0, 1.0) + 3 * (np.abs(DATA.numeric[:, 1]) > 1)
    fitted = fit("regression", target=steps, recipe=small("regression", bins=8, bin_outputs=outputs, epochs=30))
    assert np.mean((fitted.predict(DATA)[:, 0] - steps) ** 2) < 0.2 * steps.var()
    width = 3 * (4 + (outputs or 8)) + 2 + 8
    assert fitted.plan.widths[0] == -(-width // 16) * 16


def test_folds_are_even_and_stratified_and_none_is_held_back_of_few_rows():
    dealt = fitting.deal(LABEL, "classification", 4, np.random.default_rng(0))
    for c in range(3):
        counts = np.bincount(dealt[c == LABEL], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert (fitting.deal(LABEL[:5], "classification", 4, np.random.default_rng(0)) == -1).all()


def test_scores_are_those_of_scikit_learn_and_a_temperature_does_not_worsen_them():
    from sklearn.metrics import log_loss, roc_auc_score

    outputs = random.standard_normal((200, 3))
    classes, weight = random.integers(0, 3, 200), random.uniform(0.5, 2, 200)
    target = classes[:, None].astype(np.float32)
    chances = scoring.softmax(outputs)
    assert scoring.metric("log_loss", outputs, target, weight) == pytest.approx(
        log_loss(classes, chances, sample_weight=weight), rel=1e-6
    )
    tied = np.round(chances[:, :2], 1)
    assert scoring.metric("auc", np.log(tied + 1e-9), target % 2, weight) == pytest.approx(
        1 - roc_auc_score(classes % 2, scoring.softmax(np.log(tied + 1e-9))[:, 1], sample_weight=weight), abs=1e-9
    )
    t = scoring.temperature(outputs, classes, weight)
    assert scoring.metric("log_loss", outputs / t, target, weight) <= scoring.metric(
        "log_loss", outputs, target, weight
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": "ranking"}, "`task` must be"),
        ({"objective": "f1"}, "`objective` must be one of"),
        ({"data": DATA.take(slice(0, 0))}, "no rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, words):
    known = {"recipe": small("classification"), "outputs": 3, "target": LABEL}
    with pytest.raises(InvalidArgumentError, match=words):
        fit(**known | arguments)


def test_every_preset_has_a_recipe_for_every_aim():
    assert set(PRESETS) == {"default", "fast", "best"}
    assert recipe("default", "classification", "accuracy").smoothing > 0
    for wrong in (("bad", "regression", "auc"), ("fast", "regression", "f1")):
        with pytest.raises(InvalidArgumentError):
            recipe(*wrong)
