"""What users hand over (NumPy, JAX, lists, pandas, other tensors) as NumPy arrays; nothing is copied needlessly."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, describe, invalid, warn
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
        found = [to_host(value, f"{name}[{i}]") for i, value in enumerate(tree)]
        return type(tree)(*found) if hasattr(tree, "_fields") else type(tree)(found)
    return one_array(tree, name)


def _is_numbers(value: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether a list is an array written out: numbers, or lists of numbers."""
    if not len(value):
        return True
    first: Any = value
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    if first is None:  # no entry for the first output, or a value that is missing
        return any(isinstance(other, int | float | str) for other in value)
    return isinstance(first, int | float | complex | str | bytes | np.generic)


def one_array(value: Any, name: str) -> Numpy:
    """Return one array of numbers in the byte order of the machine."""
    if isinstance(value, np.ma.MaskedArray):
        raise invalid("A masked array would lose its mask.", owner=f"`{name}`", fix="fill it: `array.filled(value)`.")
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return _frame(value, name)
    if hasattr(value, "column_names") and hasattr(value, "column"):
        return _arrow(value, name)
    if str(getattr(value, "dtype", "")).lower().startswith(("categor", "enum")):
        raise _not_numbers(name, "a column of categories", "encode it first: `series.cat.codes`, or one-hot.")
    if hasattr(value, "to_numpy"):
        return _checked(_nullable(value), name)
    if isinstance(value, Variable):
        return value.numpy()
    if isinstance(value, list | tuple | range):
        return _checked(_written_out(value, name), name)
    return _checked(_foreign(value, name), name)


def _written_out(value: Any, name: str) -> Numpy:
    """Return lists of numbers as an array."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise _not_numbers(name, "lists of different lengths", "give every row as many values.") from error


def _foreign(value: Any, name: str) -> Numpy:
    """Return the array of another library as one of NumPy's."""
    for step in ("toarray", "todense"):  # sparse matrices of SciPy, of JAX
        if hasattr(value, step):
            value = getattr(value, step)()
            break
    if not hasattr(value, "__array__"):
        raise invalid(
            "Unrecognized data type.",
            owner=f"`{name}`",
            received=describe(value),
            fix="pass arrays, lists of numbers, data frames, a generator or a `PyDataset`.",
        )
    for step in ("detach", "cpu"):  # a tensor that has a gradient, or is on another device
        if hasattr(value, step):
            value = getattr(value, step)()
    return np.asarray(value)


def _checked(array: Numpy, name: str) -> Numpy:
    kind = array.dtype.kind
    if kind in "fiub" or array.dtype.name in _SMALL_FLOATS:
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if kind == "c":
        raise _not_numbers(name, "complex numbers", "pass real and imaginary parts as features of their own.")
    if kind in "mM":
        raise _not_numbers(name, "dates", "turn them into numbers, e.g. days since a date.")
    if kind in "US":
        example = f", e.g. {str(array.flat[0])!r}" if array.size else ""
        raise _not_numbers(
            name,
            f"strings{example}",
            "encode them as numbers, e.g. with `layers.StringLookup` or `np.unique(..., return_inverse=True)`.",
        )
    if kind == "O":
        sample = next((type(v).__name__ for v in array.flat if not isinstance(v, float | int)), None)
        if sample is None:
            raise _not_numbers(name, "Python numbers as objects", "convert it: `array.astype('float32')`.")
        rows = sample in ("list", "tuple", "ndarray")
        fix = "make one array of it, with as many values in every row." if rows else "encode them as numbers."
        raise _not_numbers(name, f"objects, e.g. of type {sample}", fix)
    raise _not_numbers(name, f"values of dtype {array.dtype}", "convert it to float32.")


def _not_numbers(name: str, what: str, fix: str) -> InvalidArgumentError:
    return invalid(f"Invalid dtype: `{name}` must hold real numbers.", received=what, fix=fix)


def _frame(frame: Any, name: str) -> Numpy:
    """Return a data frame as an array, naming the first column that is not numeric."""
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        dtype = str(kind)
        if dtype in ("object", "str") or dtype.lower().startswith(
            ("categor", "enum", "string", "date", "time", "period", "interval")
        ):
            raise invalid(
                f"Invalid dtype: `{name}` must hold real numbers.",
                received=f"column {column!r} of dtype {dtype}",
                fix="encode it (e.g. `pandas.get_dummies`, or its category codes), make numbers of it "
                "(`pandas.to_numeric`), or drop it.",
            )
    return _checked(_nullable(frame), name)


