"""Callbacks that pass on what happens: CSVLogger to a file, LambdaCallback to functions of yours."""

import csv
import io
import os
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from lamina import config, registry
from lamina.callbacks.base import HOOKS, Callback, Logs, passive
from lamina.callbacks.monitor import unknown_argument
from lamina.errors import invalid, nearest
from lamina.files import atomic


@registry.export("callbacks")
class CSVLogger(Callback):
    """Writes the results of each epoch into a CSV file.

    The columns are "epoch" and the names of the first epoch's logs, with their `val_` twins if it validated nothing;
    what an epoch lacks is "NA". A file that is appended to keeps its columns.

    Args:
        filename: The file. Its folder is made if need be.
        separator: What stands between two columns.
        append: Whether to go on with a file that is there; otherwise it is written anew.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        if len(str(separator)) != 1:
            raise invalid("`separator` must be one character.", owner="CSVLogger", received=f"separator={separator!r}")
        self.sep = separator
        self.filename = os.fspath(filename)
        self.append = append
        self.append_header = True
        self.keys: list[str] | None = None
        self.writer: Any = None
        self.csv_file: TextIO | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        self.keys = None
        place = getattr(getattr(self.model, "keeping", None), "place", None)
        append = self.append or (place is not None and self._cut(place.epoch))
        if append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                header = next(csv.reader(file, delimiter=self.sep), None)
            self.append_header = header is None
            self.keys = header[1:] if header and header[0] == "epoch" else None
        folder = os.path.dirname(self.filename)
        if folder:
            os.makedirs(folder, exist_ok=True)
        self.csv_file = open(self.filename, "a" if append else "w", newline="", encoding="utf-8")  # noqa: SIM115 - until on_train_end

    def _cut(self, epoch: int) -> bool:
        """Where a training goes on, leave the rows of the epochs before it; return whether there are any."""
        try:
            with open(self.filename, newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file, delimiter=self.sep))
        except FileNotFoundError:
            return False
        left = [row for row in rows[1:] if row and row[0].isdecimal() and int(row[0]) < epoch]
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.sep).writerows([*rows[:1], *left])
        atomic.write(self.filename, [text.getvalue().encode()])
        return bool(rows)

    def get_state(self) -> dict[str, Any]:
        """Return nothing: what it knows is in its file."""
        return {}

    @passive
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
        elif self.writer is None and (unknown := [key for key in logs if key not in self.keys]):
            warnings.warn(
                f"CSVLogger: {self.filename!r} has no columns for {', '.join(unknown)}, so these are not written.",
                stacklevel=3,
            )
        if self.csv_file is None:
            return
        if self.writer is None:
            self.writer = csv.writer(self.csv_file, delimiter=self.sep)
            if self.append_header:
                self.writer.writerow(["epoch", *self.keys])
        self.writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _close(self) -> None:
        if self.csv_file is not None and not self.csv_file.closed:
            self.csv_file.close()
        self.writer = None

    def __del__(self) -> None:
        if self.__dict__.get("csv_file") is not None:
            self._close()  # a run that an error cut off has no end


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) != 0:
        return f'"[{", ".join(map(str, value))}]"'
    return value


@registry.export("callbacks")
class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: Called with the epoch and the logs.
        on_epoch_end: Called with the epoch and the logs.
        on_train_begin: Called with the logs.
        on_train_end: Called with the logs.
        on_train_batch_begin: Called with the batch and `logs=`; training then goes batch by batch.
        on_train_batch_end: Called with the batch and `logs=`; training then goes batch by batch.
        **kwargs: Functions for the other hooks of `Callback`, by name, or attributes of your own.

    Raises:
        InvalidArgumentError: If something given for a hook cannot be called.
        TypeError: For a name that begins with `on_`, is no hook and looks like one (not with
            `lamina.config.set_strict(False)`).
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        slips = [name for name in kwargs if name.startswith("on_") and name not in HOOKS and nearest(name, HOOKS)]
        if slips and config.strict():
            raise unknown_argument(slips, list(HOOKS), "LambdaCallback")
        for name, value in given.items():
            if name in HOOKS and value is not None and not callable(value):
                raise invalid(
                    f"`{name}` must be a function.",
                    owner="LambdaCallback",
                    received=f"{name}={value!r}",
                    fix=f"pass `{name}=lambda {'epoch, ' if 'epoch' in name else ''}logs: ...`.",
                )
        self.__dict__.update({name: value for name, value in given.items() if value is not None or name not in HOOKS})
