"""Keras's functions on paths, as far as its other tests use them."""

import hashlib
import os
import shutil
from typing import Any

from lamina.files import archives
from lamina.utils.downloads import get_file as get_file

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


def hash_file(path: Any, algorithm: str = "sha256") -> str:
    """Return the hash of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def validate_file(path: Any, file_hash: str) -> bool:
    """Return whether a file has a hash, SHA-256 or MD5."""
    return hash_file(path, "sha256" if len(file_hash) == 64 else "md5") == file_hash


def extract_archive(path: Any, folder: Any = ".", archive_format: Any = "auto") -> bool:
    """Unpack an archive and return whether it was one."""
    kinds = archives.formats(archive_format)
    if kinds:
        archives.unpack(path, folder, kinds)
    return bool(kinds)
