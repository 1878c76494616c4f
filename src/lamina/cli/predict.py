"""`lamina predict`."""

import click


@click.command("predict")
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path(dir_okay=False))
@click.option("-o", "--out", required=True, metavar="FILE", help="Where the predictions go: .parquet or .csv.")
@click.option("--only", is_flag=True, help="Write the predictions without the columns of DATA.")
def command(model: str, data: str, out: str, only: bool) -> None:
    """Predict each row of DATA, a CSV or Parquet file of any size, with MODEL, a folder that `lamina train` wrote."""
    from rich.console import Console

    from lamina.tabular.job import predict

    predict(model, data, out, Console(), only=only)
