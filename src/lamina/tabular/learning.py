"""From a table and a target to a fitted model: what the estimators and the command line share, without scikit-learn."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import did_you_mean, invalid, positive_integer, warn
from lamina.tabular import fitting, recipes, targets
from lamina.tabular.columns import Encoder
from lamina.tabular.frames import Table
from lamina.tabular.predictor import Predictor, Task
from lamina.tabular.progress import Bars


@dataclass(frozen=True)
class Wish:
    """How to train.

    Attributes:
        preset: A name in `recipes.PRESETS`.
        objective: What to be best at.
        n_ensemble: How many networks are averaged. None: the preset's, as for the rest.
        n_folds: Into how many parts the rows are dealt.
        epochs: Passes over the rows.
        batch_size: Rows in a step.
        learning_rate: The highest one.
        time_limit: Seconds.
        seed: Of all that is drawn.
        verbose: Whether bars are shown.
    """

    preset: str = "default"
    objective: str = "log_loss"
    n_ensemble: int | None = None
    n_folds: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    time_limit: float | None = None
    seed: int = 0
    verbose: int = 0

    def recipe(self, task: Task, rows: int, numbers: int = 0) -> recipes.Recipe:
        """The preset's recipe for so many rows and columns of numbers, with what is wished otherwise.

        Raises:
            InvalidArgumentError: If a wish cannot be granted.
        """
        for name, known in (("preset", recipes.PRESETS), ("objective", recipes.OBJECTIVES)):
            value = getattr(self, name)
            if value not in known:
                raise invalid(
                    f"`{name}` must be one of {', '.join(map(repr, known))}.",
                    received=f"{name}={value!r}",
                    fix=did_you_mean(str(value), known),
                )
        for name, least in (("n_ensemble", 1), ("n_folds", 2)):
            value = getattr(self, name)
            if value is not None and positive_integer(value, name) < least:
                raise invalid(f"`{name}` must be at least {least}.", received=f"{name}={value}")
        if self.n_folds is not None and self.n_folds > rows:
            raise invalid("`n_folds` must not exceed the rows.", received=f"n_folds={self.n_folds} for {rows} rows")
        for name in ("time_limit", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < float("inf")):
                raise invalid(f"`{name}` must be a positive number or None.", received=f"{name}={value!r}")
        wanted: dict[str, Any] = {}
        if self.epochs is not None:
            wanted["epochs"] = positive_integer(self.epochs, "epochs")
        if self.batch_size is not None:
            wanted["batch"] = positive_integer(self.batch_size, "batch_size")
        if self.learning_rate is not None:
            wanted["learning_rate"] = float(self.learning_rate)
        return replace(recipes.sized(recipes.recipe(self.preset, task, self.objective), rows, numbers), **wanted)


def learn(
    table: Table, target: Numpy, weight: Numpy | None, classes: Numpy | None, wish: Wish, console: Any = None
) -> Predictor:
    """Learn the columns, then train the networks.

    Args:
        table: The rows.
        target: A number for each row, or the place of its label in `classes`.
        weight: How much each row counts.
        classes: The labels; None for a regression.
        wish: How to train.
        console: Where the bars are shown. Default: the terminal.

    Raises:
        InvalidArgumentError: If no column can be used, or a wish cannot be granted.
    """
    task: Task = "regression" if classes is None else "classification"
    wish.recipe(task, table.rows)  # refused before any work
    encoder = Encoder.fit(table, weight)
    for note in encoder.warnings:
        warn(note)
    examples = targets.ordered(encoder.transform(table), target, weight)
    with Bars(wish.verbose, console) as bars:
        fitted = fitting.fit(
            *examples,
            task=task,
            outputs=1 if classes is None else len(classes),
            recipe=wish.recipe(task, table.rows, examples.encoded.numeric.shape[1]),
            objective=wish.objective,
            seed=wish.seed,
            time_limit=wish.time_limit,
            progress=bars.told if wish.verbose else None,
            folds=wish.n_folds,
            members=wish.n_ensemble,
        )
    settings = {"preset": wish.preset, "objective": wish.objective, "seed": wish.seed, "rows": table.rows}
    return Predictor(task, encoder, fitted, classes, settings)
