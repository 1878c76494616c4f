"""`lamina bench`."""

from typing import Any

import click


@click.command("bench")
@click.argument("file")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Rows of a batch in training.")
@click.option("--seconds", type=click.FloatRange(min=0.05), default=1.0, show_default=True, help="Of each measurement.")
def command(file: str, batch: int, seconds: float) -> None:
    """Measure how fast the model of FILE trains and predicts here, and what holds it back.

    Random rows are used, and what the file was compiled with. Beside each time stands the limit of this machine: its
    matrix products, its memory, and what a step costs that does nothing.
    """
    from rich.console import Console

    from lamina.saving import load_model
    from lamina.speed import measure

    found = measure(load_model(file), batch, seconds=seconds)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    for name, value in (
        ("model", found.model),
        ("trained with", f"{found.compiled}, batch {found.batch}"),
        ("engine", found.engine),
        *found.limits,
    ):
        console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print(_table(found))
    for line in _words(found):
        console.print(line, highlight=False, markup=False)


def _table(found: Any) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column("", no_wrap=True)
    for title in ("rows", "time", "rows/s", "GFLOP/s", "compute", "memory", "dispatch", "of the limit"):
        table.add_column(title, justify="right")
    table.add_column("held back by")
    for one in found.shares:
        rate = sum(one.work.flops.values()) / one.seconds / 1e9
        parts = (_time(part) for part in (one.compute, one.memory, one.dispatch))
        table.add_row(
            one.name, f"{one.rows:,}", _time(one.seconds),
            f"{one.rows / one.seconds:,.0f}", f"{rate:,.3g}", *parts, f"{one.reached:.0%}", one.holds,
        )  # fmt: skip
    return table


def _words(found: Any) -> list[str]:
    """Return a sentence for training and one for the smallest prediction: what would make it faster."""
    advice = {
        "compute": "the products themselves take most of it: fewer or narrower layers, or mixed_bfloat16 where it pays",
        "memory": "the weights must be read and written: a larger batch makes more of each pass over them",
        "dispatch": "starting the work takes longer than the work: a larger batch, or more rows at once",
    }
    lines = []
    for one in found.shares[:2]:
        text = f"{one.name} of {one.rows:,} {'row' if one.rows == 1 else 'rows'}: {advice[one.holds]}"
        if one.holds != "dispatch" and one.reached < 0.5:
            text += f". It takes {1 / one.reached:.1f} times what the machine allows: products of this shape are slow"
        lines.append(f"{text}.")
    return lines


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError
