"""Files of others: downloaded once, checked, unpacked."""

import os
import re
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from lamina import config
from lamina.errors import InvalidArgumentError, invalid
from lamina.files import archives
from lamina.files.download import Source, fetch

_SCHEMES = ("http", "https", "ftp", "file")
_LENGTHS = {32: "md5", 64: "sha256"}  # digits of a hash in hexadecimal


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Return the path of a file that is downloaded if it is not there, or of the folder into which it was unpacked.

    The file is called `fname` only once it is whole and has the right hash. An archive is unpacked once, into
    `fname` beside `fname_archive`, or, if `fname` has an ending, into its first part with `_extracted`: all of it, or
    nothing. One that holds links, devices, paths out of the folder or a decompression bomb is refused.

    Args:
        fname: What to call it; default: as at `origin`.
        origin: Its address: http, https, ftp or file.
        untar: Whether it is a tar archive to be unpacked.
        md5_hash: Its MD5. Prefer `file_hash`: an MD5 can be forged.
        file_hash: Its SHA-256 or MD5 in hexadecimal.
        cache_subdir: Folder inside the cache; an absolute path stands for itself.
        hash_algorithm: "sha256", "md5", or "auto": by the length of `file_hash`.
        extract: Whether to unpack it.
        archive_format: "auto" ("tar" or "zip"), "tar" (also .tar.gz, .tar.bz2, .tar.xz), "zip", or a list of these.
        cache_dir: The cache; default: the environment variable `KERAS_HOME`, else `lamina.config.cache_folder()`.
        force_download: Whether to download it also if it is there.

    Raises:
        InvalidArgumentError: For an argument that cannot be used.
        DownloadError: If it cannot be downloaded.
        HashError: If what comes has another hash.
        FileFormatError: If it shall be unpacked and is no archive, or one that is refused.
    """
    url = _address(origin)
    name = _name(fname, url)
    source = Source(url, **_hash(md5_hash, file_hash, hash_algorithm))
    base = cache_dir if cache_dir is not None else os.environ.get("KERAS_HOME") or config.cache_folder()
    folder = Path(base).expanduser() / cache_subdir
    kinds = ("tar",) if untar else archives.formats(archive_format)
    if not (extract or untar):
        return str(_fetched(source, folder / name, force_download)[0])
    unpacked = folder / (f"{name.partition('.')[0]}_extracted" if fname and "." in name else name)
    target = folder / (name if fname and "." in name else f"{name}_archive")
    archive, new = _fetched(source, target, force_download)
    if new or not unpacked.is_dir():
        archives.unpack(str(archive), str(unpacked), kinds)
    return str(unpacked)


def _fetched(source: Source, target: Path, again: bool) -> tuple[Path, bool]:
    """Return the path of the file, and whether it has come just now."""
    before = target.stat() if target.is_file() else None
    path = fetch(source, target, report=_Report(source.url), again=again)
    after = path.stat()
    return path, before is None or (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)


class _Report:
    """Says that something is downloaded; in a terminal also how far it is."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
        self._shown = 0.0

    def __call__(self, done: int, size: int) -> None:
        if not config.is_interactive_logging_enabled():
            return
        if not self._shown:
            print(f"Downloading data from {self._url}", file=sys.stderr, flush=True)
        if sys.stderr.isatty() and (time.monotonic() - self._shown > 0.1 or done == size):
            share = f" of {size / 1e6:,.1f} MB ({done / size:.0%})" if size else " MB"
            end = "\n" if done == size else ""
            print(f"\r{done / 1e6:,.1f}{share}", end=end, file=sys.stderr, flush=True)
        self._shown = time.monotonic()


def _address(origin: Any) -> str:
    if origin is None:
        raise invalid('Please specify the "origin" argument (URL of the file to download).', owner="get_file")
    url = os.fspath(origin)
    if urllib.parse.urlsplit(url).scheme.lower() not in _SCHEMES:
        raise invalid(
            f"`origin` must be an address that begins with one of {', '.join(_SCHEMES)}.",
            owner="get_file",
            received=f"origin={origin!r}",
        )
    return str(url)


def _name(fname: Any, url: str) -> str:
    if not fname:
        name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
        if name in ("", ".", ".."):
            raise invalid(
                f"Can't parse the file name from the origin provided: '{url}'.",
                owner="get_file",
                fix="Please specify the `fname` argument.",
            )
        return name
    name = str(os.fspath(fname))
    if "/" in name or os.sep in name or "\0" in name or name in (".", ".."):
        raise invalid(
            "Paths are no longer accepted as the `fname` argument.",
            owner="get_file",
            received=f"fname={fname}",
            fix="To specify the file's parent directory, use the `cache_dir` argument.",
        )
    return name


def _hash(md5_hash: str | None, file_hash: str | None, algorithm: str) -> dict[str, Any]:
    if file_hash is None and md5_hash is None:
        return {}
    if file_hash is None:
        file_hash, algorithm = md5_hash, "md5"
    file_hash = str(file_hash)
    if algorithm == "auto":
        algorithm = _LENGTHS.get(len(file_hash), "")
    digits = {kind: count for count, kind in _LENGTHS.items()}.get(algorithm)
    if digits is None or not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", file_hash):
        raise _no_hash(file_hash, algorithm)
    return {algorithm: file_hash.lower()}


def _no_hash(file_hash: str, algorithm: str) -> InvalidArgumentError:
    return invalid(
        "The hash must be a SHA-256 (64 hexadecimal digits) or an MD5 (32), and `hash_algorithm` 'sha256', 'md5' or "
        "'auto'.",
        owner="get_file",
        received=f"file_hash={file_hash!r}, hash_algorithm={algorithm!r}",
    )
