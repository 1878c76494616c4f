"""Everything about data that can be known before the first step is checked here, once a fit."""

import math
from typing import Any

import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, did_you_mean, invalid, warn
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


def rematerialization(value: Any) -> bool | int:
    """Return `remat` of `compile`: a boolean, or a number of bytes."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | np.integer | float) and value > 0 and int(value) == value:
        return int(value)
    raise invalid(
        "`remat` must be True, False or a number of bytes.",
        owner="`compile`",
        received=f"remat={value!r}",
        fix="pass e.g. remat=True, or remat=200_000_000 for 200 MB.",
    )


def whole_number(value: Any, name: str, least: int, *, optional: bool = False) -> int | None:
    """Return `value` as an int, or raise `InvalidArgumentError` unless it is a whole number of at least `least`."""
    if value is None and optional:
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise invalid(
        f"`{name}` must be a whole number of at least {least}" + (" or None." if optional else "."),
        received=f"{name}={value!r}",
        fix=f"pass e.g. {name}={32 if 'batch_size' in name else 10}" + (", or leave it out." if optional else "."),
    )


def validation_share(value: Any) -> float:
    """Return `validation_split`, or raise `InvalidArgumentError` unless it is 0 or in (0, 1)."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        if 0 <= value < 1:
            return float(value)
        if not config.strict() and value == value:
            return max(0.0, float(value))  # as in Keras: a negative share is none, a larger one counts from the end
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
    kept = max(0, rows + kept) if kept < 0 else kept
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
    extents = {id(array): arrays.check_values(array, label) for label, array in found if array is not None}
    if wanted is None:
        return x
    named = model.name_inputs(x)  # flat, in the order of the model's inputs
    if named is None:
        raise _other_inputs(model, wanted, x, found, name)
    fitted: list[Numpy | None] = []
    for spec, array in zip(wanted, named, strict=True):
        if array is None:
            fitted.append(None)
            continue
        label = name if len(wanted) == 1 else f"{name} for input `{spec.name}`"
        _warn_of_rounding(array, extents[id(array)], spec.dtype, label)
        array = arrays.fit_rank(array, spec.shape, label)
        _check_shape(model, spec, array, label)
        fitted.append(array)
    return model.pack_inputs(fitted)


def _other_inputs(
    model: Any, wanted: list[Any], x: Tree, found: list[tuple[str, Any]], name: str
) -> InvalidArgumentError:
    """Return the error for inputs that are not as many, or not called, as those of the model."""
    names = [spec.name for spec in wanted]
    fix = "pass one array." if len(wanted) == 1 else "pass a list in that order or a dict by input name."
    if len(wanted) == 1 and isinstance(x, list | tuple) and len(x) == 2:
        fix += f" Targets go beside it: `fit({name}, y)`, not `fit(({name}, y))`."
    elif isinstance(x, dict):
        missing = [key for key in names if key not in x]
        fix = f"add {', '.join(map(repr, missing))}. {did_you_mean(missing[0], map(str, x))}" if missing else fix
    return invalid(
        f"The model has {len(wanted)} input{'s' if len(wanted) > 1 else ''} ({', '.join(names)}), "
        f"but `{name}` has {len(found)} array{'s' if len(found) > 1 else ''}.",
        owner=f"Model `{model.name}`",
        received=", ".join(f"{label}.shape={tuple(a.shape)}" for label, a in found),
        fix=fix,
    )


def _warn_of_rounding(array: Numpy, extent: arrays.Extent | None, dtype: str, label: str) -> None:
    """Warn if an input of floats gets whole numbers that its floats cannot tell apart."""
    if extent is None or array.dtype.kind not in "iu" or "float" not in dtype:
        return
    exact = 2 ** {"float16": 11, "bfloat16": 8, "float64": 53}.get(dtype, 24)
    if extent.low < -exact or extent.high > exact:
        warn(
            f"`{label}` holds whole numbers from {extent.low} to {extent.high}; {dtype} holds them exactly up to "
            f"{exact} only, so neighbours beyond become the same. Subtract an offset, or use an `Embedding` for codes."
        )


def _check_shape(model: Any, spec: Any, array: Numpy, label: str) -> None:
    """Raise `InvalidArgumentError` unless the sizes of an input are those of the model."""
    shape = tuple(array.shape)
    fits = len(shape) == len(spec.shape) and all(
        want is None or want == size for want, size in zip(spec.shape[1:], shape[1:], strict=True)
    )
    if not fits and not model.vary(shape):
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
        + f"; expected axis -1 of input shape to have value {spec.shape[-1]}, but received input with shape {shape} "
        + f"(expected shape={tuple(spec.shape)}, found shape={shape}).\n"
        f"To fix it: {_remedy(shape, spec.shape, label)}"
    )  # fmt: skip


