"""Weights alone: `.weights.h5` files, sets of shards, and the weights inside a `.keras` file."""

import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lamina.errors import FileFormatError, NotBuiltError, invalid, message
from lamina.files import atomic
from lamina.files.paths import LEGACY, MissingFileError, as_path, is_hdf5, not_what_it_says, source_of
from lamina.layers.parts import Parts
from lamina.saving import hdf5, weights
from lamina.saving.models import open_archive, optimizer_class_in

_MAP_LIMIT = 64 << 20
_KINDS = "`.weights.h5`, `.keras`, or `.weights.json` for a set of shards"


def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None, **kwargs: Any
) -> None:
    """Write the weights of a model, and the state of its optimizer, to a `.weights.h5` file.

    The file is written in one step, and HDF5 guards it with checksums: a flipped bit is noticed when it is read.

    Args:
        model: A built model.
        filepath: A path that ends in `.weights.h5`, or in `.weights.json` for shards.
        overwrite: Whether to replace a file without asking. False asks at a terminal, and raises elsewhere.
        max_shard_size: Size in GB of one of several files that hold the weights together. None: one file.
        **kwargs: `objects_to_skip`: layers to leave out.

    Raises:
        InvalidArgumentError: If the path has another ending.
        NotBuiltError: If the model has no weights yet.
        OSError: If the file cannot be written.
    """
    skip = _skipped(kwargs)
    path = as_path(filepath)
    _need_built(model, "saving a model", "saving")
    if max_shard_size is None and not path.endswith(".weights.h5"):
        stem = path.removesuffix(".h5").removesuffix(".keras").removesuffix(".weights")
        raise invalid(
            "The filename must end in `.weights.h5`.",
            received=f"filepath={path}",
            fix=f"name it {stem + '.weights.h5'!r}; a whole model is saved with `model.save`.",
        )
    if max_shard_size is not None:
        path = _map_path(path)
    if not atomic.confirmed(path, overwrite):
        return
    if max_shard_size is None:
        atomic.write(path, hdf5.image(weights.groups(model, skip), checksums=True))
    else:
        _write_shards(model, path, max_shard_size, skip)


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Read weights into a model, and the state of its optimizer if it is of the same kind.

    Everything is compared and read before the first variable changes: if it fails, the model is as it was.

    Args:
        model: A built model.
        filepath: Path of a `.weights.h5`, `.keras`, `.weights.json` or `.h5` file.
        skip_mismatch: Whether to leave out layers that do not fit, with a warning that names them.
        **kwargs: `objects_to_skip`: layers to leave as they are; `by_name`, for `.h5` files of Keras 2.

    Raises:
        FileFormatError: If the file is missing or damaged, or holds the weights of another architecture.
        InvalidArgumentError: If the path has another ending, or an argument is unknown.
        NotBuiltError: If the model has no weights yet.
    """
    path = as_path(filepath)
    by_name = kwargs.pop("by_name", None)
    skipping = kwargs.get("objects_to_skip") is not None
    skip = _skipped(kwargs)
    old = path.endswith(LEGACY) and not path.endswith(".weights.h5")
    if by_name is not None and not old:
        raise invalid("`by_name` only supports loading legacy '.h5' or '.hdf5' files.", received=f"filepath={path}")
    if skipping and not path.endswith((".weights.h5", ".weights.json")):
        raise invalid("`objects_to_skip` only supports loading '.weights.h5' files.", received=f"filepath={path}")
    if not path.endswith((".weights.h5", ".weights.json", ".keras", *LEGACY)):
        raise invalid(f"File format not supported: filepath={path}.", fix=f"pass a file of weights: {_KINDS}.")
    _need_built(model, "loading weights into a model", "loading")
    need_file(path)
    if old:
        from lamina.saving import legacy

        legacy.load_weights(model, path, skip_mismatch, bool(by_name))
        return
    with opened(path) as (file, optimizer):
        weights.load(model, file, skip_mismatch, skip, optimizer)


@contextmanager
def opened(path: str) -> Iterator[tuple[hdf5.WeightsFile, str | None]]:
    """Open the weights at a path, together with the class of the optimizer whose state they hold, if it is known."""
    source = source_of(path)
    optimizer = None
    if path.endswith(".keras"):
        found = open_archive(path, config=False)
        optimizer = optimizer_class_in(found.config)
        places: dict[str, str | io.BytesIO] = {source: io.BytesIO(found.weights)}
    elif path.endswith(".json"):
        places = {source_of(shard): shard for shard in _shards(path)}
    else:
        if not is_hdf5(path):
            raise not_what_it_says(path, "an HDF5 file")
        places = {source: path}
    with hdf5.opened(places, source) as file:
        yield file, optimizer


def _need_built(model: Any, what: str, verb: str) -> None:
    if not isinstance(model, Parts):
        raise invalid(f"Only a model's weights can be used in {verb}.", received=repr(model)[:80])
    if not model.built:
        raise NotBuiltError(
            message(
                f"You are {what} that has not yet been built.",
                owner=f"Model `{model.name}`",
                fix="build it first by calling it on some data or with `build()`.",
            )
        )


def need_file(path: str) -> None:
    """Raise `FileFormatError` if there is no file at a path."""
    if os.path.isdir(path):
        raise FileFormatError(
            message("It is a folder.", owner=source_of(path), fix=f"pass a file of weights: {_KINDS}.")
        )
    if not os.path.exists(path):
        raise MissingFileError(message(f"File not found: filepath={path}.", received=f"working folder {os.getcwd()!r}"))


def _skipped(kwargs: dict[str, Any]) -> frozenset[int]:
    objects = kwargs.pop("objects_to_skip", None)
    if kwargs:
        raise invalid(f"Invalid keyword arguments: {kwargs}")
    return frozenset(id(thing) for thing in objects or ())


# ---- shards


def _map_path(path: str) -> str:
    if not path.endswith(("weights.h5", "weights.json")):
        raise invalid(
            "The filename must end in `.weights.json` when `max_shard_size` is specified.",
            received=f"filepath={path}",
        )
    return path.removesuffix(".h5") + ".json" if path.endswith(".h5") else path


def _write_shards(model: Any, path: str, max_shard_size: float, skip: frozenset[int]) -> None:
    """Write files of at most so many GB, then the map that names them: until then the old map names the old files."""
    limit = float(max_shard_size) * 1024**3
    shards: list[list[hdf5.Group]] = [[]]
    room = limit
    for group in weights.groups(model, skip):
        sizes = {name: int(getattr(array, "nbytes", 8)) for name, array in group.arrays.items()}
        too_large = [name for name, size in sizes.items() if size > limit]
        if too_large:
            raise invalid(
                f"The size of {group.path}/{too_large[0]} exceeds the maximum shard size of {max_shard_size} GB.",
                fix="increase `max_shard_size`.",
            )
        here: dict[str, Any] = {}
        for name, array in group.arrays.items():
            if sizes[name] > room:
                shards[-1].append(hdf5.Group(group.path, here, group.attributes))
                shards.append([])
                here, room = {}, limit
            here[name] = array
            room -= sizes[name]
        shards[-1].append(hdf5.Group(group.path, here, group.attributes))
    folder, name = os.path.split(path)
    base = _stem(folder, name.removesuffix(".json").replace(".weights", ""))
    old = _old_shards(path)
    weight_map: dict[str, list[str]] = {}
    total = 0
    files = [os.path.join(folder, f"{base}_{i:05}.weights.h5") for i in range(len(shards))]
    try:
        for file, shard in zip(files, shards, strict=True):
            atomic.write(file, hdf5.image(shard, checksums=True))
            for group in shard:
                if group.arrays:
                    key = f"/{group.path}/vars" if group.path else "/vars"
                    weight_map.setdefault(key, []).append(os.path.basename(file))
                    total += sum(int(getattr(array, "nbytes", 8)) for array in group.arrays.values())
        plain = {place: names[0] if len(names) == 1 else names for place, names in weight_map.items()}
        atomic.write(path, [json.dumps({"metadata": {"total_size": total}, "weight_map": plain}, indent=4).encode()])
    finally:  # whatever ended it, what the map names stays
        named = _old_shards(path)
        _remove(place for place in {*files, *old} if place not in named)


def _stem(folder: str, base: str) -> str:
    """Return how the names of new shards begin: as Keras names them, unless such are there or being written."""
    first = os.path.join(folder, f"{base}_00000.weights.h5")
    try:
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return f"{base}_{secrets.token_hex(4)}"
    except OSError:
        return base  # what is wrong with the folder is said where the file is written
    return base


def _remove(files: Iterable[str]) -> None:
    for file in files:
        with suppress(OSError):
            os.unlink(file)


def _old_shards(path: str) -> list[str]:
    try:
        return _shards(path)
    except (FileFormatError, OSError):
        return []


def _shards(path: str) -> list[str]:
    """Return the paths of the files that a map names. They must lie beside it."""
    if os.path.getsize(path) > _MAP_LIMIT:
        raise FileFormatError(message("The map of shards is too large.", owner=source_of(path)))
    try:
        with open(path, "rb") as file:
            weight_map = json.loads(file.read())["weight_map"]
        named = [weight_map[key] for key in weight_map]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(message(f"It is not a map of shards: {error}.", owner=source_of(path))) from error
    names = [name for item in named for name in (item if isinstance(item, list) else [item])]
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name or not name.endswith(".weights.h5"):
            raise FileFormatError(
                message(
                    "A shard must be a `.weights.h5` file beside the map.", owner=source_of(path), received=repr(name)
                )
            )
    found = [os.path.join(os.path.dirname(path), name) for name in sorted(set(names))]
    for place in found:
        if not os.path.isfile(place):
            raise MissingFileError(message(f"File not found: {place}.", owner=source_of(path), fix="copy all shards."))
    return found
