"""Paths of model files: what may be passed, and what to say if something else is there."""

import os
from typing import Any

from lamina.errors import FileFormatError, InvalidTypeError, invalid, message

LEGACY = (".h5", ".hdf5")


class MissingFileError(FileFormatError, FileNotFoundError):
    """There is no file at the path. Keras raises a `ValueError`, Python a `FileNotFoundError`: this is both."""


def as_path(filepath: Any) -> str:
    """Return a path as a string.

    Raises:
        InvalidTypeError: If it is no path.
        InvalidArgumentError: If it leads to another machine, or is empty.
    """
    try:
        path = os.fspath(filepath)
    except TypeError:
        raise InvalidTypeError(message("`filepath` must be a path.", received=repr(filepath)[:80])) from None
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if "://" in path:
        raise invalid(
            "Files on other machines are not read or written.",
            received=f"filepath={path}",
            fix="copy the file to or from this machine.",
        )
    if not path or "\0" in path:
        raise invalid("`filepath` must name a file.", received=f"filepath={path!r}")
    return str(path)


def signature(path: str) -> bytes:
    """Return the first bytes of a file, to tell what it is."""
    with open(path, "rb") as file:
        return file.read(16)


def is_hdf5(path: str) -> bool:
    """Return whether a file begins as an HDF5 file does."""
    return os.path.isfile(path) and signature(path).startswith(b"\x89HDF\r\n\x1a\n")


def source_of(path: str) -> str:
    """Return what to call a file in an error."""
    return f"File {path!r}"


def not_what_it_says(path: str, wanted: str) -> FileFormatError:
    """Return the error for a file that is something else than its name says."""
    size = os.path.getsize(path)
    head = signature(path)
    if size == 0:
        found, fix = "an empty file", "save the model again: the writing was cut short."
    elif is_hdf5(path):
        found, fix = (
            "an HDF5 file",
            "name it `.weights.h5` if it holds weights, `.h5` if it is a model of Keras 2.",
        )
    elif head.startswith(b"PK"):
        found, fix = "a zip archive", "give it the ending `.keras` if it holds a model."
    elif all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        found, fix = f"a text that begins {head.decode('ascii')!r}", "see that the download was not an error page."
    else:
        found, fix = f"something that begins {head[:8]!r}", "see that the file was copied whole."
    return FileFormatError(message(f"It is not {wanted} but {found}.", owner=source_of(path), fix=fix))
