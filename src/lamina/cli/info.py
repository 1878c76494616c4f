"""`lamina info`."""

import sys
from typing import Any

import click

from lamina.cli.options import PASSED_ON, given


@click.command("info", context_settings=PASSED_ON)
@click.argument("file", required=False)
@click.pass_context
def command(ctx: click.Context, file: str | None) -> None:
    """Show what FILE holds: its layers, shapes and parameters.

    Without FILE: versions, devices and the measured speed of this machine. Options of the reader of FILE are passed as
    --NAME VALUE; `lamina convert --help` lists them.
    """
    options = given(ctx.args)
    if file is None:
        from lamina.machine import report

        rows = report()
    else:
        from lamina.saving.describe import describe
        from lamina.tabular.predictor import holds_table

        if holds_table(file):
            from rich.console import Console

            from lamina.tabular.job import explain

            explain(file, Console())
            return
        found = describe(file, **options)
        rows = [("file", f"{found.path} ({found.nbytes:,} bytes)"), ("kind", found.title)]
        rows += [("model", found.model)] if found.model else []
        rows += [*found.facts.items(), ("parameters", f"{sum(line.parameters for line in found.layers):,}")]
    _show(rows)
    if file is not None:
        _layers(found.layers)
        for note in found.notes:
            click.echo(note)


def _show(rows: list[tuple[str, str]]) -> None:
    if not sys.stdout.isatty():
        for name, value in rows:
            click.echo(f"{name}: {value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def _layers(layers: Any) -> None:
    rows = [("layer", "class", "output", "parameters", "weights")]
    for line in layers:
        weights = ", ".join(f"{name} {tuple(a.shape)} {a.dtype}" for name, a in line.arrays.items())
        rows.append((line.name, line.kind, line.shape, f"{line.parameters:,}" if line.arrays else "", weights))
    used = [i for i in range(5) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    click.echo()
    for row in rows:
        cells = [row[i].rjust(widths[i]) if i == 3 else row[i].ljust(widths[i]) for i in used]
        click.echo("  ".join(cells).rstrip())
