"""What `lamina train`, `predict` and `explain` do."""

import json
import os
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina._types import Config, Numpy
from lamina._version import __version__
from lamina.errors import did_you_mean, invalid
from lamina.tabular import frames, targets
from lamina.tabular.gathering import gather, select
from lamina.tabular.learning import Wish, learn
from lamina.tabular.predictor import Predictor, Task, load, save
from lamina.tabular.report import findings, page
from lamina.tabular.sources import Source, arrow

MODEL = "model.safetensors"
_CLASSES, _MOST = 20, 200  # so many different whole numbers are classes; so many if they are numbered evenly


class Asked(NamedTuple):
    """What `lamina train` was asked for.

    Attributes:
        data: The file.
        target: The column to predict.
        out: The folder for the model and the report.
        test_size: The share of rows that the report is measured on.
        task: None: told from the target.
        wish: How to train.
        ignore: Columns that are left out.
    """

    data: str
    target: str
    out: Path
    test_size: float
    task: Task | None
    wish: Wish
    ignore: tuple[str, ...] = ()


def train(asked: Asked, console: Any) -> Config:
    """Train on a file, write the model and the report, and return what the report holds."""
    if not 0 <= asked.test_size < 1:
        raise invalid("`test_size` must be at least 0 and less than 1.", received=str(asked.test_size))
    source = Source(asked.data)
    table, target, facts = _read(asked, source)
    task = asked.task or kind_of(target)
    classes, wanted = None, np.zeros(0)
    if task == "classification":
        classes, wanted = targets.labels(target, None, repr(asked.target))
    else:
        wanted = targets.values(target, repr(asked.target))
    asked.wish.recipe(task, table.rows)  # refused before any work
    asked.out.mkdir(parents=True, exist_ok=True)
    test = split(wanted, asked.test_size, asked.wish.seed, stratified=classes is not None)
    learnt = table.take(~test)
    _announce(console, asked, task, classes, facts, learnt.rows, int(test.sum()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        started = time.perf_counter()
        model = learn(learnt, wanted[~test], None, classes, asked.wish, console)
        seconds = time.perf_counter() - started
    notes = list(dict.fromkeys(str(warning.message) for warning in said))
    columns = findings.columns(learnt, model)
    _show_columns(console, columns)
    for note in notes:
        console.print(f"[yellow]note[/] {_plain(note)}", highlight=False)
    model.settings |= {"target": asked.target}
    save(model, asked.out / MODEL)
    found: Config = {
        "version": __version__, "task": task, "target": asked.target, "columns": columns, "notes": notes,
        "classes": None if classes is None else [str(label) for label in classes.tolist()],
        "used": sum(not plan.unused for plan in model.encoder.plans), "seconds": seconds, "rows": learnt.rows,
        "test rows": int(test.sum()), "metric": findings.metric(model), "curves": model.fitted.curves,
        "kept": list(model.fitted.epochs), "curve metric": _curve_metric(task, asked.wish.objective),
        "headline": _headline(asked, task, classes, learnt.rows), "facts": list(facts.values()),
    }  # fmt: skip
    if test.any():
        with console.status("measuring, and shuffling one column after another"):
            found |= findings.measure(model, learnt, wanted[~test], table.take(test), wanted[test], asked.wish.seed)
        if len(found["importance"]) < found["used"]:
            count = len(found["importance"])
            found["notes"].append(f"There was time to shuffle {count:,} of the {found['used']:,} columns.")
    paths = page.write(found, asked.out)
    show_scores(console, found)
    pictures = sum(path.suffix == ".png" for path in paths)
    console.print(f"\nIn [bold]{_plain(str(asked.out))}[/]:", highlight=False)
    console.print(f"  {MODEL}, report.html, report.json and {pictures} pictures", highlight=False)
    return found


def _read(asked: Asked, source: Source) -> tuple[frames.Table, Numpy, dict[str, str]]:
    """The rows that have a target, without it; the target; and what is to be said of the file."""
    for name in (asked.target, *asked.ignore):
        if name not in source.names:
            raise invalid(f"The file has no column {name!r}.", owner=source.path, fix=did_you_mean(name, source.names))
    rows, total = gather(source, seed=asked.wish.seed)
    facts = dict(source.facts)
    facts["rows"] = f"{total:,} rows"
    if rows.num_rows < total:
        facts["rows"] += f", of which {rows.num_rows:,} drawn at random are used: more do not fit into the memory"
    column = rows.column(asked.target)
    if column.null_count == rows.num_rows:
        raise invalid(f"The target {asked.target!r} is missing in each row.", owner=source.path)
    if column.null_count:
        rows = rows.filter(column.is_valid())
        facts["gaps"] = f"{column.null_count:,} rows have no {asked.target!r} and are left out"
    target = targets.array(rows.column(asked.target))
    if rows.column(asked.target).type in (arrow().bool_(),):
        target = target.astype(bool)
    targets.no_gaps(target, repr(asked.target))
    left = [name for name in rows.column_names if name not in (asked.target, *asked.ignore)]
    return frames.read(rows.select(left)), target, facts


def kind_of(target: Numpy) -> Task:
    """Whether a target is one of classes: texts, yes or no, few whole numbers, or more that count classes.

    More than a few do so if they begin at 0 or 1, leave none out, and none is rare, as is seldom so of amounts.
    """
    if target.dtype.kind not in "fiu":
        return "classification"
    used, counts = np.unique(target, return_counts=True)
    if not (used == np.round(used)).all() or len(used) > max(2, len(target) // 10):
        return "regression"
    numbered = used[0] in (0, 1) and used[-1] - used[0] == len(used) - 1 and counts.min() >= counts.mean() / 4
    return "classification" if len(used) <= _CLASSES or (numbered and len(used) <= _MOST) else "regression"


def split(wanted: Numpy, share: float, seed: int, *, stratified: bool) -> Numpy:
    """Which rows are held back for the report: each class as often as it is, never all of it."""
    random = np.random.Generator(np.random.PCG64(seed))
    test = np.zeros(len(wanted), bool)
    groups = [np.arange(len(wanted))]
    if stratified:
        groups = [np.flatnonzero(wanted == label) for label in np.unique(wanted)]
    for rows in groups:
        count = min(int(len(rows) * share + random.random()), len(rows) - 1) if share else 0
        test[random.permutation(rows)[:count]] = True
    return test


def _curve_metric(task: Task, objective: str) -> str:
    if task == "regression":
        return "squared error, as a share of the variance"
    return {"log_loss": "log loss", "accuracy": "share of errors", "auc": "1 − AUC"}[objective]


def _headline(asked: Asked, task: Task, classes: Numpy | None, rows: int) -> str:
    kind = "regression" if classes is None else f"{task} into {len(classes)} classes"
    trained = f"trained on {rows:,} rows of {os.path.basename(asked.data)}, preset {asked.wish.preset}"
    return f"{kind[0].upper()}{kind[1:]}, {trained}"


def _announce(
    console: Any,
    asked: Asked,
    task: Task,
    classes: Numpy | None,
    facts: dict[str, str],
    train_rows: int,
    test_rows: int,
) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan")
    table.add_column()
    for name, text in facts.items():
        table.add_row(name, _plain(text))
    kind: str = task
    if classes is not None:
        shown = ", ".join(map(str, classes[:6].tolist())) + (", …" if len(classes) > 6 else "")
        kind = f"{task} into {len(classes)} classes: {shown}"
    told = "" if asked.task else "; told from its values, --task says otherwise"
    table.add_row("target", f"{_plain(asked.target)}: {_plain(kind)}{told}")
    table.add_row("split", f"{train_rows:,} rows to train on, {test_rows:,} for the report")
    console.print(table)


def _show_columns(console: Any, columns: list[Config]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    for name, most in (("column", 18), ("type", 8), ("missing", 9), ("holds", 26), ("used as", 24)):
        side: Any = "right" if name == "missing" else "left"
        table.add_column(name, justify=side, max_width=most, overflow="ellipsis", no_wrap=True)
    for row in columns[:40]:
        style = "dim" if row["use"].startswith("not used") else ""
        missing = f"{row['missing']:,}" if row["missing"] else ""
        table.add_row(_plain(row["column"]), row["kind"], missing, _plain(row["holds"]), row["use"], style=style)
    console.print(table)
    if len(columns) > 40:
        console.print(f"and {len(columns) - 40:,} more columns")


def show_scores(console: Any, found: Config) -> None:
    """Print the scores, and the columns that matter most."""
    from rich.table import Table

    scores = found.get("scores")
    if not scores:
        console.print("No rows were held back, so nothing is said about how good it is.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column(f"on {found['test rows']:,} rows not seen")
    names = list(scores["this model"])
    for name in names:
        table.add_column(name, justify="right")
    for who, row in scores.items():
        cells = [
            f"[bold green]{page.number(name, row[name])}[/]" if page.best(scores, name) == who
            else page.number(name, row[name]) for name in names
        ]  # fmt: skip
        table.add_row(who, *cells)
    console.print(table)
    rows = found["importance"][:8]
    most = max([row["mean"] for row in rows] + [1e-12])
    bars = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    bars.add_column("what it looks at")
    bars.add_column(f"{found['metric']} grows by, if shuffled", justify="left")
    for row in rows:
        length = round(24 * max(0.0, row["mean"]) / most)
        bars.add_row(_plain(row["column"]), f"[blue]{'█' * length}[/] {row['mean']:.3g}")
    console.print(bars)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(str(text))


def folder(path: str | os.PathLike[str]) -> Path:
    """The file of the model in a folder that `train` wrote, or the file itself."""
    found = Path(path)
    return found / MODEL if found.is_dir() else found


def explain(path: str, console: Any) -> None:
    """Show how a model was trained, what it does with each column, how good it is and what it looks at."""
    model = load(folder(path))
    report = folder(path).with_name("report.json")
    if not report.exists():
        _show_columns(console, [
            {"column": plan.name, "kind": plan.kind, "missing": 0, "holds": ", ".join(plan.levels[:4]),
             "use": findings.used(plan)} for plan in model.encoder.plans
        ])  # fmt: skip
        console.print("There is no report.json beside the model: `lamina train` writes it.")
        return
    found = json.loads(report.read_text(encoding="utf-8"))
    console.print(f"[bold]{_plain(found['target'])}[/]: {_plain(found['headline'])}", highlight=False)
    _show_columns(console, found["columns"])
    show_scores(console, found)
    page_path = report.with_name("report.html")
    if not page_path.exists():
        page.write(found, report.parent)
    console.print(f"\nThe pictures are in [bold]{page_path}[/].", highlight=False)


def predict(path: str, data: str, out: str, console: Any, *, only: bool = False) -> int:
    """Write a file with the predictions for each row of another, batch by batch; return how many rows.

    Args:
        path: The model.
        data: CSV or Parquet.
        out: CSV or Parquet, by its ending.
        console: Where it is shown.
        only: Whether the columns of `data` are left out.
    """
    from lamina.tabular.writing import Writer

    model = load(folder(path))
    source = Source(data)
    done = 0
    with Writer(out) as writer, console.status("predicting") as status:
        for batch in source.batches():
            if not batch.num_rows:
                continue
            found = _predictions(model, select(batch, model.encoder.names, data))
            kept = {} if only else dict(zip(batch.schema.names, batch.columns, strict=True))
            for name, values in found.items():
                kept[_free(name, kept)] = values
            writer.write(arrow().RecordBatch.from_arrays(list(kept.values()), names=list(kept)))
            done += batch.num_rows
            status.update(f"{done:,} rows")
    console.print(f"{done:,} predictions in [bold]{out}[/]", highlight=False)
    return done


def _free(name: str, taken: dict[str, Any]) -> str:
    return next(n for n in (name, *(f"{name}_{i}" for i in range(1, 1000))) if n not in taken)


def _predictions(model: Predictor, rows: Any) -> dict[str, Any]:
    pa = arrow()
    if model.classes_ is None:
        return {"prediction": pa.array(model.predict(rows))}
    found = model.predict_proba(rows)
    labels = model.classes_[found.argmax(1)]
    return {"prediction": pa.array(labels)} | {
        f"probability {label}": pa.array(found[:, place]) for place, label in enumerate(model.classes_.tolist())
    }
