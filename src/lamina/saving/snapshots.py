"""Arrays and plain values in one safetensors file, with a checksum of all: trainings, models of tables."""

import json
from typing import NamedTuple

from lamina._types import Config, Numpy
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
