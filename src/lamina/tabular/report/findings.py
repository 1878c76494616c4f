"""What a report says about a model, as plain values: measured on rows that it has not seen."""

import time
from typing import Any

import numpy as np

from lamina._types import Config, Numpy
from lamina.tabular.cells import Column
from lamina.tabular.frames import Table
from lamina.tabular.predictor import Predictor
from lamina.tabular.report import scores

_ROWS, _TIMES = 2000, 3  # rows and repetitions of the importance of a column
_SECONDS = 90  # after which no further column is shuffled
_SHOWN = 5000  # points of a picture


def measure(model: Predictor, train: Table, learnt: Numpy, test: Table, wanted: Numpy, seed: int = 0) -> Config:
    """Scores of a model, of a guess, and of boosted trees if scikit-learn is there; and what the figures show.

    Args:
        model: Fitted on `train`.
        train: The rows that it was fitted on.
        learnt: Their targets: places of classes, or values.
        test: Rows that it has not seen.
        wanted: Their targets.
        seed: Of the boosted trees, and of what is shuffled.
    """
    outputs = model.outputs(test)
    found: Config = {"scores": {"this model": _scores(model, outputs, wanted)}}
    found["scores"]["guess"] = _scores(model, guess(model, learnt, len(wanted)), wanted)
    if (trees := boosted(model, train, learnt, test, seed)) is not None:
        found["scores"]["boosted trees"] = _scores(model, trees, wanted)
    if model.classes_ is not None:
        said = scores.calibration(outputs, wanted)
        found["calibration"] = {name: values.tolist() for name, values in said._asdict().items()}
        found["confusion"] = scores.confusion(outputs, wanted).tolist()
    else:
        random = np.random.Generator(np.random.PCG64(seed))
        chosen = np.sort(random.permutation(len(wanted))[:_SHOWN])
        found["predictions"] = {"predicted": outputs[chosen, 0].tolist(), "true": wanted[chosen].tolist()}
    found["importance"] = importance(model, test, wanted, seed)
    return found


def _scores(model: Predictor, outputs: Numpy, wanted: Numpy) -> dict[str, float]:
    return scores.of_values(outputs[:, 0], wanted) if model.classes_ is None else scores.of_classes(outputs, wanted)


def guess(model: Predictor, learnt: Numpy, rows: int) -> Numpy:
    """What one would say without a model: the mean, or each class as often as it was. Shapes: `rows outputs`."""
    if model.classes_ is None:
        return np.full((rows, 1), learnt.mean())
    shares = np.bincount(learnt, minlength=len(model.classes_)) / len(learnt)
    return np.tile(shares, (rows, 1))


def boosted(model: Predictor, train: Table, learnt: Numpy, test: Table, seed: int) -> Numpy | None:
    """What scikit-learn's boosted trees say as they come; None without scikit-learn. Shapes: `rows outputs`."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    except ImportError:
        return None
    kinds = {"categorical_features": _categories(model), "random_state": seed}
    if model.classes_ is None:
        regressor = HistGradientBoostingRegressor(**kinds).fit(_plain(model, train), learnt)
        return np.asarray(regressor.predict(_plain(model, test)))[:, None]
    classifier = HistGradientBoostingClassifier(**kinds).fit(_plain(model, train), learnt)
    found = np.zeros((test.rows, len(model.classes_)))
    found[:, classifier.classes_] = classifier.predict_proba(_plain(model, test))
    return found


def _categories(model: Predictor) -> list[bool]:
    plans = [plan for plan in model.encoder.plans if not plan.unused]
    return [plan.kind == "category" and len(plan.levels) <= 254 for plan in plans]


def _plain(model: Predictor, table: Table) -> Numpy:
    """The columns that are used as numbers, categories as their places among those that are known."""
    columns = []
    for plan, column in zip(model.encoder.plans, table.columns, strict=True):
        if plan.unused:
            continue
        if plan.kind == "category":
            known = {level: place for place, level in enumerate(plan.levels)}
            places = np.array([*(known.get(level, np.nan) for level in column.levels), np.nan], np.float64)
            columns.append(places[column.values])
        elif plan.kind == "date":
            days = (column.values - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
            columns.append(np.where(np.isnat(column.values), np.nan, days))
        else:
            columns.append(np.where(np.isfinite(column.values), column.values, np.nan))
    return np.stack(columns, 1)


def importance(model: Predictor, test: Table, wanted: Numpy, seed: int) -> list[Config]:
    """How much worse the model is with a column shuffled: by log loss or RMSE, the most important column first.

    Where there are very many columns, the last ones are left out for lack of time.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    rows = np.sort(random.permutation(test.rows)[:_ROWS])
    table, wanted = test.take(rows), wanted[rows]
    name = metric(model)
    base = _scores(model, model.outputs(table), wanted)[name]
    found = []
    started = time.monotonic()
    for place, plan in enumerate(model.encoder.plans):
        if plan.unused:
            continue
        spent = time.monotonic() - started
        if spent > _SECONDS:
            break
        worse = []
        for _ in range(_TIMES if spent < _SECONDS / 2 else 1):
            columns = list(table.columns)
            columns[place] = columns[place]._replace(values=random.permutation(columns[place].values))
            worse.append(_scores(model, model.outputs(table._replace(columns=tuple(columns))), wanted)[name] - base)
        found.append({"column": plan.name, "mean": float(np.mean(worse)), "spread": float(np.std(worse))})
    return sorted(found, key=lambda row: -row["mean"])


def metric(model: Predictor) -> str:
    """The score that a model's columns are judged by; less is better."""
    return "RMSE" if model.classes_ is None else "log loss"


def columns(table: Table, model: Predictor) -> list[Config]:
    """What each column holds and what became of it."""
    rows = []
    for plan, column in zip(model.encoder.plans, table.columns, strict=True):
        values: Any = column.values
        gone = lost(column)
        real = values[~gone]
        if column.kind == "category":
            counts = np.bincount(real, minlength=len(column.levels))
            top = np.argsort(-counts, kind="stable")[:3]
            holds = ", ".join(column.levels[place] for place in top) + (", …" if len(counts) > 3 else "")
        elif not len(real):
            holds = ""
        elif column.kind == "boolean":
            holds = f"true in {real.mean():.0%}"
        elif column.kind == "date":
            holds = f"{real.min().astype('M8[D]')} to {real.max().astype('M8[D]')}"
        else:
            holds = f"{real.min():g} to {real.max():g}"
        rows.append(
            {"column": plan.name, "kind": column.kind, "missing": int(gone.sum()), "holds": holds, "use": used(plan)}
        )
    return rows


def lost(column: Column) -> Numpy:
    """Which cells of a column are missing."""
    if column.kind == "category":
        return np.asarray(column.values < 0)
    return np.asarray((np.isnat if column.kind == "date" else np.isnan)(column.values))


_USES = {
    "number": "number, scaled", "binary": "yes or no", "parts": "parts of a date", "text": "not used: free text",
    "empty": "not used: empty", "constant": "not used: constant", "names": "not used: names the row",
}  # fmt: skip


def used(plan: Any) -> str:
    """What became of a column, in a few words."""
    if plan.use == "onehot":
        text = f"{len(plan.levels)} categories"
    elif plan.use == "codes":
        text = f"{len(plan.levels):,} categories, embedded"
    else:
        text = _USES[plan.use]
    return text + (", and where missing" if plan.gaps and not plan.unused else "")
