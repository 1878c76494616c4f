"""Measures row by row, round by round; within a round the ways take turns, in another order each time."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.rows import Row

BEHIND = 1.5  # times worse than the best other way in the first round: not measured again


def schedule(rows: Sequence[Row], rounds: int) -> Iterator[tuple[int, Row, str]]:
    """Yield (round, row, way): the ways side by side, in another order each round."""
    for number in range(rounds):
        for row in rows:
            ways = tuple(row.ways)
            turn = number % len(ways)
            for way in (*ways[turn:], *ways[:turn]):
                yield number, row, way


def collect(
    rows: Sequence[Row],
    *,
    rounds: int,
    seconds: float,
    quick: bool = False,
    report: Callable[[int, Row, str, dict[str, Any]], None] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Return all measurements in the order in which they were made.

    What is absent or fails is not tried again. What is clearly behind after the first round is not either: nothing
    depends on its third digit.
    """
    found: list[dict[str, Any]] = []
    without: set[tuple[str, str]] = set()
    for number, row, way in schedule(rows, rounds):
        if (row.name, way) in without or (number and way in behind(row, found)):
            continue
        begin = time.perf_counter()
        result = row.measure(way, seconds, quick)
        if "value" not in result:
            without.add((row.name, way))
        found.append({"round": number, "row": row.name, "way": way, "took": time.perf_counter() - begin, **result})
        report(number, row, way, result)
    return found


def behind(row: Row, found: Sequence[dict[str, Any]]) -> set[str]:
    """Return the ways that were clearly worse than the best of the others in the first round."""
    first = {m["way"]: m["value"] for m in found if m["row"] == row.name and m["round"] == 0 and "value" in m}
    others = {way: value for way, value in first.items() if way not in row.own}
    if not others:
        return set()
    best = max(others.values()) if row.more else min(others.values())
    return {way for way, value in others.items() if (best / value if row.more else value / best) > BEHIND}
