"""`python -m tests.fuzz [--seconds 600] [NAME ...]`: damaged files for each reader; prints what came of it.

`--record FOLDER` keeps each reader's result as JSON there, and goes on with what is there already; `--table FOLDER`
writes them into `docs/files.md`.
"""

import argparse
import json
import pathlib
import sys
import tempfile

from tests.fuzz import keeper, table, targets


def main() -> None:
    """Run every target that is named, or all, for so many seconds each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *targets.names()], default=[])
    parser.add_argument("--seconds", type=float, default=600.0, help="of the CPU, for each reader")
    parser.add_argument(
        "--rounds", type=int, default=1, help="all readers in turn, so many times, instead of each once"
    )
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed; the tests begin at 0")
    parser.add_argument("--record", type=pathlib.Path, help="a folder for the results")
    parser.add_argument("--table", type=pathlib.Path, help="a folder of results, to be written into docs/files.md")
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.table:
        table.write(given.table)
        return
    if given.inside:
        keeper.child(given.names[0], given.seconds, given.first, given.inside)
        return
    failed = 0
    for turn in range(1, given.rounds + 1):
        for name in given.names or targets.names():
            failed += _go_on(name, given.seconds * turn / given.rounds, given)
    sys.exit(bool(failed))


def _go_on(name: str, seconds: float, given: argparse.Namespace) -> int:
    """Run a target up to so many seconds, and return how many failures there are that were not there before."""
    place = given.record / f"{name}.json" if given.record else None
    before = json.loads(place.read_text()) if place is not None and place.exists() else None
    with tempfile.TemporaryDirectory() as folder:
        found = keeper.kept(name, seconds, given.first, pathlib.Path(folder), before)
    known = len(before["failures"]) if before else 0
    print(table.line(found), flush=True)
    for seed, why in found["failures"][known:][:20]:
        print(f"  seed {seed}: {why}", flush=True)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(found) + "\n")
    return len(found["failures"]) - known


if __name__ == "__main__":
    main()
