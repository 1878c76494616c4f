"""Columns of any kind as the three arrays that a network takes. What each becomes is learnt from training rows."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from lamina._types import Config, Numpy
from lamina.errors import invalid
from lamina.tabular.cells import Column
from lamina.tabular.encoded import Encoded
from lamina.tabular.frames import Table
from lamina.tabular.matching import as_kind
from lamina.tabular.scaling import clipped, scale

ONE_HOT = 8  # up to so many categories each has a column of its own; more have codes
_WORDS, _LETTERS = 4, 40  # categories that are longer than so on average are prose
_PROSE, _NAMES = 50, 0.9  # ... if there are more than so many of them; a category in so many of the rows names the row

DATE_PARTS: dict[str, Callable[[Numpy], Numpy]] = {
    "year": lambda t: t.astype("datetime64[Y]").astype(np.int64) + 1970,
    "month": lambda t: t.astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "weekday": lambda t: (t.astype("datetime64[D]").astype(np.int64) + 3) % 7,
    "hour": lambda t: (t - t.astype("datetime64[D]")) / np.timedelta64(1, "h"),
    "days": lambda t: (t - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D"),
}

REASONS = {
    "empty": "Not used, as all of their cells are missing",
    "constant": "Not used, as all of their cells are equal",
    "text": "Not used, as they hold free text; to use them, embed it (scikit-learn's TfidfVectorizer and TruncatedSVD, "
    "or a sentence encoder) and pass the numbers as columns",
    "names": "Not used, as nearly each row has a category of its own, which says nothing about another row",
    "infinite": "Infinite cells count as larger (or smaller) than all others",
    "date": "Dates are used as year, month, weekday, hour of the day and days since 1970, as far as these vary",
    "rare": "Categories that occur once are taken as unknown ones",
}


class Plan(NamedTuple):
    """What becomes of a column.

    Attributes:
        name: The column.
        kind: What its values are; at predict they are brought to it.
        use: `number`, `binary`, `onehot`, `codes`, `parts` of a date, or the reason why it is not used.
        levels: The categories that are known.
        parts: Those of a date that vary.
        gaps: Whether a column says where cells are missing.
    """

    name: str
    kind: str
    use: str
    levels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    gaps: bool = False

    @property
    def unused(self) -> bool:
        return self.use in REASONS and not self.gaps


class Encoder:
    """Learns from training rows what each column becomes; then turns tables into arrays.

    Numbers are scaled by their median and quartiles and bent into (-3, 3); missing ones become the median, and a
    further column says where. Up to eight categories have a column each, two a single one of -1 and 1; more have codes.
    What is missing or unknown is 0 in all of these.

    Attributes:
        plans: What becomes of each column, in the order of the table.
        notes: What was done that the reader of the table might not expect, a sentence for each.
    """

    def __init__(self, plans: list[Plan], named: bool, notes: list[str]) -> None:
        self.plans, self.named, self.notes = plans, named, notes
        self.numeric = np.zeros((2, 0))
        self.onehot = np.zeros((2, 0))

    @classmethod
    def fit(cls, table: Table, weight: Numpy | None = None) -> Self:
        """The encoder of these rows.

        Args:
            table: The training rows.
            weight: How often each row counts. Default: once.

        Raises:
            InvalidArgumentError: If no column can be used.
        """
        if weight is not None and not (weight > 0).all():
            table, weight = table.take(weight > 0), weight[weight > 0]
        found: dict[str, list[str]] = {}
        plans = [_plan(column, table.rows, found) for column in table.columns]
        encoder = cls(plans, table.named, _notes(table, found))
        if all(plan.unused for plan in plans):
            why = "; ".join(f"{REASONS[key]}: {_listed(names)}" for key, names in found.items() if key in REASONS)
            raise invalid(
                "No column can be used.",
                received=why,
                fix="pass at least one column whose values differ from row to row.",
            )
        numeric, onehot, _ = encoder._raw(table)
        encoder.numeric = np.array([scale(column, weight) for column in numeric.T]).reshape(-1, 2).T
        encoder.onehot = np.array([scale(column, weight) for column in onehot.T]).reshape(-1, 2).T
        return encoder

    def transform(self, table: Table) -> Encoded:
        """The arrays of a table that has the columns of the training rows.

        Raises:
            InvalidArgumentError: If a column holds what cannot be brought to its kind.
        """
        numeric, onehot, codes = self._raw(table)
        scaled = np.nan_to_num(clipped(numeric, *self.numeric), copy=False)
        return Encoded(scaled, clipped(onehot, *self.onehot), codes, self.sizes)

    @property
    def warnings(self) -> list[str]:
        """The notes that may be news to who made the table."""
        return [note for note in self.notes if not note.startswith(REASONS["rare"])]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column of codes has, 0 included."""
        return tuple(len(plan.levels) + 1 for plan in self.plans if plan.use == "codes")

    @property
    def names(self) -> list[str]:
        """The columns, in the order of the training rows."""
        return [plan.name for plan in self.plans]

    def _raw(self, table: Table) -> tuple[Numpy, Numpy, Numpy]:
        """The three arrays, not scaled yet; missing numbers are NaN."""
        numeric: list[Numpy] = []
        onehot: list[Numpy] = []
        codes: list[Numpy] = []
        for plan, column in zip(self.plans, table.columns, strict=True):
            if plan.unused:
                continue
            column = as_kind(column, plan.kind)
            gone = np.isnan(column.values) if plan.kind == "number" else None
            if plan.use == "number":
                numeric.append(column.values)
            elif plan.use == "parts":
                gone = np.isnat(column.values)
                numeric += [np.where(gone, np.nan, DATE_PARTS[part](column.values)) for part in plan.parts]
            elif plan.kind in ("boolean", "category"):
                places = _places(column, plan.levels)
                gone = places < 0
                if plan.use == "codes":
                    codes.append(places + 1)
                elif plan.use == "binary":
                    onehot.append(np.where(gone, 0.0, places * 2.0 - 1))
                elif plan.use == "onehot":
                    onehot += [(places == level).astype(np.float64) for level in range(len(plan.levels))]
            if plan.gaps:
                onehot.append(np.asarray(gone, np.float64))
        return (
            _stacked(numeric, table.rows, np.float64),
            _stacked(onehot, table.rows, np.float64),
            _stacked(codes, table.rows, np.int32),
        )

    def state(self) -> tuple[Config, dict[str, Numpy]]:
        """What `restore` needs: plain values, and arrays by name."""
        values = {"plans": [plan._asdict() for plan in self.plans], "named": self.named, "notes": self.notes}
        return values, {"numeric": self.numeric, "onehot": self.onehot}

    @classmethod
    def restore(cls, values: Config, arrays: dict[str, Numpy]) -> Self:
        """The encoder whose `state` this is."""
        plans = [
            Plan(p["name"], p["kind"], p["use"], tuple(p["levels"]), tuple(p["parts"]), p["gaps"])
            for p in values["plans"]
        ]
        encoder = cls(plans, values["named"], values["notes"])
        encoder.numeric, encoder.onehot = arrays["numeric"], arrays["onehot"]
        return encoder


