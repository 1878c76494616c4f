"""What saving after every epoch costs: `python -m benchmarks.snapshots [--rows 12800] [--epochs 10] [--rounds 5]`.

The mnist workload in one process; with `--rows 60000`, as many as MNIST has, the same files are written less often.
Fits with and without saving alternate, so that what else the machine does meets both alike; a way's cost is the median,
over the rounds, of its time by that of the fit without saving in the same round. `--json FILE` keeps all times.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lamina
from benchmarks.record import RESULTS
from benchmarks.workloads import WORKLOADS
from lamina import Dense, Input, Sequential, callbacks

WORKLOAD = WORKLOADS["mnist"]
Ways = dict[str, Callable[[Path], dict[str, Any]]]
WAYS: Ways = {
    "none": lambda folder: {},
    "none again": lambda folder: {},  # what the machine's own noise is
    "fit(resume=folder)": lambda folder: {"resume": str(folder / "resume")},
    "BackupAndRestore": lambda folder: {"callbacks": [callbacks.BackupAndRestore(folder / "backup")]},
    "ModelCheckpoint, weights": lambda folder: {
        "callbacks": [callbacks.ModelCheckpoint(folder / "m.weights.h5", save_weights_only=True)]
    },
    "ModelCheckpoint, model": lambda folder: {"callbacks": [callbacks.ModelCheckpoint(folder / "m.keras")]},
}


def measure(rows: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of each way's fits, and what it costs beside a fit that saves nothing."""
    (x, y), _ = WORKLOAD._replace(rows=rows).data()
    sizes = WORKLOAD.widths
    model = Sequential(
        [
            Input((sizes[0],)),
            *(Dense(n, activation="relu") for n in sizes[1:-1]),
            Dense(sizes[-1], activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=WORKLOAD.batch, epochs=2, verbose=0)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    RESULTS.mkdir(exist_ok=True)
    for _ in range(rounds):
        for way, options in WAYS.items():
            with tempfile.TemporaryDirectory(dir=RESULTS) as folder:  # on a disk, as a training's folder is
                begun = time.perf_counter()
                model.fit(x, y, batch_size=WORKLOAD.batch, epochs=epochs, verbose=0, **options(Path(folder)))
                seconds[way].append(time.perf_counter() - begun)
    plain = seconds["none"]
    cost = {
        way: statistics.median(one / other for one, other in zip(found, plain, strict=True)) - 1
        for way, found in seconds.items()
    }
    return {"version": lamina.__version__, "rows": rows, "epochs": epochs, "seconds": seconds, "cost": cost}


def main() -> None:
    """Print each way's cost and, if asked, keep all times as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshots", description=__doc__)
    parser.add_argument("--rows", type=int, default=WORKLOAD.rows)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.rows, given.epochs, given.rounds)
    epoch = statistics.median(found["seconds"]["none"]) / given.epochs
    print(f"an epoch of {given.rows:,} rows: {epoch:.3f} s; saved after each of {given.epochs}")
    for way, cost in found["cost"].items():
        print(f"{way:<26} {cost:>+7.2%}   limit +3 %" if way != "none" else f"{way:<26}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
