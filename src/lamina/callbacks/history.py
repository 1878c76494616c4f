"""History: what `fit` returns."""

from typing import Any

from lamina import registry
from lamina.callbacks.base import Callback, Logs, passive


@registry.export("callbacks")
class History(Callback):
    """Keeps the results of every epoch; `fit` returns it.

    Attributes:
        history: Name of a loss or metric to the list of its values, one an epoch.
        epoch: The numbers of the epochs of the last `fit`, from 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    @passive
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
