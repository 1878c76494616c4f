"""Models to and from files of every kind: what a file is, its bytes say; what a new one shall be, its ending says."""

import os
from typing import Any

from lamina import errors
from lamina.errors import invalid, message
from lamina.files import atomic, zips
from lamina.files.paths import LEGACY, MissingFileError, as_path, is_hdf5, not_what_it_says, signature, source_of
from lamina.interop import FORMATS, format_for, format_of_file
from lamina.saving import archive
from lamina.saving.bridge import model_of, net_of
from lamina.saving.models import load_keras, save_keras


def load_model(
    filepath: Any,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    **options: Any,
) -> Any:
    """Return the model that a file holds, whatever framework wrote it: its bytes say which, not its name.

    Reading runs nothing that the file says: a class or function must be in the library, be registered, or be among
    `custom_objects`. A file is refused before it makes the machine run out of memory.

    Args:
        filepath: Path of a `.keras` file, of a folder written with `zipped=False`, of an `.h5` file, of a file of
            another framework (`lamina convert --help` lists them), or an open `.keras` file.
        custom_objects: Names to classes and functions of yours, beside the registered ones.
        compile: Whether to compile the model as it was, with the state of its optimizer. Only Keras's files say it.
        safe_mode: Kept for Keras scripts. Code in a file is never run, whatever it says.
        **options: What the reader of another framework's files takes, e.g. `architecture` for PyTorch's.

    Raises:
        FileFormatError: If the file is missing, damaged, no model, or holds what must not be loaded.
        InvalidArgumentError: If the reader has no such option.
    """
    del safe_mode
    model, notes = read_model(filepath, custom_objects, compile, **options)
    for note in notes:
        errors.warn(note)
    return model


def read_model(
    filepath: Any, custom_objects: dict[str, Any] | None = None, compile: bool = True, **options: Any
) -> tuple[Any, tuple[str, ...]]:
    """Return the model that a file holds, as `load_model` does, and what the user should know of it."""
    if hasattr(filepath, "read"):
        return load_keras(filepath, custom_objects, compile), ()
    path = as_path(filepath)
    kind = native_kind(path)
    if kind is None:
        form = format_of_file(path)
        if form is not None:
            net = form.read(path, **options)
            return model_of(net, source_of(path), custom_objects), net.notes
    if options:
        raise invalid(f"A Keras file has no option `{next(iter(options))}` to read it with.")
    if kind == "h5":
        from lamina.saving import legacy

        return legacy.load_model(path, custom_objects, compile), ()
    if kind is None and os.path.isfile(path) and path.endswith((*LEGACY, ".keras")):
        raise not_what_it_says(path, "an HDF5 file" if path.endswith(LEGACY) else "a `.keras` zip file")
    if (
        kind is None
        and path.endswith(tuple(s for f in FORMATS.values() for s in f.suffixes))
        and not os.path.exists(path)
    ):
        raise MissingFileError(message(f"File not found: filepath={path}.", received=f"working folder {os.getcwd()!r}"))
    if kind is None and not path.endswith((".keras", *LEGACY)) and not os.path.isdir(path):
        known = ", ".join(form.title for form in FORMATS.values() if form.reads)
        there = "" if os.path.exists(path) else " There is no such file."
        raise invalid(
            f"File format not supported: filepath={path}.{there}",
            fix=f"pass a file of Keras or of {known}; for the weights alone use `model.load_weights`.",
        )
    return load_keras(path, custom_objects, compile), ()


def native_kind(path: str) -> str | None:
    """Return "keras" or "h5" if what is at a path is a file of Keras, by its bytes; None if it is anything else."""
    if os.path.isdir(path):
        whole = all(os.path.isfile(os.path.join(path, name)) for name in (archive.CONFIG, archive.WEIGHTS))
        return "keras" if whole else None
    if not os.path.isfile(path):
        return None
    if is_hdf5(path):
        return "h5"
    if zips.begins_as_zip(signature(path)) and (path.endswith(".keras") or archive.CONFIG in zips.names(path)):
        return "keras"
    return None


