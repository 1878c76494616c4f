"""Files that layers keep beside their weights in a `.keras` file, e.g. the vocabulary of a lookup: Keras's `assets/`.

A layer writes its files into a folder that it is given (`save_assets`) and reads them from one (`load_assets`). Reading
an archive puts into such a folder only files whose names stay inside it.
"""

import os
import posixpath
import tempfile
from collections.abc import Iterator
from typing import Any

from lamina.errors import FileFormatError, LaminaError, message
from lamina.saving.walk import walk

FOLDER = "assets"
Files = dict[str, bytes]


def collect(model: Any) -> Files:
    """Return what the parts of a model keep in files, by the name in the archive."""
    found: Files = {}
    for path, part in walk(model):
        if not hasattr(part, "save_assets"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            part.save_assets(folder)
            for name, data in _files(folder):
                found[posixpath.join(FOLDER, path, name) if path else posixpath.join(FOLDER, name)] = data
    return found


def in_folder(path: str) -> Files:
    """Return what lies under `assets/` in the folder of a model."""
    return {posixpath.join(FOLDER, name): data for name, data in _files(os.path.join(path, FOLDER))}


def _files(folder: str) -> Iterator[tuple[str, bytes]]:
    for above, _, names in os.walk(folder):
        for name in sorted(names):
            place = os.path.join(above, name)
            with open(place, "rb") as file:
                yield os.path.relpath(place, folder).replace(os.sep, "/"), file.read()


def restore(model: Any, files: Files, source: str) -> None:
    """Let each part of a model read its files.

    Args:
        model: The model.
        files: The members of the archive under `assets/`.
        source: What to call the archive in an error.

    Raises:
        FileFormatError: If a name leads out of the folder, or a part cannot read what is there.
    """
    if not files:
        return
    for name in files:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
            raise FileFormatError(
                message("A file in the archive has a name that leads elsewhere.", owner=source, received=name)
            )
    for path, part in walk(model):
        if not hasattr(part, "load_assets"):
            continue
        above = f"{FOLDER}/{path}/" if path else f"{FOLDER}/"
        own = {name.removeprefix(above): data for name, data in files.items() if name.startswith(above)}
        if own:
            _read(part, own, source)


def _read(part: Any, files: Files, source: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            place = os.path.join(folder, *name.split("/"))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(data)
        try:
            part.load_assets(folder)
        except (LaminaError, UnicodeDecodeError, ValueError, OSError) as error:
            problem = f"The files of layer '{getattr(part, 'name', part)}' cannot be used: {error}"
            raise FileFormatError(message(problem, owner=source)) from error
