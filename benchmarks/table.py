"""From measurements to medians, ratios and tables."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import peers
from benchmarks.workloads import GOALS

SUBJECT = "lamina"


class Line(NamedTuple):
    """A peer on a workload: samples per second (median, least, most), seconds to compile, or why there is no number."""

    workload: str
    peer: str
    samples: float | None
    least: float | None
    most: float | None
    compiling: float | None
    note: str


class Ratio(NamedTuple):
    """lamina against the fastest of the others on one workload; None where one of the two has no number."""

    workload: str
    best: str | None
    ratio: float | None
    goal: float | None


def summarize(measurements: Sequence[dict[str, Any]]) -> list[Line]:
    """Return a line for each workload and peer, in the order in which they first came."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in measurements:
        groups.setdefault((one["workload"], one["peer"]), []).append(one)
    lines = []
    for (workload, peer), group in groups.items():
        speeds = [one["samples_per_second"] for one in group if "samples_per_second" in one]
        note = next((f"{key}: {one[key]}" for one in group for key in ("failed", "absent") if key in one), "")
        if speeds:
            compiling = statistics.median(one["compiling"] for one in group if "compiling" in one)
            lines.append(Line(workload, peer, statistics.median(speeds), min(speeds), max(speeds), compiling, note))
        else:
            lines.append(Line(workload, peer, None, None, None, None, note))
    return lines


def ratios(lines: Sequence[Line], goals: dict[str, float] | None = None) -> list[Ratio]:
    """Return lamina's median over that of the best other peer, for each workload."""
    goals = GOALS if goals is None else goals
    found = []
    for workload in dict.fromkeys(line.workload for line in lines):
        here = {line.peer: line.samples for line in lines if line.workload == workload and line.samples is not None}
        own = here.pop(SUBJECT, None)
        best = max(here, key=lambda peer: here[peer], default=None)
        ratio = None if own is None or best is None else own / here[best]
        found.append(Ratio(workload, best, ratio, goals.get(workload)))
    return found


def speeds(lines: Sequence[Line]) -> Table:
    """Return the table of all numbers; what has none is told by `notes`."""
    table = Table()
    table.add_column("workload")
    table.add_column("peer")
    for name in ("samples/s", "least", "most", "compiling"):
        table.add_column(name, justify="right")
    previous = None
    for line in lines:
        if previous not in (None, line.workload):
            table.add_section()
        numbers = ("-", "", "", "")
        if line.samples is not None:
            numbers = (*(f"{speed:,.0f}" for speed in (line.samples, line.least, line.most)), f"{line.compiling:.1f} s")
        shown = "" if line.workload == previous else line.workload
        table.add_row(shown, peers.load(line.peer).NAME, *numbers, style="bold" if line.peer == SUBJECT else None)
        previous = line.workload
    return table


def notes(lines: Sequence[Line]) -> list[str]:
    """Return a sentence for each peer that has no number, or not one in each round, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.note:
            found.setdefault((line.peer, line.note), []).append(line.workload)
    return [f"{peers.load(peer).NAME} ({', '.join(where)}): {note}" for (peer, note), where in found.items()]


def against(found: Sequence[Ratio]) -> Table:
    """Return the table of ratios."""
    table = Table()
    for name, side in (("workload", "left"), ("best other", "left"), ("lamina is", "right"), ("goal", "right")):
        table.add_column(name, justify=side)
    for one in found:
        best = peers.load(one.best).NAME if one.best else "-"
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f} x"
        if one.ratio is not None and one.goal is not None:
            ratio = f"[{'green' if one.ratio >= one.goal else 'red'}]{ratio}[/]"
        table.add_row(one.workload, best, ratio, "-" if one.goal is None else f"{one.goal:g} x")
    return table
