"""The HDF5 files of Keras 2: not read yet."""

from typing import Any, NoReturn

from lamina.errors import FileFormatError, message
from lamina.saving.paths import source_of


def load_model(path: str, custom_objects: dict[str, Any] | None, compile: bool) -> NoReturn:
    """Say that the format is not read."""
    del custom_objects, compile
    raise _refused(path)


def load_weights(model: Any, path: str, skip_mismatch: bool, by_name: bool) -> NoReturn:
    """Say that the format is not read."""
    del model, skip_mismatch, by_name
    raise _refused(path)


def _refused(path: str) -> FileFormatError:
    return FileFormatError(
        message(
            "The HDF5 format of Keras 2 is not read.",
            owner=source_of(path),
            fix="load it with Keras and save it again as `.keras` or `.weights.h5`.",
        )
    )
