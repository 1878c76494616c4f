import datetime
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lamina.errors import InvalidArgumentError, InvalidTypeError
from lamina.tabular.frames import read

ROWS = [
    {"age": 39, "pay": 1.5, "job": "cook", "left": True, "born": datetime.date(1984, 5, 1)},
    {"age": None, "pay": 2.5, "job": None, "left": False, "born": None},
    {"age": 17, "pay": None, "job": "nurse", "left": None, "born": datetime.date(2006, 12, 31)},
]
KINDS = ["number", "number", "category", "boolean", "date"]

SOURCES = {
    "dicts": lambda: ROWS,
    "a dict of columns": lambda: {name: [row[name] for row in ROWS] for name in ROWS[0]},
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas with dates": lambda: pd.DataFrame(ROWS).assign(born=lambda f: pd.to_datetime(f.born)),
    "pandas, nullable": lambda: pd.DataFrame(ROWS).convert_dtypes(),
    "pandas of arrow": lambda: pa.Table.from_pylist(ROWS).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas categories": lambda: pd.DataFrame(ROWS).astype({"job": "category"}),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars, lazy": lambda: pl.DataFrame(ROWS).lazy(),
    "polars categories": lambda: pl.DataFrame(ROWS).with_columns(pl.col("job").cast(pl.Categorical)),
    "arrow": lambda: pa.Table.from_pylist(ROWS),
    "an arrow batch": lambda: pa.Table.from_pylist(ROWS).to_batches()[0],
    "arrow in chunks": lambda: pa.concat_tables([pa.Table.from_pylist(ROWS[:1]), pa.Table.from_pylist(ROWS)[1:]]),
    "arrow dictionaries": lambda: pa.Table.from_pylist(ROWS).set_column(
        2,
        "job",
        pa.chunked_array([pa.array(["cook", None]).dictionary_encode(), pa.array(["nurse"]).dictionary_encode()]),
    ),
}


def shown(column):
    values = column.values.tolist()
    if column.kind == "category":
        return [None if place < 0 else column.levels[place] for place in values]
    return [None if value is None or value != value else value for value in values]


@pytest.mark.parametrize("source", SOURCES)
def test_a_table_is_the_same_whoever_holds_it(source):
    table = read(SOURCES[source]())
    assert table.names == list(ROWS[0])
    assert table.rows == 3
    assert table.named
    assert [column.kind for column in table.columns] == KINDS
    age, pay, job, left, born = map(shown, table.columns)
    assert age == [39, None, 17]
    assert pay == [1.5, 2.5, None]
    assert job == ["cook", None, "nurse"]
    assert left == [1, 0, None]
    assert born == [datetime.datetime(1984, 5, 1), None, datetime.datetime(2006, 12, 31)]


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (np.array([1, 2, 3], np.uint8), "number", [1, 2, 3]),
        (np.array([True, False]), "boolean", [1, 0]),
        (np.array(["b", "a", ""]), "category", ["b", "a", None]),
        (np.array([b"x", b"y"]), "category", ["x", "y"]),
        (np.array([1, None, 2.5], object), "number", [1, None, 2.5]),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), "date", [datetime.datetime(2020, 1, 1), None]),
        (np.array([86_400, 43_200], "timedelta64[s]"), "number", [1, 0.5]),
        (["x", float("nan"), pd.NA, None], "category", ["x", None, None, None]),
        ([1, "one", True], "category", ["1", "one", "True"]),
        ([str(i) for i in range(20)], "number", list(range(20))),
        ([f"0{i}" for i in range(20)], "category", [f"0{i}" for i in range(20)]),
        (["3", "1", "3"], "category", ["3", "1", "3"]),
        (pd.Categorical([3, 1, None]), "category", ["3", "1", None]),
        (pd.Series(pd.arrays.SparseArray([0.0, 1.0])), "number", [0, 1]),
        (pd.Series(pd.period_range("2020-01", periods=1, freq="M")), "date", [datetime.datetime(2020, 1, 1)]),
        (
            pd.Series(pd.to_datetime(["2020-01-01 01:00"]).tz_localize("Europe/Berlin")),
            "date",
            [datetime.datetime(2020, 1, 1)],
        ),
    ],
)
def test_cells_decide_the_kind_of_their_column(cells, kind, expected):
    for table in (read({"a": cells}), read(pd.DataFrame({"a": cells}))):
        assert table.columns[0].kind == kind
        assert shown(table.columns[0]) == expected


