"""Metrics against scikit-learn, where both define the same number."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from lamina import metrics

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 2, 400)
SCORES = np.clip(0.3 * LABELS + 0.7 * RNG.random(400), 0, 1).astype("float32")
WEIGHTS = RNG.random(400)
CLASSES = RNG.integers(0, 4, 300)
ONE_HOT = np.eye(4)[CLASSES]
PROBABILITIES = (ONE_HOT * 0.4 + RNG.random((300, 4))).astype("float32")
PREDICTED = PROBABILITIES.argmax(1)


def _result(metric, true, pred, weight=None):
    """The result after three batches, as it comes in training."""
    for part in np.array_split(np.arange(len(pred)), 3):
        metric.update_state(true[part], pred[part], None if weight is None else weight[part])
    return np.asarray(metric.result())


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_precision_and_recall(threshold, weight):
    predicted = threshold < SCORES
    for ours, theirs in ((metrics.Precision, sklearn.precision_score), (metrics.Recall, sklearn.recall_score)):
        result = _result(ours(thresholds=threshold), LABELS, SCORES, weight)
        assert result == pytest.approx(theirs(LABELS, predicted, sample_weight=weight), rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_the_area_under_roc_nears_the_exact_one_with_more_thresholds(weight):
    exact = sklearn.roc_auc_score(LABELS, SCORES, sample_weight=weight)
    coarse, fine = (abs(_result(metrics.AUC(num_thresholds=n), LABELS, SCORES, weight) - exact) for n in (4, 10_000))
    assert fine < 1e-4
    assert fine < coarse


def test_the_area_under_precision_and_recall_nears_the_average_precision():
    result = _result(metrics.AUC(num_thresholds=10_000, curve="PR"), LABELS, SCORES)
    assert result == pytest.approx(sklearn.average_precision_score(LABELS, SCORES), abs=2e-3)


@pytest.mark.parametrize("weight", [None, RNG.random(300)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta(average, beta, weight):
    expected = sklearn.fbeta_score(CLASSES, PREDICTED, beta=beta, average=average, sample_weight=weight)
    result = _result(metrics.FBetaScore(average=average, beta=beta), ONE_HOT, PROBABILITIES, weight)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("weight", [None, RNG.random(300)], ids=["unweighted", "weighted"])
def test_accuracy_and_log_loss(weight):
    probabilities = PROBABILITIES.astype("float64") / PROBABILITIES.sum(1, dtype="float64", keepdims=True)
    expected = sklearn.accuracy_score(CLASSES, PREDICTED, sample_weight=weight)
    assert _result(metrics.SparseCategoricalAccuracy(), CLASSES, probabilities, weight) == pytest.approx(expected)
    expected = sklearn.log_loss(CLASSES, probabilities, sample_weight=weight)
    assert _result(metrics.CategoricalCrossentropy(), ONE_HOT, probabilities, weight) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k(k):
    expected = sklearn.top_k_accuracy_score(CLASSES, PROBABILITIES, k=k)
    assert _result(metrics.SparseTopKCategoricalAccuracy(k=k), CLASSES, PROBABILITIES) == pytest.approx(expected)


REGRESSION = RNG.normal(size=(300, 3)) * [1, 2, 3]
ESTIMATE = REGRESSION + RNG.normal(size=(300, 3))


@pytest.mark.parametrize("weight", [None, RNG.random(300)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(None, "raw_values"), ("uniform_average",) * 2, ("variance_weighted_average", "variance_weighted")],
)
def test_r2(ours, theirs, weight):
    expected = sklearn.r2_score(REGRESSION, ESTIMATE, sample_weight=weight, multioutput=theirs)
    result = _result(metrics.R2Score(class_aggregation=ours), REGRESSION, ESTIMATE, weight)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_r2_of_targets_far_from_zero_keeps_its_precision(mean):
    """Keras subtracts two large sums: for a mean of 1e4 it gives 0, for 1e5 nearly 1, where the truth is 0.5."""
    true = (REGRESSION[:, :1] + mean).astype("float32")
    pred = (true + 0.7 * RNG.normal(size=true.shape)).astype("float32")
    expected = sklearn.r2_score(true.astype("float64"), pred.astype("float64"))
    assert _result(metrics.R2Score(), true, pred) == pytest.approx(expected, abs=1e-3 if mean > 1e4 else 1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.MeanSquaredError, sklearn.mean_squared_error),
        (metrics.RootMeanSquaredError, sklearn.root_mean_squared_error),
        (metrics.MeanAbsoluteError, sklearn.mean_absolute_error),
    ],
)
def test_errors(ours, theirs):
    one, weight = (slice(None), slice(0, 1)), RNG.random(300)
    expected = theirs(REGRESSION[one], ESTIMATE[one], sample_weight=weight)
    assert _result(ours(), REGRESSION[one], ESTIMATE[one], weight) == pytest.approx(expected, rel=1e-5)
