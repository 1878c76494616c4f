"""`python -m benchmarks`: measures, prints the tables and writes JSON to `benchmarks/results/`."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import run, table
from benchmarks.peers import PEERS, load
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).resolve().parent / "results"
BUSY = 0.5  # processes for each core that were running already
_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "keras", "tensorflow", "torch", "scikit-learn")


class Names(click.ParamType):
    """Names with commas between them, out of those there are."""

    name = "names"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(filter(None, (name.strip() for name in value.split(",")))))
        unknown = [name for name in names if name not in self.choices]
        if unknown or not names:
            self.fail(f"{', '.join(unknown) or 'nothing'} is not one of {', '.join(self.choices)}", param, ctx)
        return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--workloads", type=Names(tuple(WORKLOADS)), default=tuple(WORKLOADS), help="Default: all.")
@click.option("--peers", type=Names(PEERS), default=PEERS, help="Default: all.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each peer.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=3.0, show_default=True, help="Length of each.")
@click.option("--predict", is_flag=True, help="Measure predict instead of fit.")
@click.option("--quick", is_flag=True, help="One round, an eighth of the rows, half a second: does everything run?")
@click.option("--show", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Print a stored result.")
def main(
    workloads: tuple[str, ...],
    peers: tuple[str, ...],
    rounds: int,
    seconds: float,
    predict: bool,
    quick: bool,
    show: Path | None,
) -> None:
    """Measure training speed in samples per second, lamina's and that of its peers.

    Each measurement runs in a process of its own; the peers take turns. A gap under 30 % is a tie on a shared machine.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    if show is not None:
        draw(console, json.loads(show.read_text()))
        return
    if quick:
        rounds, seconds = 1, min(seconds, 0.5)

    def report(number: int, workload: str, name: str, result: dict[str, Any]) -> None:
        speed = result.get("samples_per_second")
        text = f"{speed:,.0f} samples/s" if speed else "; ".join(f"{key}: {text}" for key, text in result.items())
        console.print(
            f"round {number + 1}/{rounds}  {workload:6} {load(name).NAME:18} {text}", highlight=False, markup=False
        )

    load_before = os.getloadavg()[0]
    kind = "predict" if predict else "fit"
    measurements = run.collect(peers, workloads, rounds=rounds, seconds=seconds, kind=kind, quick=quick, report=report)
    options = {"rounds": rounds, "seconds": seconds, "kind": kind, "quick": quick}
    record = {**circumstances(), "load": load_before, "options": options, "measurements": measurements}
    record["ratios"] = [one._asdict() for one in table.ratios(table.summarize(measurements))]
    draw(console, record)
    console.print(f"Written to {write(record)}", highlight=False)
    if any("failed" in one for one in measurements):
        sys.exit(1)


def circumstances() -> dict[str, Any]:
    """Return when, where and with what the numbers were measured."""
    from lamina import __version__, machine

    versions = {"python": platform.python_version(), "lamina": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    devices = [f"{device.platform}:{device.number} ({device.kind})" for device in machine.devices()]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": machine.processor(),
            "cores": machine.cores(),
            "devices": devices,
            "matmul_gigaflops": round(machine.matmul_rate() / 1e9, 1),
        },
        "versions": versions,
    }


def draw(console: Console, record: dict[str, Any]) -> None:
    """Print the tables of a result."""
    where, options = record["machine"], record["options"]
    lines = table.summarize(record["measurements"])
    verb = "trained on" if options["kind"] == "fit" else "predicted"
    console.print(f"\nSamples {verb} per second, median of {options['rounds']}", style="bold")
    console.print(f"{where['processor']}, {where['cores']} cores, {record['date'][:10]}", highlight=False)
    console.print(table.speeds(lines))
    for note in table.notes(lines):
        console.print(note, highlight=False, markup=False)
    if options["kind"] == "fit":
        console.print(table.against(table.ratios(lines)))
    if options["quick"]:
        console.print("Quick: shows that everything runs, not how fast it is.")
    if record["load"] > BUSY * where["cores"]:
        console.print(
            f"Other programs were running (load {record['load']:.1f} before the start): do not trust these numbers."
            " Libraries whose threads wait by spinning suffer most.",
            style="yellow",
            highlight=False,
        )


def write(record: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Return the file that now holds the result."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['date'][:19].replace(':', '')}-{record['options']['kind']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


if __name__ == "__main__":
    main()
