"""`python -m benchmarks`: measures every row, prints the tables, writes JSON and a picture to `benchmarks/results/`."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import picture, record, run, table
from benchmarks.rows import Row, chosen, rows


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


NAMES = tuple(rows())
FAMILIES = tuple(dict.fromkeys(name.partition("_")[0] for name in NAMES if "_" in name))
WAYS = tuple(dict.fromkeys(way for row in rows().values() for way in row.ways))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    type=Names(tuple(dict.fromkeys((*NAMES, *FAMILIES)))),
    default=NAMES,
    help=f"Rows, with commas between. Default: all. There are {', '.join(NAMES)}.",
)
@click.option("--ways", type=Names(WAYS), default=WAYS, help=f"Default: all. There are {', '.join(WAYS)}.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each way.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=2.0, show_default=True, help="Length of each.")
@click.option("--quick", is_flag=True, help="One short round on less data: does everything run?")
@click.option("--show", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Print a stored result.")
def main(
    only: tuple[str, ...], ways: tuple[str, ...], rounds: int, seconds: float, quick: bool, show: Path | None
) -> None:
    """Measure lamina and its peers: training, prediction, the start of a process, deep networks, many networks.

    Each measurement runs in a process of its own; the ways of a row take turns. A way that is clearly behind in the
    first round is not measured again. A gap under 30 % is a tie on a shared machine.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    if show is not None:
        draw(console, json.loads(show.read_text()))
        return
    if quick:
        rounds, seconds = 1, min(seconds, 0.3)
    measured = [row._replace(ways={w: title for w, title in row.ways.items() if w in ways}) for row in chosen(only)]
    measured = [row for row in measured if row.ways]

    def report(number: int, row: Row, way: str, result: dict[str, Any]) -> None:
        texts = [f"{key}: {result[key]}" for key in ("failed", "absent") if key in result]
        text = "; ".join(texts) or table.shown(result["value"], row.unit)
        console.print(
            f"round {number + 1}/{rounds}  {row.name:12} {row.ways[way]:26} {text}", highlight=False, markup=False
        )

    begin, made = time.perf_counter(), record.circumstances()
    measurements = run.collect(measured, rounds=rounds, seconds=seconds, quick=quick, report=report)
    made["options"] = {"kind": "bench", "rounds": rounds, "seconds": seconds, "quick": quick}
    made |= {"took": time.perf_counter() - begin, "measurements": measurements}
    made["ratios"] = [one._asdict() for one in table.ratios(table.summarize(measurements))]
    draw(console, made)
    path = record.write(made)
    drawn = picture.draw(table.summarize(measurements), path.with_suffix(".png"), caption(made))
    console.print(f"{made['took'] / 60:.0f} minutes. Written to {path} and {drawn.name}", highlight=False)
    if any("failed" in one for one in measurements):
        sys.exit(1)


def caption(made: dict[str, Any]) -> str:
    """Return where and when, in one line."""
    where = made["machine"]
    return f"{where['processor']}, {where['cores']} cores, {', '.join(where['devices'])}, {made['date'][:10]}"


def draw(console: Console, made: dict[str, Any]) -> None:
    """Print the tables of a result."""
    lines = table.summarize(made["measurements"])
    console.print(f"\nMedians of up to {made['options']['rounds']} rounds", style="bold")
    console.print(caption(made), highlight=False)
    console.print(table.values(lines))
    for note in table.notes(lines):
        console.print(note, highlight=False, markup=False)
    console.print(table.against(table.ratios(lines)))
    if made["options"]["quick"]:
        console.print("Quick: shows that everything runs, not how fast it is.")
    warned = record.warning(made)
    if warned:
        console.print(warned, style="yellow", highlight=False)


if __name__ == "__main__":
    main()
