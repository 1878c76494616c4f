"""`lamina demo`."""

from pathlib import Path

import click


@click.command("demo")
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
def command(epochs: int, seed: int, out: Path, data: str) -> None:
    """Train a network on handwritten digits and draw what it learned."""
    from lamina.demo import run

    run(epochs=epochs, seed=seed, out=out, data=data)
