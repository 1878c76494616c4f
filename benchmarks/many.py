"""`python -m benchmarks.many`: many networks at once, against one after another and against PyTorch's loop.

Each way is measured in a process of its own, in turn, and timed as `benchmarks.measure` says: what a fit does once is
not counted. All train the same networks on the same rows with Adam; a step is one batch of one network.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from benchmarks import measure
from benchmarks.processes import ROOT
from benchmarks.record import circumstances, write
from benchmarks.workloads import WORKLOADS, Workload


class Case(NamedTuple):
    """Networks of one architecture, and how many steps a second, or times another way's, are to be reached."""

    workload: Workload
    networks: int
    steps: float | None
    times: dict[str, float]


CASES = {
    "tiny": Case(WORKLOADS["tiny"]._replace(rows=3_200), 1000, 450_000, {"torch": 120.0}),
    "small": Case(WORKLOADS["small"]._replace(rows=3_200), 32, None, {"alone": 1.7}),
}
WAYS = {"many": "lamina, all at once", "alone": "lamina, one after another", "torch": "PyTorch, one after another"}


def factory(workload: Workload) -> Callable[[], Any]:
    from lamina import keras

    def make() -> Any:
        widths = workload.widths
        model = keras.Sequential([keras.layers.Input((widths[0],))])
        for units in widths[1:-1]:
            model.add(keras.layers.Dense(units, "relu"))
        model.add(keras.layers.Dense(widths[-1]))
        model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    return make


class Way(NamedTuple):
    """How networks are trained, how many an epoch trains, and what tells the time."""

    train: Callable[[int], object]
    networks: int = 1
    clock: Callable[[], float] = time.perf_counter


def many(case: Case) -> Way:
    """All at once. The clock stands while the models are made, which takes long and is the same for any epochs."""
    import lamina

    (x, y), _ = case.workload.data()
    make, spent = factory(case.workload), [0.0]

    def train(epochs: int) -> None:
        found = lamina.fit_many(make, x, y, case.networks, batch_size=case.workload.batch, epochs=epochs, seed=0)
        spent.append(spent[-1] + found.seconds)

    return Way(train, case.networks, lambda: spent[-1])


def alone(case: Case) -> Way:
    """One network for all: the next would cost the same."""
    (x, y), _ = case.workload.data()
    model = factory(case.workload)()
    return Way(lambda epochs: model.fit(x, y, batch_size=case.workload.batch, epochs=epochs, verbose=0))


def torch(case: Case) -> Way:
    """PyTorch's loop, one network for all."""
    from benchmarks.peers import torch_script

    return Way(torch_script.fit(case.workload))


def child(way: str, name: str, seconds: float) -> None:
    """Print the steps a second of one way, as JSON."""
    case = CASES[name]
    chosen = {"many": many, "alone": alone, "torch": torch}[way](case)
    timing = measure.training(chosen.train, seconds, chosen.clock)
    steps = -(-case.workload.rows // case.workload.batch) * chosen.networks
    print(json.dumps({"steps_per_second": steps / timing.epoch, **timing._asdict()}))


def measured(way: str, name: str, seconds: float) -> dict[str, Any]:
    """Return what a child has found, or why there is nothing."""
    code = f"from benchmarks.many import child; child({way!r}, {name!r}, {seconds!r})"
    environment = os.environ | {"LAMINA_CACHE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def lines(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each case and way: the median, how many times slower than all at once, and the goal."""
    found = []
    for name, case in CASES.items():
        speeds: dict[str, list[float]] = {}
        for m in measurements:
            if m["case"] == name and "failed" not in m:
                speeds.setdefault(m["way"], []).append(m["steps_per_second"])
        medians = {way: statistics.median(speeds[way]) for way in WAYS if way in speeds}
        for way, speed in medians.items():
            times = medians["many"] / speed if "many" in medians and way != "many" else None
            goal = case.steps if way == "many" else case.times.get(way)
            found.append({"case": name, "way": way, "steps": speed, "times": times, "goal": goal})
    return found


def drawn(found: list[dict[str, Any]]) -> Table:
    """Return the table."""
    table = Table()
    for title, side in (
        ("networks", "left"), ("way", "left"), ("steps/s in sum", "right"), ("at once is", "right"), ("goal", "right"),
    ):  # fmt: skip
        table.add_column(title, justify=side)
    for line in found:
        case = CASES[line["case"]]
        widths = "-".join(map(str, case.workload.widths))
        times = "" if line["times"] is None else f"{line['times']:,.1f} x"
        goal, unit = line["goal"], "" if line["times"] is None else " x"
        reached = goal is None or (line["times"] or line["steps"]) >= goal
        shown = "" if goal is None else f"[{'green' if reached else 'red'}]{goal:,.10g}{unit}[/]"
        table.add_row(f"{case.networks:,} x {widths}", WAYS[line["way"]], f"{line['steps']:,.0f}", times, shown)
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each way.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=6.0, show_default=True, help="Length of each.")
@click.option("--cases", default=",".join(CASES), show_default=True, help="Names with commas between.")
def main(rounds: int, seconds: float, cases: str) -> None:
    """Measure training many networks at once."""
    console = Console(width=None if Console().is_terminal else 120)
    names = [name for name in cases.split(",") if name in CASES]
    measurements: list[dict[str, Any]] = []
    for number in range(rounds):
        for name in names:
            for way in WAYS:
                result = measured(way, name, seconds)
                measurements.append({"round": number, "case": name, "way": way, **result})
                if "failed" in result:
                    console.print(f"{name}, {WAYS[way]}: {result['failed']}", markup=False)
    found = lines(measurements)
    console.print(drawn(found))
    record = {**circumstances(), "options": {"kind": "many", "rounds": rounds, "seconds": seconds}}
    console.print(f"Written to {write({**record, 'measurements': measurements, 'lines': found})}", highlight=False)
    if any("failed" in m for m in measurements):
        sys.exit(1)


if __name__ == "__main__":
    main()
