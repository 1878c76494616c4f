"""`lamina info`."""

import sys

import click


@click.command("info")
def command() -> None:
    """Show versions, devices and the measured speed of this machine."""
    from lamina.machine import report

    rows = report()
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
