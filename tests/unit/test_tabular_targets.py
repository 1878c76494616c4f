import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lamina.errors import InvalidArgumentError
from lamina.tabular import targets
from lamina.tabular.encoded import Encoded


@pytest.mark.parametrize(
    "y",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype="category"),
        pl.Series(["a", "b"]),
        pa.array(["a", "b"]),
        pa.chunked_array([["a"], ["b"]]),
    ],
    ids=lambda y: type(y).__module__ + "." + type(y).__name__,
)
def test_a_target_may_come_from_any_library(y):
    found = targets.labels(targets.plain(y), None)
    assert found.classes.tolist() == ["a", "b"]
    assert found.places.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, np.nan, 2.0], "Input y contains NaN.*1 of 3 rows, the first is row 1.*drop these rows"),
        (["a", None], "Input y contains NaN.*row 1"),
        (pd.Series(["a", pd.NA]), "Input y contains NaN"),
        ([1.0, np.inf], "Input y contains infinity"),
        (np.array(["2020-01-01"], "M8[D]"), "dates.*convert it to a number"),
        ([1j], "Complex data not supported"),
    ],
)
def test_a_target_with_gaps_is_refused_with_their_place(y, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        targets.no_gaps(targets.plain(y))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: targets.labels(np.array([1, 1]), None), "only one class is present.*1 in each row"),
        (lambda: targets.labels(np.array([0, 1]), np.array([0.0, 1.0])), "only one class"),
        (lambda: targets.labels(np.array([1, "a"], object), None), "all texts or all numbers.*int, str"),
        (lambda: targets.values(np.array([2.0, 2.0])), "constant.*2 in each row"),
        (lambda: targets.values(np.array(["a", "b"])), "numbers.*DenseClassifier"),
        (lambda: targets.values(np.array([1e300, 1.0])), r"within ±1e\+100.*1e\+300.*divide it"),
        (lambda: targets.values(np.array([1.0])), "at least two rows.*n_samples=1"),
        (lambda: targets.plain(np.ones((2, 2))), r"y should be a 1d array.*shape \(2, 2\)"),
        (lambda: targets.weights([1, 2], 3), "one value for each row.*2 weights for 3 rows"),
        (lambda: targets.weights([1, -2, 1], 3), "not negative.*-2.0 in row 1"),
        (lambda: targets.weights([1, np.nan, 1], 3), "finite.*nan in row 1"),
        (lambda: targets.weights([0, 0], 2), "at least one non-zero"),
        (lambda: targets.weights(["x", "y"], 2), "of numbers"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(call, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        call()


LABELS = targets.Labels(np.array(["no", "yes"]), np.array([0, 0, 0, 1], np.int32))


@pytest.mark.parametrize(
    ("class_weight", "weight", "expected"),
    [
        (None, None, None),
        ("balanced", None, [2 / 3] * 3 + [2]),
        ({"yes": 3}, None, [1, 1, 1, 3]),
        ({"yes": 3, "no": 0}, np.array([1.0, 1.0, 1.0, 2.0]), [0, 0, 0, 6]),
        ("balanced", np.array([1.0, 0.0, 0.0, 1.0]), [1, 0, 0, 1]),
    ],
)
def test_weights_of_classes_multiply_those_of_rows(class_weight, weight, expected):
    found = targets.of_classes(class_weight, LABELS, weight)
    assert found is None if expected is None else found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("class_weight", "words"),
    [("even", "'balanced'"), ({"yess": 1}, "'yess'.*no label.*'yes'"), ({"yes": -1}, "must not be negative")],
)
def test_weights_of_classes_that_make_no_sense_are_refused(class_weight, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        targets.of_classes(class_weight, LABELS, None)


def examples(rows):
    random = np.random.default_rng(1)
    numeric = random.normal(size=(rows, 2)).astype(np.float32)
    return Encoded(numeric, numeric[:, :0], np.arange(rows, dtype=np.int32)[:, None], (rows + 1,)), random.normal(
        size=rows
    )


def same(one, other):
    for a, b in zip([*one.encoded[:3], one.target], [*other.encoded[:3], other.target], strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_come_in_one_order_whatever_theirs():
    encoded, y = examples(500)
    order = np.random.default_rng(2).permutation(500)
    weight = np.random.default_rng(3).random(500)
    one, other = targets.ordered(encoded, y, weight), targets.ordered(encoded.take(order), y[order], weight[order])
    same(one, other)
    np.testing.assert_array_equal(one.weight, other.weight)
    assert sorted(one.target) == sorted(y)


def test_among_few_rows_a_whole_weight_is_so_many_rows():
    encoded, y = examples(10)
    weight = np.array([0, 1, 2, 3, 0, 1, 1, 1, 5, 1])
    rows = np.repeat(np.arange(10), weight)
    one = targets.ordered(encoded, y, weight.astype(float))
    assert one.weight is None
    same(one, targets.ordered(encoded.take(rows), y[rows], None))


def test_rows_of_weight_zero_are_left_out_and_equal_weights_are_none():
    encoded, y = examples(300)
    found = targets.ordered(encoded, y, np.where(np.arange(300) < 200, 2.0, 0.0))
    assert found.encoded.rows == 200
    assert found.weight is None
