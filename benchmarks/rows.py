"""What is measured: a row for each line of the table, with the ways that are held against each other.

A way is a library, or lamina used differently. `measure(way, seconds, quick)` returns {"value": number, ...}, or
{"absent": reason}, or {"failed": reason}.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks import depth, many, peers, predict, start
from benchmarks.processes import answer
from benchmarks.workloads import WORKLOADS

SUBJECT = "lamina"


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        name: What `--only` calls it.
        title: What the table calls it.
        unit: Of the values.
        more: Whether more is better.
        ways: Names and titles.
        measure: See above.
        goal: How many times as good as the best other way lamina is asked to be.
        bound: The value that lamina is asked to reach.
        rival: The row whose best other way the goal is about, if that is not this one.
        own: Ways that are lamina, too, and no peers.
    """

    name: str
    title: str
    unit: str
    more: bool
    ways: dict[str, str]
    measure: Callable[[str, float, bool], dict[str, Any]]
    goal: float | None = None
    bound: float | None = None
    rival: str = ""
    own: tuple[str, ...] = (SUBJECT,)


_TRAINING = {
    "tiny": (60.0, ""),
    "small": (5.0, ""),
    "mnist": (1.35, ""),
    "wide": (1.05, ""),
    "wide_bf16": (1.7, "wide"),
}


def rows() -> dict[str, Row]:
    """Return all rows by their names, in the order of the table."""
    found = [_training(name, goal, rival) for name, (goal, rival) in _TRAINING.items()]
    found += predict.rows(Row)
    found.append(Row("start", start.TITLE, "s", False, start.WAYS, start.measured, bound=1.2))
    title = "1,200 layers of 64 units, a step"
    found.append(Row("depth", title, "ms", False, depth.WAYS, _deep, goal=2.4, own=("lamina", "kept")))
    ways = {"lamina" if way == "many" else way: title for way, title in many.WAYS.items()}
    for name, case in many.CASES.items():
        widths = "-".join(map(str, case.workload.widths))
        goal, rival = case.times.get("torch"), ""
        title = f"{case.networks:,} networks of {widths} at once"
        found.append(
            Row(f"many_{name}", title, "steps/s", True, ways, partial(_many, name), goal, case.steps, rival,
                ("lamina", "alone"))
        )  # fmt: skip
    return {row.name: row for row in found}


def chosen(names: Sequence[str]) -> list[Row]:
    """Return the rows whose names, or whose beginning of a name up to `_`, are given."""
    return [row for row in rows().values() if row.name in names or row.name.partition("_")[0] in names]


def _training(name: str, goal: float, rival: str) -> Row:
    workload = WORKLOADS[name]
    title = f"{'-'.join(map(str, workload.widths))}, batch {workload.batch}"
    title += "" if workload.policy == "float32" else f", {workload.policy}"
    ways = {peer: peers.load(peer).NAME for peer in peers.PEERS}
    return Row(name, title, "samples/s", True, ways, partial(_trained, name), goal, None, rival)


def _trained(workload: str, way: str, seconds: float, quick: bool) -> dict[str, Any]:
    lacking = peers.missing(way)
    if lacking:
        return {"absent": f"{', '.join(lacking)} is not installed"}
    if quick and way == "torch_compiled":
        return {"absent": "left out where it must be quick: it compiles for long"}
    return answer(["-m", "benchmarks.child", workload, way, str(seconds), *(["quick"] if quick else [])])


def _deep(way: str, seconds: float, quick: bool) -> dict[str, Any]:
    found = depth.measured(way, 64 if quick else 1200, seconds)
    return found if "failed" in found else {"value": 1e3 * found["step"], **found}


def _many(case: str, way: str, seconds: float, quick: bool) -> dict[str, Any]:
    found = many.measured("many" if way == SUBJECT else way, case, seconds)
    return found if "failed" in found else {"value": found["steps_per_second"], **found}
