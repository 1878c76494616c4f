"""Handwritten digits: a sample of MNIST that ships with the package, and the whole of it from a file or the network."""

import hashlib
import importlib.resources
import os
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from lamina import config
from lamina.errors import FileFormatError, describe, invalid, message
from lamina.files.download import Source, fetch

Digits: TypeAlias = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

# The copy that Keras's loader uses; length and hash are those of that file.
SOURCE = Source(
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    size=11_490_434,
)
# Of the pixels and labels themselves, so that a copy of MNIST that was packed in another way counts as MNIST.
CONTENT = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
_NAMES = ("x_train", "y_train", "x_test", "y_test")
_FILE = "mnist.npz"


def load_data(path: str | os.PathLike[str] | None = None) -> tuple[Digits, Digits]:
    """Return `(x_train, y_train), (x_test, y_test)`, digits as grey pixels and their labels.

    Shapes:
        x: (rows, 28, 28), uint8, 0 (paper) to 255 (ink). y: (rows,), uint8, 0 to 9.

    Args:
        path: Which digits.
            - None (default): the sample; or `mnist.npz` of the folder that the environment variable `LAMINA_DATA`
              names, if it is there.
            - "sample": 10,000 + 2,000 digits, the same number of each kind, which ship with the package.
            - "full" (or Keras's "mnist.npz"): all 60,000 + 10,000, from the folder `LAMINA_DATA`, else from `data` in
              `lamina.config.cache_folder()`. If it is in neither, it is downloaded once (11 MB), into `LAMINA_DATA` if
              that is set.
            - A path to an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test`, or to a folder
              that holds it as `mnist.npz`.

    Raises:
        DownloadError: The file had to be downloaded and could not be. The text says how to get it by hand.
        FileFormatError: The file is damaged, or does not hold digits.
        InvalidArgumentError: There is no such file.
    """
    own, cached = _own_file(), config.cache_folder() / "data" / _FILE
    if path is None:
        path = own if own is not None and own.is_file() else "sample"
    if path == "sample":
        with (importlib.resources.files("lamina") / "data" / "mnist12k.npz").open("rb") as file:
            return _read(file, "the sample inside the package")
    if path != "full" and (path != _FILE or Path(_FILE).exists()):
        return _from_file(Path(path).expanduser())
    if own is not None and own.is_file():
        return _from_file(own)
    if cached.is_file():
        return _whole(cached)
    target = own or cached
    print(f"Downloading MNIST (11.5 MB) to {target}", file=sys.stderr, flush=True)
    return _whole(fetch(SOURCE, target))


def _own_file() -> Path | None:
    """Return where `mnist.npz` is, or would be, in the folder that `LAMINA_DATA` names; None if it names none."""
    named = os.environ.get("LAMINA_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if folder.exists() and not folder.is_dir():
        raise invalid(
            "the environment variable `LAMINA_DATA` must name a folder.",
            received=f"LAMINA_DATA={named}",
            fix=f"set it to {folder.parent}, or give the file itself to `load_data`.",
        )
    return folder / _FILE


def _from_file(path: Path) -> tuple[Digits, Digits]:
    file = path / _FILE if path.is_dir() else path
    if not file.is_file():
        raise invalid(
            "`path` must be a file, a folder that holds `mnist.npz`, 'sample' or 'full'.",
            owner="mnist.load_data",
            received=f"path={str(path)!r}, and there is no file {file}",
            fix='use load_data("sample") for the digits inside the package, load_data("full") to download all of them.',
        )
    with file.open("rb") as opened:
        return _read(opened, str(file))


def _whole(path: Path) -> tuple[Digits, Digits]:
    """Return the digits of a file that the library keeps, which must be MNIST itself, to the last pixel."""
    with path.open("rb") as file:
        train, test = _read(file, str(path))
    digest = hashlib.sha256()
    for array in (*train, *test):
        digest.update(np.ascontiguousarray(array).data)
    if digest.hexdigest() != CONTENT:
        raise _bad(
            str(path),
            f"it does not hold the 60,000 + 10,000 digits of MNIST (SHA-256 of its content: {digest.hexdigest()})",
            fix=f'remove it and call load_data("full") to download it again, or call load_data({str(path)!r}) to use it'
            " as it is.",
        )
    return train, test


def _read(file: IO[bytes], name: str) -> tuple[Digits, Digits]:
    """Return the four arrays of an `.npz` file, checked. Nothing in the file is executed: pickles are refused."""
    try:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise _bad(name, "it holds one array, not an archive of four")
        with archive:
            missing = [key for key in _NAMES if key not in archive]
            if missing:
                raise _bad(name, f"it lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}")
            x_train, y_train, x_test, y_test = (archive[key] for key in _NAMES)
    except FileFormatError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as cause:
        raise _bad(name, f"it cannot be read as an .npz file ({cause})") from cause
    for pixels, labels, kind in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        _check(pixels, labels, kind, name)
    return (x_train, y_train), (x_test, y_test)


def _check(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], kind: str, name: str) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (28, 28):
        raise _bad(name, f"x_{kind} must be uint8 of shape (rows, 28, 28), it is {describe(pixels)}")
    if labels.dtype != np.uint8 or labels.shape != pixels.shape[:1]:
        raise _bad(name, f"y_{kind} must be uint8 of shape ({len(pixels)},), it is {describe(labels)}")
    if not len(labels) or labels.max() > 9:
        raise _bad(name, f"y_{kind} must hold labels from 0 to 9")


def _bad(name: str, problem: str, fix: str | None = None) -> FileFormatError:
    fix = fix or 'remove it and get it again; load_data("full") downloads MNIST, load_data("sample") needs no file.'
    return FileFormatError(message(f"{name} is not a file of digits: {problem}.", fix=fix))
