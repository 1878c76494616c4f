"""Estimators of scikit-learn for tables. They need scikit-learn; what they fit, a `Predictor`, does not."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from lamina._types import Numpy
from lamina.errors import did_you_mean, invalid, message, positive_integer, warn
from lamina.tabular import fitting, frames, recipes, targets
from lamina.tabular.columns import Encoder
from lamina.tabular.predictor import Predictor, Task
from lamina.tabular.progress import Bars

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import DataConversionWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        message(
            "`DenseClassifier` and `DenseRegressor` need scikit-learn 1.6 or later.",
            fix="pip install 'lamina[tabular]'",
        )
    ) from error

__all__ = ["DenseClassifier", "DenseRegressor"]

PRESETS = ("default", "fast", "best")


class _Dense(BaseEstimator):  # type: ignore[misc]
    """What both estimators share."""

    _task: Task
    predictor_: Predictor
    n_features_in_: int
    feature_names_in_: Numpy

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _fit(self, table: frames.Table, target: Numpy, weight: Numpy | None, classes: Numpy | None) -> Self:
        """Learn the columns, then train the networks."""
        objective = getattr(self, "objective", "log_loss")
        recipe = self._recipe(objective, table.rows)
        encoder = Encoder.fit(table, weight)
        for note in encoder.warnings:
            warn(note)
        examples = targets.ordered(encoder.transform(table), target, weight)
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        with Bars(self.verbose) as bars:
            fitted = fitting.fit(
                *examples,
                task=self._task,
                outputs=1 if classes is None else len(classes),
                recipe=recipe,
                objective=objective,
                seed=int(seed),
                time_limit=self.time_limit,
                progress=bars.told if self.verbose else None,
                folds=self.n_folds,
                members=self.n_ensemble,
            )
        settings = {"preset": self.preset, "objective": objective, "seed": int(seed), "rows": table.rows}
        self.predictor_ = Predictor(self._task, encoder, fitted, classes, settings)
        self.n_features_in_ = len(table.columns)
        if table.named:
            self.feature_names_in_ = np.array(table.names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def _recipe(self, objective: str, rows: int) -> recipes.Recipe:
        """The preset's recipe with what the caller wants otherwise."""
        if self.preset not in PRESETS:
            raise invalid(
                f"`preset` must be one of {', '.join(map(repr, PRESETS))}.", received=f"preset={self.preset!r}",
                fix=did_you_mean(str(self.preset), PRESETS),
            )  # fmt: skip
        if objective not in recipes.OBJECTIVES:
            raise invalid(
                f"`objective` must be one of {', '.join(map(repr, recipes.OBJECTIVES))}.",
                received=f"objective={objective!r}",
                fix=did_you_mean(str(objective), recipes.OBJECTIVES),
            )
        for name, least in (("n_ensemble", 1), ("n_folds", 2)):
            value = getattr(self, name)
            if value is not None and positive_integer(value, name) < least:
                raise invalid(f"`{name}` must be at least {least}.", received=f"{name}={value}")
        if self.n_folds is not None and self.n_folds > rows:
            raise invalid("`n_folds` must not exceed the rows.", received=f"n_folds={self.n_folds} for {rows} rows")
        for name in ("time_limit", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < float("inf")):
                raise invalid(f"`{name}` must be a positive number or None.", received=f"{name}={value!r}")
        wanted: dict[str, Any] = {}
        if self.epochs is not None:
            wanted["epochs"] = positive_integer(self.epochs, "epochs")
        if self.batch_size is not None:
            wanted["batch"] = positive_integer(self.batch_size, "batch_size")
        if self.learning_rate is not None:
            wanted["learning_rate"] = float(self.learning_rate)
        return replace(recipes.recipe(self.preset, self._task, objective), **wanted)

    def _target(self, y: Any, rows: int) -> Numpy:
        if y is None:
            raise invalid(
                f"{type(self).__name__} requires y to be passed, but the target y is None.", fix="call `fit(X, y)`."
            )
        if not hasattr(y, "shape"):
            y = targets.array(y)
        if len(y.shape) == 2 and y.shape[1] == 1:
            warn(
                "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
                "(n_samples,), for example using ravel().",
                DataConversionWarning,
            )
            y = targets.array(y)[:, 0]
        found = targets.plain(y)
        if len(found) != rows:
            raise invalid("X and y must have as many rows.", received=f"{rows} rows of X and {len(found)} of y")
        targets.no_gaps(found)
        return found

    def _predictor(self) -> Predictor:
        check_is_fitted(self)
        return self.predictor_

    def predict(self, X: Any) -> Numpy:
        """The label of each row, or its value in the units of the target."""
        return self._predictor().predict(X)

    @property
    def curves_(self) -> list[list[float]]:
        """For each network what was measured on the rows held back, epoch by epoch; less is better."""
        return self._predictor().fitted.curves

    @property
    def notes_(self) -> list[str]:
        """What was done with columns that their reader might not expect."""
        return self._predictor().encoder.notes

    def save(self, path: Any) -> None:
        """Write the fitted model to one file, which `lamina.tabular.load` reads."""
        from lamina.tabular.predictor import save

        save(self, path)


