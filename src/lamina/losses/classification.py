"""Losses for classes: crossentropies. Probabilities are kept 1e-7 away from 0 and 1, logits need no such care."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config, registry
from lamina._types import Array, ArrayLike
from lamina.errors import InvalidArgumentError, invalid
from lamina.losses.base import LossFunctionWrapper
from lamina.ops.basics import as_floats


def _check_axis(axis: Any) -> None:
    if isinstance(axis, bool):
        raise invalid("`axis` must be of type `int`.", received=f"axis={axis} of type {type(axis)}")


def _warn_of_one_class(loss: str, y_pred: Array) -> None:
    if y_pred.ndim and y_pred.shape[-1] == 1:
        warnings.warn(
            f"In loss {loss}, expected y_pred.shape to be (batch_size, num_classes) with num_classes > 1. "
            f"Received: y_pred.shape={y_pred.shape}. Consider using 'binary_crossentropy' if you only have 2 classes.",
            SyntaxWarning,
            stacklevel=3,
        )


def _different_shapes(target: Array, output: Array, fix: str, extent: str = "") -> InvalidArgumentError:
    return invalid(
        f"Arguments `target` and `output` must have the same shape{extent or '. Received'}: "
        f"target.shape={target.shape}, output.shape={output.shape}",
        fix=fix,
    )


def _log_probabilities(output: Array, from_logits: bool, axis: int) -> Array:
    """Return the logarithms of the probabilities of the classes."""
    if from_logits:
        return jax.nn.log_softmax(output, axis=axis)
    output = output / jnp.sum(output, axis, keepdims=True)
    return jnp.log(jnp.clip(output, config.epsilon(), 1.0 - config.epsilon()))


@registry.export("losses")
def categorical_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Array:
    """Return minus the sum of `y_true * log(y_pred)` over the classes.

    Shapes: targets (one-hot or probabilities) and predictions `(batch, ..., classes)`, result `(batch, ...)`.

    Args:
        y_true: Probabilities that are wanted, one-hot for plain labels.
        y_pred: Probabilities, or logits.
        from_logits: Whether the predictions are logits: then `softmax` is applied here, which is exact for any size.
        label_smoothing: Share of the targets that is spread evenly over all classes.
        axis: Where the classes are.

    Raises:
        InvalidArgumentError: If the shapes differ.
    """
    _check_axis(axis)
    y_pred = as_floats(y_pred)
    y_true = jnp.asarray(y_true, y_pred.dtype)
    _warn_of_one_class("categorical_crossentropy", y_pred)
    if y_true.shape != y_pred.shape or not y_pred.ndim:
        fix = "for integer labels use `sparse_categorical_crossentropy`; one-hot targets have a column for each class."
        raise _different_shapes(y_true, y_pred, fix)
    y_true = _smoothed(y_true, label_smoothing, y_true.shape[axis])
    return -jnp.sum(y_true * _log_probabilities(y_pred, from_logits, axis), axis=axis)


def _smoothed(y_true: Array, label_smoothing: float, classes: int) -> Array:
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / jnp.asarray(classes, y_true.dtype)


@registry.export("losses")
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Array:
    """Return minus the log-probability of the class that each label names.

    Shapes: labels `(batch, ...)` or `(batch, ..., 1)`, predictions `(batch, ..., classes)`, result `(batch, ...)`.

    Args:
        y_true: Labels in [0, classes). One outside gives 0 and teaches nothing: check them before.
        y_pred: Probabilities, or logits.
        from_logits: Whether the predictions are logits.
        ignore_class: A label whose samples cost nothing.
        axis: Where the classes are.

    Raises:
        InvalidArgumentError: If the shapes do not belong together.
    """
    y_pred = as_floats(y_pred)
    y_true = _checked_labels(y_true, y_pred, axis)
    if ignore_class is not None:
        valid = y_true != ignore_class
        y_pred = jnp.where(jnp.expand_dims(valid, axis), y_pred, 1)  # whatever stands there gets no gradient
    log_probabilities = _log_probabilities(y_pred, from_logits, axis)
    classes = jnp.arange(y_pred.shape[axis], dtype="int32")
    classes = jnp.expand_dims(classes, [i for i in range(y_pred.ndim) if i != axis % y_pred.ndim])
    # A comparison fuses into the sum, forward and backward; a gather would scatter on the way back.
    named = jnp.expand_dims(y_true.astype("int32"), axis) == classes
    values = -jnp.sum(jnp.where(named, log_probabilities, 0), axis=axis)
    values = values.astype(jnp.promote_types(values.dtype, "float32"))
    return values if ignore_class is None else jnp.where(valid, values, 0)


def _labels(y_true: ArrayLike, y_pred: Array, axis: int) -> Array:
    """Return the labels without the axis of size 1 that a column of labels has."""
    labels = jnp.asarray(y_true)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = labels.astype("int32")  # an unsigned type has no -1 to be ignored
    if labels.ndim == y_pred.ndim and labels.ndim and labels.shape[axis] == 1:
        return jnp.squeeze(labels, axis)
    return labels


def _checked_labels(y_true: ArrayLike, y_pred: Array, axis: int) -> Array:
    labels = _labels(y_true, y_pred, axis)
    if labels.shape != y_pred.shape[:-1] or not y_pred.ndim:
        fix = "for one-hot targets use `categorical_crossentropy`; labels are integers, one for each sample."
        raise _different_shapes(labels, y_pred, fix, " up until the last dimension")
    return labels


@registry.export("losses", "bce", "BCE")
def binary_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Array:
    """Return the mean over `axis` of `-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)`.

    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.

    Args:
        y_true: 0 or 1, or the probability of 1.
        y_pred: Probabilities of 1, or logits.
        from_logits: Whether the predictions are logits: then `sigmoid` is applied here, which is exact for any size.
        label_smoothing: Share of the targets that is replaced by 1/2.
        axis: The axis that the mean is taken over.

    Raises:
        InvalidArgumentError: If the shapes differ.
    """
    y_pred = as_floats(y_pred)
    y_true = _smoothed(jnp.asarray(y_true, y_pred.dtype), label_smoothing, 2)
    return jnp.mean(_binary_values(y_true, y_pred, from_logits), axis=axis)


def _binary_values(y_true: Array, y_pred: Array, from_logits: bool) -> Array:
    if y_true.shape != y_pred.shape:
        raise _different_shapes(y_true, y_pred, "the last layer has as many units as a target has numbers.")
    if from_logits:
        return -y_true * jax.nn.log_sigmoid(y_pred) - (1.0 - y_true) * jax.nn.log_sigmoid(-y_pred)
    y_pred = jnp.clip(y_pred, config.epsilon(), 1.0 - config.epsilon())
    return -(y_true * jnp.log(y_pred) + (1.0 - y_true) * jnp.log(1.0 - y_pred))


@registry.export("losses")
def categorical_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """Return the categorical crossentropy with each class's term times `alpha * (1 - y_pred) ** gamma`.

    What is predicted well already counts little (Lin et al. 2017).
    Shapes: targets and predictions `(batch, ..., classes)`, result `(batch, ...)`.
    """
    _check_axis(axis)
    y_pred = as_floats(y_pred)
    y_true = jnp.asarray(y_true, y_pred.dtype)
    _warn_of_one_class("categorical_focal_crossentropy", y_pred)
    if config.strict() and y_true.shape != y_pred.shape:
        raise _different_shapes(y_true, y_pred, "one-hot targets have a column for each class.")
    y_true = _smoothed(y_true, label_smoothing, y_true.shape[axis])
    output = jax.nn.softmax(y_pred, axis=axis) if from_logits else y_pred
    output = output / jnp.sum(output, axis=axis, keepdims=True)
    output = jnp.clip(output, config.epsilon(), 1.0 - config.epsilon())
    weight = jnp.power(1.0 - output, gamma) * alpha
    return jnp.sum(weight * (-y_true * jnp.log(output)), axis=axis)


@registry.export("losses")
def binary_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """Return the binary crossentropy times `(1 - p) ** gamma`, where `p` is the probability of what is true.

    With `apply_class_balancing` also times `alpha` for targets of 1 and `1 - alpha` for 0 (Lin et al. 2017).
    Shapes: targets and predictions `(batch, ..., outputs)`, result `(batch, ...)`.
    """
    y_pred = as_floats(y_pred)
    y_true = _smoothed(jnp.asarray(y_true, y_pred.dtype), label_smoothing, 2)
    y_pred = jax.nn.sigmoid(y_pred) if from_logits else y_pred
    values = _binary_values(y_true, y_pred, from_logits=False)
    of_truth = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    values = jnp.power(1.0 - of_truth, gamma) * values
    if apply_class_balancing:
        values = (y_true * alpha + (1 - y_true) * (1 - alpha)) * values
    return jnp.mean(values, axis=axis)


@registry.export("losses")
def categorical_generalized_cross_entropy(y_true: ArrayLike, y_pred: ArrayLike, q: float) -> Array:
    """Return `(1 - p ** q) / q`, where `p` is the probability of the class that a label names.

    Between crossentropy (q near 0) and absolute error (q = 1): robust to wrong labels (Zhang and Sabuncu 2018).
    Shapes: labels `(batch, ...)`, predictions `(batch, ..., classes)`, result `(batch, ...)`.
    """
    y_pred = as_floats(y_pred)
    labels = _checked_labels(y_true, y_pred, -1)
    named = jax.nn.one_hot(labels.astype("int32"), y_pred.shape[-1], dtype=y_pred.dtype)
    return (1 - jnp.power(jnp.sum(y_pred * named, axis=-1), q)) / q


@registry.export("losses", "kld", "KLD", "kullback_leibler_divergence")
def kl_divergence(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Return the sum over the classes of `y_true * log(y_true / y_pred)`.

    Shapes: probabilities `(batch, ..., classes)`, result `(batch, ...)`.
    """
    y_pred = as_floats(y_pred)
    y_true = jnp.clip(jnp.asarray(y_true, y_pred.dtype), config.epsilon(), 1)
    y_pred = jnp.clip(y_pred, config.epsilon(), 1)
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


