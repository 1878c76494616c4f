"""`python -m tests.fuzz [--seconds 600] [NAME ...]`: damaged files for each reader; prints what came of it.

`--record FOLDER` keeps each reader's result as JSON there; `--table FOLDER` writes them into `docs/files.md`.
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
    for name in given.names or targets.names():
        with tempfile.TemporaryDirectory() as folder:
            found = keeper.kept(name, given.seconds, given.first, pathlib.Path(folder))
        print(table.line(found), flush=True)
        for seed, why in found["failures"][:20]:
            print(f"  seed {seed}: {why}", flush=True)
        if given.record:
            given.record.mkdir(parents=True, exist_ok=True)
            (given.record / f"{name}.json").write_text(json.dumps(found) + "\n")
        failed += len(found["failures"])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
