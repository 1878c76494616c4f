"""What counts, what was reached before, what is different on purpose: the json files of this folder, and one file's row."""

import json
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.conformance.runner import HERE, Outcomes

REFERENCE = HERE / "reference.json"
FLOORS = HERE / "floors.json"
DIFFERENCES = HERE / "differences.json"


def read(path: Path) -> Any:
    """Return what a json file holds, or an empty dict if it is not there."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, content: Any) -> None:
    """Write a json file with sorted keys, one entry a line."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def reference_of(outcomes: Outcomes) -> dict[str, Any]:
    """Return what to keep of a run of Keras against itself: how many cases pass, and the names of those that do not."""
    return {
        "passed": sum(outcome == "passed" for outcome, _ in outcomes.values()),
        "not": sorted(name for name, (outcome, _) in outcomes.items() if outcome != "passed"),
    }


@dataclass
class Row:
    """One file in the table. Only cases that pass in Keras itself count.

    Attributes:
        name: The file.
        passed: Cases that pass.
        failed: Cases that fail, with the reason.
        missing: Cases that ask for what is not there, with the names.
        differs: Cases that lamina answers otherwise on purpose, with the reason.
        outside: Cases about what a fully connected library does not have, with the reason.
        skipped: How many do not count: Keras itself skips or fails them.
        known: Whether Keras's own count is known.
        counted: How many cases pass in Keras.
    """

    name: str
    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    counted: int = 0

    @property
    def concern(self) -> int:
        """Number of the cases that concern a fully connected library."""
        return self.counted - len(self.outside) - len(self.differs)


def row_of(name: str, outcomes: Outcomes, reference: dict[str, Any], differences: list[dict[str, str]]) -> Row:
    """Return the row of a file from the outcomes of its cases."""
    known = reference.get(name, {"passed": sum(1 for _ in outcomes), "not": []})
    without = set(known["not"])
    row = Row(name, counted=known["passed"], skipped=len(without))
    mine = [entry for entry in differences if fnmatchcase(name, entry["file"])]
    seen = 0
    for case, (outcome, reason) in sorted(outcomes.items()):
        if case in without or case.startswith("("):
            continue
        seen += 1
        entry = next((entry for entry in mine if fnmatchcase(case, entry["case"])), None)
        if outcome == "passed":
            row.passed.append(case)
        elif entry is not None:
            (row.outside if entry.get("kind") == "outside" else row.differs)[case] = entry["reason"]
        elif outcome == "skipped":
            row.missing[case] = reason.removeprefix("missing ") if reason.startswith("missing ") else reason
        else:
            row.failed[case] = reason
    broken = outcomes.get("(the file itself)", ["", ""])[1].strip().splitlines()[-1:] or ["not collected"]
    for number in range(row.counted - seen):
        whole = next((e for e in mine if e["case"] == "*"), None)
        case = f"(not collected {number + 1})"
        if whole is not None:
            (row.outside if whole.get("kind") == "outside" else row.differs)[case] = whole["reason"]
        else:
            row.missing[case] = broken[0]
    return row


HEAD = f"{'file':<52}{'passed':>8}{'failed':>8}{'missing':>9}{'differs':>9}{'outside':>9}{'skipped':>9}{'of':>6}{'floor':>7}"


def line_of(row: Row, floor: int | None) -> str:
    """Return the line of a file."""
    return (
        f"{row.name:<52}{len(row.passed):>8}{len(row.failed):>8}{len(row.missing):>9}{len(row.differs):>9}"
        f"{len(row.outside):>9}{row.skipped:>9}{row.counted:>6}{floor if floor is not None else '-':>7}"
        + ("  BELOW THE FLOOR" if floor is not None and len(row.passed) < floor else "")
    )


def sum_of(rows: list[Row], label: str) -> str:
    """Return the line of the sum of many files, with the share that passes."""
    total = Row(label)
    passed = sum(len(row.passed) for row in rows)
    concern = sum(row.concern for row in rows)
    line = (
        f"{total.name:<52}{passed:>8}{sum(len(r.failed) for r in rows):>8}{sum(len(r.missing) for r in rows):>9}"
        f"{sum(len(r.differs) for r in rows):>9}{sum(len(r.outside) for r in rows):>9}"
        f"{sum(r.skipped for r in rows):>9}{sum(r.counted for r in rows):>6}"
    )
    return (
        line + f"   {passed / concern:.1%} of the {concern} that concern a fully connected library" if concern else line
    )


def names_missing(rows: list[Row]) -> list[tuple[str, int]]:
    """Return the missing names with the number of cases that each blocks, the most first."""
    return Counter(name for row in rows for name in row.missing.values()).most_common()
