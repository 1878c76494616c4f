"""Whole models to `.keras` files and back."""

import gc
import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from lamina import registry, serialization, variables
from lamina._types import Array, Config
from lamina.errors import FileFormatError, LaminaError, invalid, message
from lamina.files import atomic, zips
from lamina.files.paths import MissingFileError, as_path, not_what_it_says, signature, source_of
from lamina.initializers import RandomInitializer, Zeros
from lamina.layers.parts import Parts
from lamina.saving import archive, assets, hdf5, weights
from lamina.saving.legacy_config import modern

_ROOM = 64 << 20  # bytes that a model may hold beside what its file has: seeds, metrics, slots not yet used
_TIMES = 4  # and how often the file's own weights: an optimizer that was not built has slots only once it is loaded


def save_keras(model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None) -> None:
    """Write a model to a `.keras` file, a folder or an open file; see `save_model`."""
    if hasattr(filepath, "write"):
        _write(model, filepath)
        return
    path = as_path(filepath)
    _check_ending(path, zipped)
    if not atomic.confirmed(path, overwrite):
        return
    if zipped is False:
        _write_folder(model, path)
        return
    with atomic.replacing(path) as file:
        _write(model, file)


def _check_ending(path: str, zipped: bool | None) -> None:
    if zipped is False:
        if path.endswith(".keras"):
            raise invalid(
                "With `zipped=False` a folder is written, and its name should not end in `.keras`.",
                received=f"filepath={path}",
            )
    elif not path.endswith(".keras"):
        raise invalid(
            "Invalid filepath extension for saving.",
            received=f"filepath={path}",
            fix=f"name it {os.path.splitext(path)[0] + '.keras'!r}; for the weights alone use `save_weights`.",
        )


def _parts(model: Any) -> tuple[Config, tuple[memoryview, ...]]:
    if not isinstance(model, Parts):
        raise invalid("Only a model can be saved.", received=repr(model)[:80])
    if not model.built:
        warnings.warn(
            "You are saving a model that has not yet been built. It might not contain any weights yet. Build it first "
            "by calling it on some data.",
            stacklevel=4,
        )
    return serialization.serialize_shared(model), hdf5.image(weights.groups(model), checksums=False)


def _write(model: Any, file: IO[bytes]) -> None:
    archive.write(file, *_parts(model), assets.collect(model))


