"""`FeatureSpace`: the columns of a table as Keras prepares them, from dicts, frames and batches; in models; in files."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

import lamina
from lamina import layers, saving
from lamina.errors import InvalidArgumentError
from lamina.utils import FeatureSpace, PyDataset

FIXTURES = Path(__file__).parents[1] / "fixtures/preprocessing"
KNOWN = json.loads((FIXTURES / "layers.json").read_text())
TABLE = {key: np.array(value) for key, value in KNOWN["table"].items()}
NUMBERS = {key: TABLE[key] for key in ("age", "fare", "weight", "class", "ticket")}


def space(**more):
    return FeatureSpace(
        {
            "age": "float_normalized",
            "fare": FeatureSpace.float_discretized(num_bins=4),
            "weight": FeatureSpace.float_rescaled(scale=0.1),
            "class": "integer_categorical",
            "ticket": FeatureSpace.integer_hashed(num_bins=6),
            "port": "string_categorical",
            "cabin": FeatureSpace.string_hashed(num_bins=5),
        },
        crosses=[("class", "port"), FeatureSpace.cross(("fare", "ticket"), crossing_dim=8)],
        **more,
    )


def numeric():
    found = FeatureSpace(
        {
            "age": "float_normalized",
            "fare": "float_discretized",
            "class": "integer_categorical",
            "ticket": "integer_hashed",
        },
        crosses=[("class", "ticket")],
    )
    found.adapt(NUMBERS)
    return found


def rows(start, stop):
    return {key: value[start:stop] for key, value in TABLE.items()}


@pytest.mark.parametrize(
    "data",
    [
        lambda: TABLE,
        lambda: KNOWN["table"],
        lambda: pandas.DataFrame(TABLE),
        lambda: pytest.importorskip("polars").DataFrame(TABLE),
        lambda: iter([(rows(0, 10), np.ones(10))]),
        lambda: [{key: value[i] for key, value in TABLE.items()} for i in range(10)],
    ],
    ids=["arrays", "lists", "pandas", "polars", "batches", "samples"],
)
def test_a_table_is_prepared_as_keras_does(data):
    found = space()
    found.adapt(data())
    np.testing.assert_allclose(np.asarray(found(TABLE)), KNOWN["space"], atol=1e-5)
    np.testing.assert_allclose(np.asarray(found(pandas.DataFrame(TABLE))), KNOWN["space"], atol=1e-5)
    one = found({key: value[3] for key, value in TABLE.items()})
    np.testing.assert_allclose(np.asarray(one), KNOWN["space"][3], atol=1e-5)


def test_a_file_of_keras_is_read():
    np.testing.assert_allclose(
        np.asarray(saving.load_model(FIXTURES / "space.keras")(TABLE)), KNOWN["space"], atol=1e-5
    )


def test_a_saved_space_comes_back_and_can_be_saved_again(tmp_path):
    found = space()
    found.adapt(TABLE)
    for i in range(2):
        found.save(tmp_path / f"{i}.keras")
        found = saving.load_model(tmp_path / f"{i}.keras")
    np.testing.assert_allclose(np.asarray(found(TABLE)), KNOWN["space"], atol=1e-5)
    assert found.preprocessors["port"].get_vocabulary() == ["[UNK]", "S", "C", "Q"]


def test_features_come_one_by_one_where_asked():
    found = space(output_mode="dict")
    found.adapt(TABLE)
    parts = found(TABLE)
    assert list(parts) == ["age", "cabin", "class", "fare", "port", "ticket", "weight", "class_X_port", "fare_X_ticket"]
    np.testing.assert_allclose(np.concatenate(list(parts.values()), axis=1), KNOWN["space"], atol=1e-5)


def test_columns_that_are_no_features_are_left_alone():
    found = numeric()
    np.testing.assert_array_equal(np.asarray(found(TABLE)), np.asarray(found(NUMBERS)))


def test_numbers_are_prepared_inside_a_model_that_trains():
    found = numeric()
    inputs = found.get_inputs()
    model = lamina.Model(inputs, layers.Dense(1)(found.get_encoded_features()))
    model.compile("adam", "mse")
    raw = {key: NUMBERS[key] for key in inputs}
    model.fit(raw, TABLE["weight"], epochs=2, verbose=0)
    outside = np.asarray(model.layers[-1](found(NUMBERS)))
    np.testing.assert_allclose(model.predict(raw, verbose=0), outside, atol=1e-5)


def test_a_model_trains_on_a_dataset_that_prepares_its_batches():
    found = space()
    found.adapt(TABLE)

    class Prepared(PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = rows(index * 5, index * 5 + 5)
            return found(part), part["weight"]

    model = lamina.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(Prepared(workers=2), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.layers[0].kernel.shape[0] == len(KNOWN["space"][0])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: FeatureSpace({}), "cannot be None or empty"),
        (lambda: FeatureSpace({"a": "flaot"}), r"Invalid feature type: flaot.*float"),
        (lambda: FeatureSpace({"a": "float"}, output_mode="list"), "for argument `output_mode`"),
        (lambda: FeatureSpace({"a": "float"}, crosses=[("a", "b")]), "should be present in.*'b'"),
        (lambda: FeatureSpace({"a": "float"}, crosses=[("a", "a")], crossing_dim=None), "`crossing_dim`"),
        (lambda: FeatureSpace.feature("float32", layers.Identity(), "two"), "for argument `output_mode`"),
        (lambda: FeatureSpace.cross(("a", "b"), 3, "two"), "for argument `output_mode`"),
        (lambda: space()(TABLE), r"You need to call `\.adapt"),
        (lambda: space().get_encoded_features(), r"You need to call `\.adapt"),
        (lambda: space().adapt([1, 2]), "can only be called on a tf.data.Dataset or a dict"),
        (lambda: numeric()(np.ones(3)), "can only be called with a dict"),
        (lambda: numeric()({"aeg": [1.0], "fare": [1.0]}), "no feature 'age'.*aeg"),
        (
            lambda: FeatureSpace({"a": FeatureSpace.integer_hashed(3, output_mode="int")})({"a": [1]}),
            "has not been encoded.*output_mode='dict'",
        ),
        (
            lambda: FeatureSpace({"a": FeatureSpace.feature("float32", layers.Identity(), "one_hot")})({"a": [1.0]}),
            "preprocessor should return an integer",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused_with_a_remedy(wrong, text):
    with pytest.raises(InvalidArgumentError, match=f"(?s){text}"):
        wrong()
