"""What users hand over (NumPy, JAX, lists, pandas, other tensors) as NumPy arrays; nothing is copied needlessly."""

import warnings
from typing import Any

import jax
import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, describe, invalid
from lamina.variables import Variable

_SMALL_FLOATS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def to_host(tree: Tree, name: str) -> Tree:
    """Return a tree of NumPy arrays with one row a sample for what a user handed over as `name`.

    A list or tuple of arrays, or a dict, stays one; a list of numbers, or of lists of numbers, is one array.

    Raises:
        InvalidArgumentError: If something in it holds no numbers.
    """
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: to_host(value, f"{name}[{key!r}]") for key, value in tree.items()}
    if isinstance(tree, list | tuple) and not _is_numbers(tree):
        return type(tree)([to_host(value, f"{name}[{i}]") for i, value in enumerate(tree)])
    return one_array(tree, name)


def _is_numbers(value: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether a list is an array written out: numbers, or lists of numbers."""
    if not len(value):
        return True
    first: Any = value
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    return isinstance(first, int | float | str | bool | np.generic) or first is None


def one_array(value: Any, name: str) -> Numpy:
    """Return one array of numbers in the byte order of the machine."""
    if isinstance(value, np.ma.MaskedArray):
        raise invalid("A masked array would lose its mask.", owner=f"`{name}`", fix="fill it: `array.filled(value)`.")
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return _frame(value, name)
    if hasattr(value, "cat") or str(getattr(value, "dtype", "")) == "category":
        raise _not_numbers(name, "a column of categories", "encode it first: `series.cat.codes`, or one-hot.")
    if hasattr(value, "to_numpy"):
        return _checked(_nullable(value), name)
    if isinstance(value, Variable):
        return value.numpy()
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        value = value.toarray()
    if isinstance(value, list | tuple):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise _not_numbers(name, "lists of different lengths", "give every row as many values.") from error
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "__array__"):
            raise invalid(
                "Unrecognized data type. Pass arrays, lists of numbers, data frames, a generator or a `PyDataset`.",
                owner=f"`{name}`",
                received=describe(value),
            )
        detached = value.detach() if hasattr(value, "detach") else value
        value = np.asarray(detached)
    return _checked(value, name)


def _checked(array: Numpy, name: str) -> Numpy:
    kind = array.dtype.kind
    if kind in "fiub" or array.dtype.name in _SMALL_FLOATS:
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if kind == "c":
        raise _not_numbers(name, "complex numbers", "pass real and imaginary parts as features of their own.")
    if kind in "mM":
        raise _not_numbers(name, "dates", "turn them into numbers, e.g. days since a date.")
    if kind in "US":
        raise _not_numbers(
            name, f"strings, e.g. {array.flat[0]!r}" if array.size else "strings", "encode them as numbers."
        )
    if kind == "O":
        sample = next((type(v).__name__ for v in array.flat if not isinstance(v, float | int)), "mixed values")
        raise _not_numbers(name, f"objects ({sample})", "convert it: `np.asarray(values, dtype='float32')`.")
    raise _not_numbers(name, f"values of dtype {array.dtype}", "convert it to float32.")


def _not_numbers(name: str, what: str, fix: str) -> InvalidArgumentError:
    return invalid(f"Invalid dtype: `{name}` holds {what}, not numbers.", fix=fix)


def _frame(frame: Any, name: str) -> Numpy:
    """Return a data frame as an array, naming the first column that is not numeric."""
    for column in frame.columns:
        dtype = str(frame[column].dtype)
        if dtype in ("category", "object", "string", "str") or dtype.lower().startswith(
            ("datetime", "date", "categorical")
        ):
            raise invalid(
                f"Invalid dtype: column {column!r} of `{name}` holds {dtype}, not numbers.",
                fix="encode it (e.g. `pandas.get_dummies`, or its category codes), or drop it.",
            )
    return _checked(_nullable(frame), name)


def _nullable(value: Any) -> Numpy:
    """Return a frame or series as an array, with NaN for what is missing."""
    array = value.to_numpy()
    if array.dtype.kind != "O":
        return np.asarray(array)
    try:
        return np.asarray(value.to_numpy(dtype="float64", na_value=np.nan))
    except (TypeError, ValueError):
        return np.asarray(array)


def device_dtype(array: Any) -> np.dtype[Any]:
    """Return the 32-bit type in which an array goes to the device."""
    dtype = np.dtype(array.dtype)
    if dtype == np.float64:
        dtype = np.dtype("float64" if config.floatx() == "float64" else "float32")
    narrow: dict[str, np.dtype[Any]] = {"int64": np.dtype("int32"), "uint64": np.dtype("uint32")}
    return narrow.get(dtype.name) or dtype


def check_range(array: Numpy, name: str) -> None:
    """Raise `InvalidArgumentError` if values do not fit the 32-bit type that they get on the device."""
    target = device_dtype(array)
    if array.dtype == target or not array.size:
        return
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu":
        limits = np.iinfo(target)
        if low < limits.min or high > limits.max:
            raise invalid(
                f"Integers must fit into 32 bits, [{limits.min}, {limits.max}].",
                owner=f"`{name}`",
                received=f"values from {low} to {high}",
                fix="scale them, or pass them as float32.",
            )
    elif np.isfinite(low) and np.isfinite(high) and max(abs(low), abs(high)) > np.finfo(target).max:
        raise invalid(
            "Values must fit into float32, whose largest is 3.4e38.",
            owner=f"`{name}`",
            received=f"values from {low:g} to {high:g}",
            fix="scale the feature, e.g. with a `Normalization` layer or a logarithm.",
        )


def first_bad(array: Numpy, rows_at_once: int = 1 << 16) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, or None. Works in pieces, without a copy of the whole."""
    if (array.dtype.kind != "f" and array.dtype.name not in _SMALL_FLOATS) or not array.size:
        return None
    width = max(1, array[:1].size)
    step = max(1, rows_at_once // width)
    for start in range(0, len(array), step):
        finite = np.isfinite(array[start : start + step])
        if not finite.all():
            place = np.argwhere(~finite)[0]
            return (int(place[0]) + start, *(int(p) for p in place[1:]))
    return None


def check_finite(array: Numpy, name: str) -> None:
    """Raise `InvalidArgumentError` if there is NaN or infinity, with the first place and how many rows have one."""
    place = first_bad(array)
    if place is None:
        return
    bad_rows = int((~np.isfinite(np.asarray(array, np.float32).reshape(len(array), -1)).all(axis=1)).sum())
    where = f"row {place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")
    raise invalid(
        "Values must be finite.",
        owner=f"`{name}`",
        received=f"{array[place]} in {where} ({bad_rows} of {len(array)} rows have NaN or infinity)",
        fix="drop or fill those rows, e.g. `x[np.isfinite(x).all(axis=1)]`, "
        "or call `lamina.config.set_strict(False)` to train on them all the same.",
    )


def leaves_with_names(tree: Tree, name: str) -> list[tuple[str, Any]]:
    """Return the arrays of a tree with the names that a message gives them."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [pair for key, value in tree.items() for pair in leaves_with_names(value, f"{name}[{key!r}]")]
    if isinstance(tree, list | tuple):
        return [pair for i, value in enumerate(tree) for pair in leaves_with_names(value, f"{name}[{i}]")]
    return [(name, tree)]


def check_lengths(**trees: Tree) -> int:
    """Return the number of rows that all arrays have, or raise `InvalidArgumentError` with each one's."""
    named = [pair for name, tree in trees.items() for pair in leaves_with_names(tree, name)]
    for name, array in named:
        if getattr(array, "ndim", 1) == 0:
            raise invalid("Data must have an axis of samples.", owner=f"`{name}`", received="a single number")
    sizes = {name: len(array) for name, array in named}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"`{name}` has {size}" for name, size in sizes.items())
        raise invalid(
            f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples: {listed}.",
            fix="cut them to the same rows.",
        )
    rows = next(iter(sizes.values()), 0)
    if rows == 0:
        raise invalid(
            "There are no samples.",
            owner=", ".join(f"`{name}`" for name in sizes) or "`x`",
            received=", ".join(f"{name}.shape={tuple(a.shape)}" for name, a in named) or "nothing",
            fix="pass arrays with at least one row.",
        )
    return rows


def fit_rank(array: Numpy, shape: tuple[int | None, ...], name: str) -> Numpy:
    """Return `array` with a last axis of size 1 added or dropped, if that makes its rank the model's; says so once."""
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        warnings.warn(f"`{name}` has shape {array.shape}; its last axis of size 1 was dropped.", stacklevel=4)
        return array[..., 0]
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        return array[..., None]
    return array


def column_names(x: Any) -> list[str] | None:
    """Return the names of the columns of a data frame, or None."""
    columns = getattr(x, "columns", None)
    return None if columns is None or not hasattr(x, "to_numpy") else [str(c) for c in columns]


def spec(array: Any, batch: int | None) -> jax.ShapeDtypeStruct:
    """Return the shape and device type of a batch of an array."""
    return jax.ShapeDtypeStruct((batch or len(array), *array.shape[1:]), device_dtype(array))
