"""BackupAndRestore: a training that goes on after a crash."""

import json
import os
import shutil
from contextlib import suppress
from typing import Any

from lamina import registry
from lamina.callbacks.base import Callback, Logs, unawaited
from lamina.callbacks.checkpoint import batches_since, is_count
from lamina.errors import FileFormatError, invalid
from lamina.files import atomic
from lamina.saving import snapshots


@registry.export("callbacks")
class BackupAndRestore(Callback):
    """Backs training up, so that the same script, started again after a crash, goes on where it was.

    When `fit` begins, a backup that is there is put back: weights, the states of optimizer and metrics, the streams of
    random numbers, what the other callbacks remember. Training goes on from its epoch. When `fit` ends, the backup
    goes. A new backup is written while training goes on, and takes the place of the old one only once it is whole.

    A number as `save_freq` saves inside an epoch, which is then done again from its start, as in Keras.
    `fit(..., resume=folder)` goes on inside an epoch, to the same bits as an unbroken run.

    Args:
        backup_dir: Folder for the backup of this one training.
        save_freq: "epoch", or a number of batches; training then goes batch by batch.
        double_checkpoint: Whether to keep the backup before the last one too, in case that one cannot be read.
        delete_checkpoint: Whether the backup goes when training ends.

    Raises:
        InvalidArgumentError: For an empty `backup_dir` or a `save_freq` that is neither; when training begins, for a
            backup of another model.
        FileFormatError: When training begins, if the backup is damaged and there is none before it.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not backup_dir:
            raise invalid("Empty `backup_dir` argument passed.", owner="BackupAndRestore", received=repr(backup_dir))
        if save_freq != "epoch" and not is_count(save_freq):
            raise invalid(
                "Invalid value for argument `save_freq`. Expected either 'epoch' or an integer value.",
                owner="BackupAndRestore",
                received=f"save_freq={save_freq!r}",
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._writer = snapshots.Writer()
        self._batches_seen_since_last_saving = 0
        self._last_batch_seen = 0
        self._current_epoch = 0
        self._weights_path = os.path.join(self.backup_dir, "latest.safetensors")
        self._training_metadata_path = os.path.join(self.backup_dir, "training_metadata.json")
        self._prev_weights_path = f"{self._weights_path}.bkp"
        self._prev_training_metadata_path = f"{self._training_metadata_path}.bkp"

    @property
    def needs_batches(self) -> bool:
        """Whether it saves after a number of batches."""
        return self.save_freq != "epoch" or super().needs_batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        keeping = self.model.keeping
        if keeping is None:
            raise invalid("BackupAndRestore works inside `fit` alone.", fix="pass it as `callbacks` to `model.fit`.")
        self.model._initial_epoch = None
        self._writer.wait()
        fix = f"remove the folder {self.backup_dir!r} to begin anew."
        try:
            found = snapshots.read(self._weights_path, kind="backup of a training", fix=fix)
        except FileNotFoundError:
            return
        except FileFormatError:
            if not os.path.exists(self._prev_weights_path):
                raise
            found = snapshots.read(self._prev_weights_path, kind="backup of a training", fix=fix)
        self.model._initial_epoch = keeping.adopt(found).epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._current_epoch = epoch + 1
        self._last_batch_seen = 0
        if self.save_freq == "epoch":
            self._save_model()

    @unawaited  # needs_batches says when it is waited for
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches_seen_since_last_saving += batches_since(batch, self._last_batch_seen)
        self._last_batch_seen = batch
        if self._batches_seen_since_last_saving >= int(self.save_freq):
            self._batches_seen_since_last_saving = 0
            self._save_model()

    def _save_model(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        self._writer.wait()
        arrays, values = self.model.keeping.epoch_from(self._current_epoch)
        said = {"epoch": self._current_epoch, "batch": self._last_batch_seen}  # for people: the other file says it too

        def put() -> None:
            if self.double_checkpoint:
                _keep_as(self._weights_path, self._prev_weights_path)
                _keep_as(self._training_metadata_path, self._prev_training_metadata_path)
            snapshots.write(self._weights_path, arrays, values)
            atomic.write(self._training_metadata_path, [json.dumps(said).encode()])

        self._writer.begin(put)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.model._initial_epoch = None
        self._writer.wait()
        if not self.delete_checkpoint or not os.path.isdir(self.backup_dir):
            return
        for path in (self._weights_path, self._training_metadata_path):
            for one in (path, f"{path}.bkp"):
                if os.path.exists(one):
                    os.remove(one)
        if not os.listdir(self.backup_dir):  # what else lies there is not ours to delete
            os.rmdir(self.backup_dir)

    def get_state(self) -> dict[str, Any]:
        """Return nothing: what it counts begins anew with the epoch."""
        return {}


def _keep_as(path: str, other: str) -> None:
    """Give the file at `path` a second name, in place of what has that name."""
    if not os.path.exists(path):
        return
    with suppress(FileNotFoundError):
        os.unlink(other)
    try:
        os.link(path, other)
    except OSError:  # not every disk can
        shutil.copyfile(path, other)