_MEAN = "sum_over_batch_size"


def _share(value: Any, name: str) -> Any:
    if isinstance(value, int | float) and not 0 <= value <= 1:
        raise invalid(f"`{name}` must be a number from 0 to 1.", received=f"{name}={value!r}")
    return value


@registry.export("losses")
class CategoricalCrossentropy(LossFunctionWrapper):
    """Minus the sum of `y_true * log(y_pred)` over the classes, for one-hot targets.

    Args:
        from_logits: Whether the predictions are logits.
        label_smoothing: Share of the targets, from 0 to 1, that is spread evenly over all classes.
        axis: Where the classes are.
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.label_smoothing = _share(label_smoothing, "label_smoothing")
        self.axis = axis
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(categorical_crossentropy, name=name, reduction=reduction, dtype=dtype, **options)


@registry.export("losses")
class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Minus the log-probability of the class that each label names, for integer labels.

    Args:
        from_logits: Whether the predictions are logits.
        ignore_class: A label whose samples count for nothing.
        reduction: How the values become one number.
        axis: Where the classes are.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
    """

    _beyond_keras = ("dtype", "axis")
    _labels_stay_integers = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = _MEAN,
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(sparse_categorical_crossentropy, name=name, reduction=reduction, dtype=dtype, **options)

    def valid_entries(self, y_true: Any, y_pred: Any, values: Any) -> Array | None:
        """Return where the label is not `ignore_class`, or None if every label counts."""
        if self.ignore_class is None:
            return None
        return _labels(y_true, y_pred, self.axis) != self.ignore_class