def _arrow(table: Any, name: str) -> Numpy:
    """Return a table of PyArrow's as an array, naming the first column that is not numeric."""
    columns = []
    for column in table.column_names:
        array = np.asarray(table.column(column).to_numpy())
        if array.dtype.kind not in "fiub":
            raise invalid(
                f"Invalid dtype: `{name}` must hold real numbers.",
                received=f"column {column!r} of type {table.column(column).type}",
                fix="encode it (e.g. `column.dictionary_encode()` and its indices, or `StringLookup`), or drop it.",
            )
        columns.append(array)
    return np.column_stack(columns) if columns else np.zeros((table.num_rows, 0), np.float32)


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
    if dtype.kind == "f" and dtype.itemsize >= 8:
        dtype = np.dtype("float64" if config.floatx() == "float64" and dtype.itemsize == 8 else "float32")
    narrow: dict[str, np.dtype[Any]] = {"int64": np.dtype("int32"), "uint64": np.dtype("uint32")}
    return narrow.get(dtype.name) or dtype


class Extent(NamedTuple):
    """The least and the largest value of an array; NaN if it holds one."""

    low: Any
    high: Any

    @property
    def finite(self) -> bool:
        """Whether every value is finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def extent(array: Numpy) -> Extent:
    """Return the extent of an array that holds something. Two passes, no copy; the cheapest look at every value."""
    with np.errstate(invalid="ignore"):
        return Extent(array.min(), array.max())


def check_values(array: Numpy, name: str) -> Extent | None:
    """Raise `InvalidArgumentError` for NaN, infinity and what does not fit into the 32 bits that it gets on the device.

    Returns its extent; None if it is empty or `config.strict()` is off, where nothing is looked at.
    """
    if not array.size or not config.strict():
        return None
    found = extent(array)
    if not found.finite:
        raise _not_finite(array, name)
    target = device_dtype(array)
    if target == array.dtype:
        return found
    if array.dtype.kind in "iu":
        limits = np.iinfo(target)
        if found.low < limits.min or found.high > limits.max:
            raise invalid(
                f"Integers must fit into 32 bits, [{limits.min}, {limits.max}].",
                owner=f"`{name}`",
                received=f"values from {found.low} to {found.high}",
                fix="scale them, or pass them as float32.",
            )
    elif max(abs(found.low), abs(found.high)) > np.finfo(target).max:
        raise invalid(
            "Values must fit into float32, whose largest is 3.4e38.",
            owner=f"`{name}`",
            received=f"values from {found.low:g} to {found.high:g}",
            fix="scale the feature, e.g. by its logarithm.",
        )
    return found


def _not_finite(array: Numpy, name: str) -> InvalidArgumentError:
    """Return the error for NaN or infinity: the first place, and how many rows have one."""
    place, rows = None, 0
    width = max(1, array[:1].size)
    step = max(1, (1 << 20) // width)
    for start in range(0, len(array), step):  # in pieces, without a copy of the whole
        bad = ~np.isfinite(array[start : start + step])
        if place is None and bad.any():
            first = np.argwhere(bad)[0]
            place = (int(first[0]) + start, *(int(p) for p in first[1:]))
        rows += int(bad.reshape(len(bad), -1).any(axis=1).sum())
    assert place is not None
    where = f"row {place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")
    return invalid(
        "Values must be finite.",
        owner=f"`{name}`",
        received=f"{array[place]} in {where} ({rows} of {len(array)} rows have NaN or infinity)",
        fix="drop or fill those rows, e.g. keep `np.isfinite(array).all(axis=1)`; "
        "`lamina.config.set_strict(False)` lets them through.",
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
            raise invalid(
                "Data must have an axis of samples.",
                owner=f"`{name}`",
                received="a single number",
                fix="pass an array with one row for each sample.",
            )
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
        warn(f"`{name}` has shape {array.shape}; its last axis of size 1 was dropped.")
        return array[..., 0]
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        return array[..., None]
    return array


def column_names(x: Any) -> list[str] | None:
    """Return the names of the columns of a data frame, or None."""
    columns = getattr(x, "column_names", None)  # a table of PyArrow's
    if columns is None and hasattr(x, "to_numpy"):
        columns = getattr(x, "columns", None)
    return None if columns is None else [str(c) for c in columns]


def spec(array: Any, batch: int | None) -> jax.ShapeDtypeStruct:
    """Return the shape and device type of a batch of an array."""
    return jax.ShapeDtypeStruct((batch or len(array), *array.shape[1:]), device_dtype(array))
