"""Models as estimators of scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina import keras
from lamina.errors import InvalidArgumentError
from lamina.keras import Input, Sequential, layers
from lamina.keras.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

QUIET = {"epochs": 8, "verbose": 0, "batch_size": 16}


def classifier(X, y, units=8):
    model = Sequential([Input(X.shape[1:]), layers.Dense(units, "relu"), layers.Dense(y.shape[1], "softmax")])
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def classes():
    X, y = make_classification(120, 6, class_sep=2.0, random_state=0)
    return X.astype("float32"), np.array(["no", "yes"])[y]


def test_a_classifier_learns_labels_of_any_kind_and_can_be_cross_validated(classes):
    estimator = SKLearnClassifier(classifier, fit_kwargs=QUIET)
    assert np.mean(cross_val_score(estimator, *classes, cv=3)) > 0.8
    fitted = estimator.fit(*classes)
    assert list(fitted.classes_) == ["no", "yes"]
    assert set(fitted.predict(classes[0])) <= {"no", "yes"}
    assert fitted.decision_function(classes[0]).shape == (120, 2)
    assert fitted.epoch_ == 8


def test_arguments_of_the_model_are_searched(classes):
    search = GridSearchCV(
        SKLearnClassifier(classifier, model_kwargs={"units": 2}, fit_kwargs=QUIET),
        {"model_kwargs": [{"units": 2}, {"units": 16}]},
        cv=2,
    )
    assert search.fit(*classes).best_params_["model_kwargs"]["units"] in (2, 16)


def test_a_model_is_cloned_before_it_is_fitted_and_only_a_warm_start_goes_on(classes):
    model = classifier(classes[0], np.zeros((1, 2)))
    before = [w.copy() for w in model.get_weights()]
    cold, warm = SKLearnClassifier(model, fit_kwargs=QUIET), SKLearnClassifier(model, True, fit_kwargs=QUIET)
    for estimator in (cold, warm):
        first = estimator.fit(*classes).model_
        assert (estimator.fit(*classes).model_ is first) == estimator.warm_start
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert clone(cold).fit_kwargs == QUIET


def test_a_regressor_and_a_transformer_work_in_a_pipeline():
    X, y = make_regression(80, 4, random_state=0)
    X, y = X.astype("float32"), (y / 100).astype("float32")

    def model(X, y):
        made = Sequential([Input(X.shape[1:]), layers.Dense(1 if y.ndim == 1 else y.shape[1])])
        made.compile(keras.optimizers.Adam(0.1), "mse")
        return made

    pipe = make_pipeline(StandardScaler(), SKLearnRegressor(model, fit_kwargs={**QUIET, "epochs": 30}))
    assert pipe.fit(X, y).score(X, y) > 0.9
    assert pipe.predict(X).shape == (80,)
    assert SKLearnTransformer(model, fit_kwargs=QUIET).fit_transform(X, y).shape == (80, 1)


@pytest.mark.parametrize(
    ("model", "y", "error", "text"),
    [
        (lambda X, y: Sequential([Input((2,)), layers.Dense(2)]), [0, 1], RuntimeError, "needs to be compiled"),
        (classifier, [1, 1], InvalidArgumentError, "only one class"),
        (classifier, [0.5, 1.5], InvalidArgumentError, "Only binary and multiclass"),
        ("a name", [0, 1], TypeError, "a function that returns one"),
    ],
)
def test_what_cannot_be_fitted_is_refused(model, y, error, text):
    with pytest.raises(error, match=text):
        SKLearnClassifier(model).fit(np.eye(2, dtype="float32"), np.array(y))