def _shown(shape: tuple[Any, ...]) -> str:
    sizes = ["samples", *("any" if s is None else str(s) for s in shape[1:])]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _units(count: int) -> str:
    return f"{count} unit{'s' if count != 1 else ''}"


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
            arrays.check_values(array, name)
    for term in loss.terms:
        if term.output is None:
            continue
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
            f"Labels must have shape {_shown(prediction[:-1])}: one class number for each prediction of "
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
            fix=f"give the last layer {_units(int(high) + 1)}, if there are as many classes; or correct the labels."
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
            f"{_shown(prediction)}.",
            owner=where,
            received=f"shape {array.shape}",
            fix="use `sparse_categorical_crossentropy` for class numbers." if numbers
            else f"give the last layer {_units(array.shape[-1])}.",
        )  # fmt: skip


def _check_same(array: Numpy, prediction: tuple[Any, ...], where: str) -> None:
    wanted = tuple(prediction[1:])
    if array.shape[1:] == wanted or (*array.shape[1:], 1) == wanted or array.shape[1:] == (*wanted, 1):
        return
    units = array.shape[-1] if array.ndim > 1 else 1
    raise invalid(
        f"Targets and outputs must have the same shape; the model's output is {_shown(prediction)}.",
        owner=where,
        received=f"shape {array.shape}, which would fail, or be stretched over the output without a word",
        fix=f"pass targets of that shape, or give the last layer {_units(units)}.",
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
    """Raise `InvalidArgumentError` for sample weights that are not finite; warn of negative ones and of zeros alone."""
    for array, name in zip(w, names, strict=True):
        extent = arrays.check_values(array, name) if array is not None else None
        if extent is None:
            continue
        if extent.low < 0:
            warn(f"`{name}` has negative weights: training makes the loss of such a row larger.")
        elif extent.high == 0:
            warn(f"All weights in `{name}` are 0: nothing is learnt from these rows.")


def class_weights(y: Tree, class_weight: Any, told: set[int] | None = None) -> Numpy:
    """Return the sample weights that `class_weight` gives for targets `y`.

    Args:
        y: Targets.
        class_weight: Weights by class number.
        told: For a batch of a stream: classes whose lack of a weight has been mentioned.

    Raises:
        InvalidArgumentError: If it is no dict from class numbers to finite numbers, or there are several targets.
    """
    if isinstance(y, list | tuple | dict):
        raise invalid("`class_weight` is only supported for Models with a single output.", fix="use `sample_weight`.")
    weight_of = _weight_of(class_weight)
    classes = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    if classes.dtype.kind == "f" and config.strict() and not np.array_equal(classes, np.floor(classes)):
        raise invalid(
            "`class_weight` needs targets that are class numbers.",
            received=f"targets such as {classes[classes != np.floor(classes)].flat[0]}",
            fix="use `sample_weight`: a weight for each row.",
        )
    classes = np.round(classes).astype(np.int64)
    result = np.ones(len(classes), np.float32)
    for key, weight in weight_of.items():
        result[classes == key] = weight
    if config.strict():
        there = set(np.unique(classes).tolist())
        without, unused = there - set(weight_of) - (told or set()), set(weight_of) - there
        if without:
            warn(f"`class_weight` has no weight for class {_listed(without)}: it counts 1.")
        if unused and told is None:
            warn(f"`class_weight` has a weight for class {_listed(unused)}, which is not among the targets.")
        if told is not None:
            told |= without
    return result


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)[:6])) + (", ..." if len(numbers) > 6 else "")


def _weight_of(class_weight: Any) -> dict[int, float]:
    """Return `class_weight` checked: whole numbers to finite numbers."""
    if not isinstance(class_weight, dict):
        raise invalid(
            "`class_weight` must be a dict from class number to weight.",
            received=f"class_weight={class_weight!r}",
            fix="write e.g. {0: 1.0, 1: 5.0}, or `dict(enumerate(weights))`.",
        )
    found: dict[int, float] = {}
    for key, weight in class_weight.items():
        if isinstance(key, bool) or not isinstance(key, int | float | np.number) or not float(key).is_integer():
            if not config.strict():
                continue  # as in Keras, such a key means nothing
            raise invalid(
                "The keys of `class_weight` must be class numbers.",
                received=f"class_weight={class_weight!r}",
                fix="use integers as keys, e.g. {0: 1.0, 1: 5.0}.",
            )
        if not isinstance(weight, int | float | np.number) or not math.isfinite(weight):
            raise invalid(
                "The weights in `class_weight` must be finite numbers.",
                received=f"class_weight={class_weight!r}",
                fix="use numbers, e.g. {0: 1.0, 1: 5.0}.",
            )
        found[int(key)] = float(weight)
    return found