@registry.export("losses")
class BinaryCrossentropy(LossFunctionWrapper):
    """The mean of `-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)`, for targets of 0 and 1.

    Args:
        from_logits: Whether the predictions are logits.
        label_smoothing: Share of the targets, from 0 to 1, that is replaced by 1/2.
        axis: The axis that the mean is taken over.
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.label_smoothing = _share(label_smoothing, "label_smoothing")
        self.axis = axis
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(binary_crossentropy, name=name, reduction=reduction, dtype=dtype, **options)


@registry.export("losses")
class BinaryFocalCrossentropy(LossFunctionWrapper):
    """The binary crossentropy times `(1 - p) ** gamma`, where `p` is the probability of what is true.

    Args:
        apply_class_balancing: Whether targets of 1 weigh `alpha` and those of 0 `1 - alpha`.
        alpha: The weight of targets of 1.
        gamma: How fast what is predicted well stops to count.
        from_logits: Whether the predictions are logits.
        label_smoothing: Share of the targets, from 0 to 1, that is replaced by 1/2.
        axis: The axis that the mean is taken over.
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = _share(label_smoothing, "label_smoothing")
        self.axis = axis
        options = {
            "apply_class_balancing": apply_class_balancing,
            "alpha": alpha,
            "gamma": gamma,
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
        }
        super().__init__(binary_focal_crossentropy, name=name, reduction=reduction, dtype=dtype, **options)


@registry.export("losses")
class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """The categorical crossentropy with each class's term times `alpha * (1 - y_pred) ** gamma`.

    Args:
        alpha: A factor, or one for each class.
        gamma: How fast what is predicted well stops to count.
        from_logits: Whether the predictions are logits.
        label_smoothing: Share of the targets, from 0 to 1, that is spread evenly over all classes.
        axis: Where the classes are.
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = _share(label_smoothing, "label_smoothing")
        self.axis = axis
        options = {
            "alpha": alpha,
            "gamma": gamma,
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
        }
        super().__init__(categorical_focal_crossentropy, name=name, reduction=reduction, dtype=dtype, **options)


@registry.export("losses")
class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """`(1 - p ** q) / q`, where `p` is the probability of the class that a label names.

    Args:
        q: Between 0 (crossentropy) and 1 (absolute error).
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.

    Raises:
        InvalidArgumentError: If q is not between 0 and 1.
    """

    _labels_stay_integers = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        if not 0 < q < 1:
            raise invalid("q must be in the interval (0, 1).", received=f"q={q!r}")
        super().__init__(categorical_generalized_cross_entropy, name=name, reduction=reduction, dtype=dtype, q=q)
        self.q = q


@registry.export("losses")
class KLDivergence(LossFunctionWrapper):
    """The sum over the classes of `y_true * log(y_true / y_pred)`, for targets that are probabilities."""

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(kl_divergence, name=name, reduction=reduction, dtype=dtype)
