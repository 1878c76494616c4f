"""`tune`: successive halving. Many configurations for a few epochs, the better ones for more, until few are left."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import random
from lamina._types import Numpy
from lamina.errors import invalid
from lamina.many import space as spaces
from lamina.many.fit import deadline, prepared, say_what_went_wrong
from lamina.many.fitting import Fitting
from lamina.many.progress import Line, sentence
from lamina.many.result import Many
from lamina.training import checks
from lamina.training.data import DEFAULT_BATCH


def tune(
    model_factory: Callable[..., Any],
    x: Any,
    y: Any = None,
    space: Any = None,
    *,
    n: int = 64,
    epochs: int = 81,
    min_epochs: int | None = None,
    factor: int = 3,
    batch_size: int = DEFAULT_BATCH,
    verbose: int = 0,
    validation_split: float | None = None,
    validation_data: Any = None,
    folds: Any = None,
    shuffle: bool | str = True,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
    patience: int | None = None,
    monitor: str = "auto",
    mode: str = "auto",
    min_delta: float = 0.0,
    restore_best_weights: bool = True,
    seed: int | None = None,
    time_limit: float | None = None,
    workers: int | None = None,
) -> Many:
    """Search a space of configurations for the best, and return them all with what they have reached.

    Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): `n` configurations are drawn and trained for
    `min_epochs`; the best `1 / factor` of them go on to `factor` times as many epochs, and so on up to `epochs`.
    Nothing is trained twice, and each round trains all its networks at once, as `fit_many` does.

    Args:
        model_factory: Returns a compiled model; see `fit_many`.
        x: Inputs: arrays, as those of `fit`.
        y: Targets.
        space: Name of an argument to what is drawn for it: `Uniform`, `LogUniform`, `Integers`, `Choice` of
            `lamina.many`, a list (a choice), a distribution of `scipy.stats`, or one value for all.
        n: Configurations to draw.
        epochs: Epochs of those that get to the end.
        min_epochs: Epochs of the first round. Default: such that about one configuration is left at the end.
        factor: The share that goes on is one in so many; it then trains so many times as long.
        batch_size: Rows in a batch.
        verbose: 1 shows a line for each round.
        validation_split: Share of the last rows to validate on. Default: 0.2, if nothing else says how to validate.
        validation_data: `(x, y)` or `(x, y, sample_weight)` to validate on.
        folds: Cross-validation; see `fit_many`. The mean over the folds counts.
        shuffle: As in `fit`.
        class_weight: Weights by class number.
        sample_weight: A weight for each row.
        patience: Stop a network after so many epochs without an improvement.
        monitor: Name of the loss or metric that counts. "auto": "val_loss".
        mode: "min" or "max" says which way is better; "auto" asks the metric.
        min_delta: Least change that counts as an improvement.
        restore_best_weights: Whether a model gets the weights of its best epoch.
        seed: Seed of what is drawn and of every network. None draws one from Python's `random`.
        time_limit: Seconds after which the search ends, with what was reached.
        workers: Threads. Default: one a core.

    Returns:
        As `fit_many`. A configuration that went on further is better than one that did not; `rounds` in the table says
        how far each came.

    Raises:
        InvalidArgumentError: If an argument, the data, or a configuration (it is named) cannot be right.
    """
    n = checks.whole_number(n, "n", 1) or 1
    epochs = checks.whole_number(epochs, "epochs", 1) or 1
    factor = checks.whole_number(factor, "factor", 2) or 2
    first = checks.whole_number(min_epochs, "min_epochs", 1, optional=True)
    drawn = spaces.standardized(space)
    limit = deadline(time_limit)
    seed = random.make_default_seed() if seed is None else seed
    if validation_split is None:
        validation_split = 0.2 if validation_data is None and folds is None else 0.0
    generator = np.random.default_rng(seed)
    grid = [{name: one.draw(generator) for name, one in drawn.items()} for _ in range(n)]
    budgets = rounds(n, epochs, factor, first)
    fitting = prepared(
        model_factory, x, y, grid, batch_size=batch_size, epochs=budgets[0], validation_split=validation_split,
        validation_data=validation_data, folds=folds, shuffle=shuffle, class_weight=class_weight,
        sample_weight=sample_weight, patience=patience, monitor=monitor, mode=mode, min_delta=min_delta,
        start_from_epoch=0, restore_best_weights=restore_best_weights, seed=seed,
    )  # fmt: skip
    if any("epochs" in parts.fit for parts in fitting.maker.parts):
        raise invalid(
            "The epochs of a search are not searched.", owner="`space`", fix="pass `epochs` as an argument of `tune`."
        )
    reached = _search(fitting, budgets, factor, verbose, limit, workers)
    say_what_went_wrong(fitting)
    return Many(fitting, reached)


def rounds(n: int, epochs: int, factor: int, first: int | None) -> list[int]:
    """Return the epochs of each round, the last `epochs`; each is about `factor` times the one before."""
    most = 1
    while factor**most <= n:
        most += 1
    budgets = [epochs]
    while len(budgets) < most and budgets[0] > max(1, first or 1):
        budgets.insert(0, max(first or 1, round(budgets[0] / factor)))
    return budgets


def _search(
    fitting: Fitting, budgets: list[int], factor: int, verbose: int, limit: float | None, workers: int | None
) -> Numpy:
    """Train round after round; return in how many rounds each configuration was."""
    configs = range(len(fitting.maker.configs))
    members: dict[int, list[int]] = {i: [] for i in configs}
    for number, seat in enumerate(fitting.seats):
        members[seat.owner].append(number)
    alive, reached = list(configs), np.zeros(len(configs), int)
    if verbose:
        print(sentence(fitting))
    for number, budget in enumerate(budgets):
        chosen = [network for i in alive for network in members[i]]
        for network in chosen:
            fitting.networks[network].go_on(budget)
        left = sum(budget - int(fitting.networks[network].watch.epoch) for network in chosen)
        text = f"round {number + 1}/{len(budgets)}: {len(alive)} configurations to epoch {budget}"
        with Line(fitting, verbose, left, text) as line:
            fitting.train(chosen, told=line.told, deadline=limit, workers=workers)
        reached[alive] += 1
        if fitting.interrupted or fitting.late or (limit is not None and time.monotonic() > limit):
            break
        scores = np.array(
            [fitting.sign * np.mean([fitting.score(fitting.networks[m]) for m in members[i]]) for i in alive]
        )
        order = [alive[i] for i in np.argsort(scores, kind="stable") if not np.isnan(scores[i])]
        alive = sorted(order[: max(1, len(alive) // factor)])
        if not alive:
            break
    return reached
