"""The zip archive of a `.keras` file, members stored as they are. Reading it trusts no size that it declares."""

import json
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from lamina._types import Config
from lamina.errors import FileFormatError, message
from lamina.files import zips
from lamina.files.documents import from_json

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ASSETS = "assets/"
KERAS_VERSION = "3.15.1"  # whose format this is
_CONFIG_LIMIT = 256 << 20  # bytes: room for a hundred thousand layers
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
    with zips.opened(file, source) as archive:
        weights = zips.member(archive, WEIGHTS, source)
        try:
            found = parsed(zips.member(archive, CONFIG, source, _CONFIG_LIMIT), source)
        except FileFormatError:
            if config:
                raise
            found = {}
        try:
            said = zips.member(archive, METADATA, source, _CONFIG_LIMIT)
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
        found[name] = zips.member(archive, name, source, room)
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
