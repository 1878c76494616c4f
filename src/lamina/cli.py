"""The command `lamina`. Arguments only: what a command does lies in the room it calls, imported when it is called."""

import sys
from pathlib import Path
from typing import Any

import click

from lamina._version import __version__


class Commands(click.Group):
    """A group whose commands end with one line instead of a traceback where the library refuses something."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            errors = sys.modules.get("lamina.errors")  # not imported here: it costs NumPy, and help ends this way too
            if errors is not None and isinstance(error, errors.LaminaError):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lamina", message="%(prog)s %(version)s")
def main() -> None:
    """Fully connected networks: the Keras API, on JAX, at the speed of the machine."""


@main.command()
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Passes over the digits.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="The same seed, the same network."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("lamina-demo"),
    show_default=True,
    help="Folder for the model and the pictures.",
)
@click.option(
    "--data",
    default="sample",
    show_default=True,
    metavar="PATH",
    help="An .npz file of digits; 'sample' for those in the package, 'full' for all of MNIST (downloads 11 MB once).",
)
def demo(epochs: int, seed: int, out: Path, data: str) -> None:
    """Train a network on handwritten digits and draw what it learned."""
    from lamina.demo import run

    run(epochs=epochs, seed=seed, out=out, data=data)


@main.command()
def info() -> None:
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
