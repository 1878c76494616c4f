"""The line that shows how far many networks are."""

import time
from types import TracebackType
from typing import Any

from lamina.many.fitting import Fitting


class Line:
    """A line that lives while networks train, and a sentence before it: how many programs, and why.

    Args:
        fitting: The networks.
        verbose: 0: nothing; else: shown.
        networks: How many of them are to train.
        epochs: Epochs of all of them. Default: as many as they may train.
    """

    def __init__(self, fitting: Fitting, verbose: int, epochs: int | None = None, text: str = "") -> None:
        self.fitting, self.verbose, self.text = fitting, verbose, text
        self.total = sum(network.epochs for network in fitting.networks) if epochs is None else epochs
        self._bar: Any = None
        self._task: Any = None
        self._steps = 0

    def __enter__(self) -> "Line":
        if not self.verbose:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console()
        if not self.text:
            console.print(sentence(self.fitting), highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f} epochs"),
            TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._task = self._bar.add_task(self.text or "training", total=self.total, speed="")
        self._bar.start()
        self._begin = time.perf_counter()
        return self

    def told(self, epochs: int, steps: int) -> None:
        """Show that so many epochs, of so many steps in sum, are done."""
        if self._bar is not None:
            self._steps += steps
            speed = self._steps / max(1e-9, time.perf_counter() - self._begin)
            self._bar.update(self._task, advance=epochs, speed=f"{speed:,.0f} steps/s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def sentence(fitting: Fitting) -> str:
    """Return how many networks there are, in how many programs, and why in more than one."""
    count, programs = len(fitting.networks), len(fitting.groups)
    text = f"{count} network{'s' if count != 1 else ''} in {programs} program{'s' if programs != 1 else ''}"
    why = fitting.why()
    if programs > 1:
        text += f", which differ in {', '.join(map(repr, why))}" if why else ""
    return text
