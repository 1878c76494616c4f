"""Python's own values as columns: numbers, texts, dates and missing cells, told apart by looking at every cell."""

import datetime
import decimal
import fractions
import numbers
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np

from lamina._types import Numpy
from lamina.errors import InvalidTypeError, invalid, message

Kind = Literal["number", "boolean", "category", "date"]


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: What it is called.
        kind: How its values are kept. `number`: float64, NaN where a cell is missing. `boolean`: the same, of 0 and 1.
            `category`: int32 places in `levels`, -1 where missing. `date`: datetime64[us], NaT where missing.
        values: One for each row.
        levels: The categories as texts.
        note: What was done with its cells that its reader might not expect; empty: nothing.
    """

    name: str
    kind: Kind
    values: Numpy
    levels: tuple[str, ...] = ()
    note: str = ""


def missing(cell: Any) -> bool:
    """Whether a cell stands for nothing: None, NaN, NaT, pandas' NA."""
    if cell is None:
        return True
    if isinstance(cell, float | np.floating | np.datetime64 | np.timedelta64 | decimal.Decimal):
        return bool(cell != cell)
    return type(cell).__name__ in ("NAType", "NaTType", "MaskedConstant")


_TEXTS = (str, bytes)
_DATES = (datetime.date, np.datetime64)
_SPANS = (datetime.timedelta, np.timedelta64)
_NUMBERS = (numbers.Real, np.number, decimal.Decimal, fractions.Fraction)


def _sort(kind: type) -> str:
    """What values of a class are: the sorts of a column decide its kind."""
    if issubclass(kind, bool | np.bool_):
        return "boolean"
    if issubclass(kind, complex | np.complexfloating):
        return "complex"
    if issubclass(kind, _SPANS):
        return "span"
    if issubclass(kind, _NUMBERS):
        return "number"
    if issubclass(kind, _TEXTS):
        return "text"
    return "date" if issubclass(kind, _DATES) else "other"


def column(name: str, cells: Iterable[Any]) -> Column:
    """The column that holds these values.

    Raises:
        InvalidTypeError: If a cell is a list, a dict, or another thing that is no value of a table.
        InvalidArgumentError: If dates stand beside texts or numbers.
    """
    cells = list(cells)
    gone = np.fromiter((missing(cell) for cell in cells), bool, len(cells))
    classes = {type(cell) for cell, lost in zip(cells, gone, strict=True) if not lost}
    sorts = {_sort(kind) for kind in classes}
    if "complex" in sorts:
        raise invalid("Complex data not supported.", owner=f"Column {name!r}", fix="pass its parts as two columns.")
    if "other" in sorts:
        raise _unfit(name, cells)
    if sorts <= {"number", "boolean"}:
        kind: Kind = "boolean" if sorts == {"boolean"} else "number"
        return Column(name, kind, _numbers(name, cells, gone))
    if sorts == {"date"}:
        return Column(name, "date", dates(name, cells, gone))
    if sorts == {"span"}:
        days = [np.nan if lost else _days(cell) for cell, lost in zip(cells, gone, strict=True)]
        return Column(name, "number", np.asarray(days, np.float64), note="time spans are taken as days")
    if "text" in sorts and sorts <= {"text", "number", "boolean"}:
        texts = [None if lost else _text(cell) for cell, lost in zip(cells, gone, strict=True)]
        return _of_texts(name, texts, mixed=len(sorts) > 1)
    found = ", ".join(sorted(kind.__name__ for kind in classes))
    raise invalid(
        "A column must hold values of one type.",
        owner=f"Column {name!r}",
        received=f"values of the types {found}",
        fix="convert the column to dates, numbers or texts before, or drop it.",
    )


def _unfit(name: str, cells: list[Any]) -> InvalidTypeError:
    row, cell = next(
        (row, cell) for row, cell in enumerate(cells) if not missing(cell) and _sort(type(cell)) == "other"
    )
    return InvalidTypeError(
        message(
            "A cell of the argument must be a string, a boolean, a date or a number.",
            owner=f"Column {name!r}, row {row}",
            received=f"{repr(cell)[:60]} (of type {type(cell).__name__})",
            fix="give each part of it a column of its own (three numbers: three columns), or drop the column.",
        )
    )


def _numbers(name: str, cells: list[Any], gone: Numpy) -> Numpy:
    try:
        return np.fromiter(
            (np.nan if lost else float(cell) for cell, lost in zip(cells, gone, strict=True)), np.float64, len(cells)
        )
    except OverflowError:
        raise invalid(
            "A number is larger than any float.",
            owner=f"Column {name!r}",
            fix="take its logarithm, or drop the column.",
        ) from None


def _days(span: Any) -> float:
    return float(np.timedelta64(span) / np.timedelta64(1, "D"))


def dates(name: str, cells: Iterable[Any], gone: Numpy) -> Numpy:
    """Dates and times as datetime64[us], in UTC where they have a time zone."""
    found = np.full(len(gone), np.datetime64("NaT"), "datetime64[us]")
    for row, (cell, lost) in enumerate(zip(cells, gone, strict=True)):
        if lost:
            continue
        if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
            cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
        found[row] = np.datetime64(cell, "us")
    return found


def _text(cell: Any) -> str | None:
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, str):
        return cell if cell.strip() else None  # an empty cell is a missing one
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    number = float(cell)
    return str(int(number)) if number.is_integer() else repr(number)


def _of_texts(name: str, texts: list[str | None], *, mixed: bool) -> Column:
    levels: dict[str, int] = {}
    places = np.fromiter(
        (-1 if text is None else levels.setdefault(text, len(levels)) for text in texts), np.int32, len(texts)
    )
    note = "numbers and texts in one column are taken as categories, equal where their texts are" if mixed else ""
    return of_codes(name, places, list(levels), note)


def of_codes(name: str, places: Numpy, levels: list[str], note: str = "") -> Column:
    """A column of texts: of numbers, if all of its many texts are such; else of categories, in the order of the texts.

    A column of codes such as "007" stays one of categories.
    """
    used = np.unique(places)
    used = used[used >= 0]
    kept = [levels[place] for place in used]
    lost = {i for i, level in enumerate(kept) if not level.strip()}
    parsed = _parsed([level for i, level in enumerate(kept) if i not in lost])
    if parsed is not None and len(parsed) > _FEW:
        numbers = np.full(len(levels) + 1, np.nan)
        numbers[[place for i, place in enumerate(used) if i not in lost]] = parsed
        return Column(name, "number", numbers[places], note="texts that are all numbers are taken as numbers")
    order = sorted((i for i in range(len(kept)) if i not in lost), key=kept.__getitem__)
    place_of = np.full(len(levels) + 1, -1, np.int32)
    place_of[used[order] if order else np.zeros(0, np.int64)] = np.arange(len(order), dtype=np.int32)
    return Column(name, "category", place_of[places], tuple(kept[i] for i in order), note)


_FEW = 8  # so few different numbers, written as texts, are names of categories


def _parsed(levels: list[str]) -> list[float] | None:
    found = []
    for level in levels:
        text = level.strip()
        if len(text) > 1 and text.startswith("0") and not text.startswith(("0.", "0e", "0E")):
            return None
        try:
            number = float(text) if "_" not in text else None
        except ValueError:
            return None
        if number is None:
            return None
        found.append(number)
    return found