def save_model(
    model: Any,
    filepath: Any,
    overwrite: bool = True,
    zipped: bool | None = None,
    format: str | None = None,
    **options: Any,
) -> None:
    """Write a model to a file of any kind that can be written: its ending, or `format`, says which.

    A `.keras` file holds all: the config, the weights, the compile arguments and the state of the optimizer. The file
    is written in one step: if anything fails, a file that was there is unchanged. An `.h5` file holds the same in the
    form of Keras 2, for programs that read no other.

    Args:
        model: The model.
        filepath: A path, e.g. `net.keras`, `net.h5` or `net.safetensors`; a folder if `zipped=False`; or an open
            `.keras` file.
        overwrite: Whether to replace a file without asking. False asks at a terminal, and raises elsewhere.
        zipped: False writes a folder with the three parts of a `.keras` file instead of one file.
        format: The kind of file, where the ending does not say it (`lamina convert --help` lists them).
        **options: What the writer of that kind takes; for `.h5`, `include_optimizer=False` leaves out how the model was
            compiled and the optimizer's state.

    Raises:
        InvalidArgumentError: If the path has another ending, an argument is unknown, or the format cannot hold the
            model: the error names the layer.
        FileFormatError: If a layer cannot be described, e.g. because it holds a `lambda`.
        OSError: If the file cannot be written.
    """
    if hasattr(filepath, "write") or zipped is not None or format == "keras":
        _refuse_old_arguments(options)
        save_keras(model, filepath, overwrite, zipped)
        return
    path = as_path(filepath)
    if format is None and path.endswith(LEGACY) and not path.endswith(".weights.h5"):
        _save_old(model, path, overwrite, options)
        return
    form = None if format is None and path.endswith(".keras") else format_for(path, format)
    if form is None:
        _refuse_old_arguments(options)
        save_keras(model, path, overwrite)
    elif atomic.confirmed(path, overwrite):
        for note in form.write(net_of(model), path, **options):
            errors.warn(note)


def _save_old(model: Any, path: str, overwrite: bool, options: dict[str, Any]) -> None:
    from lamina.saving import legacy_write

    include_optimizer = options.pop("include_optimizer", True)
    if options.get("save_format") == "h5":
        del options["save_format"]  # what the ending says, too
    _refuse_old_arguments(options)
    errors.warn(
        "You are saving your model as an HDF5 file. This file format is considered legacy: `.keras` holds the same and "
        "guards it with checksums."
    )
    legacy_write.save_model(model, path, overwrite, bool(include_optimizer))


def export(model: Any, filepath: Any, format: str | None = None, **options: Any) -> tuple[str, ...]:
    """Write a model to a file of another framework and return what is to be known of it, a sentence each.

    Args:
        model: The model.
        filepath: Where to.
        format: The kind of file, where the ending does not say it.
        **options: What the writer of that kind takes.

    Raises:
        InvalidArgumentError: If there is no writer for it, or it cannot hold the model: the error names the layer.
    """
    path = as_path(filepath)
    form = format_for(path, format)
    if form is None:
        raise no_writer(path)
    return form.write(net_of(model), path, **options)


def no_writer(path: str) -> errors.InvalidArgumentError:
    """Return the error for a path whose ending no writer has."""
    endings = ", ".join(f"`{s}` ({f.title})" for f in FORMATS.values() if f.writes for s in f.suffixes)
    return invalid(
        "Its ending does not say what to write.",
        owner=source_of(path),
        fix=f"end it in `.keras` or one of {endings}, or name the format.",
    )


def _refuse_old_arguments(options: dict[str, Any]) -> None:
    options.pop("include_optimizer", None)
    if options.pop("save_format", None):
        raise invalid(
            "The `save_format` argument is deprecated in Keras 3.",
            fix="remove it and pass a path that ends in `.keras`.",
        )
    if options:
        raise invalid(f"The following argument(s) are not supported: {list(options)}")
