"""Keras's functions on paths, as far as its other tests use them."""

import os
import shutil
from typing import Any

exists = os.path.exists
isdir = os.path.isdir
join = os.path.join
listdir = os.listdir
rmtree = shutil.rmtree
copy = shutil.copy
File = open


def makedirs(path: Any) -> None:
    """Make a folder and those above it."""
    os.makedirs(path, exist_ok=True)


def is_remote_path(path: Any) -> bool:
    """Return whether a path is not on this machine: never here."""
    return False
