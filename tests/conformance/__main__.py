"""Run Keras's own tests against lamina and print the table.

python -m tests.conformance                    the files that the project names
python -m tests.conformance --all              every file that concerns fully connected networks
python -m tests.conformance dense merging      the files with these words in their names
python -m tests.conformance dense --why        the same, with the reason of every case that does not pass
python -m tests.conformance --all --update     raise the floors to what passes now
python -m tests.conformance --all --reference  count anew what passes in Keras itself
"""

import argparse
import os
import sys
import time
from collections import Counter

from tests.conformance import tables
from tests.conformance.files import NAMED, chosen
from tests.conformance.runner import Outcomes, run_files
from tests.conformance.tables import Row


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="words in the names of files")
    parser.add_argument("--all", action="store_true", help="every file, not only the named ones")
    parser.add_argument("--jobs", type=int, default=max(1, min(4, os.cpu_count() or 1)), help="processes at a time")
    parser.add_argument("--why", action="store_true", help="print why a case does not pass")
    parser.add_argument("--update", action="store_true", help="raise the floors")
    parser.add_argument("--reference", action="store_true", help="run Keras itself and keep what passes there")
    return parser.parse_args()


def keep_reference(names: list[str], jobs: int) -> None:
    """Run Keras against its own tests and keep the counts."""

    def tell(name: str, outcomes: Outcomes, printed: str) -> None:
        reference = tables.read(tables.REFERENCE)
        if outcomes:
            reference[name] = tables.reference_of(outcomes)
            tables.write(tables.REFERENCE, reference)
        print(f"{name:<52}{printed.strip().splitlines()[-1] if printed.strip() else 'nothing'}", flush=True)

    run_files(names, jobs, tell, shim=False)


def explain(row: Row) -> None:
    """Print the reason of every case that does not pass."""
    for kind in ("failed", "missing", "differs"):
        for case, reason in getattr(row, kind).items():
            print(f"    {kind:<8} {case}: {' '.join(reason.split())[:240]}")


def main() -> int:
    """Run the chosen files; 1 if a file is below its floor."""
    given = arguments()
    names = chosen(given.files, given.all)
    if given.reference:
        keep_reference(names, given.jobs)
        return 0
    reference, floors, differences = (tables.read(p) for p in (tables.REFERENCE, tables.FLOORS, tables.DIFFERENCES))
    rows: list[Row] = []
    start = time.monotonic()

    def tell(name: str, outcomes: Outcomes, printed: str) -> None:
        row = tables.row_of(name, outcomes, reference, differences or [])
        rows.append(row)
        print(tables.line_of(row, floors.get(name)), flush=True)
        if not outcomes:
            print("    " + "\n    ".join(printed.strip().splitlines()[-8:]))
        if given.why:
            explain(row)

    print(tables.HEAD)
    run_files(names, given.jobs, tell)
    report(rows, time.monotonic() - start)
    if given.update:
        raised = {row.name: max(len(row.passed), floors.get(row.name, 0)) for row in rows}
        tables.write(tables.FLOORS, {**floors, **raised})
        return 0
    return int(any(len(row.passed) < floors.get(row.name, 0) for row in rows))


def report(rows: list[Row], seconds: float) -> None:
    """Print the sums, what differs on purpose, and the missing names."""
    named = [row for row in rows if row.name in NAMED]
    print()
    if 0 < len(named) < len(rows):
        print(tables.sum_of(named, "the named files"))
        print(tables.sum_of([row for row in rows if row.name not in NAMED], "the other files"))
    print(tables.sum_of(rows, f"sum of {len(rows)} files, {seconds:.0f} s"))
    for row in rows:
        for reason, count in Counter(row.differs.values()).items():
            print(f"differs: {row.name}, {count} case{'s' if count > 1 else ''}: {reason}")
    missing = tables.names_missing(rows)
    if missing:
        print("\nmissing names, by the cases that each blocks:")
    for name, count in missing[:80]:
        print(f"{count:>6}  {name}")


if __name__ == "__main__":
    sys.exit(main())
