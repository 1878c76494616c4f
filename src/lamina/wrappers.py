"""Models as estimators of scikit-learn, under Keras's names. Needs scikit-learn."""

import copy
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from lamina.callbacks import History
from lamina.errors import InvalidTypeError, invalid, message
from lamina.models import Model
from lamina.models.cloning import clone_model

try:
    from sklearn import get_config
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.utils.metadata_routing import MetadataRequest
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise ImportError(
        message("`lamina.wrappers` needs scikit-learn 1.6 or later.", fix="pip install 'scikit-learn>=1.6'")
    ) from error

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


class _Wrapper(BaseEstimator):  # type: ignore[misc]
    """What the three wrappers share.

    Args:
        model: A compiled model, which is cloned before it is fitted, or a function `(X, y, **model_kwargs)` that
            returns one.
        warm_start: Whether another `fit` goes on with the weights of the last one.
        model_kwargs: Further arguments for `model`, if it is a function.
        fit_kwargs: Arguments for the model's `fit`; those given to `fit` here come first.

    Attributes:
        model_: The fitted model.
        history_: What the model's `fit` returned.
    """

    model_: Model
    history_: History

    def __init__(
        self,
        model: Model | Callable[..., Model],
        warm_start: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    def __sklearn_clone__(self) -> Self:
        model = copy.deepcopy(self.model) if isinstance(self.model, Model) else self.model
        return type(self)(model, self.warm_start, self.model_kwargs, self.fit_kwargs)

    @property
    def epoch_(self) -> int:
        """Number of epochs of the last `fit`."""
        return len(self.history_.epoch) if hasattr(self, "history_") else 0

    def set_fit_request(self, **kwargs: Any) -> Self:
        """Say which metadata `fit` wants, as `name=alias`; see scikit-learn's metadata routing.

        Raises:
            RuntimeError: If metadata routing is off.
        """
        if not get_config().get("enable_metadata_routing", False):
            raise RuntimeError(
                "This method is only available when metadata routing is enabled. You can enable it using "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        self._metadata_request = MetadataRequest(owner=self)
        for param, alias in kwargs.items():
            self._metadata_request.fit.add_request(param=param, alias=alias)
        return self

    def _model_for(self, x: Any, y: Any) -> Model:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Model):
            model = clone_model(self.model)
        elif callable(self.model):
            model = self.model(X=x, y=y, **(self.model_kwargs or {}))
        else:
            raise InvalidTypeError(
                message("`model` must be a model, or a function that returns one.", received=f"model={self.model!r}")
            )
        if not model.compiled or model.loss is None or model.optimizer is None:
            raise RuntimeError("Given model needs to be compiled, and have a loss and an optimizer.")
        return model

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Self:
        """Fit the model and return the estimator.

        Shapes: X `(samples, features)`, y `(samples,)` or `(samples, outputs)`.

        Args:
            X: Inputs.
            y: Targets.
            kwargs: Arguments for the model's `fit`.
        """
        X, y = validate_data(self, X, y, multi_output=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = self._target(y)
        model = self._model_for(X, target)
        self.history_ = model.fit(X, target, **{**(self.fit_kwargs or {}), **kwargs})
        self.model_ = model
        return self

    def _outputs(self, x: Any) -> Any:
        check_is_fitted(self)
        found = self.model_.predict(validate_data(self, x, reset=False))
        return found[0] if isinstance(found, list | tuple) and len(found) == 1 else found

    def predict(self, X: Any) -> Any:
        """Return the predictions for `X`, in the form of the targets."""
        return self._untargeted(self._outputs(X))

    def _target(self, y: Any) -> Any:
        """Return what the model is fitted on."""
        type_of_target(y, raise_unknown=True)
        self._rank = y.ndim
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _untargeted(self, found: Any) -> Any:
        return found[:, 0] if self._rank == 1 and found.ndim == 2 and found.shape[1] == 1 else found


class SKLearnClassifier(ClassifierMixin, _Wrapper):  # type: ignore[misc]
    """A classifier of scikit-learn around a model whose targets are one-hot.

    Attributes:
        classes_: The labels.
    """

    classes_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def decision_function(self, X: Any) -> Any:
        """Return the outputs of the model for `X`."""
        return self._outputs(X)

    def _target(self, y: Any) -> Any:
        kind = type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise invalid(f"Only binary and multiclass target types are supported. Target type: {kind}")
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise invalid("Classifier can't train when only one class is present.", received=f"{self.classes_[0]!r}")
        return np.eye(len(self.classes_))[numbers.reshape(-1)]

    def _untargeted(self, found: Any) -> Any:
        return self.classes_[np.argmax(found, axis=-1)]


class SKLearnRegressor(RegressorMixin, _Wrapper):  # type: ignore[misc]
    """A regressor of scikit-learn around a model."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, _Wrapper):  # type: ignore[misc]
    """A transformer of scikit-learn: the outputs of a model are the new features."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def transform(self, X: Any) -> Any:
        """Return the outputs of the model for `X`."""
        return self._outputs(X)
