"""Writing a file so that nothing is lost: the old one stays whole until the new one is on the disk."""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from lamina.errors import message

_CHUNK = 1 << 18
_LEFT_BEHIND = 3600  # seconds after which nobody writes a temporary file any more
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; at the end of the block it takes the place of `path`, in one step.

    Whatever fails inside the block, Ctrl-C included, `path` is left as it was and the temporary file is removed. What
    has been replaced is on the disk: the data and the folder are flushed.

    Raises:
        OSError: If the folder is missing or closed to writing, `path` is a folder, or the disk is full.
    """
    target = os.path.realpath(path)  # a link stays a link: the file behind it is replaced
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:80]}.{secrets.token_hex(6)}.tmp")
    try:
        _check(target, folder, path)
        _sweep(folder, f".{name[:80]}.")
        # Not `tempfile`: its files are closed to everyone else, whatever the user's umask says.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            checked = _Remembering(file)
            yield cast(IO[bytes], checked)
            file.flush()
            os.fsync(file.fileno())
        checked.compare(temporary)
        with suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        raise _explained(error, path) from error
    except BaseException:
        _remove(temporary)
        raise
    _flush_folder(folder)


class _Remembering:
    """A file that remembers what was written where, so that it can be compared with what is in the file.

    What was written is not copied: whoever writes must let it be until the end of the block.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._written: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        self._written[self._file.tell()] = data
        return self._file.write(data)

    def compare(self, path: str) -> None:
        """Read the file back.

        Raises:
            OSError: If it does not hold what was written: a disk that failed and did not say so.
        """
        with open(path, "rb") as file:
            for place, data in self._written.items():
                file.seek(place)
                view = memoryview(data).cast("B")
                for start in range(0, len(view), _CHUNK):
                    part = bytes(view[start : start + _CHUNK])  # views are compared number by number, bytes at once
                    if file.read(len(part)) != part:
                        raise OSError(errno.EIO, "What was written cannot be read back")


def write(path: str, pieces: Iterable[bytes | memoryview]) -> None:
    """Write `pieces` to `path` in one step: all of them, or nothing is changed."""
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)


def _check(target: str, folder: str, path: str) -> None:
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def _sweep(folder: str, start: str) -> None:
    """Remove what earlier processes left behind that were killed while they saved."""
    with suppress(OSError):
        for one in os.listdir(folder):
            if one.startswith(start) and one.endswith(".tmp"):
                found = os.path.join(folder, one)
                if time.time() - os.stat(found).st_mtime > _LEFT_BEHIND:
                    os.unlink(found)


def _remove(temporary: str) -> None:
    with suppress(OSError):
        os.unlink(temporary)


def _flush_folder(folder: str) -> None:
    """Flush the folder, so that the new name too outlives a power cut. Not every system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explained(error: OSError, path: str) -> OSError:
    """Return an error of the same kind and number that says what is left and what to do."""
    kept = "The file that was there is unchanged." if os.path.exists(path) else "No file was written."
    fixes: dict[int | None, str] = {
        errno.ENOENT: f"make the folder first: `os.makedirs({os.path.dirname(path) or '.'!r}, exist_ok=True)`.",
        errno.EISDIR: f"name a file inside the folder, e.g. {os.path.join(path, 'model.keras')!r}.",
        errno.EACCES: "choose a folder that you may write to, or change its permissions.",
        errno.EROFS: "choose a folder on a disk that may be written to.",
        errno.ENAMETOOLONG: "choose a shorter file name.",
        errno.EIO: "the disk is failing: save to another one.",
    }
    fixes[errno.EPERM] = fixes[errno.EACCES]
    fixes.update(dict.fromkeys(_FULL, "free some space, raise the limit, or save to another disk."))
    problem = f"Cannot write the file: {error.strerror or error}. {kept}"
    text = message(problem, fix=fixes.get(error.errno))
    return type(error)(error.errno, text, path) if error.errno is not None else type(error)(text)


def confirmed(path: Any, overwrite: bool, ask: Callable[[str], str] = input) -> bool:
    """Return whether `path` may be written: yes if it is free or `overwrite`; else the user at a terminal decides.

    Raises:
        FileExistsError: If nobody can be asked.
    """
    if overwrite or not os.path.exists(path):
        return True
    import sys

    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise FileExistsError(
            errno.EEXIST,
            message("The file exists, and `overwrite=False`.", fix="pass `overwrite=True`, or choose another name."),
            str(path),
        )
    answer = ask(f"[WARNING] {path} already exists - overwrite? [y/n]").strip().lower()
    while answer not in ("y", "n"):
        answer = ask('Enter "y" (overwrite) or "n" (cancel).').strip().lower()
    return answer == "y"
