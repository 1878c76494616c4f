"""The zip archive of a `.keras` file, members stored as they are. Reading it trusts no size that it declares."""

import errno
import json
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from lamina._types import Config
from lamina.errors import FileFormatError, message
from lamina.files.documents import from_json

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ASSETS = "assets/"
KERAS_VERSION = "3.15.1"  # whose format this is
_CONFIG_LIMIT = 256 << 20  # bytes: room for a hundred thousand layers
_EXPANSION_FLOOR, _EXPANSION = 1 << 20, 100  # a compressed member beyond that is a bomb: nothing that Keras writes is
_MOST_ASSETS = 100_000


@dataclass(slots=True)
class Archive:
    """What a `.keras` file holds: config of the model, weights as an HDF5 file, who wrote it, and files of layers."""

    config: Config
    weights: bytes
    version: str = KERAS_VERSION
    assets: dict[str, bytes] = field(default_factory=dict)


def write(file: IO[bytes], config: Config, weights: Sequence[memoryview], assets: dict[str, bytes]) -> None:
    """Write a `.keras` archive.

    Raises:
        InvalidArgumentError: If the config holds what JSON cannot.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in [*documents(config), *assets.items()]:
            archive.writestr(zipfile.ZipInfo(name), data)
        info = zipfile.ZipInfo(WEIGHTS)
        info.file_size = sum(len(piece) for piece in weights)
        with archive.open(info, "w") as member:
            for piece in weights:
                member.write(piece)


def documents(config: Config) -> list[tuple[str, bytes]]:
    """Return the two JSON members by name: what wrote the file and when, and the config of the model."""
    said = {"keras_version": KERAS_VERSION, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}
    try:
        return [(METADATA, json.dumps(said).encode()), (CONFIG, json.dumps(config).encode())]
    except (TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(
            message(
                f"The config of model {config.get('class_name')!r} cannot be written as JSON: {error}",
                fix="let `get_config` return numbers, strings, lists, dicts and objects that have a `get_config`.",
            )
        ) from error


def read(file: IO[bytes], source: str, config: bool = True) -> Archive:
    """Return what a `.keras` archive holds. Of its members only those that Keras writes are read.

    Args:
        file: The open file.
        source: What to call it in an error.
        config: Whether the config is needed; if not, it may be damaged.

    Raises:
        FileFormatError: If it is no such archive, is damaged, or would unfold into more than it should.
    """
    with _damaged(source), zipfile.ZipFile(file) as archive:
        weights = _member(archive, WEIGHTS, source)
        try:
            found = parsed(_member(archive, CONFIG, source, _CONFIG_LIMIT), source)
        except FileFormatError:
            if config:
                raise
            found = {}
        try:
            said = _member(archive, METADATA, source, _CONFIG_LIMIT)
            version = parsed(said, source, "keras_version")["keras_version"]
        except FileFormatError:
            version = KERAS_VERSION  # it only helps to read old files
        assets = _assets(archive, source) if config else {}
    return Archive(found, weights, str(version), assets)


def _assets(archive: zipfile.ZipFile, source: str) -> dict[str, bytes]:
    """Return the files that layers keep in the archive."""
    names = [name for name in archive.namelist() if name.startswith(ASSETS) and not name.endswith("/")]
    if len(names) > _MOST_ASSETS:
        raise FileFormatError(message(f"The archive has {len(names):,} files of layers.", owner=source))
    found: dict[str, bytes] = {}
    room = _CONFIG_LIMIT
    for name in names:
        found[name] = _member(archive, name, source, room)
        room -= len(found[name])
    return found


def parsed(data: bytes, source: str, key: str = "class_name") -> Config:
    """Return a config from JSON, which must have a `key`.

    Raises:
        FileFormatError: If it is no JSON, no dict, or nested without end.
    """
    config = from_json(data, source, f"`{CONFIG}`")
    if not isinstance(config, dict) or key not in config:
        raise FileFormatError(
            message(f"`{CONFIG}` does not describe a model.", owner=source, received=repr(config)[:80])
        )
    return config


def _member(archive: zipfile.ZipFile, name: str, source: str, limit: int | None = None) -> bytes:
    places = [info for info in archive.infolist() if info.filename == name]
    if len(places) != 1:
        problem = f"Expected a {name} file in the archive" if not places else f"The archive has {name} twice"
        names = ", ".join(archive.namelist()[:6]) or "nothing"
        raise FileFormatError(message(f"{problem}.", owner=source, received=names, fix="save the model again."))
    info = places[0]
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(message(f"{name} is encrypted or packed in a way that Keras never uses.", owner=source))
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


def is_keras(path: str) -> bool:
    """Return whether the zip archive at a path names a config at its top, as `.keras` files do."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(info.filename == CONFIG for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
