"""What happens in training, for TensorBoard."""

import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lamina import registry
from lamina.callbacks.base import Callback, Logs, unawaited
from lamina.callbacks.event_files import EventFile
from lamina.errors import invalid


@registry.export("callbacks")
class TensorBoard(Callback):
    """Writes results, weights and the graph of layers into event files that TensorBoard shows.

    Neither TensorFlow nor TensorBoard is needed to write them. `tensorboard --logdir logs` shows them. Training goes to
    the folder `train` in `log_dir`, validation to `validation`.

    Args:
        log_dir: The folder.
        histogram_freq: After how many epochs the spread of the weights is written; 0 for never.
        write_graph: Whether the graph of layers is written.
        write_images: Kept for Keras scripts; weights as images are not written.
        write_steps_per_second: Whether the steps in a second are written after each epoch.
        update_freq: 'epoch', 'batch', or after how many batches results are written within an epoch. Anything but
            'epoch' runs the batches one by one.
        profile_batch: Kept for Keras scripts; use `jax.profiler.trace` around `fit`.
        embeddings_freq: Kept for Keras scripts; nothing but 0 is taken.
        embeddings_metadata: Kept for Keras scripts.

    Raises:
        InvalidArgumentError: For another `update_freq`, or what is not written here.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        frequency = 1 if update_freq == "batch" else update_freq
        if frequency != "epoch" and (not isinstance(frequency, int) or isinstance(frequency, bool) or frequency <= 0):
            raise invalid(
                "`update_freq` must be 'epoch', 'batch' or a positive integer.",
                owner="TensorBoard",
                received=f"update_freq={update_freq!r}",
            )
        for name, value, instead in (
            ("profile_batch", profile_batch, "use `with jax.profiler.trace(folder):` around `fit`."),
            ("embeddings_freq", embeddings_freq, "save the table with `ModelCheckpoint`."),
            ("write_images", write_images, "use `histogram_freq`, or `lamina.models.plot` for pictures of a network."),
        ):
            if value:
                raise invalid(f"`{name}` is not supported.", owner="TensorBoard", received=repr(value), fix=instead)
        self.log_dir = str(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = frequency
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self._train_dir, self._val_dir = (str(Path(self.log_dir) / part) for part in ("train", "validation"))
        self._train, self._validation = EventFile(self._train_dir), EventFile(self._val_dir)
        self._batches = {"train": 0, "test": 0}
        self._started = (0, 0.0)
        if self.update_freq == "epoch":  # then no batch hook is a reason to run batches one by one
            self.on_train_batch_end = unawaited(lambda batch, logs=None: None)  # type: ignore[method-assign]
            self.on_test_batch_end = unawaited(lambda batch, logs=None: None)  # type: ignore[method-assign]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches["train"] = 0
        if not self.write_graph:
            return
        try:
            config = self.model.to_json()
        except Exception as error:  # a picture is no reason to lose a training
            warnings.warn(f"Model failed to serialize as JSON. Ignoring... {error}", stacklevel=2)
            return
        self._train.keras_model("keras", config, 0)
        self._train.flush()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.write_steps_per_second:
            self._started = int(self.model.optimizer.iterations), time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batch(self._train, "train", logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batch(self._validation, "test", logs)

    def _batch(self, file: EventFile, phase: str, logs: Logs | None) -> None:
        self._batches[phase] += 1
        step = self._batches[phase] - 1
        if isinstance(self.update_freq, int) and step % self.update_freq == 0:
            for name, value in (logs or {}).items():
                file.scalar(f"batch_{name}" if phase == "train" else name, value, step)
            file.flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Write the results of an evaluation under the iteration at which it was made."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None or not hasattr(optimizer, "iterations"):
            return
        for name, value in (logs or {}).items():
            self._validation.scalar(f"evaluation_{name}_vs_iterations", value, int(optimizer.iterations))
        self._validation.flush()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        results = dict(logs or {})
        train = {name: value for name, value in results.items() if not name.startswith("val_")}
        train.update(self._rates())
        if self.write_steps_per_second:
            steps = int(self.model.optimizer.iterations) - self._started[0]
            train["steps_per_second"] = steps / max(time.perf_counter() - self._started[1], 1e-9)
        for name, value in train.items():
            self._train.scalar(f"epoch_{name}", value, epoch)
        for name, value in results.items():
            if name.startswith("val_"):
                self._validation.scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for layer in self.model.layers:
                for weight in layer.weights:
                    self._train.histogram(f"{weight.path.replace(':', '_')}/histogram", np.asarray(weight), epoch)
        self._train.flush()
        self._validation.flush()

    def _rates(self) -> Logs:
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        several = getattr(optimizer, "optimizers", None)
        if several:
            return {f"learning_rate_{one.name}": float(one.learning_rate) for one in several}
        rate = getattr(optimizer, "learning_rate", None)
        return {} if rate is None else {"learning_rate": float(rate)}

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._train.close()
        self._validation.close()
