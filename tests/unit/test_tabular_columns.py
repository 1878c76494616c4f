import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InvalidArgumentError
from lamina.tabular import matching
from lamina.tabular.columns import Encoder
from lamina.tabular.frames import read
from lamina.tabular.scaling import clipped, quantiles, scale

RANDOM = np.random.default_rng(0)


def encoded(x, y=None):
    table = read(x)
    encoder = Encoder.fit(table)
    return encoder, encoder.transform(table if y is None else read(y))


def bent(x):
    return x / np.sqrt(1 + (x / 3) ** 2)


def test_numbers_are_scaled_by_their_quartiles_and_bent():
    values = RANDOM.normal(5, 3, 101)
    _, found = encoded({"a": values})
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.numeric[:, 0], bent((values - middle) / (high - low)), rtol=1e-6)
    assert found.numeric.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4, 5], (3, 0.5)),
        ([0, 0, 0, 0, 4], (0, 0.5)),  # the quartiles are equal: two over the range
        ([7, 7, 7], (7, 0)),
        ([np.nan, np.nan], (0, 0)),
        ([1, np.nan, np.inf, 3], (2, 1)),
    ],
)
def test_the_scale_has_fallbacks(values, expected):
    assert scale(np.array(values, float)) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 5)), min_size=1, max_size=30))
def test_a_whole_weight_is_as_many_equal_numbers(pairs):
    values, weight = (np.array(column, float) for column in zip(*pairs, strict=True))
    places = (0.0, 0.25, 0.5, 0.75, 1.0)
    repeated = np.repeat(values, weight.astype(int))
    np.testing.assert_allclose(quantiles(values, weight, places), np.quantile(repeated, places), rtol=1e-9, atol=1e-6)


def test_nothing_lies_outside_three_and_infinities_lie_at_the_ends():
    found = clipped(np.array([[-np.inf], [-1e308], [0.0], [1e308], [np.inf]]), np.zeros(1), np.ones(1))[:, 0]
    np.testing.assert_allclose(found, [-3, -3, 0, 3, 3], rtol=1e-6)


