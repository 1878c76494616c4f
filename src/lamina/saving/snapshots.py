"""Arrays and plain values in one safetensors file, with a checksum of all: trainings, models of tables."""

import json
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from lamina._types import Config, Numpy
from lamina.background import Background
from lamina.errors import FileFormatError, message
from lamina.files import atomic, tensors

_VERSION = 1
_KEY = "lamina"  # of the plain values among what the file says beside its arrays


class Snapshot(NamedTuple):
    """What a file holds.

    Attributes:
        path: The file.
        arrays: Arrays by name.
        values: Plain values, as JSON has them.
    """

    path: str
    arrays: dict[str, Numpy]
    values: Config


def write(path: str, arrays: dict[str, Numpy], values: Config) -> None:
    """Write a snapshot in one step: whatever happens, the file at `path` is the old one or the new one, whole.

    Raises:
        OSError: If it cannot be written; the old file is unchanged.
    """
    atomic.write(path, tensors.image(arrays, {_KEY: json.dumps({"version": _VERSION, "values": values})}))


def read(path: str, *, kind: str, fix: str) -> Snapshot:
    """Return what a snapshot holds.

    Args:
        path: The file.
        kind: What it should be, in words.
        fix: What to do if it cannot be read.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: If it is damaged, cut short or no snapshot.
    """
    try:
        arrays, metadata = tensors.read(path, path)
        said = json.loads(metadata[_KEY])
        if tensors.DIGEST not in metadata or said["version"] != _VERSION:
            raise ValueError("it has no checksum, or is of another version")
        return Snapshot(path, arrays, said["values"])
    except (FileFormatError, ValueError, TypeError, KeyError, RecursionError) as error:
        why = str(error).partition("\n")[0].removeprefix(f"{path}: ")
        raise FileFormatError(message(f"The file is damaged, or no {kind}: {why}", owner=path, fix=fix)) from None


class Writer:
    """Writes in a thread while training goes on: one file at a time, and the next only after the last."""

    def __init__(self) -> None:
        self._job: Background | None = None
        _writers.add(self)

    def begin(self, job: Callable[[], None]) -> None:
        """Start a job that writes.

        Raises:
            OSError: If the one before could not write; this one is not started.
        """
        self.wait()
        self._job = Background(job, name="lamina-snapshot")

    def wait(self) -> None:
        """Wait for what is being written.

        Raises:
            OSError: If it could not be written.
        """
        if self._job is None:
            return
        self._job.wait()
        failure, self._job = self._job.failure, None
        if failure is not None:
            raise failure


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def settle() -> None:
    """Wait for all that is being written, where a training ends with an error that says more than theirs."""
    for writer in list(_writers):
        with suppress(Exception):
            writer.wait()