def test_arrays_and_lists_of_rows_have_columns_without_names():
    for x in (
        np.ones((3, 2)),
        [[1.0, 1.0]] * 3,
        np.ones((3, 2), object),
        np.asfortranarray(np.ones((3, 2), np.float16)),
    ):
        table = read(x)
        assert table.names == ["x0", "x1"]
        assert not table.named
        assert all(column.values.tolist() == [1.0] * 3 for column in table.columns)
    assert read([["a", 1], ["b", 2]]).columns[1].kind == "number"
    fields = np.array([(1, "a")], dtype=[("n", int), ("t", "U3")])
    assert read(fields).names == ["n", "t"]
    assert shown(read(np.ma.masked_array([[1.0, 2.0]], [[False, True]])).columns[1]) == [None]


def test_a_key_that_a_row_lacks_is_a_missing_cell():
    table = read([{"a": 1}, {"b": "x"}])
    assert [shown(column) for column in table.columns] == [[1, None], [None, "x"]]


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (
            {"a": [1, [2]]},
            InvalidTypeError,
            "Column 'a', row 1: .*must be a string.*number.*Received: \\[2\\].*column of its own",
        ),
        (pl.DataFrame({"a": [[1.0], [2.0]]}), InvalidTypeError, "Column 'a', row 0"),
        (pa.table({"a": [{"b": 1}]}), InvalidTypeError, "Column 'a', row 0"),
        (pd.DataFrame({"a": [{1}, {2}]}), InvalidTypeError, "Column 'a', row 0"),
        ({"a": [datetime.date(2020, 1, 1), "x"]}, InvalidArgumentError, "Column 'a'.*one type.*date, str"),
        ({"a": [1j]}, InvalidArgumentError, "Column 'a': Complex data not supported"),
        ({"a": [10**400, 1]}, InvalidArgumentError, "Column 'a': .*larger than any float"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), InvalidArgumentError, "'a' occurs 2 times.*columns 0, 1"),
        (np.ones(3), InvalidArgumentError, "Expected 2D array, got 1D.*Reshape your data"),
        (np.ones((2, 2, 2)), InvalidArgumentError, "Expected 2D"),
        (pd.Series([1.0], name="age"), InvalidArgumentError, "Series named 'age'.*Reshape"),
        (np.ones((0, 3)), InvalidArgumentError, r"0 sample\(s\)"),
        (np.ones((3, 0)), InvalidArgumentError, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
        ([[1, 2], [3]], InvalidArgumentError, "Row 1.*1 cells"),
        ({"a": [1, 2], "b": [1]}, InvalidArgumentError, "differ in length"),
        ({"a": 1}, InvalidArgumentError, "list of dicts for single rows"),
        (object(), InvalidTypeError, "pandas, polars, PyArrow or NumPy"),
    ],
)
def test_what_is_no_table_is_refused_with_the_column_and_the_remedy(x, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        read(x)


def test_a_sparse_matrix_is_refused():
    from scipy import sparse

    with pytest.raises(InvalidTypeError, match=r"(?s)sparse.*toarray"):
        read(sparse.eye(3, format="csr"))


def test_a_table_of_one_library_imports_no_other():
    code = (
        "import sys, numpy as np\n"
        "from lamina.tabular.frames import read\n"
        "read(np.ones((2, 2))); read([{'a': 1}])\n"
        "print(sorted({'pandas', 'polars', 'pyarrow', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
