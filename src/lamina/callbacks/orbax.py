"""Checkpoints in Orbax's format, for those who read them with other programs on JAX."""

import os
import warnings
from typing import Any

from lamina import registry
from lamina.callbacks.base import Logs, unawaited
from lamina.callbacks.checkpoint import batches_since, is_count
from lamina.callbacks.monitor import MonitorCallback
from lamina.errors import invalid, message


@registry.export("callbacks")
class OrbaxCheckpoint(MonitorCallback):
    """Saves the state of a model with Orbax, after every epoch or every so many batches, beside training.

    A checkpoint holds what `model.get_state_tree()` gives and, unless `save_weights_only`, the model's config. To take
    one up: `tree = orbax.checkpoint.v1.load_checkpointables(folder)["pytree"]`, then `model.set_state_tree(tree)`.

    Needs the package `orbax-checkpoint`. `BackupAndRestore` and `fit(resume=folder)` need none, and go on to the same
    bits as an unbroken training.

    Args:
        directory: Folder for the checkpoints, one folder a step: the epoch from 0, or the number of batches.
        monitor: Name of the value that says which model is best.
        verbose: Kept for Keras scripts.
        save_best_only: Whether to save only when `monitor` has improved.
        mode: "min", "max", or "auto", which asks the metric of that name.
        save_freq: "epoch", or a number of batches; training then goes batch by batch.
        initial_value_threshold: Value that the first model must beat to be saved.
        max_to_keep: How many checkpoints stay; None for all.
        save_on_background: Whether training goes on while one is written.
        save_weights_only: Whether to leave out the states of optimizer and metrics, and the config.

    Raises:
        ImportError: If Orbax is not installed.
        InvalidArgumentError: For a `save_freq` or `max_to_keep` that cannot be.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        if save_freq != "epoch" and not is_count(save_freq):
            raise invalid(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values.",
                owner="OrbaxCheckpoint",
                fix="pass 'epoch', or the number of batches after which to save.",
            )
        if max_to_keep is not None and not is_count(max_to_keep):
            raise invalid(
                "`max_to_keep` must be a positive integer or None.",
                owner="OrbaxCheckpoint",
                received=f"max_to_keep={max_to_keep!r}",
            )
        self.directory = os.path.abspath(os.fspath(directory))
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        self.max_to_keep = max_to_keep
        self.save_on_background = save_on_background
        self.save_weights_only = save_weights_only
        self._seen = self._since = 0
        self._last: int | None = None
        self._orbax = _orbax()
        self._checkpointer: Any = None

    @property
    def needs_batches(self) -> bool:
        """Whether it saves after a number of batches."""
        return self.save_freq != "epoch" or super().needs_batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        policies = self._orbax.training
        keep = None if self.max_to_keep is None else policies.preservation_policies.LatestN(self.max_to_keep)
        self._checkpointer = policies.Checkpointer(
            self.directory,
            preservation_policy=keep,
            save_decision_policy=policies.save_decision_policies.FixedIntervalPolicy(1),
        )
        optimizer = getattr(self.model, "optimizer", None)
        self._seen = 0 if optimizer is None else int(optimizer.iterations)
        self._since, self._last = 0, None

    @unawaited  # needs_batches says when it is waited for
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        passed = batches_since(batch, self._last)
        self._last, self._seen, self._since = batch, self._seen + passed, self._since + passed
        if isinstance(self.save_freq, int) and self._since >= self.save_freq:
            self._since = 0
            self._save(self._seen, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._checkpointer.close()  # waits for what is being written

    def wait_until_finished(self) -> None:
        """Wait until all that was saved is on the disk."""
        if self._checkpointer is not None:
            self._checkpointer.wait()

    def _save(self, step: int, logs: Logs) -> None:
        if self.save_best_only and not self._is_best(logs):
            return
        tree = self.model.get_state_tree(value_format="numpy_array")
        if self.save_weights_only:
            tree = {group: tree[group] for group in ("trainable_variables", "non_trainable_variables")}
        parts: dict[str, Any] = {"pytree": tree}
        if not self.save_weights_only:
            parts["model_config"] = {"config": self.model.to_json()}
        save = self._checkpointer.save_checkpointables_async if self.save_on_background else None
        (save or self._checkpointer.save_checkpointables)(step, parts)

    def _is_best(self, logs: Logs) -> bool:
        current = logs.get(self.monitor)
        if current is None or not self._ready(logs):
            warnings.warn(
                f"Can save best model only with {self.monitor} available: nothing was saved. The logs have "
                f"{', '.join(logs) or 'nothing'}.",
                stacklevel=4,
            )
            return False
        if not self._is_improvement(current, self.best):
            return False
        self.best = current
        return True


def _orbax() -> Any:
    try:
        from orbax.checkpoint import v1 as orbax
    except ImportError as error:
        raise ImportError(
            message(
                "OrbaxCheckpoint requires the 'orbax-checkpoint' package.",
                fix="`pip install orbax-checkpoint`; or, without it, pass `resume=folder` to `fit`, or use the "
                "callback `BackupAndRestore` or `ModelCheckpoint`.",
            )
        ) from error
    return orbax
