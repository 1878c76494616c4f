"""Archives, unpacked with suspicion: plain files and folders, inside one folder, of a bounded size; or nothing."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from lamina.errors import FileFormatError, invalid, message
from lamina.files import zips

_PIECE = 1 << 20
_READ_LIMIT = 16 << 20  # bytes that the reader of a tar file may ask for at once: the header of a member
_FLOOR, _EXPANSION = 1 << 30, 200  # what unfolds into more than both is a bomb
_MEMBERS = 2_000_000
_DIRECTORY_LIMIT = 128 << 20
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError,
    NotImplementedError,
)  # fmt: skip
_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
FORMATS = ("tar", "zip")


class Member(NamedTuple):
    """A file or folder of an archive.

    Attributes:
        name: Its path in the archive.
        folder: Whether it is a folder.
        open: Opens the file.
    """

    name: str
    folder: bool
    open: Callable[[], IO[bytes]]


def formats(archive_format: Any) -> tuple[str, ...]:
    """Return the formats that an argument of Keras's names: "auto", "tar", "zip", a list of these, or None.

    Raises:
        InvalidArgumentError: For any other.
    """
    if archive_format is None:
        return ()
    found = FORMATS if archive_format == "auto" else archive_format
    found = (found,) if isinstance(found, str) else tuple(found)
    if not set(found) <= set(FORMATS):
        raise invalid(
            "`archive_format` must be 'auto', 'tar', 'zip', a list of these, or None.",
            received=f"archive_format={archive_format!r}",
        )
    return found


def unpack(path: str, folder: str, kinds: Sequence[str] = FORMATS) -> None:
    """Unpack an archive into a folder: all of it, or nothing is changed. A folder that is there keeps its other files.

    Raises:
        FileFormatError: If it is no archive of these kinds, is damaged, holds anything but files and folders, a path
            that leads out of the folder, or more than can be true.
    """
    above = os.path.dirname(os.path.abspath(folder))
    os.makedirs(above, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=f".{os.path.basename(folder)[:80]}.", suffix=".tmp", dir=above)
    try:
        os.chmod(fresh, 0o777 & ~_umask())
        with open(path, "rb") as file:
            _write(_members(file, path, kinds), fresh, path)
        try:
            os.rename(fresh, folder)
        except OSError:
            if not os.path.isdir(folder):
                raise
            _merge(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _members(file: IO[bytes], path: str, kinds: Sequence[str]) -> Iterator[Member]:
    head = file.read(8)
    file.seek(0)
    if "zip" in kinds and zips.begins_as_zip(head):
        return _of_zip(file, path)
    if "tar" in kinds:
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        unpacked = _Bounded(file if opener is None else opener(file), path, os.path.getsize(path))
        try:
            archive = tarfile.TarFile(fileobj=unpacked)
        except FileFormatError:
            raise
        except _DAMAGE:
            pass
        else:
            return _of_tar(archive, path)
    raise FileFormatError(
        message(
            f"Could not extract archive: it is no {' or '.join(kinds) or 'archive'} file.",
            owner=_owner(path),
            fix="see that the download was not an error page, and that `archive_format` is right.",
        )
    )


class _Bounded(io.RawIOBase):
    """What a compressed file unfolds into, as long as that is no more than an honest one would be."""

    def __init__(self, file: Any, path: str, packed: int) -> None:
        self._file, self._path, self._limit = file, path, _limit(packed)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _READ_LIMIT:
            raise _bomb(self._path, f"a header of {size:,} bytes")
        if self._file.tell() + size > self._limit + _READ_LIMIT:
            raise _bomb(self._path, f"more than {self._limit:,} bytes")
        return self._file.read(size)  # type: ignore[no-any-return]

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > self._limit + _READ_LIMIT:
            raise _bomb(self._path, f"more than {self._limit:,} bytes")
        return self._file.seek(offset, whence)  # type: ignore[no-any-return]

    def tell(self) -> int:
        return self._file.tell()  # type: ignore[no-any-return]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _of_tar(archive: tarfile.TarFile, path: str) -> Iterator[Member]:
    for info in archive:
        if not (info.isreg() or info.isdir()) or info.issparse():
            kind = "a link" if info.issym() or info.islnk() else "sparse" if info.issparse() else "a device"
            raise _refused(path, info.name, f"is {kind}")
        yield Member(info.name, info.isdir(), lambda info=info: archive.extractfile(info))  # type: ignore[misc, arg-type]
        archive.members.clear()  # type: ignore[attr-defined]  # a list of all members would grow for ever


def _of_zip(file: IO[bytes], path: str) -> Iterator[Member]:
    with zips.opened(file, _owner(path), _DIRECTORY_LIMIT) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive does not come from a Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(path, info.filename, "is a link" if kind == stat.S_IFLNK else "is a device")
            if info.flag_bits & 1:
                raise _refused(path, info.filename, "is encrypted")
            yield Member(info.filename, info.is_dir(), lambda info=info: archive.open(info))  # type: ignore[misc]


def _write(members: Iterator[Member], folder: str, path: str) -> None:
    limit = _limit(os.path.getsize(path))
    written = 0
    try:
        for count, member in enumerate(members):
            if count >= _MEMBERS:
                raise _bomb(path, f"more than {_MEMBERS:,} files")
            target = os.path.join(folder, *_parts(member.name, path))
            if member.folder:
                os.makedirs(target, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with member.open() as source, open(target, "wb") as file:
                while piece := source.read(_PIECE):
                    written += len(piece)
                    if written > limit:
                        raise _bomb(path, f"more than {limit:,} bytes")
                    file.write(piece)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(path, member.name, "is a file and a folder at once") from error
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(
            message(f"The archive is damaged or cut short: {error}.", owner=_owner(path), fix="download it again.")
        ) from error


def _parts(name: str, path: str) -> list[str]:
    """Return the parts of a member's path, all of which lie below the folder."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if ".." in parts or name[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise _refused(path, name, "leads out of the folder")
    return parts


def _merge(fresh: str, folder: str) -> None:
    """Move all files into a folder that is there, each in one step."""
    for place, folders, files in os.walk(fresh):
        beside = os.path.join(folder, os.path.relpath(place, fresh))
        for name in folders:
            os.makedirs(os.path.join(beside, name), exist_ok=True)
        for name in files:
            os.replace(os.path.join(place, name), os.path.join(beside, name))


def _limit(packed: int) -> int:
    return max(_FLOOR, _EXPANSION * packed)


def _owner(path: str) -> str:
    return f"Archive {path!r}"


def _refused(path: str, name: str, why: str) -> FileFormatError:
    return FileFormatError(
        message(
            f"Not allowed: the member {name[:200]!r} {why}. Nothing was unpacked.",
            owner=_owner(path),
            fix="if you trust the archive, unpack it yourself.",
        )
    )


def _bomb(path: str, what: str) -> FileFormatError:
    return FileFormatError(
        message(
            f"Not allowed: it unfolds into {what}, a decompression bomb. Nothing was unpacked.",
            owner=_owner(path),
            fix="if you trust the archive, unpack it yourself.",
        )
    )
