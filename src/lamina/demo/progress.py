"""One bar for a whole training, with the rate and the time left."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from lamina.callbacks import Callback

_WIDE = 100


class Progress(Callback):
    """Shows epoch, loss, accuracy, samples per second and time left; on something else than a terminal, lines.

    It looks in between epochs only, so that it does not cut the training into small pieces. As a context it leaves the
    terminal as it was, whatever happens inside.
    """

    def __init__(self, console: Console, *, rows: int) -> None:
        super().__init__()
        self.console = console
        self.rows = rows
        self.begin = 0.0
        self.first = 0.0
        self.bar: Bar | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.begin = time.perf_counter()
        self.first = 0.0
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(12),
                TextColumn("{task.description}"),
            )
            self.bar = Bar(*columns, console=self.console)
            self.bar.add_task("compiling", total=self.params["epochs"])
            self.bar.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        text = self.line(epoch + 1, time.perf_counter(), logs or {})
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], advance=1, description=text)
        else:
            self.console.print(f"epoch {epoch + 1}/{self.params['epochs']}  {text}", highlight=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def line(self, done: int, now: float, logs: dict[str, Any]) -> str:
        """Return the numbers after `done` epochs at the time `now`. The first epoch compiles, so it sets no rate."""
        parts = [f"loss {logs['loss']:.3f}", f"accuracy {logs['accuracy']:.1%}"]
        if self.console.width >= _WIDE:
            parts.append(f"validation {logs['val_accuracy']:.1%}")
        if done == 1:
            self.first = now
        else:
            epoch = (now - self.first) / (done - 1)
            parts.append(f"{self.rows / epoch:,.0f} samples/s")
            parts.append(f"{epoch * (self.params['epochs'] - done):.0f} s left")
        return "  ".join(parts)
