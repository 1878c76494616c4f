"""The command `lamina`. Each command is a file here and is imported when it is called, so that help costs nothing.

A file holds arguments only: what a command does lies in the room it calls, imported when it runs.
"""

import importlib
import sys
from typing import Any

import click

from lamina._version import __version__

# Each command, and the line that `lamina --help` shows for it.
COMMANDS = {
    "demo": "Train a network on handwritten digits and draw what it learned.",
    "quantization": "Show what weights in 8 or 4 bits save and cost on the demo's network.",
    "train": "Train a model on a CSV or Parquet file and write a report on how good it is.",
    "predict": "Predict each row of a CSV or Parquet file with a trained model.",
    "explain": "Show what a trained model does with each column, how good it is, what it looks at.",
    "info": "Show what a file holds; without one: versions, devices and the speed of this machine.",
    "convert": "Write the model of one file to a file of another kind.",
    "bench": "Measure how fast the model of a file runs here, and what holds it back.",
    "diff": "Show how the layers, shapes and values of two files differ.",
}


class Commands(click.Group):
    """A group of commands in files of their own, which end with one line where the library refuses something."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"lamina.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            errors = sys.modules.get("lamina.errors")  # not imported here: it costs NumPy, and help ends this way too
            refused = errors is not None and isinstance(error, errors.LaminaError)
            if refused or (
                isinstance(error, OSError) and error.filename is not None
            ):  # of a file, not of a closed pipe
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lamina", message="%(prog)s %(version)s")
def main() -> None:
    """Fully connected networks: the Keras API, on JAX, at the speed of the machine."""
