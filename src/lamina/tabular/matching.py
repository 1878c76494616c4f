"""Tables at predict beside those of fit: the same columns, in the same order, of the same kinds."""

import numpy as np

from lamina.errors import invalid
from lamina.tabular.cells import Column
from lamina.tabular.frames import Table


def check(table: Table, names: list[str], *, named: bool, owner: str) -> None:
    """Refuse a table whose columns are not those of fit.

    The words are those of scikit-learn.

    Raises:
        InvalidArgumentError: If columns are missing, new, or in another order.
    """
    found = table.names
    if named and table.named and found != names:
        new, gone = sorted(set(found) - set(names)), sorted(set(names) - set(found))
        text = "The feature names should match those that were passed during fit.\n"
        if new:
            text += "Feature names unseen at fit time:\n" + _lines(new)
        if gone:
            text += "Feature names seen at fit time, yet now missing:\n" + _lines(gone)
        if not new and not gone:
            text += "Feature names must be in the same order as they were in fit.\n"
        fix = "pass these columns too" if gone else "choose the columns of fit: `x[list(model.feature_names_in_)]`"
        raise invalid(text.rstrip("\n"), fix=f"{fix}.")
    if len(found) != len(names):
        raise invalid(
            f"X has {len(found)} features, but {owner} is expecting {len(names)} features as input.",
            fix="pass the columns that `fit` had, in the same order.",
        )


def _lines(names: list[str]) -> str:
    return "".join(f"- {name}\n" for name in names[:5]) + ("- ...\n" if len(names) > 5 else "")


def as_kind(column: Column, kind: str) -> Column:
    """The column in the kind that it had in fit; missing cells stay missing.

    Raises:
        InvalidArgumentError: If a cell cannot be read so.
    """
    if column.kind == kind:
        return column
    if column.kind == "date" or (kind == "date" and column.kind != "category"):
        if _empty(column):
            return _blank(column, kind)
        raise _unlike(column, kind, f"{'dates' if column.kind == 'date' else 'numbers'}")
    if kind == "category":
        return _as_category(column)
    if column.kind == "category":
        return _read(column, kind)
    values = column.values
    if kind == "boolean":
        values = np.where(np.isin(values, (0.0, 1.0)), values, np.nan)
    return column._replace(kind=kind, values=values)  # type: ignore[arg-type]


def _empty(column: Column) -> bool:
    if column.kind == "category":
        return bool((column.values < 0).all())
    return bool((np.isnat if column.kind == "date" else np.isnan)(column.values).all())


def _blank(column: Column, kind: str) -> Column:
    rows = len(column.values)
    if kind == "category":
        return column._replace(kind="category", values=np.full(rows, -1, np.int32), levels=())
    blank = np.full(rows, np.datetime64("NaT", "us")) if kind == "date" else np.full(rows, np.nan)
    return column._replace(kind=kind, values=blank, levels=())  # type: ignore[arg-type]


def _as_category(column: Column) -> Column:
    used, places = np.unique(column.values, return_inverse=True)
    texts = [_text(value, column.kind) for value in used.tolist()]
    levels = tuple(text for text in texts if text is not None)
    rank = np.array([-1 if text is None else levels.index(text) for text in texts], np.int32)
    return column._replace(kind="category", values=rank[places.reshape(-1)], levels=levels)


def _text(value: float, kind: str) -> str | None:
    if value != value:
        return None
    if kind == "boolean":
        return str(bool(value))
    return str(int(value)) if value.is_integer() else repr(value)


_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def _read(column: Column, kind: str) -> Column:
    """The texts of a column as numbers, booleans or dates."""
    blank = np.datetime64("NaT", "us") if kind == "date" else np.nan
    found = np.full(len(column.levels) + 1, blank)
    for place, level in enumerate(column.levels):
        try:
            if kind == "date":
                found[place] = np.datetime64(level.strip(), "us")
            else:
                found[place] = _TRUTH[level.strip().lower()] if kind == "boolean" else float(level)
        except (ValueError, KeyError):
            raise _unlike(column, kind, f"the text {level!r}") from None
    return column._replace(kind=kind, values=found[column.values], levels=())  # type: ignore[arg-type]


_WORDS = {"number": "numbers", "boolean": "True and False", "category": "categories", "date": "dates"}


def _unlike(column: Column, kind: str, received: str) -> Exception:
    return invalid(
        f"This column held {_WORDS[kind]} in fit.",
        owner=f"Column {column.name!r}",
        received=received,
        fix=f"convert it to {_WORDS[kind]}, with None where a cell has no value.",
    )
