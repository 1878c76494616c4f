"""`lamina quantization`."""

import click


@click.command("quantization")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Passes over the digits.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="The same seed gives the same network.",
)
def command(epochs: int, seed: int) -> None:
    """Train the demo's network and show what smaller weights save and cost."""
    from lamina.demo import quantization

    quantization.run(epochs=epochs, seed=seed)
