"""What callbacks share that watch one loss or metric: which way is better, by how much, and what if it is absent."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamina import config, registry
from lamina.callbacks.base import Callback, Logs
from lamina.errors import invalid, message, nearest
from lamina.ops.arithmetic import greater, less

_FLOATS: dict[str, type[np.floating[Any]]] = {"float64": np.float64}


@registry.export("callbacks")
class MonitorCallback(Callback):
    """Base of callbacks that watch one value of the logs and ask whether it has improved.

    Args:
        monitor: Name of the value: "loss", "val_accuracy", ...
        mode: "min", "max", or "auto", which asks the metric of that name.
        baseline: Best value to begin with; None takes the first that comes.
        min_delta: Least change that counts.
    """

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{owner} mode '{mode}' is unknown, fallback to auto mode.", stacklevel=3)
            mode = "auto"
        if not isinstance(monitor, str):
            raise invalid(
                "`monitor` must be the name of one loss or metric.",
                owner=owner,
                received=f"monitor={monitor!r}",
                fix="pass a name as it appears in `history.history`, such as 'val_loss'.",
            )
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta: float = abs(number(min_delta, "min_delta", owner, least=None))
        self.monitor_op: Callable[[Any, Any], Any] | None = None
        self._mentioned = False
        self._given_up = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._mentioned = False
        self._given_up = False

    def _set_monitor_op(self) -> None:
        """Find out which way is better.

        Raises:
            InvalidArgumentError: If `mode` is "auto" and no metric of the model has this name.
        """
        if self.mode == "auto":
            self.monitor_op = self._direction()
        else:
            self.monitor_op = less if self.mode == "min" else greater
        if self.monitor_op is None:
            raise invalid(
                f"{type(self).__name__} callback received monitor={self.monitor}, and it is not known "
                "whether that is better when it is large or when it is small.",
                fix="pass `mode='max'` or `mode='min'`.",
            )
        if self.monitor_op == less:
            self.min_delta *= -1

    def _direction(self) -> Callable[[Any, Any], Any] | None:
        name = self.monitor.removeprefix("val_")
        found: Callable[[Any, Any], Any] | None = less if name == "loss" else None
        known = list(leaves(getattr(self.model, "metrics", ())))
        # An output's name stands before its metrics' names: first the metric of exactly this name, then of this ending.
        for same in (lambda own: own == name, lambda own: name.endswith(f"_{own}")):
            for metric in known:
                way = getattr(metric, "_direction", None)
                if way in ("up", "down") and same(str(metric.name)):
                    return greater if way == "up" else less
        return less if found is None and name.endswith("_loss") else found

    def _ready(self, logs: Logs) -> bool:
        """Return whether a new value may be judged: its name is there and the better direction is known.

        In the strict mode a misspelt name stops nothing: the run goes on unwatched, and `_missing` says so.

        Raises:
            InvalidArgumentError: If the direction is not known, in the first epoch.
        """
        if self.monitor_op is not None:
            return True
        strict = config.strict()
        if self.monitor not in logs and self.mode == "auto" and strict:
            return False
        try:
            self._set_monitor_op()
        except ValueError as error:
            if not strict or not self._mentioned:
                raise
            if not self._given_up:  # the name came late: a long training is not to end for it
                self._given_up = True
                warnings.warn(f"{error}\nTraining goes on unwatched.", stacklevel=3)
        return self.monitor_op is not None

    def _missing(self, phrase: str, logs: Logs) -> None:
        """Warn, once in a run, that the monitored value is not among the logs."""
        if self._mentioned:
            return
        self._mentioned = True
        text = f"{phrase} Available metrics are: {','.join(logs)}."
        if self.monitor.removeprefix("val_") in logs:
            text += " Nothing was validated in this epoch: pass `validation_data` or `validation_split` to `fit`"
            text += f", or monitor '{self.monitor.removeprefix('val_')}'."
        elif close := nearest(self.monitor, logs):
            text += f" Did you mean {' or '.join(map(repr, close))}?"
        warnings.warn(text, stacklevel=4)

    def _is_improvement(self, monitor_value: Any, reference_value: Any) -> bool:
        """Return whether a value is better than a reference by more than `min_delta`. Any number is better than NaN.

        Values are compared in the precision of training, where 0.3 - 0.1 is 0.2.
        """
        if reference_value is None:
            return True
        if reference_value != reference_value:
            return bool(monitor_value == monitor_value)
        if self.monitor_op not in (less, greater):
            return bool(self.monitor_op(monitor_value - self.min_delta, reference_value))  # type: ignore[misc]
        kind = _FLOATS.get(config.floatx(), np.float32)
        with np.errstate(over="ignore"):
            value, reference = kind(monitor_value - self.min_delta), kind(reference_value)
        return bool(value < reference if self.monitor_op == less else value > reference)


def leaves(metrics: Any) -> Iterator[Any]:
    """Yield the metrics of a model, those inside containers of metrics too."""
    for metric in metrics or ():
        inner = getattr(metric, "metrics", None)
        if isinstance(inner, list | tuple):
            yield from leaves(inner)
        elif hasattr(metric, "name"):
            yield metric


def number(value: Any, name: str, owner: str, *, least: float | None = 0) -> Any:
    """Return a number as it is, or raise `InvalidArgumentError` if it is none or too small."""
    plain = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if plain and value == value and (least is None or value >= least):
        return value
    bound = "" if least is None else f" of at least {least}"
    raise invalid(f"`{name}` must be a number{bound}.", owner=owner, received=f"{name}={value!r}")


def optimizers(model: Any, owner: str) -> list[tuple[str, Any]]:
    """Return the optimizers of a model with what to call each in a message: "" for the only one.

    Raises:
        InvalidArgumentError: If the model has none, or one without a learning rate.
    """
    optimizer = getattr(model, "optimizer", None)
    several = getattr(optimizer, "optimizers", None)
    found = [("", optimizer)] if several is None else [(str(one.name), one) for one in several]
    for _, one in found:
        if not hasattr(one, "learning_rate"):
            raise invalid(
                'Optimizer must have a "learning_rate" attribute.',
                owner=owner,
                received=f"optimizer={one!r}",
                fix="compile the model with an optimizer of `lamina.optimizers`.",
            )
    return found


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate of an optimizer as a float."""
    return float(np.asarray(optimizer.learning_rate))


def log_rates(found: list[tuple[str, Any]], logs: Logs) -> None:
    """Put the learning rates into the logs, where `History` and the progress line find them."""
    for name, optimizer in found:
        logs[f"learning_rate_{name}" if name else "learning_rate"] = learning_rate(optimizer)


def refuse_schedule(found: list[tuple[str, Any]]) -> None:
    """Raise the optimizer's own `TypeError` if its learning rate is a schedule, before the first step.

    Assigning the rate that an optimizer has changes nothing.
    """
    for _, optimizer in found:
        optimizer.learning_rate = learning_rate(optimizer)


def unknown_argument(names: list[str], known: list[str], owner: str) -> Exception:
    """Return the error for keyword arguments that a callback does not have."""
    close = nearest(names[0], known, 1)
    return TypeError(
        message(
            f"Unrecognized keyword arguments: {', '.join(names)}.",
            owner=owner,
            fix=f"did you mean `{close[0]}`?" if close else f"its arguments are {', '.join(known)}.",
        )
    )
