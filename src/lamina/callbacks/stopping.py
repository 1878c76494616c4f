"""Callbacks that end a training: EarlyStopping, TerminateOnNaN."""

import math
import time
from collections.abc import Callable
from typing import Any

from lamina import registry
from lamina.callbacks.base import Callback, Logs, unawaited
from lamina.callbacks.console import say
from lamina.callbacks.monitor import MonitorCallback, number


@registry.export("callbacks")
class EarlyStopping(MonitorCallback):
    """Stops training when a loss or metric has not improved for some epochs.

    Args:
        monitor: Name of the value to watch.
        min_delta: Least change that counts as an improvement.
        patience: Epochs without an improvement after which training stops.
        verbose: 1 prints when it acts.
        mode: "min", "max", or "auto", which asks the metric of that name.
        baseline: Value to beat: without that, an improvement does not reset the patience.
        restore_best_weights: Whether the model gets the weights of its best epoch when training ends, whatever
            ended it except an error. After an error they are in `best_weights`.
        start_from_epoch: Epochs to let pass before the first is judged.

    Raises:
        InvalidArgumentError: For a number that is none; and at the end of the first epoch, if `mode` is "auto" and
            the metric does not say which way is better.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        owner = type(self).__name__
        self.patience = number(patience, "patience", owner)
        self.verbose = verbose
        self.baseline = baseline if baseline is None else number(baseline, "baseline", owner, least=None)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = number(start_from_epoch, "start_from_epoch", owner)
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_weights = None
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        ready = self._ready(logs or {})
        current = self.get_monitor_value(logs)
        if not ready or current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs: Logs | None) -> Any:
        """Return the monitored value, or None after a warning that names those that there are."""
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            self._missing(f"Early stopping conditioned on metric `{self.monitor}` which is not available.", logs)
        return value


@registry.export("callbacks")
class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite.

    The loss since the epoch began is looked at about ten times a second and at the end of each epoch, so that many
    batches can still run at a time. The weights are then what they are: `EarlyStopping(restore_best_weights=True)`
    keeps good ones.

    Args:
        raise_error: Whether to raise at once, so that no callback's `on_train_end` runs.

    Raises:
        RuntimeError: In training, if `raise_error` is true.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error
        self._batch = 0
        self._look = 0.0
        self._stopped = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batch, self._look, self._stopped = 0, 0.0, False

    @unawaited  # _on_block_end sees the same, without making the loop stop at each batch
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batch = batch
        self._check(logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._check(logs or {})

    def _on_block_end(self, step: int, logs: Callable[[], Logs]) -> None:
        self._batch = step - 1
        now = time.perf_counter()
        if now >= self._look and not self._stopped:
            self._check(logs())
            self._look = time.perf_counter() + 0.1

    def _check(self, logs: Logs) -> None:
        loss = logs.get("loss")
        if loss is None or math.isfinite(loss) or self._stopped:
            return
        self._stopped = True
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {self._batch}. Loss value: {loss}. "
                "Terminating training immediately.\n"
                "To fix it: lower the learning rate, scale the inputs, or pass `clipnorm` to the optimizer."
            )
        say(f"Batch {self._batch}: Invalid loss, terminating training")
        self.model.stop_training = True