def test_missing_numbers_become_the_median_and_a_column_says_where():
    encoder, found = encoded({"a": [1.0, 2.0, None, 4.0, 5.0], "b": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert found.numeric.shape == (5, 2)
    assert found.onehot.shape == (5, 1)
    assert found.numeric[2, 0] == 0
    assert len(set(found.onehot[[0, 1, 3, 4], 0].tolist())) == 1
    assert found.onehot[2, 0] != found.onehot[0, 0]
    later = encoder.transform(read({"a": [2.0], "b": [None]}))
    assert later.numeric[0, 1] == 0  # missing for the first time: the median


def test_two_categories_are_one_column_and_up_to_eight_have_one_each():
    encoder, found = encoded({"two": ["a", "b"] * 8, "eight": list("abcdefgh") * 2, "nine": [*"abcdefghi", *"abcdefg"]})
    assert found.onehot.shape == (16, 1 + 8)
    assert found.codes.shape == (16, 1)
    assert found.sizes == (8,)  # h and i occur once: they are unknown, like what comes later
    assert found.codes[[7, 8], 0].tolist() == [0, 0]
    np.testing.assert_allclose(found.onehot[:2, 0], [0, bent(1)] if found.onehot[0, 0] == 0 else [bent(-1), 0], atol=1)
    assert found.onehot[0, 0] != found.onehot[1, 0]
    later = encoder.transform(read({"two": ["z"], "eight": [None], "nine": ["z"]}))
    unknown = clipped(np.zeros((1, 9)), *encoder.onehot)
    np.testing.assert_array_equal(later.onehot, unknown)
    assert later.codes.tolist() == [[0]]


def test_dates_are_the_parts_that_vary():
    days = pd.date_range("2020-01-01", periods=400, freq="D")
    encoder, found = encoded({"day": days.to_numpy()})
    assert encoder.plans[0].parts == ("year", "month", "weekday", "days")
    assert found.numeric.shape == (400, 4)
    assert any("Dates are used as year" in note and "'day'" in note for note in encoder.notes)
    raw = encoder._raw(read({"day": days.to_numpy()}))[0]
    np.testing.assert_array_equal(raw[:, 0], days.year)
    np.testing.assert_array_equal(raw[:, 1], days.month)
    np.testing.assert_array_equal(raw[:, 2], days.day_of_week)
    hours = pd.date_range("2020-01-01 00:00", periods=24, freq="h").to_numpy()
    assert encoded({"at": hours})[0].plans[0].parts == ("hour", "days")


SAID = {
    "constant": ([1.0] * 100, "equal"),
    "one word": (["a"] * 100, "equal"),
    "missing": ([None] * 100, "missing"),
    "infinite": ([np.inf, *range(99)], "Infinite"),
    "text": ([f"the {i} fox ran over the {i} dog" for i in range(100)], "TfidfVectorizer"),
    "names": ([f"id{i}" for i in range(100)], "category of its own"),
    "mixed": ([1, "a"] * 50, "numbers and texts"),
    "digits": ([str(i) for i in range(100)], "texts that are all numbers"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_done_with_an_odd_column_is_said_once_with_its_name(case):
    cells, words = SAID[case]
    encoder, found = encoded({"odd": cells, "b": np.arange(100.0)})
    notes = [note for note in encoder.notes if words.lower() in note.lower()]
    assert len(notes) == 1
    assert "'odd'" in notes[0]
    assert np.isfinite(found.numeric).all()
    assert found.rows == 100


def test_a_table_without_any_column_to_use_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"(?s)No column can be used.*equal: 'a'.*missing: 'b'"):
        Encoder.fit(read({"a": [1, 1], "b": [None, None]}))


def test_ten_thousand_columns_and_two_hundred_thousand_categories():
    wide = RANDOM.normal(size=(5, 10_000))
    assert encoded(wide)[1].numeric.shape == (5, 10_000)
    names = [f"c{i}" for i in RANDOM.permutation(np.repeat(np.arange(200_000), 2))]
    _, found = encoded({"many": names, "x": np.arange(400_000)})
    assert found.sizes == (200_001,)
    assert found.codes.min() == 1


def test_what_an_encoder_learnt_survives_as_json_and_arrays():
    frame = {"a": [1.0, None, 3.0], "b": ["x", "y", "x"], "d": np.array(["2020-01-01", "2021-05-01", "NaT"], "M8[D]")}
    encoder, found = encoded(frame)
    values, arrays = encoder.state()
    again = Encoder.restore(json.loads(json.dumps(values)), arrays)
    assert again.plans == encoder.plans
    for one, other in zip(again.transform(read(frame))[:3], found[:3], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"a": [1.0]}, "yet now missing:\n- b"),
        ({"a": [1.0], "b": ["x"], "c": [1]}, "unseen at fit time:\n- c.*feature_names_in_"),
        ({"b": ["x"], "a": [1.0]}, "same order.*feature_names_in_"),
        (np.ones((1, 3)), "X has 3 features, but Model is expecting 2 features"),
    ],
)
def test_other_columns_than_those_of_fit_are_refused(later, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        matching.check(read(later), ["a", "b"], named=True, owner="Model")


@pytest.mark.parametrize(
    ("first", "later", "words"),
    [
        ([1.0, 2.0, 3.0], ["x", "1", "2"], "Column 'a': .*numbers.*text 'x'"),
        ([1.0, 2.0, 3.0], np.array(["2020-01-01"] * 3, "M8[D]"), "Column 'a': .*numbers.*dates"),
        ([True, False, True], ["maybe", "no", "yes"], "Column 'a': .*True and False.*maybe"),
        (np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]"), [1.0, 2.0, 3.0], "Column 'a': .*dates"),
    ],
)
def test_a_column_of_another_kind_than_in_fit_is_refused(first, later, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}.*To fix it"):
        encoded({"a": first, "b": [1.0, 2.0, 5.0]}, {"a": later, "b": [1.0, 2.0, 5.0]})


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([1.0, 2.0, 3.0], ["1", " 2", "3.0"]),
        (["1", "2", "2"], [1, 2.0, 2]),
        ([True, False, True], [1, 0, 1]),
        ([True, False, True], ["true", "False", "1"]),
        (["True", "False", "True"], [True, False, True]),
        (np.array(["2020-01-01", "2021-03-01", "2022-01-01"], "M8[D]"), ["2020-01-01", "2021-03-01", "2022-01-01"]),
    ],
)
def test_the_same_cells_in_another_form_are_the_same(first, later):
    encoder, found = encoded({"a": first, "b": [1.0, 2.0, 5.0]})
    other = encoder.transform(read({"a": later, "b": [1.0, 2.0, 5.0]}))
    for one, two in zip(found[:3], other[:3], strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_column_that_is_all_missing_at_predict_is_missing_whatever_its_kind():
    first = {"n": [1.0, 2.0], "b": [True, False], "c": ["x", "y"], "d": np.array(["2020-01-01", "2021-02-03"], "M8[D]")}
    encoder, _ = encoded(first)
    for blank in (None, np.nan, np.datetime64("NaT")):
        found = encoder.transform(read([dict.fromkeys(first, blank)]))
        assert not found.numeric.any()
