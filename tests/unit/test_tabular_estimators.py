import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lamina
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.tabular import DenseClassifier, DenseRegressor, Predictor, load, save

QUICK = {"epochs": 4, "n_ensemble": 1, "random_state": 0}


@parametrize_with_checks([DenseClassifier(epochs=12, n_ensemble=1), DenseRegressor(epochs=12, n_ensemble=1)])
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def people(rows=120, seed=0):
    random = np.random.default_rng(seed)
    age = random.integers(17, 90, rows)
    frame = pd.DataFrame(
        {
            "age": np.where(random.random(rows) < 0.1, np.nan, age),
            "job": random.choice(["cook", "nurse", "smith", None], rows),
            "left": random.random(rows) < 0.5,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, rows), unit="D"),
            "town": pd.Categorical(random.choice([f"t{i}" for i in range(12)], rows)),
        }
    )
    return frame, np.where(age > 50, "old", "young"), age * 2.0


@pytest.fixture(scope="module")
def fitted():
    x, kinds, values = people()
    with pytest.warns(UserWarning, match="Dates are used as .*'since'"):
        classifier = DenseClassifier(**QUICK).fit(x, kinds)
    with pytest.warns(UserWarning, match="Dates are used"):
        regressor = DenseRegressor(**QUICK).fit(x, values)
    return classifier, regressor


def test_a_table_of_any_library_gives_the_same_predictions(fitted):
    classifier, _ = fitted
    x = people(20, seed=1)[0]
    expected = classifier.predict_proba(x)
    for other in (pl.from_pandas(x), pa.Table.from_pandas(x), x.convert_dtypes(), x.to_dict("records")):
        np.testing.assert_array_equal(classifier.predict_proba(other), expected)
    assert expected.shape == (20, 2)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-12)
    assert classifier.classes_.tolist() == ["old", "young"]
    assert classifier.feature_names_in_.tolist() == list(x.columns)
    assert classifier.n_features_in_ == 5
    assert len(classifier.curves_) == 1
    assert any("since" in note for note in classifier.notes_)


def test_unknown_categories_and_missing_cells_are_predicted(fitted):
    row = {"age": None, "job": "pilot", "left": None, "since": None, "town": "elsewhere"}
    for estimator in fitted:
        assert np.isfinite(estimator.predict([row]).astype(object)[0] == "old" or 1.0)
    assert np.isfinite(fitted[1].predict([row])).all()


@pytest.mark.parametrize("which", [0, 1], ids=["classifier", "regressor"])
def test_a_model_survives_a_file_and_a_pickle_to_the_bit(fitted, which, tmp_path):
    estimator, x = fitted[which], people(30, seed=2)[0]
    expected = estimator.predict(x)
    save(estimator, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again, Predictor)
    for other in (again, pickle.loads(pickle.dumps(estimator)), pickle.loads(pickle.dumps(again))):
        np.testing.assert_array_equal(other.predict(x), expected)
    y = people(30, seed=2)[1 + which]
    assert again.score(x, y) == pytest.approx(estimator.score(x, y))
    estimator.save(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    if which == 0:
        np.testing.assert_array_equal(again.predict_proba(x), estimator.predict_proba(x))
        np.testing.assert_array_equal(again.decision_function(x), estimator.decision_function(x))
    else:
        with pytest.raises(InvalidArgumentError, match="no `predict_proba`"):
            again.predict_proba(x)


def test_a_file_predicts_without_scikit_learn(fitted, tmp_path):
    save(fitted[0], tmp_path / "model")
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = sys.modules['pandas'] = sys.modules['pyarrow'] = None\n"
        "import lamina\n"
        f"model = lamina.tabular.load({str(tmp_path / 'model')!r})\n"
        "print(model.predict([{'age': 80, 'job': 'cook', 'left': True, 'since': None, 'town': 't1'}])[0])\n"
        "try:\n    lamina.tabular.DenseClassifier\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first in ("old", "young")
    assert "pip install 'lamina[tabular]'" in "".join(rest)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-9], lambda data: data[:300], lambda data: b"{}", lambda data: data[:-1] + b"\x01"]
)
def test_a_damaged_file_is_refused(fitted, tmp_path, spoil):
    path = tmp_path / "model"
    save(fitted[0], path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(FileFormatError, match=r"(?s)model: The file is damaged.*To fix it"):
        load(path)


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"(?s)fitted DenseClassifier.*call `fit` before"):
        save(DenseClassifier(), tmp_path / "x")
    with pytest.raises(NotFittedError):
        DenseRegressor().predict([[1.0]])


