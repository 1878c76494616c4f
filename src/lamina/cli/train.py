"""`lamina train`."""

from pathlib import Path

import click


@click.command("train")
@click.argument("data", type=click.Path(dir_okay=False))
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--test-size", type=click.FloatRange(0, 1, max_open=True), default=0.2, show_default=True,
    help="The share of rows that are held back to say how good the model is; 0 trains on all.",
)  # fmt: skip
@click.option("--preset", default="default", show_default=True, help="default, fast or best.")
@click.option(
    "--task", type=click.Choice(["classification", "regression"]), help="Default: told from the target's values."
)
@click.option("--objective", default="log_loss", show_default=True, help="log_loss, accuracy or auc.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column to leave out; may be given again.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the rows. Default: the preset's.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="How long the training may take.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Same seed, same model.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("model"), show_default=True,
    help="Folder for the model, the report and its pictures.",
)  # fmt: skip
def command(
    data: str, target: str, test_size: float, preset: str, task: str | None, objective: str, ignore: tuple[str, ...],
    epochs: int | None, time_limit: float | None, seed: int, out: Path,
) -> None:  # fmt: skip
    """Train a model on a table, DATA, a CSV or Parquet file, and write a report on how good it is."""
    from rich.console import Console

    from lamina.tabular.job import Asked, train
    from lamina.tabular.learning import Wish

    console = Console()
    wish = Wish(
        preset=preset, objective=objective, epochs=epochs, time_limit=time_limit, seed=seed,
        verbose=int(console.is_terminal),
    )  # fmt: skip
    train(Asked(data, target, out, test_size, task, wish, ignore), console)  # type: ignore[arg-type]
