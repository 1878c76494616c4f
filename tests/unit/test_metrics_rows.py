"""A row of weight 0 is absent, and one of weight 2 is there twice: for every metric of the library."""

import warnings
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import DATA, IDS, RNG, ROWS

from lamina import losses, metrics

WEIGHTS = np.array([0, 2, 1, 0, 1, 2], "float32")
TAKEN = np.repeat(np.arange(6), WEIGHTS.astype(int))


def _start(metric, true, pred):
    metric.prepare(true, pred)
    return tuple(metric.stateless_reset_state())


def _added(metric, *batches):
    totals = _start(metric, *batches[0][:2])
    for batch in batches:
        totals = tuple(metric.stateless_update_state(totals, *batch))
    return totals


@pytest.mark.parametrize(("name", "arguments", "data"), ROWS, ids=IDS)
def test_weights_count_rows(name, arguments, data):
    metric = getattr(metrics, name)(**arguments)
    assert metric.rowwise
    true, pred = DATA[data](6)
    assert metric.is_rowwise(true, pred)
    if np.issubdtype(pred.dtype, np.floating):
        pred[WEIGHTS == 0] = np.nan  # what is absent must not matter at all
    ones = np.ones(6, "float32")
    padding = (np.zeros_like(true), np.zeros_like(pred), 0 * WEIGHTS)
    weighted = _added(metric, (true, pred, WEIGHTS), padding)
    repeated = _added(metric, (true[TAKEN], pred[TAKEN], ones))
    if name == "R2Score":
        weighted = (repeated[0], *weighted[1:])  # the number of samples, not of weights, adjusts it
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        metric.stateless_result(weighted), metric.stateless_result(repeated), rtol=1e-5, atol=1e-6
    )
    assert np.isfinite(metric.stateless_result(weighted)).all()


@pytest.mark.parametrize(("name", "arguments", "data"), ROWS, ids=IDS)
def test_an_update_keeps_shapes_and_types_so_that_a_scan_can_carry_it(name, arguments, data):
    metric = getattr(metrics, name)(**arguments)
    true, pred = DATA[data](6)
    totals = _start(metric, true, pred)
    for weight in (None, WEIGHTS):
        new = jax.eval_shape(metric.stateless_update_state, totals, true, pred, weight)
        assert [(a.shape, a.dtype, a.weak_type) for a in new] == [(t.shape, t.dtype, False) for t in totals]


def test_means_of_plain_values_go_by_row_too():
    for metric, expected in ((metrics.Mean(), 2.5), (metrics.Sum(), 5)):
        metric.update_state([np.nan, 2.0, 3.0], sample_weight=[0, 1, 1])
        assert metric.rowwise
        assert metric.result() == expected


@pytest.mark.parametrize("regressors", [1, 2])
def test_the_adjusted_r2_counts_no_absent_rows(regressors):
    true, pred = DATA["numbers (n, 1)"](6)
    present = WEIGHTS > 0
    metric, twin = metrics.R2Score(num_regressors=regressors), metrics.R2Score(num_regressors=regressors)
    metric.update_state(true, pred, present.astype("float32"))
    twin.update_state(true[present], pred[present])
    np.testing.assert_allclose(metric.result(), twin.result(), rtol=1e-5)


@pytest.mark.parametrize(("regressors", "text"), [(3, "Division by zero"), (7, "More independent predictors")])
def test_the_adjusted_r2_falls_back_to_the_plain_one_and_says_so(regressors, text):
    true, pred = DATA["numbers (n, 1)"](4)
    metric, plain = metrics.R2Score(num_regressors=regressors), metrics.R2Score()
    metric.update_state(true, pred)
    with pytest.warns(UserWarning, match=f"{text}.*Falling back to standard R2 score"):
        result = metric.result()
    np.testing.assert_allclose(result, plain(true, pred), rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(jax.jit(metric.stateless_result)([v.value for v in metric.variables]), result)


def _per_sample(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - y_pred), axis=-1)


def _per_batch(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - y_pred))


def _per_class(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - y_pred), axis=0)


def _not_traceable(y_true, y_pred):
    return np.abs(np.asarray(y_true) - np.asarray(y_pred))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_per_sample, True),
        (_per_batch, False),
        (_per_class, False),
        (_not_traceable, False),
        (losses.mean_squared_error, True),
        (losses.cosine_similarity, True),
        (losses.dice, False),
        (losses.MeanSquaredError(), False),
        (losses.MeanSquaredError(reduction=None), True),
    ],
)
def test_a_wrapped_function_goes_by_row_if_it_gives_a_value_for_each(function, expected):
    metric = metrics.MeanMetricWrapper(function)
    assert metric.is_rowwise(jax.ShapeDtypeStruct((7, 7), "float32"), np.zeros((7, 7))) is expected
    assert metric.rowwise is (function in (losses.mean_squared_error, losses.cosine_similarity))


def test_a_reduction_over_the_batch_does_not_go_by_row():
    vector, matrix = np.zeros(5), np.zeros((5, 3))
    assert not metrics.PearsonCorrelation().is_rowwise(vector, vector)
    assert not metrics.CosineSimilarity(axis=0).is_rowwise(matrix, matrix)
    assert metrics.CosineSimilarity(axis=1).is_rowwise(matrix, matrix)
    assert metrics.MeanSquaredError().is_rowwise(vector, vector)


def test_metrics_of_the_user_do_not_go_by_row_unless_they_say_so():
    class Own(metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

    class Changed(metrics.AUC):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true, y_pred)

    class Renamed(metrics.AUC):
        def __init__(self):
            super().__init__(name="mine")

    class Promised(Own):
        rowwise = True

    assert [cls().rowwise for cls in (metrics.Metric, Own, Changed, Renamed, Promised)] == [False] * 3 + [True] * 2
    assert Promised().is_rowwise(None, None)


@lru_cache
def _column():
    return RNG.random(5).astype("float32"), RNG.random((5, 1)).astype("float32")


@pytest.mark.parametrize(
    "name", ["KLDivergence", "Hinge", "Poisson", "BinaryCrossentropy", "F1Score", "R2Score", "AUC"]
)
def test_targets_without_the_last_axis_meet_their_own_row_alone(name):
    """Keras broadcasts some of these to (5, 5), silently, and refuses others."""
    true, pred = _column()
    alone, apart = getattr(metrics, name)(), getattr(metrics, name)()
    np.testing.assert_allclose(alone(true, pred), apart(true[:, None], pred), rtol=1e-6)


def test_predictions_at_nan_are_never_positive_in_both_ways_of_counting():
    true, pred = np.array([1.0, 0.0, 1.0]), np.array([np.nan, np.nan, 0.9])
    even = metrics.TruePositives(thresholds=[0.0, 0.5, 1.0])(true, pred)
    other = metrics.TruePositives(thresholds=[0.0, 0.5])(true, pred)
    np.testing.assert_array_equal(even, [1, 1, 0])
    np.testing.assert_array_equal(other, [1, 1])


def test_classes_beyond_256_stay_apart_in_16_bits():
    """Keras casts labels to the type of the predictions, where 256 and 257 are the same bfloat16."""
    pred = jnp.zeros((2, 300), "bfloat16").at[:, 256].set(1)
    assert metrics.SparseCategoricalAccuracy()(np.array([256, 257]), pred) == 0.5
    assert metrics.CategoricalAccuracy()(np.eye(300)[[256, 257]], pred) == 0.5
