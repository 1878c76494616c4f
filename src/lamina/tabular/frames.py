"""Tables of every library as columns. A library is touched only if the table is its own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina._types import Numpy
from lamina.errors import InvalidTypeError, describe, invalid, message
from lamina.tabular.cells import Column, column, of_codes


class Table(NamedTuple):
    """Columns of equal length.

    Attributes:
        columns: In the order of the source.
        rows: How many rows there are.
        named: Whether the names came from the source; else they are `x0`, `x1`, ...
    """

    columns: tuple[Column, ...]
    rows: int
    named: bool

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def take(self, rows: Numpy) -> "Table":
        """The same columns of some rows, given as numbers or as a mask."""
        count = int(rows.sum()) if rows.dtype == bool else len(rows)
        return Table(tuple(c._replace(values=c.values[rows]) for c in self.columns), count, self.named)


def read(x: Any) -> Table:
    """The table that `x` holds.

    Args:
        x: A table of pandas, polars, PyArrow or any other library that speaks Arrow; a NumPy array of two axes; rows
            as dicts or lists; a dict of columns.

    Raises:
        InvalidTypeError: If it is none of these, or a cell is no value.
        InvalidArgumentError: If it has no rows, no columns, or two columns of one name.
    """
    module = type(x).__module__.partition(".")[0]
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise InvalidTypeError(
            message("A sparse matrix was passed, but dense data is required.", fix="pass `x.toarray()`.")
        )
    if module == "pandas":
        table = _of_pandas(x)
    elif module == "polars":
        table = _of_polars(x)
    elif module == "pyarrow" or (hasattr(x, "__arrow_c_stream__") and not isinstance(x, np.ndarray)):
        table = _of_arrow(x)
    elif isinstance(x, dict):
        table = _of_dict(x)
    elif isinstance(x, list | tuple) and x and all(isinstance(row, dict) for row in x):
        names = list(dict.fromkeys(name for row in x for name in row))
        table = _table([column(str(name), (row.get(name) for row in x)) for name in names], len(x), named=True)
    else:
        table = _of_array(x)
    return _checked(table)


def _table(columns: Sequence[Column], rows: int, *, named: bool) -> Table:
    return Table(tuple(columns), rows, named)


def _checked(table: Table) -> Table:
    shape = f"(shape=({table.rows}, {len(table.columns)}))"
    if not table.columns:
        raise invalid(
            f"0 feature(s) {shape} while a minimum of 1 is required.", fix="pass a table with at least one column."
        )
    if not table.rows:
        raise invalid(
            f"Found array with 0 sample(s) {shape} while a minimum of 1 is required.",
            fix="pass a table with at least one row.",
        )
    seen: set[str] = set()
    for name in table.names:
        if name in seen:
            places = [i for i, other in enumerate(table.names) if other == name]
            raise invalid(
                f"The column name {name!r} occurs {len(places)} times.",
                received=f"columns {', '.join(map(str, places))} of that name",
                fix="give each column a name of its own, or drop those that are not meant.",
            )
        seen.add(name)
    return table


def _of_dict(x: dict[Any, Any]) -> Table:
    columns = []
    for name, values in x.items():
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise invalid(
                "A table as a dict has a list of values for each column.",
                received=f"{name!r}: {describe(values)}",
                fix="pass a list of dicts for single rows: `[{'age': 39}]`.",
            )
        columns.append(_of_any(str(name), values))
    lengths = {c.name: len(c.values) for c in columns}
    if len(set(lengths.values())) > 1:
        raise invalid("The columns differ in length.", received=str(lengths), fix="give each column a value a row.")
    return _table(columns, next(iter(lengths.values()), 0), named=True)


def _of_any(name: str, values: Any) -> Column:
    module = type(values).__module__.partition(".")[0]
    if module == "pandas":
        import pandas as pd

        return _of_series(name, pd.Series(values))
    if module == "polars":
        return _of_polars_series(name, values)
    if module == "pyarrow":
        return _of_chunks(name, values)
    return _of_values(name, np.asarray(values)) if hasattr(values, "dtype") else column(name, values)


def _of_array(x: Any) -> Table:
    if isinstance(x, np.ma.MaskedArray):
        x = (
            np.ma.filled(x.astype(object), None)
            if x.dtype.kind not in "fiub"
            else np.ma.filled(x.astype(float), np.nan)
        )
    if isinstance(x, list | tuple):
        x = _of_rows(x)
    array = np.asarray(x)
    if array.dtype.names:
        return _table([_of_values(name, array[name]) for name in array.dtype.names], len(array), named=True)
    if array.dtype == object and array.ndim == 0:
        raise InvalidTypeError(
            message(
                "A table must be of pandas, polars, PyArrow or NumPy, or a list of dicts.",
                received=describe(x),
                fix="pass one of these.",
            )
        )
    if array.ndim != 2:
        raise invalid(
            f"Expected 2D array, got {'scalar' if array.ndim == 0 else f'{array.ndim}D'} array instead.",
            received=describe(array),
            fix="Reshape your data to (rows, columns): `array.reshape(-1, 1)` if it has a single column, "
            "`array.reshape(1, -1)` if it is a single row.",
        )
    columns = [_of_values(f"x{i}", array[:, i]) for i in range(array.shape[1])]
    return _table(columns, len(array), named=False)


def _of_rows(rows: Sequence[Any]) -> Numpy:
    lengths = [len(row) if isinstance(row, list | tuple | np.ndarray) else -1 for row in rows]
    if -1 in lengths or not rows:
        return np.asarray(rows, object) if -1 in lengths and len(set(lengths)) > 1 else np.asarray(rows)
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            raise invalid(
                "All rows must have as many cells as the first.",
                owner=f"Row {number}",
                received=f"{length} cells, the first row has {lengths[0]}",
                fix="fill what is missing with None.",
            )
    found = np.empty((len(rows), lengths[0]), object)
    for number, row in enumerate(rows):
        for place, cell in enumerate(row):
            found[number, place] = cell
    return found


def _of_values(name: str, values: Numpy) -> Column:
    """The column of a NumPy array of one axis."""
    kind = values.dtype.kind
    if values.ndim != 1:
        raise InvalidTypeError(
            message(
                "A cell of the argument must be a string, a boolean, a date or a number.",
                owner=f"Column {name!r}",
                received=f"cells of shape {values.shape[1:]}",
                fix="give each part of it a column of its own.",
            )
        )
    if kind == "b":
        return Column(name, "boolean", values.astype(np.float64))
    if kind in "fiu":
        return Column(name, "number", values.astype(np.float64))
    if kind == "M":
        return Column(name, "date", values.astype("datetime64[us]"))
    if kind == "m":
        days = values.astype("timedelta64[us]").astype(np.float64) / 86_400e6
        days[np.isnat(values)] = np.nan
        return Column(name, "number", days, note="time spans are taken as days")
    return column(name, values.tolist() if kind in "USVc" else values)


def _of_pandas(x: Any) -> Table:
    if x.ndim != 2:
        raise invalid(
            "Expected 2D array, got a Series instead.",
            received=f"a pandas Series named {x.name!r}",
            fix="Reshape your data: `series.to_frame()` if it is a column, `frame.loc[[i]]` if it is a row.",
        )
    columns = [_of_series(str(name), x.iloc[:, place]) for place, name in enumerate(x.columns)]
    return _table(columns, len(x), named=all(isinstance(name, str) for name in x.columns))


def _of_series(name: str, series: Any) -> Column:
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _of_categories(name, np.asarray(series.cat.codes), list(series.cat.categories))
    if isinstance(dtype, pd.SparseDtype):
        return _of_values(name, series.sparse.to_dense().to_numpy())
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return _of_values(name, series.to_numpy())
    if isinstance(dtype, pd.PeriodDtype):
        return _of_values(name, series.dt.to_timestamp().to_numpy())
    if isinstance(dtype, np.dtype):
        return _of_values(name, series.to_numpy())
    if pd.api.types.is_bool_dtype(dtype):
        return Column(name, "boolean", series.to_numpy(np.float64, na_value=np.nan))
    if pd.api.types.is_numeric_dtype(dtype):
        return Column(name, "number", series.astype("Float64").to_numpy(np.float64, na_value=np.nan))
    if pd.api.types.is_string_dtype(dtype):
        places, levels = pd.factorize(series)
        return of_codes(name, places, [str(level) for level in levels])
    return column(name, series.astype(object))


def _of_categories(name: str, codes: Numpy, categories: list[Any]) -> Column:
    """A column that its library keeps as categories: it stays so, whatever they are."""
    texts = column(name, categories)
    levels = list(texts.levels) if texts.kind == "category" else [_label(value) for value in categories]
    places = np.append(texts.values if texts.kind == "category" else np.arange(len(levels)), -1)
    used, found = np.unique(places[codes], return_inverse=True)
    order = sorted((int(place) for place in used if place >= 0), key=levels.__getitem__)
    rank = {place: i for i, place in enumerate(order)}
    ranks = np.array([rank.get(place, -1) for place in used.tolist()], np.int32)
    return Column(name, "category", ranks[found.reshape(-1)], tuple(levels[place] for place in order))


def _label(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_polars(x: Any) -> Table:
    import polars as pl

    if isinstance(x, pl.LazyFrame):
        x = x.collect()
    if isinstance(x, pl.Series):
        raise invalid(
            "Expected 2D array, got a Series instead.", received=f"a polars Series named {x.name!r}",
            fix="Reshape your data: `series.to_frame()`.",
        )  # fmt: skip
    return _table([_of_polars_series(name, x[name]) for name in x.columns], x.height, named=True)


def _of_polars_series(name: str, series: Any) -> Column:
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Boolean:
        return Column(name, "boolean", series.cast(pl.Float64).fill_null(np.nan).to_numpy())
    if dtype.is_numeric():
        return Column(name, "number", series.cast(pl.Float64).fill_null(np.nan).to_numpy())
    if dtype in (pl.Date, pl.Datetime):
        if getattr(dtype, "time_zone", None):
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Column(name, "date", series.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]"))
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        levels = series.cast(pl.String).drop_nulls().unique().sort().to_list()
        known = {level: place for place, level in enumerate(levels)}
        cells = series.cast(pl.String).to_list()
        places = np.fromiter((-1 if c is None else known[c] for c in cells), np.int32, len(cells))
        if dtype == pl.String:
            return of_codes(name, places, levels)
        return _of_categories(name, places, levels)
    return column(name, series.to_list())


def _of_arrow(x: Any) -> Table:
    import pyarrow as pa

    if not isinstance(x, pa.Table):
        x = pa.table(x) if not isinstance(x, pa.RecordBatch) else pa.Table.from_batches([x])
    columns = [_of_chunks(str(name), x.column(place)) for place, name in enumerate(x.column_names)]
    return _table(columns, x.num_rows, named=True)


def _of_chunks(name: str, values: Any) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.unify_dictionaries().chunks) if values.num_chunks else pa.array([], kind)
    if pa.types.is_null(kind):
        return Column(name, "number", np.full(len(values), np.nan))
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        found = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
        return Column(name, "boolean" if pa.types.is_boolean(kind) else "number", found)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        found = values.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        return Column(name, "date", found.astype("datetime64[us]"))
    if pa.types.is_dictionary(kind):
        places = np.asarray(pc.fill_null(values.indices, -1), np.int64)
        return _of_categories(name, places, values.dictionary.to_pylist())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        coded = values.cast(pa.large_string()).dictionary_encode()
        places = np.asarray(pc.fill_null(coded.indices, -1), np.int32)
        return of_codes(name, places, coded.dictionary.to_pylist())
    return column(name, values.to_pylist())
