import numpy as np
import pytest
from sklearn import metrics

from lamina.tabular import job
from lamina.tabular.report import page, scores

RANDOM = np.random.default_rng(0)


def chances(rows, classes):
    found = RANDOM.random((rows, classes)) ** 3
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classes_are_those_of_scikit_learn(classes):
    said, true = np.round(chances(400, classes), 2) + 1e-3, RANDOM.integers(0, classes, 400)
    said /= said.sum(1, keepdims=True)
    found = scores.of_classes(said, true)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, said.argmax(1)))
    assert found["log loss"] == pytest.approx(metrics.log_loss(true, said))
    area = metrics.roc_auc_score(true, said[:, 1] if classes == 2 else said, multi_class="ovr")
    assert found["AUC"] == pytest.approx(area)
    np.testing.assert_array_equal(scores.confusion(said, true), metrics.confusion_matrix(true, said.argmax(1)))


def test_scores_of_values_are_those_of_scikit_learn():
    true, found = RANDOM.normal(size=(2, 100))
    assert scores.of_values(found, true) == pytest.approx(
        {
            "R²": metrics.r2_score(true, found),
            "RMSE": metrics.root_mean_squared_error(true, found),
            "mean absolute error": metrics.mean_absolute_error(true, found),
        }
    )


def test_a_calibrated_model_has_no_calibration_error_and_a_boastful_one_has():
    said = RANDOM.random(200_000)
    true = (RANDOM.random(200_000) < said).astype(int)
    assert scores.calibration(np.stack([1 - said, said], 1), true).error < 0.005
    sure = np.where(said > 0.5, 0.99, 0.01)
    assert scores.calibration(np.stack([1 - sure, sure], 1), true).error > 0.2


def test_an_area_without_pairs_is_none():
    assert np.isnan(scores.auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert scores.auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (np.array(["a", "b"] * 5, object), "classification"),
        (np.array([True, False] * 5), "classification"),
        (np.arange(100) % 3, "classification"),
        (np.arange(100.0) % 3, "classification"),
        (np.arange(100.0), "regression"),
        (np.arange(100.0) % 3 + 0.5, "regression"),
        (np.arange(30) % 10, "regression"),
        (np.arange(2600) % 26, "classification"),
        (np.arange(2600) % 26 + 5, "regression"),
        (np.arange(2600) % 26 * (np.arange(2600) % 9 == 0), "regression"),
    ],
)
def test_the_task_is_told_from_the_target(target, task):
    assert job.kind_of(target) == task


def test_rows_are_held_back_from_each_class_but_never_all_of_one():
    wanted = np.repeat([0, 1, 2], [900, 99, 1])
    test = job.split(wanted, 0.2, 0, stratified=True)
    assert test[:900].sum() == 180
    assert test[900:999].sum() in (19, 20)
    assert not test[999]
    np.testing.assert_array_equal(job.split(wanted, 0.2, 0, stratified=True), test)
    assert not job.split(wanted, 0.0, 0, stratified=True).any()


def test_names_are_no_markup_in_the_page():
    found = {
        "task": "classification", "target": "<b>y</b>", "headline": "a & b", "used": 1, "version": "1", "seconds": 1.0,
        "metric": "log loss", "classes": ["<i>", "no"], "curves": [], "kept": [], "notes": ["<script>x</script>"],
        "facts": ["f"], "test rows": 0,
        "columns": [{"column": "<u>", "kind": "number", "missing": 0, "holds": "<0", "use": "number, scaled"}],
    }  # fmt: skip
    text = page.page(found, {})
    for mark in ("<b>y", "<script>", "<u>", "<0"):
        assert mark not in text
    assert "&lt;script&gt;" in text


def test_the_best_score_is_the_largest_or_smallest_and_no_guess():
    both = {"this model": {"log loss": 0.3, "AUC": 0.8}, "guess": {"log loss": 0.1, "AUC": 0.5}}
    both["boosted trees"] = {"log loss": 0.4, "AUC": 0.9}
    assert page.best(both, "log loss") == "this model"
    assert page.best(both, "AUC") == "boosted trees"
