"""`python -m benchmarks.depth`: a network of 1,200 layers, against PyTorch's loop over them.

600 residual blocks of two layers of 64 units, batch 128, Adam, through the ordinary fit with a progress bar. Each is
measured in a process of its own, in turn: processor seconds from the first layer to the end of the first step, then the
time of a step as `benchmarks.measure` says, and the most memory that the process ever had.
"""

import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import measure
from benchmarks.processes import ROOT
from benchmarks.record import circumstances, write

UNITS, BATCH, STEPS = 64, 128, 10
WAYS = {"lamina": "lamina", "kept": "lamina, remat=False", "torch": "PyTorch eager"}
GOALS = {"building": 3.0, "times": 2.4, "megabytes": 450.0}  # seconds, times PyTorch's step, memory


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return rows and targets for an epoch of `STEPS` batches."""
    x = np.random.default_rng(0).standard_normal((BATCH * STEPS, UNITS), dtype=np.float32)
    return x, np.tanh(x[:, ::-1]).copy()


def lamina(depth: int, remat: bool = True) -> Callable[[int], object]:
    """Return `train(epochs)`; the network is the loop that a user writes."""
    from lamina import initializers, layers, models

    x = inputs = layers.Input((UNITS,))
    for _ in range(depth // 2):
        h = layers.Dense(UNITS, activation="relu")(x)
        x = layers.add([x, layers.Dense(UNITS, kernel_initializer=initializers.RandomNormal(stddev=0.01))(h)])
    model = models.Model(inputs, x)
    model.compile("adam", "mse", remat=remat)
    rows, targets = data()
    return lambda epochs: model.fit(rows, targets, batch_size=BATCH, epochs=epochs)


def torch(depth: int) -> Callable[[int], object]:
    """Return `train(epochs)`, PyTorch's ordinary loop with fused Adam."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(UNITS, UNITS), nn.Linear(UNITS, UNITS)
            nn.init.normal_(self.second.weight, std=0.01)

        def forward(self, x: Any) -> Any:
            return x + self.second(torch.relu(self.first(x)))

    model, criterion = nn.Sequential(*(Block() for _ in range(depth // 2))), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    rows, targets = map(torch.from_numpy, data())

    def train(epochs: int) -> None:
        for _ in range(epochs):
            for chosen in torch.randperm(len(rows)).split(BATCH):
                optimizer.zero_grad()
                loss = criterion(model(rows[chosen]), targets[chosen])
                loss.backward()
                optimizer.step()
        loss.item()

    return train


def child(way: str, depth: int, seconds: float) -> None:
    """Print what one way takes, as JSON."""
    # Importing a library is not building a network.
    __import__("torch") if way == "torch" else __import__("lamina.models")
    begin = time.process_time()
    train = torch(depth) if way == "torch" else lamina(depth, remat=way == "lamina")
    with redirect_stdout(io.StringIO()):
        train(1)
        building = time.process_time() - begin
        timing = measure.training(train, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps({"building": building, "step": timing.epoch / STEPS, "megabytes": peak}))


def measured(way: str, depth: int, seconds: float) -> dict[str, Any]:
    """Return what a child has found, or why there is nothing."""
    code = f"from benchmarks.depth import child; child({way!r}, {depth!r}, {seconds!r})"
    environment = os.environ | {"LAMINA_CACHE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def lines(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each way: medians, and how many times faster a step is than PyTorch's."""
    found: list[dict[str, Any]] = []
    for way in WAYS:
        here = [m for m in measurements if m["way"] == way and "failed" not in m]
        if here:
            found.append(
                {"way": way, **{k: statistics.median(m[k] for m in here) for k in ("building", "step", "megabytes")}}
            )
    peer = next((line["step"] for line in found if line["way"] == "torch"), None)
    return [{**line, "times": peer / line["step"] if peer else None} for line in found]


def drawn(found: list[dict[str, Any]]) -> Table:
    """Return the table."""
    table = Table()
    for title, side in (
        ("way", "left"), ("building, first step", "right"), ("a step", "right"), ("memory", "right"),
        ("times as fast", "right"),
    ):  # fmt: skip
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for one in found:
        times = "-" if one["times"] is None else f"{one['times']:.2f} x"
        numbers = (f"{one['building']:.1f} s CPU", f"{1e3 * one['step']:.0f} ms", f"{one['megabytes']:,.0f} MB", times)
        table.add_row(WAYS[one["way"]], *numbers, style="bold" if one["way"] == "lamina" else None)
    table.add_section()
    goals = f"{GOALS['building']:g} s CPU", "", f"{GOALS['megabytes']:g} MB", f"{GOALS['times']:g} x"
    table.add_row("goal of lamina", *goals)
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--depth", type=click.IntRange(min=16), default=1200, show_default=True, help="Layers of 64 units.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each way.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=4.0, show_default=True, help="Length of each.")
@click.option("--quick", is_flag=True, help="64 layers, one round: does everything run?")
def main(depth: int, rounds: int, seconds: float, quick: bool) -> None:
    """Measure building, training and memory of a very deep network."""
    console = Console()
    if quick:
        depth, rounds, seconds = 64, 1, 0.2
    measurements = []
    for number in range(rounds):
        for way in WAYS:
            result = measured(way, depth, seconds)
            measurements.append({"round": number, "way": way, "depth": depth, **result})
            console.print(f"round {number + 1}/{rounds}  {WAYS[way]:20} {result}", highlight=False, markup=False)
    record = {**circumstances(), "options": {"kind": "depth", "depth": depth, "rounds": rounds, "seconds": seconds}}
    record |= {"measurements": measurements, "lines": lines(measurements)}
    console.print(drawn(record["lines"]))
    console.print(f"Written to {write(record)}", highlight=False)
    if any("failed" in one for one in measurements):
        sys.exit(1)


if __name__ == "__main__":
    main()
