"""Zip archives, read with suspicion: no size that they declare is believed, and nothing is ever unpacked to a path."""

import errno
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from lamina.errors import FileFormatError, message

_EXPANSION_FLOOR, _EXPANSION = 1 << 20, 100  # a compressed member beyond that is a bomb: no framework writes one
_DIRECTORY_LIMIT = 8 << 20  # bytes of the list of members, each of which costs Python ten times that
_END = b"PK\x05\x06"


@contextmanager
def opened(file: IO[bytes], source: str, directory_limit: int = _DIRECTORY_LIMIT) -> Iterator[zipfile.ZipFile]:
    """Open an archive for the length of the block; what `zipfile` raises there becomes one clear error.

    Raises:
        FileFormatError: If it is damaged, or lists members without end.
    """
    with _damaged(source):
        _check_directory(file, source, directory_limit)
        with zipfile.ZipFile(file) as archive:
            yield archive


def _check_directory(file: IO[bytes], source: str, limit: int) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557))  # the end record and the longest comment behind it
    tail = file.read()
    file.seek(0)
    place = tail.rfind(_END)
    declared = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if declared == 0xFFFFFFFF:  # the real size is in the record of zip64, of 56 bytes, before a locator of 20
        declared = int.from_bytes(tail[place - 36 : place - 28], "little") if place >= 76 else 0
    if declared > limit:
        raise FileFormatError(message(f"Its list of members is {declared:,} bytes long.", owner=source))


def member(archive: zipfile.ZipFile, name: str, source: str, limit: int | None = None) -> bytes:
    """Return a member, of which there must be one.

    Raises:
        FileFormatError: If it is missing, there twice, encrypted, damaged, or would unfold into more than it should.
    """
    places = [info for info in archive.infolist() if info.filename == name]
    if len(places) != 1:
        problem = f"Expected a {name} file in the archive" if not places else f"The archive has {name} twice"
        names = ", ".join(archive.namelist()[:6]) or "nothing"
        raise FileFormatError(message(f"{problem}.", owner=source, received=names, fix="save the model again."))
    info = places[0]
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(message(f"{name} is encrypted or packed in a way that no framework uses.", owner=source))
    if info.compress_size > _size(archive):  # `zipfile` would make room for so much before it reads
        raise FileFormatError(message(f"{name} declares {info.compress_size:,} bytes: it is cut short.", owner=source))
    unfolds = info.file_size > _EXPANSION_FLOOR and info.file_size > _EXPANSION * info.compress_size
    if unfolds or (limit is not None and info.file_size > limit):
        raise FileFormatError(
            message(
                f"Not allowed: {name} declares {info.file_size:,} bytes and {info.compress_size:,} are stored: a "
                "decompression bomb.",
                owner=source,
                fix="if the file is yours, pack it again without compression.",
            )
        )
    with archive.open(info) as member:  # gives no more than the declared size, and checks its CRC-32 at the end
        data = member.read()
    if len(data) != info.file_size:
        raise FileFormatError(message(f"{name} is cut short.", owner=source))
    return data


def _size(archive: zipfile.ZipFile) -> int:
    file = archive.fp
    if file is None:
        return 0
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


@contextmanager
def _damaged(source: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        place_is_wrong = isinstance(error, OSError) and error.errno in (None, errno.EINVAL)  # it seeks where nothing is
        if isinstance(error, FileFormatError) or (isinstance(error, OSError) and not place_is_wrong):
            raise
        raise FileFormatError(
            message(
                f"The archive is damaged or cut short: {error}.",
                owner=source,
                fix="take an earlier copy of the file, or save the model again.",
            )
        ) from error
    except MemoryError as error:
        raise FileFormatError(message("The archive does not fit into memory.", owner=source)) from error


def begins_as_zip(head: bytes) -> bool:
    """Return whether a file that begins with `head` may be a zip archive."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def names(path: str) -> list[str]:
    """Return the names of the members of the archive at a path; none if it cannot be read."""
    try:
        with open(path, "rb") as file, opened(file, path) as archive:
            return archive.namelist()
    except (FileFormatError, OSError):
        return []
