"""`python -m benchmarks.table_parts`: what each part of the recipe for tables gives: the default with one changed.

Fits run in this process, one after another, on the same splits as `benchmarks.tables`; what is done is in
`benchmarks/results/table_parts.json` and is not done again. Ratios below 1 say that the change makes it better.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.table_peers import Split, scores
from benchmarks.tables import DATA, ROOT, Results, geometric, mean, write_page
from lamina.tabular import DenseClassifier, DenseRegressor, recipes

RESULTS = ROOT / "benchmarks/results/table_parts.json"
WHOLE = "all as it is"
PARTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "no bins": {"bins": 0},
    "bins as they are": {"bin_outputs": 0},
    "no waves": {"waves": 0},
    "one network": {"members": 1},
    "no temperature": {"tempered": False},
    "no network stops early": {"patience": False},
    "30 epochs of batches of 256": {},
    "half the rate": {"learning_rate": 0.5},
    "dropout 0.3, decay 0.05": {"dropout": 0.3, "decay": 0.05},
    "no dropout, no decay": {"dropout": 0.0, "decay": 0.0},
    "no parametric activation": {"parametric": False},
    "no data-dependent start": {"data_init": False},
}
ESTIMATOR: dict[str, dict[str, Any]] = {"30 epochs of batches of 256": {"epochs": 30, "batch_size": 256}}


def register() -> None:
    """Makes a preset of each part."""
    for name, changes in PARTS.items():
        made = {}
        for key, recipe in recipes.PRESETS["default"].items():
            rate = recipe.learning_rate * changes.get("learning_rate", 1.0)
            made[key] = replace(recipe, **changes | {"learning_rate": rate})
        recipes.PRESETS[name] = made


def fit(part: str, path: Path, number: int) -> dict[str, float]:
    split = Split(path, number)
    network = DenseRegressor if split.regression else DenseClassifier
    model = network(preset=part, random_state=number, **ESTIMATOR.get(part, {}))
    cpu = time.process_time()
    model.fit(split.x, split.y)
    cpu = time.process_time() - cpu
    return {"cpu": cpu} | scores(model, split.test, split)


def markdown(results: Results, tables: list[str]) -> str:
    """A line for each part that has been measured: errors, and the ratios of error, log loss, ECE and seconds."""
    head = ["", *tables, "error", "log loss", "ECE", "CPU s"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for part in PARTS:
        if any(mean(results, part, t, "error") is None for t in tables):
            continue

        def ratio(what: str, part: str = part) -> str:
            pairs = [(mean(results, part, t, what), mean(results, WHOLE, t, what)) for t in tables]
            return f"{geometric(a / b for a, b in pairs if a is not None and b):.3f}"

        errors = [mean(results, part, t, "error") or 0.0 for t in tables]
        shown = [f"{e:.4f}" if e < 1 else f"{e:.5g}" for e in errors]
        lines.append([part, *shown, *map(ratio, ("error", "log_loss", "ece", "cpu"))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@click.command()
@click.option("--tables", default="", help="Names, with commas. Default: all.")
@click.option("--parts", default="", help="Names, with semicolons. Default: all.")
@click.option("--splits", default=2, show_default=True)
@click.option("--data", default=DATA, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--page", is_flag=True, help="Write the table into docs/tables.md.")
def main(tables: str, parts: str, splits: int, data: Path, page: bool) -> None:
    """Fit the default with one part changed after another, and print what that does."""
    names = tables.split(",") if tables else sorted(p.stem for p in data.glob("*.parquet"))
    register()
    results: Results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    chosen = parts.split(";") if parts else list(PARTS)
    work = [(p, t, s) for p in chosen for t in names for s in range(splits) if f"{p}/{t}/{s}" not in results]
    RESULTS.parent.mkdir(exist_ok=True)
    for part, table, split in track(work, "fitting", console=Console(stderr=True), transient=True):
        results[f"{part}/{table}/{split}"] = fit(part, data / f"{table}.parquet", split)
        RESULTS.write_text(json.dumps(results, indent=1), "utf-8")
    text = markdown(results, names)
    click.echo(text)
    if page:
        write_page(text, "parts")


if __name__ == "__main__":
    main()
