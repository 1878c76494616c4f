"""What a metric refuses, and what it says."""

import numpy as np
import pytest

from lamina import metrics
from lamina.errors import InvalidArgumentError
from lamina.metrics.resolve import resolve

ONES = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: metrics.Precision(thresholds=[-1, 0.5, 2]),
            r"Threshold values must be in \[0, 1\]. Received: \[-1, 2\]",
        ),
        (lambda: metrics.FalsePositives(thresholds=[None]), r"Received: \[None\]"),
        (lambda: metrics.Recall(thresholds=1.5), r"Recall `recall`: Threshold values"),
        (lambda: metrics.AUC(thresholds=[1.5]), r"Threshold values must be in \[0, 1\]"),
        (lambda: metrics.Precision(top_k=0), "`top_k`, expected a positive integer"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), "`k`, expected a positive integer"),
        (lambda: metrics.SensitivityAtSpecificity(-1), r"`specificity` must be in the range \[0, 1\]"),
        (lambda: metrics.SpecificityAtSensitivity(2), r"`sensitivity` must be in the range \[0, 1\]"),
        (lambda: metrics.PrecisionAtRecall(-1), r"`recall` must be in the range \[0, 1\]"),
        (lambda: metrics.RecallAtPrecision(float("nan")), r"`precision` must be in the range \[0, 1\]"),
        (lambda: metrics.PrecisionAtRecall(0.4, num_thresholds=-1), "Argument `num_thresholds` must be an integer > 0"),
        (lambda: metrics.AUC(num_thresholds=1), "Argument `num_thresholds` must be an integer > 1."),
        (lambda: metrics.AUC(curve="Invalid"), 'Invalid AUC curve value: "Invalid".'),
        (lambda: metrics.AUC(summation_method="Invalid"), 'Invalid AUC summation method value: "Invalid".'),
        (lambda: metrics.AUC(num_labels=3), "`num_labels` is needed only when `multi_label` is True"),
        (
            lambda: metrics.FBetaScore(average="x"),
            r"Expected one of: \{None, 'micro', 'macro', 'weighted'\}. Received: average=x",
        ),
        (
            lambda: metrics.FBetaScore(beta=1),
            "`beta` argument value. It should be a Python float. Received: beta=1 of type",
        ),
        (lambda: metrics.FBetaScore(beta=-1.0), "It should be > 0. Received: beta=-1.0"),
        (lambda: metrics.F1Score(threshold=1), "`threshold` argument value. It should be a Python float"),
        (lambda: metrics.F1Score(threshold=1.1), "It should verify 0 < threshold <= 1. Received: threshold=1.1"),
        (lambda: metrics.R2Score(class_aggregation="x"), "Invalid value for argument `class_aggregation`"),
        (lambda: metrics.R2Score(num_regressors=-1), "Invalid value for argument `num_regressors`"),
        (lambda: metrics.MeanMetricWrapper("mse"), "`fn` must be a function"),
        (lambda: metrics.get("acuracy"), "Could not interpret metric identifier: acuracy.*\n.*'accuracy'"),
        (lambda: metrics.get(3), "Could not interpret metric identifier: 3"),
        (lambda: resolve("mean_squard_error", (4, 1), (4, 1)), "'mean_squared_error'"),
        (lambda: resolve(None, (4, 1), (4, 1)), "Expected metric, received `None`"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_do(call, text):
    with pytest.raises(InvalidArgumentError, match=text):
        call()


@pytest.mark.parametrize(
    ("metric", "batch", "text"),
    [
        (metrics.R2Score, (ONES[None], ONES[None]), r"R2Score expects 2D inputs with shape \(batch_size, output_dim\)"),
        (metrics.F1Score, (ONES[0], ONES[0]), r"FBetaScore expects 2D inputs .*y_pred.shape=\(3,\)"),
        (metrics.F1Score, (np.ones(4), ONES), "expects 2D inputs"),
        (metrics.F1Score, (np.ones((4, 1)), ONES), "one-hot encode"),
        (
            lambda: metrics.AUC(multi_label=True),
            (ONES[0], ONES[0]),
            "must have rank 2 when `multi_label=True`. Found rank 1",
        ),
        (
            metrics.AUC,
            (np.ones((4, 1)), ONES),
            r"same shape. Received: y_true.shape=\(4, 1\) and y_pred.shape=\(4, 3\)\n.*one-hot",
        ),
        (metrics.Precision, (np.ones(4), ONES), "one-hot"),
        (
            lambda: metrics.Precision(class_id=2),
            (np.ones(4), np.ones(4)),
            "When class_id is provided, y_pred must be a 2D array",
        ),
        (lambda: metrics.Recall(top_k=4), (ONES, ONES), "top_k=4 for 3 classes"),
        (metrics.AUC, (ONES, ONES, np.ones(5)), r"one weight for each sample.*\(5, 1\)"),
        (metrics.MeanSquaredError, (ONES, ONES, np.ones(5)), r"one weight for each sample.*\(5,\)"),
        (
            lambda: metrics.MeanMetricWrapper(lambda t, p: (t - p).mean()),
            (ONES, ONES, np.ones(4)),
            "one value for each sample",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_and_changes_nothing(metric, batch, text):
    metric = metric()
    with pytest.raises(InvalidArgumentError, match=text):
        metric.update_state(*batch)
    assert all((np.asarray(variable) == 0).all() for variable in metric.variables)