def _write_folder(model: Any, path: str) -> None:
    config, image = _parts(model)
    os.makedirs(path, exist_ok=True)
    for name, data in archive.documents(config):
        atomic.write(os.path.join(path, name), [data])
    atomic.write(os.path.join(path, archive.WEIGHTS), image)
    for name, data in assets.collect(model).items():
        place = os.path.join(path, *name.split("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        atomic.write(place, [data])


def load_keras(filepath: Any, custom_objects: dict[str, Any] | None, compile: bool) -> Any:
    """Return the model that a `.keras` file, a folder written with `zipped=False`, or an open file holds."""
    with _nothing_collected():
        if hasattr(filepath, "read"):
            return _from_archive(archive.read(filepath, "the open file"), "the open file", custom_objects, compile)
        source = source_of(filepath)
        found = _read_folder(filepath) if os.path.isdir(filepath) else open_archive(filepath)
        return _from_archive(found, source, custom_objects, compile)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Let Python's collector rest inside the block, since all that is made there stays.

    To look through it again and again takes a sixth of the time of a deep model.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def open_archive(path: str, config: bool = True) -> archive.Archive:
    """Return what the `.keras` file at a path holds; see `archive.read`."""
    if not os.path.exists(path):
        raise MissingFileError(
            message(
                f"File not found: filepath={path}. Please ensure the file is an accessible `.keras` zip file.",
                received=f"working folder {os.getcwd()!r}",
            )
        )
    if not zips.begins_as_zip(signature(path)):
        raise not_what_it_says(path, "a `.keras` zip file")
    with open(path, "rb") as file:
        return archive.read(file, source_of(path), config)


def _read_folder(path: str) -> archive.Archive:
    places = [os.path.join(path, name) for name in (archive.CONFIG, archive.WEIGHTS)]
    if not all(os.path.isfile(place) for place in places):
        raise MissingFileError(
            message(
                f"File not found: filepath={path} is a folder without `{archive.CONFIG}` and `{archive.WEIGHTS}`. "
                "Please ensure the file is an accessible `.keras` zip file.",
                fix="pass the path of the file inside the folder.",
            )
        )
    with open(places[0], "rb") as config, open(places[1], "rb") as image:
        kept = assets.in_folder(path)
        return archive.Archive(archive.parsed(config.read(), source_of(path)), image.read(), assets=kept)


def _from_archive(found: archive.Archive, source: str, custom_objects: dict[str, Any] | None, compile: bool) -> Any:
    config = modern(found.config) if found.version.startswith("2.") else found.config
    config = config if compile else {**config, "compile_config": None}
    with hdf5.opened({source: io.BytesIO(found.weights)}, source) as file:
        fill = Fill(source, file.nbytes)
        model = model_from(config, custom_objects, fill)
        weights.load(model, file, optimizer_class=optimizer_class_in(config))
    assets.restore(model, found.assets, source)
    fill.rest()
    return model


class Fill:
    """What variables hold while a model is made out of a file: nothing random, and not more than the file has.

    Random numbers that the file's weights replace at once are not drawn: drawing compiles a program for each shape.

    Args:
        source: What to call the file in an error.
        nbytes: Bytes of the weights in the file: a config that asks for far more is refused.
    """

    def __init__(self, source: str, nbytes: int) -> None:
        self.source = source
        self._nbytes = nbytes
        self._left = nbytes * _TIMES + _ROOM
        self._empty: list[tuple[variables.Variable, Array, RandomInitializer]] = []
        self._zeros: dict[tuple[tuple[int, ...], str], Array] = {}  # one for all variables of a shape

    def __call__(self, variable: variables.Variable, initializer: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """Return zeros in place of random numbers, or None to let the initializer fill the variable.

        Raises:
            FileFormatError: If the variables together are far larger than the weights in the file.
        """
        if any(length < 0 for length in shape):
            raise FileFormatError(
                message(f"The config asks for `{variable.path}` of the shape {shape}.", owner=self.source)
            )
        size = math.prod(shape) * jnp.dtype(dtype).itemsize
        self._left -= size
        if self._left < 0:
            raise FileFormatError(
                message(
                    f"The config asks for `{variable.path}` of {size:,} bytes, and all the weights in the file "
                    f"are {self._nbytes:,} bytes: they do not belong together.",
                    owner=self.source,
                )
            )
        random = isinstance(initializer, RandomInitializer) and isinstance(initializer.seed, int)
        if not random and type(initializer) is not Zeros:
            return None
        zeros = self._zeros.get((shape, dtype))
        if zeros is None:
            zeros = self._zeros[shape, dtype] = jnp.asarray(np.zeros(shape, jnp.dtype(dtype)))
        if random:
            self._empty.append((variable, zeros, initializer))
        return zeros

    def rest(self) -> None:
        """Draw the random numbers of the variables that the file had no weights for."""
        for variable, zeros, initializer in self._empty:
            if variable._array is zeros:
                variable.assign(initializer(variable.shape, dtype=variable._dtype))


def model_from(config: Config, custom_objects: dict[str, Any] | None, fill: Fill) -> Any:
    """Return the model that a config describes, without its weights.

    Raises:
        FileFormatError: If the config is not that of a model, or describes one that is larger than its weights.
    """
    source = fill.source
    try:
        with serialization.sharing(), variables.guarded(fill):
            model = serialization.deserialize(config, custom_objects)
    except RecursionError as error:
        raise FileFormatError(message("The config is nested too deeply.", owner=source)) from error
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, LaminaError):
            raise
        problem = f"The config cannot be made a model: {type(error).__name__}: {error}"
        raise FileFormatError(message(problem, owner=source)) from error
    if not isinstance(model, Parts):
        raise FileFormatError(message(f"It holds no model but {type(model).__name__}.", owner=source))
    return model


def optimizer_class_in(config: Config) -> str | None:
    """Return the name of the optimizer's class that the config of a compiled model tells, or None."""
    compiled = config.get("compile_config")
    optimizer = compiled.get("optimizer") if isinstance(compiled, dict) else None
    name = optimizer.get("class_name") if isinstance(optimizer, dict) else None
    own = registry.find("optimizers", name) if isinstance(name, str) else None
    return own.__name__ if isinstance(own, type) else name
