"""ModelCheckpoint: a model in a file, now and then."""

import os
import string
import warnings
from typing import Any

import numpy as np

from lamina import config, registry
from lamina.callbacks.base import Logs, unawaited
from lamina.callbacks.console import say
from lamina.callbacks.monitor import MonitorCallback, number
from lamina.errors import did_you_mean, invalid, message


@registry.export("callbacks")
class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after every epoch or every so many batches.

    Args:
        filepath: File that ends in `.keras`, or in `.weights.h5` for weights alone. It may hold `{epoch:02d}`,
            counted from 1, and any name of the logs, as in `{epoch:02d}-{val_loss:.2f}.keras`; with a number as
            `save_freq` also `{batch}`. Its folder is made if need be.
        monitor: Name of the value that says which model is best.
        verbose: 1 prints when it saves.
        save_best_only: Whether to save only when `monitor` has improved.
        save_weights_only: Whether to save the weights alone.
        mode: "min", "max", or "auto", which asks the metric of that name.
        save_freq: "epoch", or a number of batches; training then goes batch by batch.
        initial_value_threshold: Value that the first model must beat to be saved.

    Raises:
        InvalidArgumentError: For a file name or `save_freq` that cannot work.
        IsADirectoryError: When training begins, if `filepath` is a folder.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        owner = type(self).__name__
        if initial_value_threshold is not None:
            number(initial_value_threshold, "initial_value_threshold", owner, least=None)
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._batches_seen_since_last_saving = 0
        self._last_batch_seen: int | None = None
        self._current_epoch = 0
        self._fields = _fields(self.filepath)
        self._told: set[str] = set()
        _check_frequency(save_freq, self._fields)
        _check_ending(self.filepath, save_weights_only)

    @property
    def needs_batches(self) -> bool:
        """Whether it saves after a number of batches."""
        return self.save_freq != "epoch" or super().needs_batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self._told = set()
        if not self._fields and os.path.isdir(self.filepath):
            raise _folder(self.filepath)
        folder = os.path.dirname(os.path.abspath(self.filepath))
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if "{" not in folder and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise PermissionError(
                message(
                    "No file can be written into this folder.",
                    owner=type(self).__name__,
                    received=f"filepath={self.filepath!r}, folder {folder!r}",
                    fix="pass a `filepath` in a folder that may be written to.",
                )
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._current_epoch = epoch

    @unawaited  # needs_batches says when it is waited for
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._should_save_on_batch(batch):
            self._save_model(self._current_epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_best_only or not config.strict():
            self._ready(logs or {})
        if self.save_freq == "epoch":
            self._save_model(epoch, None, logs)

    def _should_save_on_batch(self, batch: int) -> bool:
        if self.save_freq == "epoch":
            return False
        self._batches_seen_since_last_saving += batches_since(batch, self._last_batch_seen)
        self._last_batch_seen = batch
        if self._batches_seen_since_last_saving >= self.save_freq:  # type: ignore[operator] # a number by now
            self._batches_seen_since_last_saving = 0
            return True
        return False

    def _should_save_model(self, epoch: int, logs: Logs, filepath: str) -> bool:
        if not self.save_best_only:
            self._say(epoch, f"saving model to {filepath}")
            return True
        current = logs.get(self.monitor)
        if current is None or not self._ready(logs):
            self._missing(f"Can save best model only with {self.monitor} available. It saves every time.", logs)
            return True
        if np.ndim(current) > 0:
            warnings.warn(
                f"Can save best model only when `monitor` is a scalar value. Received: {current}. "
                "Falling back to `save_best_only=False`.",
                stacklevel=4,
            )
            return True
        before = "None" if self.best is None else f"{self.best:.5f}"
        if self._is_improvement(current, self.best):
            self._say(epoch, f"{self.monitor} improved from {before} to {current:.5f}, saving model to {filepath}")
            self.best = current
            return True
        self._say(epoch, f"{self.monitor} did not improve from {before}")
        return False

    def _save_model(self, epoch: int, batch: int | None, logs: Logs | None) -> None:
        logs = logs or {}
        filepath = self._get_file_path(epoch, batch, logs)
        if not self._should_save_model(epoch, logs, filepath):
            return
        folder = os.path.dirname(filepath)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if os.path.isdir(filepath):
            raise _folder(filepath)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(filepath, overwrite=True)
        self._say(epoch, f"finished saving model to {filepath}")

    def _get_file_path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        """Return the file's name with its places filled in."""
        values: dict[str, Any] = {"epoch": epoch + 1, **logs}
        if batch is not None:
            values.setdefault("batch", batch + 1)
        missing = [name for name in self._fields if name not in values]
        if missing and not config.strict():
            raise KeyError(
                f'Failed to format this callback filepath: "{self.filepath}". Reason: {missing[0]!r} is not known.'
            )
        for name in missing:
            if name not in self._told:
                self._told.add(name)
                warnings.warn(
                    f"{type(self).__name__}: the logs have no {name!r} for filepath={self.filepath!r}; the file's name "
                    f"gets 'NA' in its place. {did_you_mean(name, values)}",
                    stacklevel=4,
                )
        return self.filepath.format(**values, **dict.fromkeys(missing, _Absent()))

    def _say(self, epoch: int, text: str) -> None:
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: {text}")


def batches_since(batch: int, last: int | None) -> int:
    """Return how many batches have passed since the last one that was seen, in this epoch or one before."""
    return batch + 1 if last is None or batch <= last else batch - last


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class _Absent:
    """Stands for a value that is not there, in any format."""

    def __format__(self, spec: str) -> str:
        return "NA"


def _fields(filepath: str) -> list[str]:
    """Return the names that stand in braces in a file's name.

    Raises:
        InvalidArgumentError: If the braces do not fit together, or hold no name.
    """
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(filepath) if name is not None]
    except ValueError as error:
        names, problem = [""], f" ({error})"
    else:
        problem = ""
    if not all(name.isidentifier() for name in names):
        raise invalid(
            "What stands in braces in `filepath` must be a name and perhaps a format.",
            owner="ModelCheckpoint",
            received=f"filepath={filepath!r}{problem}",
            fix="write it as in '{epoch:02d}-{val_loss:.2f}.keras'; double a brace that is meant as such.",
        )
    return list(dict.fromkeys(names))


def _check_frequency(save_freq: Any, fields: list[str]) -> None:
    if save_freq != "epoch" and not is_count(save_freq):
        raise invalid(
            f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values.",
            owner="ModelCheckpoint",
            received=f"save_freq={save_freq!r}",
            fix="pass 'epoch', or the number of batches after which to save.",
        )
    if save_freq == "epoch" and "batch" in fields:
        raise invalid(
            "`filepath` asks for {batch}, which there is none of at the end of an epoch.",
            owner="ModelCheckpoint",
            fix="pass a number of batches as `save_freq`, or leave {batch} out of `filepath`.",
        )


def _check_ending(filepath: str, save_weights_only: bool) -> None:
    if save_weights_only and not filepath.endswith(".weights.h5"):
        raise invalid(
            "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in "
            "`.weights.h5`.",
            received=f"filepath={filepath}",
            fix=f"pass {os.path.splitext(filepath)[0] + '.weights.h5'!r}.",
        )
    if not save_weights_only and not filepath.endswith((".keras", ".h5")):
        raise invalid(
            "The filepath provided must end in `.keras` (Keras model format).",
            owner="ModelCheckpoint",
            received=f"filepath={filepath}",
            fix=f"pass {os.path.splitext(filepath)[0] + '.keras'!r}.",
        )
    if not save_weights_only and filepath.endswith(".weights.h5") and config.strict():
        raise invalid(
            "A file that ends in `.weights.h5` holds weights alone.",
            owner="ModelCheckpoint",
            received=f"filepath={filepath}, save_weights_only=False",
            fix="pass `save_weights_only=True`, or a name that ends in `.keras`.",
        )


def _folder(filepath: str) -> IsADirectoryError:
    return IsADirectoryError(
        message(
            "Please specify a non-directory filepath for ModelCheckpoint.",
            received=f"filepath={filepath!r}, which is an existing directory",
        )
    )
