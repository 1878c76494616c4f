"""The bars that show how far the networks of a fit are."""

import threading
from types import TracebackType
from typing import Any, Self


class Bars:
    """A bar for each network that trains, alive while a `with` block lasts.

    Args:
        verbose: 0: nothing is shown.
        console: Where. Default: the terminal.
    """

    def __init__(self, verbose: int, console: Any = None) -> None:
        self.verbose, self.console = verbose, console
        self._progress: Any = None
        self._tasks: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.verbose:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("epoch {task.completed:.0f} of {task.total:.0f}"),
                TextColumn("[cyan]{task.fields[best]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            self._progress.start()
        return self

    def told(self, member: int, epoch: int, epochs: int, metric: float) -> None:
        """Show that a network has done so many epochs; `metric` is what the rows held back say, less is better."""
        with self._lock:
            if member not in self._tasks:
                self._tasks[member] = self._progress.add_task(f"network {member + 1}", total=epochs, best="")
            task = self._progress.tasks[self._tasks[member]]
            best = min(metric, task.fields.get("value", metric))
            text = f"best {best:.4g}" if metric == metric and metric > -epoch else ""
            self._progress.update(task.id, completed=epoch, total=epochs, best=text, value=best)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            for task in self._progress.tasks:  # a network that ended early is done too
                self._progress.update(task.id, total=task.completed)
            self._progress.stop()
