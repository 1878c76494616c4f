import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.tabular.gathering import gather, select
from lamina.tabular.sources import Source


@pytest.fixture
def written(tmp_path):
    def write(content, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return Source(path)

    return write


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("a,b\n1,x\n2,ü\n", "utf-8", "CSV of commas in utf-8"),
        ("a;b\n1,5;x\n2,25;ü\n", "utf-8", "CSV of semicolons in utf-8"),
        ("a\tb\n1\tx\n2\tü\n", "cp1252", "CSV of tabs in cp1252"),
        ("a|b\n1|x\n2|ü\n", "utf-16", "CSV of bars in utf-16"),
        ("a,b\n1,x\n2,ü\n", "utf-8-sig", "CSV of commas in utf-8"),
        ('a,b\n1,"x, y\nz"\n2,ü\n', "utf-8", "CSV of commas"),
        ("a,b\r\n1,x\r\n\r\n2,ü\r\n", "utf-8", "CSV of commas"),
    ],
)
def test_separators_and_encodings_are_found(written, text, encoding, found):
    source = written(text, encoding=encoding)
    assert source.names == ["a", "b"]
    assert found in source.facts["file"]
    rows, total = gather(source)
    assert total == 2
    assert rows.column("b").to_pylist()[1] == "ü"
    assert rows.column("a").to_pylist() in ([1, 2], [1.5, 2.25])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "data.csv: The file is empty"),
        (" \n\n", "empty"),
        ("a,b\n", "header and no rows"),
        ("a,b\n1,2\n3,4,5\n", "Line 3 has 3 cells, the header has 2.*3,4,5.*double quotes"),
        ('a,b\n1,"x\ny"\n3\n', "Line 4 has 1 cells"),
        (b"PAR1 nonsense", "Parquet file is damaged"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_line(written, content, words):
    with pytest.raises(FileFormatError, match=f"(?s){words}"):
        gather(written(content))


def test_a_ragged_line_far_down_is_named(written):
    lines = [f"{i},{i}" for i in range(50_000)]
    lines[40_000] += ",1"
    with pytest.raises(FileFormatError, match="Line 40002 has 3 cells"):
        gather(written("a,b\n" + "\n".join(lines)))


def test_two_columns_of_one_name_are_refused(written):
    with pytest.raises(InvalidArgumentError, match=r"(?s)'b' occurs 2 times.*columns 2, 3"):
        written("a,b,b\n1,2,3\n")


def test_a_first_line_of_numbers_is_no_header(written):
    with pytest.raises(InvalidArgumentError, match="names of the columns"):
        written("1,2\n3,4\n")


def test_later_rows_may_make_a_column_wider(written, monkeypatch):
    monkeypatch.setattr("lamina.tabular.sources._SAMPLE", 1 << 10)
    monkeypatch.setattr("lamina.tabular.sources._PIECE", 1 << 10)
    text = "a,b,c\n" + "1,1,x\n" * 500 + "2.5,oops,x\n"
    rows = gather(written(text)).rows
    assert rows.column("a").to_pylist()[-1] == 2.5
    assert rows.column("b").to_pylist()[::500] == ["1", "oops"]


def test_markers_of_missing_cells_are_missing(written):
    rows = gather(written("a,b\n1,x\n?,NA\n,n/a\n3,null\n")).rows
    assert rows.column("a").to_pylist() == [1, None, None, 3]
    assert rows.column("b").null_count == 3


def test_a_file_larger_than_the_memory_is_drawn_from(tmp_path):
    table = pa.table({"a": np.arange(200_000.0)})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=10_000)
    source = Source(tmp_path / "data.parquet")
    assert "Parquet" in source.facts["file"]
    rows, total = gather(source, limit=400_000)
    assert total == 200_000
    assert 10_000 < rows.num_rows <= 50_000
    values = rows.column("a").to_numpy()
    assert abs(values.mean() - 100_000) < 3_000
    assert gather(source, limit=400_000).rows.equals(rows)


def test_columns_are_found_in_any_order_and_a_missing_one_is_named():
    rows = pa.table({"b": [1], "extra": [2], "a": [3]})
    assert select(rows, ["a", "b"], "x.csv").column_names == ["a", "b"]
    with pytest.raises(InvalidArgumentError, match=r"(?s)x\.csv: .*lacks columns.*'extras'.*Did you mean 'extra'"):
        select(rows, ["a", "extras"], "x.csv")