def _stacked(columns: list[Numpy], rows: int, dtype: Any) -> Numpy:
    found = np.empty((rows, len(columns)), dtype)
    for place, column in enumerate(columns):
        found[:, place] = column
    return found


def _places(column: Column, levels: tuple[str, ...]) -> Numpy:
    """The place of each cell's category in `levels`, -1 for one that is missing or unknown."""
    if column.kind == "boolean":
        return np.where(np.isnan(column.values), -1, column.values).astype(np.int32)
    known = {level: place for place, level in enumerate(levels)}
    places = np.array([*(known.get(level, -1) for level in column.levels), -1], np.int32)
    return np.asarray(places[column.values])


def _plan(column: Column, rows: int, found: dict[str, list[str]]) -> Plan:
    """What becomes of a column; what is to be said of it goes to `found`."""
    name, kind = column.name, column.kind
    if column.note:
        found.setdefault(column.note, []).append(name)
    if kind == "category":
        plan = _of_category(column, rows, found)
    elif kind == "date":
        plan = _of_date(column)
    else:
        gone = np.isnan(column.values)
        if np.isinf(column.values).any():
            found.setdefault("infinite", []).append(name)
        real = column.values[~gone]
        gaps = bool(gone.any()) and not gone.all()
        if not len(real):
            plan = Plan(name, kind, "empty")
        elif (real == real[0]).all():
            plan = Plan(name, kind, "constant", gaps=gaps)
        elif kind == "boolean":
            plan = Plan(name, kind, "binary", ("False", "True"))
        else:
            plan = Plan(name, kind, "number", gaps=gaps)
    if plan.unused or plan.use == "parts":
        found.setdefault("date" if plan.use == "parts" else plan.use, []).append(name)
    return plan


def _of_date(column: Column) -> Plan:
    gone = np.isnat(column.values)
    real = column.values[~gone]
    if not len(real):
        return Plan(column.name, "date", "empty")
    parts = tuple(part for part, of in DATE_PARTS.items() if len(np.unique(of(real))) > 1)
    gaps = bool(gone.any())
    return Plan(column.name, "date", "parts" if parts else "constant", parts=parts, gaps=gaps)


def _of_category(column: Column, rows: int, found: dict[str, list[str]]) -> Plan:
    name, levels = column.name, column.levels
    gone = column.values < 0
    counts = np.bincount(column.values[~gone], minlength=len(levels))
    levels = tuple(level for level, count in zip(levels, counts, strict=True) if count)
    if not levels:
        return Plan(name, "category", "empty")
    if len(levels) == 1:
        return Plan(name, "category", "constant", levels, gaps=bool(gone.any()))
    if len(levels) == 2:
        return Plan(name, "category", "binary", levels)
    if len(levels) <= ONE_HOT:
        return Plan(name, "category", "onehot", levels)
    letters = sum(map(len, levels)) / len(levels)
    words = sum(level.count(" ") + 1 for level in levels) / len(levels)
    if len(levels) > _PROSE and (words >= _WORDS or letters > _LETTERS) and len(levels) > 0.2 * (rows - gone.sum()):
        return Plan(name, "category", "text")
    often = tuple(level for level, count in zip(column.levels, counts, strict=True) if count > 1)
    if not often or (rows > _PROSE and len(levels) > _NAMES * (rows - gone.sum())):
        return Plan(name, "category", "names")
    if len(often) < len(levels):
        found.setdefault("rare", []).append(f"{name} ({len(levels) - len(often):,} of {len(levels):,})")
    return Plan(name, "category", "codes", often)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) if not any("(" in name for name in names) else ", ".join(names[:5])
    return shown + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _notes(table: Table, found: dict[str, list[str]]) -> list[str]:
    return [f"{REASONS.get(why, why[:1].upper() + why[1:])}: {_listed(names)}." for why, names in found.items()]
