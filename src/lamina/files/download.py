"""One file from the network, once: resumed where it broke off, checked against its hash, put in place whole."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lamina.errors import LaminaError, message

_CHUNK = 1 << 18
_ATTEMPTS = 4


class DownloadError(LaminaError, OSError):
    """A file could not be fetched, or what came is not the file that was asked for."""


class HashError(DownloadError, ValueError):
    """What came has another hash than the file that was asked for. Keras raises a `ValueError`."""


class Source(NamedTuple):
    """Where a file is and how to know it.

    Attributes:
        url: Its address.
        sha256: Its SHA-256 in hexadecimal, None if unknown.
        size: Its length in bytes, None if unknown.
        md5: Its MD5 in hexadecimal, None if unknown: it tells damage, but not forgery.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    md5: str | None = None

    @property
    def known(self) -> bool:
        """Whether there is a hash to know the file by."""
        return self.sha256 is not None or self.md5 is not None

    def wrong(self, path: Path) -> str:
        """Return in which hash a file is another one, e.g. "SHA-256 12, expected 34"; empty if it is the one."""
        for name, wanted in (("SHA-256", self.sha256), ("MD5", self.md5)):
            if wanted is not None and (found := _digest(path, name)) != wanted.lower():
                return f"{name} {found}, expected {wanted}"
        return ""


class _BrokenError(Exception):
    """The transfer ended early; what came is kept and the next attempt goes on from there."""


class _WrongFileError(Exception):
    """What the server sends is not the pinned file; another attempt would bring the same."""


_PASSING = (_BrokenError, http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError)
_LASTING = (ConnectionRefusedError, socket.gaierror, FileNotFoundError, PermissionError, IsADirectoryError)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return _digest(path, "SHA-256")


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name.replace("-", "").lower()).hexdigest()


def fetch(
    source: Source,
    target: Path,
    *,
    report: Callable[[int, int], None] | None = None,
    timeout: float = 30.0,
    pause: float = 1.0,
    again: bool = False,
) -> Path:
    """Return `target`, which afterwards holds the file of `source` and nothing else.

    A file that is there already and has the right hash (any file, if no hash is known) is left alone. What an earlier
    process left in `target.part` is gone on with where a hash is known and the server can do that. Until the hash is
    right nothing is called `target`; then it appears at once. Processes that want the same file wait for one another.

    Args:
        source: Address, hash and length.
        target: Where the file shall be. Its folder is made.
        report: Called with the bytes that are there and the length (0: unknown), after each piece.
        timeout: Seconds without a byte before an attempt is given up.
        pause: Seconds before the second attempt; twice as many before each one after it.
        again: Whether to download it also if it is there already, which then stays until the new one has come.

    Raises:
        HashError: What came is another file.
        DownloadError: No connection, or a refusal of the server. The text says how
            to get the file by hand.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise _give_up(source, target, f"the folder {target.parent} cannot be made ({cause})") from cause
    with _alone(target.parent):
        if target.exists() and not again and not source.wrong(target):
            return target
        part = target.with_name(target.name + ".part")
        if not source.known:
            part.unlink(missing_ok=True)
        resumed = _complete(source, target, part, report, timeout, pause)
        if resumed and source.wrong(part):  # the older piece was of another file: begin again
            part.unlink()
            _complete(source, target, part, report, timeout, pause)
        if wrong := source.wrong(part):
            part.unlink()
            problem = f"Incomplete or corrupted file detected. What came is another file: {wrong}; it was removed"
            raise _give_up(source, target, problem, HashError)
        _put_in_place(part, target)
    return target


def _complete(
    source: Source,
    target: Path,
    part: Path,
    report: Callable[[int, int], None] | None,
    timeout: float,
    pause: float,
) -> bool:
    """Return whether bytes of an earlier process are in `part`, which is as long as it should be afterwards."""
    resumed = part.exists() and part.stat().st_size > 0
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _transfer(source, part, report, timeout) and resumed
        except urllib.error.HTTPError as cause:
            cause.close()
            if cause.code == 416:  # no such range: the file there is shorter than what came before
                part.unlink(missing_ok=True)
            elif cause.code < 500 or attempt == _ATTEMPTS:
                raise _give_up(source, target, f"the server answered {cause.code} {cause.reason}") from cause
        except _PASSING as cause:
            reason = getattr(cause, "reason", cause)
            if attempt == _ATTEMPTS or isinstance(reason, _LASTING):
                raise _give_up(source, target, str(reason) or type(reason).__name__) from cause
        except _WrongFileError as cause:
            part.unlink(missing_ok=True)
            raise _give_up(source, target, str(cause)) from cause
        except OSError as cause:
            raise _give_up(source, target, f"{part} cannot be written ({cause})") from cause
        time.sleep(pause * 2 ** (attempt - 1))
    raise _give_up(source, target, "the server does not know the range of bytes that is missing")


def _transfer(source: Source, part: Path, report: Callable[[int, int], None] | None, timeout: float) -> bool:
    """Return whether what `part` held before was kept, after one request for what it lacks."""
    have = part.stat().st_size if part.exists() else 0
    if have and (have == source.size or (source.size is None and source.known and not source.wrong(part))):
        return True
    if source.size is not None and have > source.size:
        part.unlink()
        have = 0
    # Compression on the way would change the bytes that a range counts.
    headers = {"User-Agent": "lamina", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(source.url, headers=headers), timeout=timeout) as answer:
        kept = have > 0 and answer.status == 206 and _starts_at(answer.headers.get("Content-Range"), have)
        if have and answer.status == 206 and not kept:
            raise _WrongFileError("the server sent another range than the one asked for")
        with part.open("ab" if kept else "wb") as file:
            length = int(answer.headers.get("Content-Length") or -1)
            size = source.size if source.size is not None or length < 0 else length + (have if kept else 0)
            _copy(answer, file, size, report)
            file.flush()
            os.fsync(file.fileno())
    return kept


def _starts_at(content_range: str | None, offset: int) -> bool:
    return (content_range or "").strip().lower().startswith(f"bytes {offset}-")


def _copy(
    answer: http.client.HTTPResponse, file: BinaryIO, size: int | None, report: Callable[[int, int], None] | None
) -> None:
    done = file.tell()
    while piece := answer.read(_CHUNK):
        done += len(piece)
        if size is not None and done > size:  # checked before it is written: a wrong server must not fill the disk
            raise _WrongFileError(f"the server sends more than the {size:,} bytes of the file")
        file.write(piece)
        if report is not None:
            report(done, size or 0)
    if size is not None and done < size:
        file.flush()
        raise _BrokenError(f"the connection ended after {done:,} of {size:,} bytes")


def _put_in_place(part: Path, target: Path) -> None:
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold other processes off the folder. A lock on the folder itself leaves no file behind, even after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: as before there were locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _give_up(source: Source, target: Path, problem: str, kind: type[DownloadError] = DownloadError) -> DownloadError:
    known = f" Its SHA-256 is {source.sha256}." if source.sha256 else f" Its MD5 is {source.md5}." if source.md5 else ""
    text = message(
        f"could not download {source.url}: {problem}.",
        fix=f"with a connection, try again; without one, get the file elsewhere and put it at {target}.{known}",
    )
    return kind(text)
