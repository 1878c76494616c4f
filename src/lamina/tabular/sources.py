"""CSV and Parquet as streams of record batches: separators and encodings found, ragged lines named. Needs PyArrow."""

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from lamina.errors import FileFormatError, invalid, message

_SAMPLE = 1 << 18
_PIECE = 1 << 24
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_EMPTY = ("", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def arrow() -> Any:
    """PyArrow.

    Raises:
        ImportError: If it is not installed; the text has the command.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(message("Reading tables needs PyArrow.", fix="pip install 'lamina[tabular]'")) from error
    return pa


class Form(NamedTuple):
    """How a CSV is written."""

    encoding: str
    separator: str
    decimal: str
    quoted_lines: bool


class Source:
    """A file that holds a table.

    Args:
        path: The file; CSV or Parquet, told apart by its bytes.

    Attributes:
        names: Its columns.
        facts: What was found out about it, to show.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: If it is empty or cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        arrow()
        self.path = os.fspath(path)
        self._kinds: dict[str, str] = {}  # what later rows of a CSV forced a column to be
        self._settled = False
        with open(self.path, "rb") as file:
            head = file.read(_SAMPLE)
        self.parquet = head[:4] == b"PAR1"
        size = os.path.getsize(self.path)
        if not head.strip():
            raise FileFormatError(
                message("The file is empty.", owner=self.path, fix="check the program that should have written it.")
            )
        if self.parquet:
            self.names = self._parquet().schema_arrow.names
            self._no_twins()
            self.facts = {"file": f"{self.path}, Parquet, {_bytes(size)}"}
            return
        self.form = _form(self.path, head)
        self.names = _header(self.path, self.form)
        self._no_twins()
        form = f"CSV of {_SEPARATORS[self.form.separator]} in {self.form.encoding}, {_bytes(size)}"
        self.facts = {"file": f"{self.path}, {form}"}

    def _no_twins(self) -> None:
        twins = [name for name, count in Counter(self.names).items() if count > 1]
        if twins:
            places = ", ".join(str(i + 1) for i, name in enumerate(self.names) if name == twins[0])
            raise invalid(
                f"The column name {twins[0]!r} occurs {self.names.count(twins[0])} times.",
                owner=self.path,
                received=f"columns {places} of that name",
                fix="give each column a name of its own.",
            )

    def _parquet(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path)
        except pa.ArrowInvalid as error:
            raise FileFormatError(message(f"The Parquet file is damaged: {error}", owner=self.path)) from None

    def batches(self) -> Iterator[Any]:
        """The rows, some thousand at a time, as record batches of PyArrow.

        Raises:
            FileFormatError: If a line has another number of cells than the header; the text has its number.
        """
        if self.parquet:
            yield from self._parquet().iter_batches(batch_size=1 << 16)
            return
        if not self._settled:
            self._settle()
        yield from self._opened()

    def _settle(self) -> None:
        """Read the file once, to learn what the cells of each column have in common."""
        while not self._settled:
            try:
                for _ in self._opened():
                    pass
                self._settled = True
            except arrow().ArrowInvalid as error:
                self._adapt(str(error))

    def _opened(self) -> Any:
        import pyarrow as pa
        from pyarrow import csv as reader

        size = min(_PIECE, max(_SAMPLE, os.path.getsize(self.path)))
        return reader.open_csv(
            self.path,
            read_options=reader.ReadOptions(encoding=self.form.encoding, block_size=size),
            parse_options=reader.ParseOptions(delimiter=self.form.separator, newlines_in_values=self.form.quoted_lines),
            convert_options=reader.ConvertOptions(
                column_types={name: getattr(pa, kind)() for name, kind in self._kinds.items()},
                null_values=list(_EMPTY),
                strings_can_be_null=True,
                decimal_point=self.form.decimal,
            ),
        )

    def _adapt(self, problem: str) -> None:
        """Read a column, of which later rows are no such values, as a wider kind; or say what is wrong with the file.

        PyArrow decides on a column's kind by the first rows alone.
        """
        found = re.search(r"In CSV column #(\d+).*conversion error to (\w+)", problem)
        name = self.names[int(found[1])] if found else ""
        if found and self._kinds.get(name) != "string":
            wider = "float64" if found[2].startswith("int") and name not in self._kinds else "string"
            self._kinds[name] = wider
            return
        ragged(self.path, self.form)
        raise FileFormatError(message(f"The file cannot be read as a CSV: {problem}", owner=self.path))


def _bytes(size: int) -> str:
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def _form(path: str, head: bytes) -> Form:
    encoding = _encoding(path, head)
    text = head.decode(encoding, "replace").lstrip("\ufeff")
    lines = text.splitlines()
    lines = lines[: max(1, len(lines) - 1)][:100] if len(head) == _SAMPLE else lines[:100]
    separator = max(_SEPARATORS, key=lambda mark: _fit_of(lines, mark))
    cells = [cell for row in csv.reader(lines, delimiter=separator) for cell in row]
    commas = sum(re.fullmatch(r"[-+]?\d+,\d+", cell.strip()) is not None for cell in cells)
    points = sum(re.fullmatch(r"[-+]?\d+\.\d+", cell.strip()) is not None for cell in cells)
    return Form(encoding, separator, "," if separator != "," and commas > points else ".", '"' in text)


def _fit_of(lines: list[str], mark: str) -> float:
    """How well a mark separates cells: the share of lines with as many cells as the first, and how many these are."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
    except csv.Error:
        return 0.0
    if not counts or counts[0] < 2:
        return 0.0
    return sum(count == counts[0] for count in counts) / len(counts) + min(counts[0], 1000) / 1e4


def _encoding(path: str, head: bytes) -> str:
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        try:
            while piece := file.read(_PIECE):
                decoder.decode(piece)
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            return "cp1252" if not re.search(rb"[\x81\x8d\x8f\x90\x9d]", head) else "latin-1"
    return "utf-8"


def _header(path: str, form: Form) -> list[str]:
    with open(path, encoding=form.encoding if form.encoding != "utf-8" else "utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=form.separator)
        header = next((row for row in rows if row), [])
        if next((row for row in rows if row), None) is None:
            raise FileFormatError(
                message("The file has a header and no rows.", owner=path, fix="check the program that wrote it.")
            )
    if header and all(re.fullmatch(r"[-+]?\d+([.,]\d+)?", cell.strip()) for cell in header):
        raise invalid(
            "The first line must hold the names of the columns.",
            owner=path,
            received=", ".join(header[:5]),
            fix="put a line with a name for each column before it.",
        )
    return header


def ragged(path: str, form: Form) -> None:
    """Refuse a CSV of which a line has more or fewer cells than its header.

    Raises:
        FileFormatError: With the number of the first such line.
    """
    with open(path, encoding=form.encoding if form.encoding != "utf-8" else "utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=form.separator)
        header = next((row for row in rows if row), [])
        start = rows.line_num + 1
        for row in rows:
            if row and len(row) != len(header):
                raise FileFormatError(
                    message(
                        f"Line {start} has {len(row)} cells, the header has {len(header)}.",
                        owner=path,
                        received=form.separator.join(row)[:80],
                        fix="mend that line: a cell that holds the separator must stand in double quotes.",
                    )
                )
            start = rows.line_num + 1
