"""From measurements to medians, ratios and tables."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.rows import SUBJECT, Row, rows


class Line(NamedTuple):
    """A way of a row: median, worst and best value, how often it was measured, or why there is no number."""

    row: str
    way: str
    value: float | None
    worst: float | None
    best: float | None
    compiling: float | None
    count: int
    note: str


class Ratio(NamedTuple):
    """How many times as good as the best other way lamina is on one row; None where one of the two has no number.

    `rival` is the row whose other ways it is held against, `asked` the ratio that is asked for. `reached` is None where
    nothing is asked, and else whether ratio and bound are reached.
    """

    row: str
    rival: str
    best: str | None
    ratio: float | None
    asked: float | None
    bound: float | None
    reached: bool | None


def summarize(measurements: Sequence[dict[str, Any]]) -> list[Line]:
    """Return a line for each row and way, in the order in which they first came."""
    known = rows()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in measurements:
        if one["row"] in known:
            groups.setdefault((one["row"], one["way"]), []).append(one)
    lines = []
    for (name, way), group in groups.items():
        values = sorted((one["value"] for one in group if "value" in one), reverse=not known[name].more)
        note = next((f"{key}: {one[key]}" for one in group for key in ("failed", "absent") if key in one), "")
        if not values:
            lines.append(Line(name, way, None, None, None, None, 0, note))
            continue
        compiling = [one["compiling"] for one in group if "compiling" in one]
        median = statistics.median(compiling) if compiling else None
        lines.append(
            Line(name, way, statistics.median(values), values[0], values[-1], median, len(values), note)
        )  # fmt: skip
    return lines


def ratios(lines: Sequence[Line], known: dict[str, Row] | None = None) -> list[Ratio]:
    """Return lamina against the best other way, for each row that has been measured."""
    known = rows() if known is None else known
    found = []
    for name in dict.fromkeys(line.row for line in lines):
        row = known[name]
        # A goal may be about another row's ways; the row's own are shown all the same.
        for rival in dict.fromkeys((name, row.rival or name)):
            found.append(_ratio(row, known[rival], lines, rival == (row.rival or name)))
    return found


def _ratio(row: Row, rival: Row, lines: Sequence[Line], judged: bool) -> Ratio:
    own = next((line.value for line in lines if (line.row, line.way) == (row.name, SUBJECT)), None)
    others = {
        line.way: line.value for line in lines
        if line.row == rival.name and line.way not in rival.own and line.value is not None
    }  # fmt: skip
    best = (max if row.more else min)(others, key=lambda way: others[way], default=None)
    ratio = None
    if own is not None and best is not None:
        ratio = own / others[best] if row.more else others[best] / own
    asked, bound = (row.goal, row.bound) if judged else (None, None)
    reached = None
    if own is not None and (bound is not None or (asked is not None and ratio is not None)):
        enough = asked is None or ratio is None or ratio >= asked
        reached = enough and (bound is None or (own >= bound if row.more else own <= bound))
    return Ratio(row.name, rival.name, best, ratio, asked, bound, reached)


def shown(value: float | None, unit: str = "") -> str:
    """Return a number with three digits that count, and its unit."""
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def values(lines: Sequence[Line]) -> Table:
    """Return the table of all numbers; what has none is told by `notes`."""
    known, table, previous = rows(), Table(), None
    table.add_column("row")
    table.add_column("way")
    for name in ("median", "worst", "best", "times", "compiling"):
        table.add_column(name, justify="right")
    for line in lines:
        if previous not in (None, line.row):
            table.add_section()
        row = known[line.row]
        numbers = ("-", "", "", "", "")
        if line.value is not None:
            compiling = "" if line.compiling is None else f"{line.compiling:.1f} s"
            numbers = (shown(line.value, row.unit), shown(line.worst), shown(line.best), str(line.count), compiling)
        style = "bold" if line.way == SUBJECT else None
        table.add_row("" if line.row == previous else line.row, row.ways.get(line.way, line.way), *numbers, style=style)
        previous = line.row
    return table


def notes(lines: Sequence[Line]) -> list[str]:
    """Return a sentence for each way that has no number, or not one in each round, and why."""
    known = rows()
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.note:
            found.setdefault((known[line.row].ways.get(line.way, line.way), line.note), []).append(line.row)
    return [f"{title} ({', '.join(where)}): {note}" for (title, note), where in found.items()]


def against(found: Sequence[Ratio]) -> Table:
    """Return the table of ratios."""
    known, table = rows(), Table()
    for name, side in (("row", "left"), ("best other", "left"), ("lamina is", "right"), ("asked for", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for one in found:
        best = known[one.rival].ways[one.best] if one.best else "-"
        if one.rival != one.row:
            best += f" ({one.rival})"
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f} x"
        if one.reached is not None:
            ratio = f"[{'green' if one.reached else 'red'}]{ratio}[/]"
        table.add_row(one.row, best, ratio, goal(one, known[one.row]))
    return table


def goal(one: Ratio, row: Row) -> str:
    """Return what is asked for, as text."""
    asked = [] if one.asked is None else [f"{one.asked:g} x"]
    if one.bound is not None:
        asked.append(f"{'at least' if row.more else 'under'} {one.bound:,g} {row.unit}")
    return ", ".join(asked) or "-"
