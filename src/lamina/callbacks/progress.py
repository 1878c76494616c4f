"""Progress of fit, evaluate and predict: a live line in a terminal, one line for each epoch everywhere."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lamina import registry
from lamina.callbacks import console
from lamina.callbacks.base import Callback, Logs, passive, plain
from lamina.callbacks.console import screen
from lamina.errors import invalid

_EVERY = 0.1  # seconds between two looks at a running epoch
_QUIET = 0.5  # a `predict` shorter than this leaves no line unless one was asked for
_BAR = 20


@registry.export("callbacks")
class ProgbarLogger(Callback):
    """Prints progress. `fit`, `evaluate` and `predict` add it unless `verbose` is 0.

    With `verbose` 1 (or "auto") a terminal or notebook shows a live line with a bar, the time left, the speed and
    the results so far; every epoch leaves one line with all its results. A file or pipe, and `verbose` 2, get those
    lines alone. An epoch of a few milliseconds costs one formatted line and no more.

    Attributes:
        verbose: 0, 1 or 2.
        target: Batches in an epoch, None while it is unknown.
        seen: Batches done.
        buffered: Whether lines may wait a moment to be written together; the callback list says so when no other
            code can print in between.
    """

    forgets = True  # nothing here decides how a training goes on

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self.buffered = False
        self._samples: int | None = None
        self._batch_size: int | None = None
        self._asked = False  # by a number rather than "auto"
        self._called_in_fit = False
        self._testing = False
        self._mode: console.Mode = "plain"
        self._label = ""
        self._start = 0.0
        self._starts: dict[int, float] = {}
        self._finished = 0.0
        self._look = 0.0
        self._anchor: tuple[float, int] | None = None
        self._logs: Logs = {}

    def set_params(self, params: Any) -> None:
        super().set_params(params)
        verbose = params.get("verbose", 1)
        if verbose != "auto" and not (isinstance(verbose, int) and verbose >= 0):
            raise invalid("`verbose` must be 'auto', 0, 1 or 2.", received=f"verbose={verbose!r}")
        self._asked = verbose != "auto"
        self.verbose = 1 if verbose == "auto" else min(int(verbose), 2)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")
        self._samples = params.get("samples")
        self._batch_size = params.get("batch_size")

    @property
    def needs_blocks(self) -> bool:
        """Whether a live line is shown."""
        return self.verbose == 1 and console.mode() in ("terminal", "notebook")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._called_in_fit = True
        self._starts, self._finished = {}, 0.0
        self._logs = {}

    @passive
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        first = not self._starts and not self._finished
        self._begin(f"Epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}", first)
        self._starts[epoch] = self._start

    @passive
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        begun = self._starts.pop(epoch, self._start)
        now = time.perf_counter()
        label = f"Epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        # Delivered late, an epoch has begun on the device when the one before it ended.
        self._end(label, now - max(begun, self._finished), logs or {})
        self._finished = now

    def on_train_end(self, logs: Logs | None = None) -> None:
        screen.flush()
        screen.clear()
        self._called_in_fit = False

    @passive
    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._testing = True
        if not self._called_in_fit:
            self._begin("Evaluate", first=True)

    @passive
    def on_test_end(self, logs: Logs | None = None) -> None:
        self._testing = False
        if not self._called_in_fit:
            self._end("Evaluate", time.perf_counter() - self._start, logs or {})
            screen.flush()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin("Predict", first=True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        elapsed = time.perf_counter() - self._start
        if self._asked or elapsed >= _QUIET:
            self._end("Predict", elapsed, {})
        screen.flush()
        screen.clear()

    @passive
    def _on_block_end(self, step: int, logs: Callable[[], Logs]) -> None:
        validating = self._testing and self._called_in_fit
        if not validating:
            self.seen = step
        if not self._live() or time.perf_counter() < self._look:
            return
        if not validating:
            self._logs = plain(logs())
        now = time.perf_counter()
        if self._anchor is None:
            self._anchor = (now, step)  # the first dispatch holds the compilation: no measure of speed
        self._look = now + _EVERY
        self._draw(now, "validating" if validating else "")

    def _live(self) -> bool:
        return self.verbose == 1 and self._mode in ("terminal", "notebook")

    def _begin(self, label: str, first: bool) -> None:
        now = time.perf_counter()
        self._label, self._start, self.seen, self._logs = label, now, 0, {}
        self._anchor = None if first else (now, 0)
        self._look = now + _EVERY
        if first:
            self._mode = console.mode()
            if self._called_in_fit and self._live():
                self._draw(now, "starting")  # the first dispatch waits for the compiler
                self._look = now

    def _speed(self, steps: int, seconds: float) -> str | None:
        if steps <= 0 or seconds <= 0:
            return None
        if self._samples is not None and self.target:
            return console.rate(self._samples * steps / self.target, seconds, "samples/s")
        if self._batch_size is not None:
            return console.rate(self._batch_size * steps, seconds, "samples/s")
        return console.rate(steps, seconds, "steps/s")

    def _draw(self, now: float, state: str) -> None:
        anchor, begun = self._anchor or (now, self.seen)
        steps, seconds = self.seen - begun, now - anchor
        parts = []
        if self.target:
            done, rest = console.bar(self.seen / self.target, _BAR)
            head = f"{self._label} {done}{rest} {self.seen:>{len(str(self.target))}}/{self.target}"
            if steps > 0 and self.seen < self.target and not state:
                parts.append(f"{console.duration(seconds / steps * max(self.target - self.seen, 0))} left")
        else:
            done, rest = "", ""
            head = f"{self._label} {self.seen} steps"
            parts.append(console.duration(now - self._start))
        speed = None if state else self._speed(steps, seconds)
        parts = [head, *([state] if state else []), *parts, *([speed] if speed else []), *console.metrics(self._logs)]
        width, height = console.size(self._mode)
        rows = [row[:width] for row in console.wrap(parts, width, len(self._label) + 1)[:height]]
        visible = len(rows[0])
        rows = [console.alarmed(row) for row in rows]
        rows[0] = rows[0].replace(f"{done}{rest}", console.painted(done, rest), 1) if done or rest else rows[0]
        rows[0] = rows[0].replace(self._label, console.bold(self._label), 1)
        screen.draw(rows, self._mode, visible)

    def _end(self, label: str, elapsed: float, logs: Logs) -> None:
        if self.target is None and self.seen:
            self.target = self.seen
        if not self.verbose:
            return
        speed = self._speed(self.target or 0, elapsed)
        parts = [label, console.duration(elapsed), *([speed] if speed else []), *console.metrics(logs)]
        if self.verbose == 1 and self._mode == "terminal":
            text = "\n".join(console.wrap(parts, console.size("terminal")[0], len(label) + 3))
            text = console.alarmed(text).replace(label, console.bold(label), 1)
        else:
            text = " - ".join(parts)
        screen.line(text, later=self.buffered and elapsed < console.PAUSE)


@registry.export("utils")
class Progbar:
    """A progress bar for loops of your own.

    In a terminal or notebook the bar is redrawn in place; elsewhere each update is a line of its own, and there are
    twenty times fewer of them.

    Args:
        target: Steps in all, None if unknown.
        width: Characters of the bar.
        verbose: 0 prints nothing, 1 a live line, 2 one line at the end.
        interval: Least seconds between two drawings.
        stateful_metrics: Names of values to be shown as they are; all others are averaged over the steps.
        stateless_metrics: Names of values to be averaged; all others are shown as they are. Not both.
        unit_name: What a step is called.

    Raises:
        InvalidArgumentError: If both lists of names are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise invalid(
                "Only one of `stateful_metrics` or `stateless_metrics` can be provided.",
                owner="Progbar",
                received=f"stateful_metrics={stateful_metrics!r}, stateless_metrics={stateless_metrics!r}",
                fix="name the values that are shown as they are, or those that are averaged.",
            )
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self.stateful_metrics = None if stateless_metrics is not None else set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._seen_so_far = 0
        self._values: dict[str, tuple[float, int]] = {}  # sum and weight
        self._start = time.perf_counter()
        self._last_update = 0.0

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Show that `current` steps are done.

        Args:
            current: Steps done.
            values: Pairs of a name and its value in the last step.
            finalize: Whether this is the end. Default: whether `current` has reached the target.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._take(name, float(np.mean(value)), max(current - self._seen_so_far, 1), finalize)
        self._seen_so_far = current
        now = time.perf_counter()
        if self.verbose == 1:
            self._show(current, now, finalize)
        elif self.verbose == 2 and finalize and self.target:
            console.say(" - ".join([f"{current}/{self.target}", *self._parts(current, now, finalize)]))

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Show that `n` more steps are done."""
        self.update(self._seen_so_far + n, values)

    def _take(self, name: str, value: float, steps: int, finalize: bool) -> None:
        if self.stateful_metrics is not None:
            averaged = name not in self.stateful_metrics
        else:
            averaged = name in (self.stateless_metrics or ())
        if averaged and not finalize:
            total, weight = self._values.get(name, (0.0, 0))
            self._values[name] = (total + value * steps, weight + steps)
        else:
            self._values[name] = (value, 1)

    def _parts(self, current: int, now: float, finalize: bool) -> list[str]:
        each = (now - self._start) / max(current, 1)
        if self.target and not finalize:
            spent = f"{console.duration(each * max(self.target - current, 0))} left"
        else:
            spent = console.duration(now - self._start)
        values = {name: total / max(weight, 1) for name, (total, weight) in self._values.items()}
        return [spent, f"{console.duration(each)}/{self.unit_name}", *console.metrics(values)]

    def _show(self, current: int, now: float, finalize: bool) -> None:
        where = console.mode()
        live = where in ("terminal", "notebook")
        if not finalize and now - self._last_update < self.interval * (1 if live else 20):
            return
        self._last_update = now
        if self.target:
            done, rest = console.bar(current / self.target, self.width)
            head = f"{current:>{len(str(self.target))}}/{self.target} {done}{rest}"
        else:
            done, rest, head = "", "", f"{current} {self.unit_name}s"
        rows = [" - ".join([head, *self._parts(current, now, finalize)])]
        if live:
            width, height = console.size(where)
            parts = [head, *self._parts(current, now, finalize)]
            rows = [row[:width] for row in console.wrap(parts, width, 4)[: None if finalize else height]]
        visible = len(rows[0])
        if live and (done or rest):
            rows[0] = rows[0].replace(done + rest, console.painted(done, rest), 1)
        if finalize or not live:
            screen.line("\n".join(rows))
        else:
            screen.draw(rows, where, visible)
