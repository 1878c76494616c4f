"""Estimators of scikit-learn for tables. They need scikit-learn; what they fit, a `Predictor`, does not."""

from typing import Any, Self

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid, message, warn
from lamina.tabular import frames, targets
from lamina.tabular.learning import Wish, learn
from lamina.tabular.predictor import Predictor, Task

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
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        wish = Wish(
            preset=self.preset,
            objective=getattr(self, "objective", "log_loss"),
            n_ensemble=self.n_ensemble,
            n_folds=self.n_folds,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            time_limit=self.time_limit,
            seed=int(seed),
            verbose=self.verbose,
        )
        self.predictor_ = learn(table, target, weight, classes, wish)
        self.n_features_in_ = len(table.columns)
        if table.named:
            self.feature_names_in_ = np.array(table.names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

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
