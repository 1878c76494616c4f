"""`python -m benchmarks.tables`: tables, boosted trees and networks: scores, seconds, ratios to CatBoost.

Each fit runs in a process of its own with an empty cache of compiled programs. What is done is in
`benchmarks/results/tables.json` and is not done again; `--models default` with `--again` does those anew.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.table_peers import MODELS

ROOT = Path(__file__).parent.parent
DATA = ROOT / "../shared/data/tables"
RESULTS = ROOT / "benchmarks/results/tables.json"
REFERENCE, TREES = "catboost", ("hgb", "xgboost", "lightgbm", "catboost")
Results = dict[str, dict[str, float]]


def fit(model: str, path: Path, split: int) -> dict[str, float] | None:
    """The scores of one fit, or None where the model's package is missing."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.table_peers", model, str(path), str(split)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"LAMINA_CACHE": cache},
        )
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "ModuleNotFoundError" in done.stderr or "ImportError" in done.stderr:
        return None
    raise click.ClickException(f"{model} on {path.stem}, split {split}:\n{done.stderr}")


def mean(results: Results, model: str, table: str, what: str) -> float | None:
    found = [s[what] for key, s in results.items() if key.rsplit("/", 1)[0] == f"{model}/{table}" and what in s]
    return statistics.fmean(found) if found else None


def geometric(ratios: Iterable[float]) -> float:
    return math.exp(statistics.fmean(math.log(r) for r in ratios))


def _splits(results: Results, model: str, table: str) -> set[str]:
    return {key.rsplit("/", 1)[1] for key in results if key.rsplit("/", 1)[0] == f"{model}/{table}"}


def summary(results: Results, models: list[str], tables: list[str]) -> list[dict[str, Any]]:
    """A row for each model that has been run on the same splits of all tables as the reference has."""
    rows = []
    for model in models:
        errors = {t: mean(results, model, t, "error") for t in tables}
        if None in errors.values() or not all(
            _splits(results, model, t) >= _splits(results, REFERENCE, t) for t in tables
        ):
            continue
        base = {t: mean(results, REFERENCE, t, "error") for t in tables}
        best = {t: min((e for m in TREES if (e := mean(results, m, t, "error"))), default=None) for t in tables}
        row: dict[str, Any] = {"model": model, "errors": errors}
        if None not in base.values():
            row["ratio"] = geometric(errors[t] / base[t] for t in tables)
        if None not in best.values():
            row["to best tree"] = geometric(errors[t] / best[t] for t in tables)
            row["worst"] = max(errors[t] / best[t] for t in tables)
        for what in ("log_loss", "ece"):
            found = [v for t in tables if (v := mean(results, model, t, what)) is not None]
            row[what] = statistics.fmean(found) if found else None
        for what in ("cpu", "wall"):
            row[what] = statistics.fmean(mean(results, model, t, what) or 0.0 for t in tables)
        rows.append(row)
    return rows


def cells(row: dict[str, Any], tables: list[str]) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    errors = [number(row["errors"][t], ".4f" if row["errors"][t] < 1 else ".5g") for t in tables]
    ratios = [number(row.get(k), ".3f") for k in ("ratio", "to best tree", "worst", "log_loss", "ece")]
    return [row["model"], *errors, *ratios, number(row["cpu"], ".1f"), number(row["wall"], ".1f")]


def markdown(rows: list[dict[str, Any]], tables: list[str]) -> str:
    head = heads(tables)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *(cells(row, tables) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def heads(tables: list[str]) -> list[str]:
    return ["model", *tables, "÷ CatBoost", "÷ best tree", "worst ÷", "log loss", "ECE", "CPU s", "wall s"]


def write_page(text: str, mark: str = "results") -> None:
    """Puts a table between its marks in docs/tables.md."""
    page = ROOT / "docs/tables.md"
    before, rest = page.read_text("utf-8").split(f"<!-- {mark} -->\n")
    after = rest.split(f"<!-- end of {mark} -->")[1]
    page.write_text(f"{before}<!-- {mark} -->\n{text}\n<!-- end of {mark} -->{after}", "utf-8")


def read() -> Results:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


@click.command()
@click.option("--tables", default="", help="Names, with commas. Default: all.")
@click.option("--models", default="", help=f"Of {', '.join(MODELS)}. Default: all that are installed.")
@click.option("--splits", default=3, show_default=True)
@click.option(
    "--data",
    default=DATA,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Parquet files, the target last.",
)
@click.option("--again", is_flag=True, help="Fit also what has been fitted.")
@click.option("--page", is_flag=True, help="Write the table into docs/tables.md.")
def main(tables: str, models: str, splits: int, data: Path, again: bool, page: bool) -> None:
    """Fit and score models on tables, and print errors and their ratios."""
    names = tables.split(",") if tables else sorted(p.stem for p in data.glob("*.parquet"))
    chosen = models.split(",") if models else list(MODELS)
    results = read()
    work = [(m, t, s) for s in range(splits) for t in names for m in chosen if again or f"{m}/{t}/{s}" not in results]
    missing: set[str] = set()
    RESULTS.parent.mkdir(exist_ok=True)
    for model, table, split in track(work, "fitting", console=Console(stderr=True), transient=True):
        if model in missing:
            continue
        scored = fit(model, data / f"{table}.parquet", split)
        if scored is None:
            missing.add(model)
            continue
        results = read() | {f"{model}/{table}/{split}": scored}
        RESULTS.write_text(json.dumps(results, indent=1), "utf-8")
    rows = summary({key: s for key, s in read().items() if int(key.rsplit("/", 1)[1]) < splits}, list(MODELS), names)
    shown = Table(*heads(names), title=f"{splits} splits of 80/20; error = 1 - accuracy, or RMSE")
    for row in rows:
        shown.add_row(*cells(row, names))
    Console(width=max(150, 60 + 12 * len(names))).print(shown)
    if missing:
        click.echo(f"not installed: {', '.join(sorted(missing))}")
    if page:
        write_page(markdown(rows, names))


if __name__ == "__main__":
    main()