@pytest.mark.parametrize("make", [DenseClassifier, DenseRegressor])
def test_the_same_seed_gives_the_same_bits_in_whatever_order_rows_come(make):
    random = np.random.default_rng(0)
    x, order = random.normal(size=(150, 3)), random.permutation(150)
    y = (x[:, 0] > 0).astype(int) if make is DenseClassifier else x[:, 0]
    one = make(**QUICK).fit(x, y).predict(x)
    np.testing.assert_array_equal(make(**QUICK).fit(x, y).predict(x), one)
    np.testing.assert_array_equal(make(**QUICK).fit(x[order], y[order]).predict(x), one)


def test_pipelines_searches_and_scores_take_the_estimators():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=90), "b": random.choice(["u", "v"], 90)})
    y = (frame.a > 0).astype(int)
    columns = make_column_transformer(
        (StandardScaler(), ["a"]), remainder="passthrough", verbose_feature_names_out=False
    )
    pipe = make_pipeline(columns, DenseClassifier(**QUICK)).set_output(transform="pandas")
    assert pipe.fit(frame, y).score(frame, y) > 0.5
    assert pipe[-1].feature_names_in_.tolist() == ["a", "b"]
    search = GridSearchCV(DenseClassifier(**QUICK), {"learning_rate": [0.01, 0.04]}, cv=2).fit(frame, y)
    assert search.best_params_["learning_rate"] in (0.01, 0.04)
    assert len(cross_val_score(clone(search.best_estimator_), frame, y, cv=2, scoring="roc_auc")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "bset"}, "preset.*'best'"),
        ({"objective": "logloss"}, "objective.*Did you mean 'log_loss'"),
        ({"n_folds": 1}, "n_folds.*at least 2"),
        ({"n_folds": 99}, "n_folds=99 for 30 rows"),
        ({"n_ensemble": 0}, "n_ensemble"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate.*positive"),
        ({"time_limit": float("nan")}, "time_limit.*positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        DenseClassifier(**arguments).fit(np.arange(30.0)[:, None], np.arange(30) % 2)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.ones((3, 1)), [0, 1], "3 rows of X and 2 of y"),
        (np.ones((3, 1)), None, "requires y to be passed"),
        (np.ones((4, 1)), [0, 1, 0, 1], "No column can be used.*'x0'"),
        (np.ones((3, 1)), [1, 1, 1], "only one class"),
        (np.ones((3, 1)), [1, np.nan, 0], "NaN.*row 1"),
        (np.eye(3), [0.1, 0.2, 0.5], "Unknown label type"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, y, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        DenseClassifier().fit(x, y)


def test_two_rows_one_column_and_a_class_of_one_row_are_enough():
    assert DenseRegressor(**QUICK).fit([[0.0], [1.0]], [0.0, 1.0]).predict([[1.0]]).shape == (1,)
    assert DenseClassifier(**QUICK).fit([[0.0], [1.0]], ["a", "b"]).predict([[1.0]])[0] in ("a", "b")
    y = np.array(["common"] * 119 + ["rare"])
    with pytest.warns(UserWarning, match="single row: 'rare'"):
        model = DenseClassifier(**QUICK).fit(np.arange(120.0)[:, None], y)
    assert model.classes_.tolist() == ["common", "rare"]


def test_progress_is_shown_and_the_time_is_kept(capsys):
    x = np.random.default_rng(0).normal(size=(200, 2))
    model = DenseRegressor(epochs=20_000, n_ensemble=1, random_state=0, time_limit=1, verbose=1).fit(x, x[:, 0])
    assert "network 1" in capsys.readouterr().out
    assert len(model.curves_[0]) < 20_000


def test_the_room_is_found_by_name():
    assert lamina.tabular.load is load
    assert "DenseClassifier" in dir(lamina.tabular)
    with pytest.raises(AttributeError, match="no attribute 'Dense'"):
        lamina.tabular.Dense  # noqa: B018