class DenseClassifier(ClassifierMixin, _Dense):  # type: ignore[misc]
    """Dense networks that tell classes from tables with columns of any kind.

    Tables of pandas, polars, PyArrow and NumPy, and lists of dicts, go in as they are: numbers, booleans, texts,
    categories, dates, with missing cells. The same seed gives the same bits.

    Args:
        preset: "default", "fast" or "best".
        objective: What to be best at: "log_loss" (probabilities), "accuracy" or "auc".
        n_ensemble: How many networks are averaged. Default: the preset's.
        n_folds: Into how many parts the rows are dealt; each network leaves one out, and chooses its epoch by it.
        class_weight: None, "balanced", or a dict of weights by label.
        epochs: Passes over the rows. Default: the preset's, as for the next two.
        batch_size: Rows in a step.
        learning_rate: The highest one, in the units of the neural-tangent parametrization.
        random_state: Seed of all that is drawn. None: another one each time.
        time_limit: Seconds that the training may take; its schedule is shortened to it.
        verbose: 1 shows a bar for each network.

    Attributes:
        classes_: The labels, in order.
        predictor_: The fitted model, which needs no scikit-learn.
        n_features_in_: How many columns `fit` had.
        feature_names_in_: Their names, if they had any.
    """

    _task = "classification"
    classes_: Numpy

    def __init__(
        self,
        preset: str = "default",
        *,
        objective: str = "log_loss",
        n_ensemble: int | None = None,
        n_folds: int | None = None,
        class_weight: Any = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        random_state: Any = None,
        time_limit: float | None = None,
        verbose: int = 0,
    ) -> None:
        self.preset, self.objective, self.n_ensemble, self.n_folds = preset, objective, n_ensemble, n_folds
        self.class_weight, self.epochs, self.batch_size = class_weight, epochs, batch_size
        self.learning_rate, self.random_state, self.time_limit = learning_rate, random_state, time_limit
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on a table and return the estimator.

        Args:
            X: The table.
            y: A label for each row.
            sample_weight: How much each row counts.

        Raises:
            InvalidArgumentError: If anything cannot be used; the text names the column and the remedy.
        """
        table = frames.read(X)
        y = self._target(y, table.rows)
        check_classification_targets(y)
        weight = targets.weights(sample_weight, table.rows)
        labels = targets.labels(y, weight)
        _warn_single(labels)
        weight = targets.of_classes(self.class_weight, labels, weight)
        self._fit(table, labels.places, weight, labels.classes)
        self.classes_ = labels.classes
        return self

    def predict_proba(self, X: Any) -> Numpy:
        """The probability of each class for each row.

        Shapes: result `rows classes`
        """
        return self._predictor().predict_proba(X)

    def decision_function(self, X: Any) -> Numpy:
        """Logarithms of the probabilities; of two classes, how much that of the second exceeds the first's.

        Shapes: result `rows classes`, or `rows` for two classes
        """
        return self._predictor().decision_function(X)


class DenseRegressor(RegressorMixin, _Dense):  # type: ignore[misc]
    """Dense networks that tell numbers from tables with columns of any kind.

    Tables of pandas, polars, PyArrow and NumPy, and lists of dicts, go in as they are: numbers, booleans, texts,
    categories, dates, with missing cells. The same seed gives the same bits.

    Args:
        preset: "default", "fast" or "best".
        n_ensemble: How many networks are averaged. Default: the preset's.
        n_folds: Into how many parts the rows are dealt; each network leaves one out, and chooses its epoch by it.
        epochs: Passes over the rows. Default: the preset's, as for the next two.
        batch_size: Rows in a step.
        learning_rate: The highest one, in the units of the neural-tangent parametrization.
        random_state: Seed of all that is drawn. None: another one each time.
        time_limit: Seconds that the training may take; its schedule is shortened to it.
        verbose: 1 shows a bar for each network.

    Attributes:
        predictor_: The fitted model, which needs no scikit-learn.
        n_features_in_: How many columns `fit` had.
        feature_names_in_: Their names, if they had any.
    """

    _task = "regression"

    def __init__(
        self,
        preset: str = "default",
        *,
        n_ensemble: int | None = None,
        n_folds: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        random_state: Any = None,
        time_limit: float | None = None,
        verbose: int = 0,
    ) -> None:
        self.preset, self.n_ensemble, self.n_folds, self.epochs = preset, n_ensemble, n_folds, epochs
        self.batch_size, self.learning_rate, self.random_state = batch_size, learning_rate, random_state
        self.time_limit, self.verbose = time_limit, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on a table and return the estimator.

        Args:
            X: The table.
            y: A number for each row.
            sample_weight: How much each row counts.

        Raises:
            InvalidArgumentError: If anything cannot be used; the text names the column and the remedy.
        """
        table = frames.read(X)
        numbers = targets.values(self._target(y, table.rows))
        return self._fit(table, numbers, targets.weights(sample_weight, table.rows), None)


def _warn_single(labels: targets.Labels) -> None:
    counts = np.bincount(labels.places, minlength=len(labels.classes))
    single = [repr(label) for label in labels.classes[counts == 1].tolist()]
    if single and len(labels.places) > targets.FEW:
        named = ", ".join(single[:5]) + (f" and {len(single) - 5:,} more" if len(single) > 5 else "")
        warn(f"Labels with a single row: {named}. They are learnt from, but nothing tells how well.")
