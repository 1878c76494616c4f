"""Callbacks that change the learning rate: ReduceLROnPlateau, LearningRateScheduler."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import config, registry
from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.console import say
from lamina.callbacks.monitor import (
    MonitorCallback,
    learning_rate,
    log_rates,
    number,
    optimizers,
    refuse_schedule,
    unknown_argument,
)
from lamina.errors import invalid


@registry.export("callbacks")
class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a loss or metric has stopped improving.

    Args:
        monitor: Name of the value to watch.
        factor: What the learning rate is multiplied by, less than 1.
        patience: Epochs without an improvement after which it is lowered.
        verbose: 1 prints when it acts.
        mode: "min", "max", or "auto", which asks the metric of that name.
        min_delta: Least change that counts as an improvement.
        cooldown: Epochs after a reduction in which nothing is counted.
        min_lr: The rate goes no lower.
        **kwargs: None is known; an unknown one is refused (ignored with `lamina.config.set_strict(False)`).

    Raises:
        InvalidArgumentError: For a factor that is not between 0 and 1, or a number that is none.
        TypeError: When training begins, if the optimizer's rate is a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        owner = type(self).__name__
        if kwargs and config.strict():
            known = ["monitor", "factor", "patience", "verbose", "mode", "min_delta", "cooldown", "min_lr"]
            raise unknown_argument(sorted(kwargs), known, owner)
        if number(factor, "factor", owner, least=0 if config.strict() else None) >= 1.0:
            raise invalid(
                "ReduceLROnPlateau does not support a factor >= 1.0.",
                received=f"factor={factor}",
                fix="pass what the learning rate shall be multiplied by, such as 0.1.",
            )
        self.factor = factor
        self.min_lr = number(min_lr, "min_lr", owner)
        self.patience = number(patience, "patience", owner)
        self.verbose = verbose
        self.cooldown = number(cooldown, "cooldown", owner)
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self._reset()
        if config.strict():
            refuse_schedule(optimizers(self.model, type(self).__name__))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        ready = self._ready(logs)
        log_rates(optimizers(self.model, type(self).__name__), logs)
        current = logs.get(self.monitor)
        if current is None:
            phrase = f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available."
            self._missing(phrase, logs)
        elif ready:
            self._judge(current, epoch)

    def _judge(self, current: Any, epoch: int) -> None:
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch: int) -> bool:
        """Lower every learning rate that is above the bound; return whether there was one."""
        reduced = False
        for name, optimizer in optimizers(self.model, type(self).__name__):
            old = learning_rate(optimizer)
            if old > np.float32(self.min_lr):
                new = max(old * self.factor, self.min_lr)
                optimizer.learning_rate = new
                reduced = True
                if self.verbose > 0:
                    whose = f" {name}" if name else ""
                    say(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing{whose} learning rate to {new:.6g}.")
        return reduced

    def _reset(self) -> None:
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def in_cooldown(self) -> bool:
        """Return whether a reduction is so recent that nothing is counted."""
        return self.cooldown_counter > 0


@registry.export("callbacks")
class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    Args:
        schedule: Function of the epoch, from 0, and the present rate, or of the epoch alone; gives the new rate.
        verbose: 1 prints each rate.

    Raises:
        InvalidArgumentError: If `schedule` cannot take these, or gives no number.
        TypeError: When training begins, if the optimizer's rate is a schedule itself.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose
        self._arguments = _arguments_taken(schedule)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if config.strict():
            refuse_schedule(optimizers(self.model, type(self).__name__))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for name, optimizer in optimizers(self.model, type(self).__name__):
            rate = self._rate(epoch, learning_rate(optimizer))
            optimizer.learning_rate = rate
            if self.verbose > 0:
                whose = f" {name}" if name else ""
                say(f"Epoch {epoch + 1}: LearningRateScheduler setting{whose} learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        log_rates(optimizers(self.model, type(self).__name__), {} if logs is None else logs)

    def _rate(self, epoch: int, old: float) -> float:
        rate: Any = self.schedule(*(epoch, old)[: self._arguments])
        scalar = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
        if not scalar and getattr(rate, "shape", None) != ():
            problem = "is None" if rate is None else f"has type {type(rate).__name__}"
        elif not math.isfinite(value := float(rate)) or value < 0:
            problem = "would ruin the weights"
        else:
            return value
        raise invalid(
            "The output of the `schedule` function should be a float of at least 0.",
            owner=type(self).__name__,
            received=f"{rate!r} in epoch {epoch}, which {problem}",
            fix="return the new learning rate from `schedule`.",
        )


def _arguments_taken(schedule: Any) -> int:
    """Return 2 if a schedule takes the epoch and the rate, 1 if only the epoch."""
    if not callable(schedule):
        raise invalid(
            "`schedule` must be a function of the epoch and the learning rate.",
            owner="LearningRateScheduler",
            received=f"schedule={schedule!r}",
            fix="pass a function such as `lambda epoch, rate: rate * 0.95`.",
        )
    try:
        signature = inspect.signature(schedule)
    except (TypeError, ValueError):
        return 2  # compiled code does not say what it takes
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    raise invalid(
        "`schedule` must take the epoch and the learning rate, or the epoch alone.",
        owner="LearningRateScheduler",
        received=f"schedule{signature}",
    )
