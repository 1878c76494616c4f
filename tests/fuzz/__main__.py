"""`python -m tests.fuzz [--seconds 600] [NAME ...]`: damaged files for each reader; prints what came of it."""

import argparse
import sys

from tests.fuzz import run, targets


def main() -> None:
    """Run every target that is named, or all, for so many seconds each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *targets.names()], default=[])
    parser.add_argument("--seconds", type=float, default=600.0, help="for each reader")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed; the tests begin at 0")
    given = parser.parse_args()
    failed = 0
    for name in given.names or targets.names():
        outcome = run.run(name, seconds=given.seconds, first=given.first)
        print(
            f"{name}: {outcome.read:,} read, {outcome.refused:,} refused, {len(outcome.failures)} failures", flush=True
        )
        for seed, why in outcome.failures[:10]:
            print(f"  seed {seed}: {why}", flush=True)
        failed += len(outcome.failures)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
