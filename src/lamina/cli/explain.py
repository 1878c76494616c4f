"""`lamina explain`."""

import click


@click.command("explain")
@click.argument("model", type=click.Path())
def command(model: str) -> None:
    """Show what MODEL, a folder that `lamina train` wrote, does with each column, how good it is, what it looks at."""
    from rich.console import Console

    from lamina.tabular.job import explain

    explain(model, Console())
