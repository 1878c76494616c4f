"""From one file to another of any kind, through a model; and what both sides compute of the same inputs."""

from dataclasses import dataclass
from typing import Any

from lamina.errors import did_you_mean, invalid
from lamina.files.paths import as_path, source_of
from lamina.interop import Format, Net, format_for, format_of_file
from lamina.saving.bridge import net_of
from lamina.saving.compare import Comparison, compared, predicted, sample_inputs
from lamina.saving.loading import native_kind, no_writer, read_model
from lamina.saving.models import save_keras
from lamina.saving.weight_files import save_weights

# What Keras reads and lamina writes itself, with all that a `Net` does not hold.
KERAS = Format("keras", "Keras", (".keras",), "lamina.saving.compare", peer="keras")
WEIGHTS = Format("weights", "Keras weights", (".weights.h5",), "lamina.saving.compare", reads=False)
NATIVE = {KERAS.name: KERAS, WEIGHTS.name: WEIGHTS}


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion: the model between, sentences for the user, and the comparisons that were made."""

    model: Any
    notes: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def convert(
    source: Any,
    target: Any,
    *,
    to: str | None = None,
    check: bool = True,
    custom_objects: dict[str, Any] | None = None,
    **options: Any,
) -> Conversion:
    """Write the model of one file to a file of another kind, and return what is to be known of it.

    Args:
        source: A file or folder of any kind that `load_model` reads, or a model.
        target: Where to write; its ending says the kind.
        to: The name of the kind, if the ending does not say it.
        check: Whether the runtimes of both files, where they are installed, run the same 64 inputs.
        custom_objects: Names to classes and functions of yours.
        **options: What the reader or the writer takes, e.g. `architecture` for a PyTorch file.

    Raises:
        FileFormatError: If the source cannot be read.
        InvalidArgumentError: If the target cannot hold the model (the error names the layer), there is no writer for
            it, or nobody takes an option.
    """
    path = as_path(target)
    writer = _writer(path, to)
    origin = None if hasattr(source, "layers") else as_path(source)
    reader = None if origin is None else _reader(origin)
    reading, writing = _shared(options, reader, writer, origin)
    model, notes = (source, ()) if origin is None else read_model(origin, custom_objects, **reading)
    native = writer.name in NATIVE
    net = Net({}) if native and not check else net_of(model)
    if writer.name == KERAS.name:
        save_keras(model, path)
    elif writer.name == WEIGHTS.name:
        save_weights(model, path)
    else:
        notes = (*notes, *writer.write(net, path, **writing))
    comparisons = []
    if check:
        inputs = sample_inputs(model)
        expected = predicted(model, inputs)
        if reader is not None and origin is not None:
            comparisons.append(compared("source", reader, origin, inputs, net, expected))
        comparisons.append(compared("target", writer, path, inputs, net, expected))
    return Conversion(model, notes, tuple(comparisons))


def _writer(path: str, to: str | None) -> Format:
    for form in NATIVE.values():
        if to == form.name or (to is None and path.endswith(form.suffixes)):
            return form
    found = format_for(path, to)
    if found is None:
        raise no_writer(path)
    if not found.writes:
        raise invalid(f"{found.title} files can be read only.", owner=source_of(path))
    return found


def _reader(path: str) -> Format | None:
    """Return the format of a file; None for an `.h5` file and where there is nothing to read."""
    kind = native_kind(path)
    return KERAS if kind == "keras" else None if kind else format_of_file(path)


def _shared(
    options: dict[str, Any], reader: Format | None, writer: Format, origin: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return which options are for the reader, and which for the writer."""
    can_read = () if reader is None or reader.name in NATIVE else reader.options("read")
    can_write = () if writer.name in NATIVE else writer.options("write")
    for name in options:
        if name not in can_read and name not in can_write:
            known = {*can_read, *can_write}
            fix = did_you_mean(name, known) if known else "there are no options here."
            raise invalid(f"Neither the reader nor the writer takes the option `{name}`.", fix=fix)
    chosen = [{name: value for name, value in options.items() if name in known} for known in (can_read, can_write)]
    return chosen[0], chosen[1]
