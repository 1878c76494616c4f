"""Everything about data that can be known before the first step is checked here, once a fit."""

import math
import warnings
from typing import Any

import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, invalid
from lamina.losses import LossFunctionWrapper
from lamina.training import arrays
from lamina.training.compiled import CompiledLoss

_SPARSE = ("sparse_categorical_crossentropy",)
_ONE_HOT = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
)
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_SHAPED = (
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
    "huber", "log_cosh", "hinge", "squared_hinge", "poisson", "kl_divergence", "cosine_similarity", "dice", "tversky",
)  # fmt: skip


def whole_number(value: Any, name: str, least: int, *, optional: bool = False) -> int | None:
    """Return `value` as an int, or raise `InvalidArgumentError` unless it is a whole number of at least `least`."""
    if value is None and optional:
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise invalid(
        f"`{name}` must be a whole number of at least {least}" + (" or None." if optional else "."),
        received=f"{name}={value!r}",
    )


def validation_share(value: Any) -> float:
    """Return `validation_split`, or raise `InvalidArgumentError` unless it is 0 or in (0, 1)."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 <= value < 1:
        return float(value)
    raise invalid(
        "`validation_split` must be in (0, 1): the share of the last rows to validate on.",
        received=f"validation_split={value!r}",
        fix="pass e.g. 0.2.",
    )


def split_rows(rows: int, share: float) -> int:
    """Return how many of `rows` are trained on when the last `share` of them is kept for validation.

    Raises:
        InvalidArgumentError: If one of the parts would be empty.
    """
    kept = math.floor(rows * (1.0 - share))
    if kept == 0 or kept == rows:
        raise invalid(
            f"Training data contains {rows} samples, which is not sufficient to split it into a validation and "
            "training set as specified by `validation_split`.",
            received=f"validation_split={share}",
            fix="pass more rows or another share.",
        )
    return kept


def inputs(model: Any, x: Tree, name: str = "x") -> Tree:
    """Return the inputs with the ranks that the model asks for, or raise `InvalidArgumentError` if they do not fit."""
    wanted = model.input_specs()
    found = arrays.leaves_with_names(x, name)
    for label, array in found:
        arrays.check_range(array, label)
        if config.strict():
            arrays.check_finite(array, label)
    if wanted is None:
        return x
    named = model.name_inputs(x)  # flat, in the order of the model's inputs
    if named is None:
        raise invalid(
            f"The model has {len(wanted)} input{'s' if len(wanted) > 1 else ''}"
            f" ({', '.join(w.name for w in wanted)}), but `{name}` has {len(found)} arrays.",
            owner=f"Model `{model.name}`",
            received=", ".join(f"{label}.shape={tuple(a.shape)}" for label, a in found),
            fix="pass a list in that order or a dict by input name." if len(wanted) > 1 else "pass one array.",
        )
    fitted: list[Numpy | None] = []
    for spec, array in zip(wanted, named, strict=True):
        if array is None:
            fitted.append(None)
            continue
        label = name if len(wanted) == 1 else f"{name} for input `{spec.name}`"
        array = arrays.fit_rank(array, spec.shape, label)
        _check_shape(model, spec, array, label)
        fitted.append(array)
    return model.pack_inputs(fitted)


def _check_shape(model: Any, spec: Any, array: Numpy, label: str) -> None:
    """Raise `InvalidArgumentError` unless the sizes of an input are those of the model."""
    shape = tuple(array.shape)
    fits = len(shape) == len(spec.shape) and all(
        want is None or want == size for want, size in zip(spec.shape[1:], shape[1:], strict=True)
    )
    if not fits:
        raise_shape(model, spec, array, label)


def raise_shape(model: Any, spec: Any, array: Any, label: str) -> None:
    """Raise `InvalidArgumentError` for an input whose sizes are not those of the model."""
    shape = tuple(array.shape)
    layer = model.first_layer_after(spec)
    kernel = getattr(layer, "kernel", None)
    matrix = ""
    if kernel is not None and len(shape) >= 2 and kernel.ndim == 2 and kernel.shape[0] != shape[-1]:
        rows = ",".join(map(str, shape))
        matrix = f"Matrix size-incompatible: In[0]: [{rows}], In[1]: [{','.join(map(str, kernel.shape))}]\n"
    raise InvalidArgumentError(
        f"{matrix}`{label}` has shape {shape}, but model `{model.name}` expects {_shown(spec.shape)}: "
        f"input `{spec.name}`"
        + (f" of layer `{layer.name}` is incompatible with the layer" if layer is not None else "")
        + f"; expected axis -1 of input shape to have value {spec.shape[-1]}, but received input with shape {shape}.\n"
        f"To fix it: {_remedy(shape, spec.shape, label)}"
    )  # fmt: skip


def _shown(shape: tuple[Any, ...]) -> str:
    return f"(samples, {', '.join('any' if s is None else str(s) for s in shape[1:])})"


def _remedy(shape: tuple[int, ...], wanted: tuple[Any, ...], label: str) -> str:
    if len(shape) == len(wanted) - 1 and shape == tuple(wanted[1:]):
        return f"it looks like one sample: pass `{label}[None]`."
    known = all(size is not None for size in wanted[1:])
    if known and int(np.prod(shape[1:])) == int(np.prod([s for s in wanted[1:] if s is not None])):
        return f"reshape it: `{label}.reshape(len({label}), {', '.join(map(str, wanted[1:]))})`."
    return f"pass arrays of shape {_shown(wanted)}, or build the model for {shape[1:]}."


def targets(loss: CompiledLoss, y: list[Any], names: list[str]) -> None:
    """Raise `InvalidArgumentError` for targets that the losses cannot mean: wrong shapes, labels out of range.

    Args:
        loss: The resolved losses.
        y: Target arrays, one for each output, None where there is none.
        names: What to call each in a message.
    """
    for array, name in zip(y, names, strict=True):
        if array is not None:
            arrays.check_range(array, name)
            if config.strict():
                arrays.check_finite(array, name)
    for term in loss.terms:
        array, name = y[term.output], names[term.output]
        if array is None:
            continue
        prediction = tuple(loss.outputs.specs[term.output].shape)
        kind = loss_kind(term.loss)
        where = f"`{name}` for loss `{kind}`"
        if kind in _SPARSE:
            _check_labels(array, prediction, where, term.loss)
        elif kind in _ONE_HOT:
            _check_one_hot(array, prediction, where, kind)
        elif kind in (*_BINARY, *_SHAPED) and config.strict():
            _check_same(array, prediction, where)
            if kind in _BINARY:
                _check_binary(array, where)


def loss_kind(loss: Any) -> str:
    """Return the name of a loss's function, e.g. 'mean_squared_error', or '' for a user's own."""
    if isinstance(loss, LossFunctionWrapper):
        function = loss.fn
        return str(function.__name__) if str(getattr(function, "__module__", "")).startswith("lamina.") else ""
    return ""


def _check_labels(array: Numpy, prediction: tuple[Any, ...], where: str, loss: Any) -> None:
    """Raise unless the labels are whole numbers of classes that exist."""
    classes = prediction[-1]
    shape = array.shape[1:]
    if shape not in (tuple(prediction[1:-1]), (*prediction[1:-1], 1)):
        fix = (
            "use `categorical_crossentropy` for one-hot targets."
            if shape == tuple(prediction[1:])
            else "pass one label a row."
        )
        raise invalid(
            f"Labels must have shape {('samples', *prediction[1:-1])}: one class number for each prediction of "
            f"{classes} classes.",
            owner=where,
            received=f"shape {array.shape}",
            fix=fix,
        )
    if classes == 1:
        raise _one_unit(where)
    if not config.strict():
        return
    ignored = getattr(loss, "ignore_class", None)
    if ignored is None:
        ignored = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
    values = array if ignored is None else array[array != ignored]
    if not values.size:
        return
    low, high = values.min(), values.max()
    if array.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        raise invalid(
            "Labels must be whole numbers.", owner=where, received=f"e.g. {values[values != np.floor(values)].flat[0]}",
            fix="pass class numbers; for a regression use `mse`.",
        )  # fmt: skip
    if low < 0 or high >= classes:
        raise invalid(
            f"Labels must be class numbers from 0 to {classes - 1}, for the {classes} outputs of the model.",
            owner=where,
            received=f"labels from {low} to {high}",
            fix=f"give the last layer {int(high) + 1} units."
            if low >= 0
            else "number the classes from 0; encode strings first.",
        )


def _one_unit(where: str) -> InvalidArgumentError:
    return invalid(
        "A categorical crossentropy needs at least two outputs; with one its value is always 0.",
        owner=where,
        received="a last layer with one unit",
        fix="use `binary_crossentropy` with a sigmoid, or give the last layer one unit a class.",
    )


def _check_one_hot(array: Numpy, prediction: tuple[Any, ...], where: str, kind: str) -> None:
    if prediction[-1] == 1:
        raise _one_unit(where)
    if array.shape[1:] != tuple(prediction[1:]):
        numbers = array.ndim == len(prediction) - 1 or array.shape[-1] == 1
        raise invalid(
            f"Arguments `target` and `output` must have the same shape: targets of `{kind}` are one-hot rows, shape "
            f"{('samples', *prediction[1:])}.",
            owner=where,
            received=f"shape {array.shape}",
            fix="use `sparse_categorical_crossentropy` for class numbers." if numbers
            else f"give the last layer {array.shape[-1]} units.",
        )  # fmt: skip


def _check_same(array: Numpy, prediction: tuple[Any, ...], where: str) -> None:
    wanted = tuple(prediction[1:])
    if array.shape[1:] == wanted or (*array.shape[1:], 1) == wanted or array.shape[1:] == (*wanted, 1):
        return
    raise invalid(
        f"Targets and outputs must have the same shape; the model's output is {('samples', *wanted)}.",
        owner=where,
        received=f"shape {array.shape}, which would be broadcast against it without a word or fail",
        fix=f"reshape the targets, or give the last layer {array.shape[-1] if array.ndim > 1 else 1} units.",
    )


def _check_binary(array: Numpy, where: str) -> None:
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise invalid(
            "Targets of a binary crossentropy must be in [0, 1].",
            owner=where,
            received=f"targets from {low} to {high}",
            fix="map them to 0 and 1, e.g. `(y + 1) / 2` for -1 and +1; for more classes use a categorical loss.",
        )


def weights(w: list[Any], names: list[str]) -> None:
    """Raise `InvalidArgumentError` for sample weights that are not finite; warn once of negative ones."""
    for array, name in zip(w, names, strict=True):
        if array is None:
            continue
        if config.strict():
            arrays.check_finite(array, name)
        if array.size and array.min() < 0:
            warnings.warn(f"`{name}` has negative weights: rows with one push the loss up.", stacklevel=4)


def class_weights(y: Tree, class_weight: Any) -> Numpy:
    """Return the sample weights that `class_weight` gives for targets `y`.

    Raises:
        InvalidArgumentError: If it is no dict from class numbers to numbers, or there are several targets.
    """
    if isinstance(y, list | tuple | dict):
        raise invalid("`class_weight` is only supported for Models with a single output.", fix="use `sample_weight`.")
    if not isinstance(class_weight, dict):
        raise invalid("`class_weight` must be a dict from class number to weight.", received=repr(class_weight))
    for key in class_weight:
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise invalid(
                "The keys of `class_weight` must be class numbers.",
                received=f"class_weight={class_weight!r}",
                fix="use integers as keys, e.g. {0: 1.0, 1: 5.0}.",
            )
    classes = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    if classes.dtype.kind == "f" and config.strict() and not np.array_equal(classes, np.floor(classes)):
        raise invalid(
            "`class_weight` needs targets that are class numbers.", received="targets that are no whole numbers"
        )
    classes = np.round(classes).astype(np.int64)
    result = np.ones(len(classes), np.float32)
    for key, weight in class_weight.items():
        result[classes == key] = weight
    missing = sorted(set(np.unique(classes).tolist()) - {int(k) for k in class_weight})
    if missing:
        warnings.warn(f"`class_weight` has no weight for class {missing}: it counts 1.", stacklevel=4)
    return result
