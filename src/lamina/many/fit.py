"""`fit_many`: the arguments checked, the networks trained, the result returned."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina import random
from lamina._types import Numpy
from lamina.errors import describe, invalid, warn
from lamina.many import grid as grids
from lamina.many.fitting import Fitting
from lamina.many.members import Maker
from lamina.many.programs import Request, Watching
from lamina.many.progress import Line
from lamina.many.result import Many
from lamina.training import checks, many, stream
from lamina.training.arrays import column_names, to_host
from lamina.training.data import DEFAULT_BATCH


def fit_many(
    model_factory: Callable[..., Any],
    x: Any,
    y: Any = None,
    grid: Any = 1,
    *,
    batch_size: int = DEFAULT_BATCH,
    epochs: int = 1,
    verbose: int = 0,
    validation_split: float = 0.0,
    validation_data: Any = None,
    folds: Any = None,
    shuffle: bool | str = True,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
    patience: int | None = None,
    monitor: str = "auto",
    mode: str = "auto",
    min_delta: float = 0.0,
    start_from_epoch: int = 0,
    restore_best_weights: bool | None = None,
    seed: int | None = None,
    time_limit: float | None = None,
    workers: int | None = None,
) -> Many:
    """Train many networks at once and return the models, a table, and the best.

    Networks whose models differ in numbers only (learning rate, weight decay, momentum, dropout rate, label smoothing,
    penalties ...) share one compiled program, whatever their seeds, rows and weights; which numbers those are is found
    by comparing the models. Another architecture, batch size or number of rows gets a program of its own.

    Each network gets the numbers, to float tolerance, that it would get alone from

        lamina.set_random_seed(seed)
        model = model_factory(**config)
        model.fit(x, y, ...)

    with `callbacks=[EarlyStopping(...)]` if there is a `patience`: initial weights, shuffles and noise come from
    streams of its own. Global random streams are left as they were. There is one difference: a network whose loss or
    weights are no longer finite is stopped, with the weights of its last good epoch.

    Args:
        model_factory: Returns a compiled model. It is called with those entries of a configuration that it has
            arguments for. Others are arguments of the model's optimizer (`learning_rate`, `weight_decay`, `momentum`
            ...), or one of `seed`, `batch_size`, `epochs`, `patience`, `rows` (a mask, or row numbers),
            `sample_weight`, `x` and `y`.
        x: Inputs: arrays, as those of `fit`.
        y: Targets.
        grid: A list of configurations (dicts); a dict of lists, for each combination; or a number of seeds.
        batch_size: Rows in a batch.
        epochs: Epochs to train, at most.
        verbose: 1 shows a line that lives, and says how many programs there are and why.
        validation_split: Share of the last rows to validate on, in (0, 1).
        validation_data: `(x, y)` or `(x, y, sample_weight)` to validate on.
        folds: A number of folds for cross-validation, or what gives pairs of row numbers or masks: a list of
            `(rows to train on, rows to validate on)`, or an object with scikit-learn's `split`.
        shuffle: As in `fit`.
        class_weight: Weights by class number.
        sample_weight: A weight for each row.
        patience: Stop a network after so many epochs without an improvement. None: train all epochs.
        monitor: Name of the loss or metric that is watched and compared. "auto": "val_loss" if there is a validation,
            else "loss".
        mode: "min" or "max" says which way is better; "auto" asks the metric.
        min_delta: Least change that counts as an improvement.
        start_from_epoch: Epochs before the first that is judged.
        restore_best_weights: Whether a model gets the weights of its best epoch. Default: if there is a `patience`.
        seed: Seed of configurations that name none, and of the folds. None draws one from Python's `random`, which
            `set_random_seed` seeds: it is the same for all, so that they differ in nothing else.
        time_limit: Seconds after which it ends, with what was reached.
        workers: Threads. Default: one a core.

    Returns:
        See `lamina.many.Many`. Ctrl-C ends the training, and the result holds what was reached.

    Raises:
        InvalidArgumentError: If an argument, the data, or a configuration (it is named) cannot be right.
    """
    fitting = prepared(
        model_factory, x, y, grid, batch_size=batch_size, epochs=epochs, validation_split=validation_split,
        validation_data=validation_data, folds=folds, shuffle=shuffle, class_weight=class_weight,
        sample_weight=sample_weight, patience=patience, monitor=monitor, mode=mode, min_delta=min_delta,
        start_from_epoch=start_from_epoch, restore_best_weights=restore_best_weights, seed=seed,
    )  # fmt: skip
    limit = deadline(time_limit)
    with Line(fitting, verbose) as line:
        fitting.train(range(len(fitting.networks)), told=line.told, deadline=limit, workers=_workers(workers))
    say_what_went_wrong(fitting)
    return Many(fitting)


def prepared(
    model_factory: Callable[..., Any],
    x: Any,
    y: Any,
    grid: Any,
    *,
    batch_size: int,
    epochs: int,
    validation_split: float,
    validation_data: Any,
    folds: Any,
    shuffle: bool | str,
    class_weight: dict[int, float] | None,
    sample_weight: Any,
    patience: int | None,
    monitor: str,
    mode: str,
    min_delta: float,
    start_from_epoch: int,
    restore_best_weights: bool | None,
    seed: int | None,
) -> Fitting:
    """Return the networks, ready to train; the arguments are those of `fit_many`."""
    checks.whole_number(batch_size, "batch_size", 1)
    checks.whole_number(epochs, "epochs", 0)
    checks.whole_number(patience, "patience", 0, optional=True)
    checks.whole_number(start_from_epoch, "start_from_epoch", 0)
    share = checks.validation_share(validation_split)
    if sum(given is not None and given != 0 for given in (folds, validation_data, share or None)) > 1:
        raise invalid(
            "Only one of `folds`, `validation_split` and `validation_data` can be given.",
            fix="keep the one that you want.",
        )
    first = random.make_default_seed() if seed is None else seed
    configs = grids.configurations(grid, first)
    if x is not None and stream.source_of(x, "x", shuffle) is not None:
        raise invalid(
            "`x` must be arrays: many networks cannot share a stream.",
            received=describe(x),
            fix="pass arrays, or train one network with `fit`.",
        )
    columns = None if x is None else column_names(x)
    maker = Maker(model_factory, configs, first, x if x is None else to_host(x, "x"), batch_size, columns)
    stops = patience is not None or any("patience" in parts.fit for parts in maker.parts)
    held = validation_data is not None or bool(share) or folds is not None
    watching = Watching(
        ("val_loss" if held else "loss") if monitor == "auto" else monitor, mode, abs(float(min_delta)),
        start_from_epoch, stops, stops if restore_best_weights is None else restore_best_weights,
    )  # fmt: skip
    validation = None if validation_data is None else _unpacked(validation_data)
    y, sample_weight = to_host(y, "y"), to_host(sample_weight, "sample_weight")
    request = Request(
        y, sample_weight, class_weight, shuffle, validation, bool(share) or folds is not None, watching
    )  # fmt: skip
    cut = None if folds is None else _folds(folds, maker.x, y, first)
    return Fitting(maker, request, epochs=epochs, patience=patience, validation_split=share, folds=cut)


def _workers(workers: Any) -> int | None:
    return checks.whole_number(workers, "workers", 1, optional=True)


def deadline(time_limit: Any) -> float | None:
    """Return when a time limit in seconds is over."""
    import time

    if time_limit is None:
        return None
    number = isinstance(time_limit, int | float | np.number) and not isinstance(time_limit, bool)
    if not number or not time_limit > 0:
        raise invalid("`time_limit` must be a number of seconds above 0.", received=f"time_limit={time_limit!r}")
    return time.monotonic() + float(time_limit)


def _unpacked(given: Any) -> tuple[Any, Any, Any]:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise invalid("`validation_data` must be `(x, y)` or `(x, y, sample_weight)`.", received=describe(given))
    return given[0], given[1], given[2] if len(given) == 3 else None


def _folds(folds: Any, x: Any, y: Any, seed: int) -> Callable[[int], list[tuple[Numpy, Numpy]]]:
    """Return what cuts a number of rows into folds."""
    whole = isinstance(folds, int | np.integer) and not isinstance(folds, bool)
    if whole and folds < 2:
        raise invalid("There must be at least 2 folds.", received=f"folds={folds}")
    total = len(jax.tree.leaves(x)[0])
    if not whole and hasattr(folds, "split"):
        folds = list(folds.split(jax.tree.leaves(x)[0], y))
    pairs = None if whole else [tuple(np.asarray(part) for part in pair) for pair in folds]
    if pairs is not None and (not pairs or any(len(pair) != 2 for pair in pairs)):
        raise invalid(
            "`folds` must give pairs of row numbers: to train on, and to validate on.", received=describe(folds)
        )

    def cut(rows: int) -> list[tuple[Numpy, Numpy]]:
        from lamina.many.members import index_array

        if pairs is not None:
            if rows != total:
                raise invalid(
                    f"`folds` are given for {total} rows, so no configuration can have rows of its own.",
                    received=f"{rows} rows",
                    fix="pass a number of folds.",
                )
            return [(index_array(a, rows), index_array(b, rows)) for a, b in pairs]
        if rows < folds:
            raise invalid(f"{rows} rows cannot be cut into {folds} folds.", received=f"folds={folds}")
        order = np.random.default_rng(seed).permutation(rows)
        parts = [np.sort(part) for part in np.array_split(order, folds)]
        return [(np.sort(np.concatenate(parts[:i] + parts[i + 1 :])), part) for i, part in enumerate(parts)]

    return cut


def say_what_went_wrong(fitting: Fitting) -> None:
    """Warn of networks that are not finite, and of an end before the end."""
    bad = [n for n, network in enumerate(fitting.networks) if int(network.watch.status) == many.NOT_FINITE]
    if bad:
        owner = fitting.seats[bad[0]].owner
        warn(
            f"The loss or weights of {len(bad)} of {len(fitting.networks)} networks are not finite (NaN or infinity), "
            f"first of configuration {owner} {grids.shown(fitting.maker.configs[owner])}. They were stopped, with the "
            "weights of their last good epoch. Usual causes: a learning rate that is too high, logarithms or divisions "
            "by zero, inputs of very different scales.",
            RuntimeWarning,
        )
    if fitting.interrupted:
        warn("Interrupted: the result holds what the networks had reached.", RuntimeWarning)
