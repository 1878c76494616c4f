"""The readers, each with files to begin from."""

import functools
import io
import pathlib
import shutil
import tempfile
import zipfile

import h5py
import numpy as np

import lamina
from lamina import Dense, Input, Sequential, layers
from lamina.interop import FORMATS, format_of_file

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
Seeds = dict[str, bytes]  # names of files to what they hold


def _model() -> Sequential:
    inner = [
        Dense(4, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.1),
        Dense(2, activation="softmax"),
    ]
    return Sequential([Input((3,)), *inner], name="net")


@functools.cache
def target() -> Sequential:
    """Return the model that weights are read into."""
    return _model()


def _written(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"m{suffix}")
        model = _model()
        if suffix == ".weights.h5":
            model.save_weights(path)
        elif suffix == ".keras":
            model.compile("adam", "mse")
            model.fit(np.zeros((2, 3), "float32"), np.zeros((2, 2), "float32"), verbose=0)
            model.save(path)
        else:
            model.export(path)
        return path.read_bytes()


def _old() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "m.h5")
        shutil.copy(FIXTURES / "tensorflow" / "tf215_functional.h5", path)
        with h5py.File(path, "r+") as file:
            if "optimizer_weights" in file:
                del file["optimizer_weights"]
        return path.read_bytes()


def _folder(name: str) -> Seeds:
    place = FIXTURES / "tensorflow" / name
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


@functools.cache
def seeds(name: str) -> Seeds:
    """Return the good files of a target: one, or the parts of a folder."""
    if name in ("keras", "weights"):
        suffix = ".keras" if name == "keras" else ".weights.h5"
        return {f"m{suffix}": _written(suffix)}
    if name == "weights_plain":  # as Keras writes it, without checksums
        with zipfile.ZipFile(io.BytesIO(seeds("keras")["m.keras"])) as archive:
            return {"m.weights.h5": archive.read("model.weights.h5")}
    if name == "h5":
        return {"m.h5": _old()}
    if name == "saved_model":
        return _folder("tf221_functional_saved")
    if name == "saved_model_2":
        return _folder("tf215_functional_saved")
    if name == "checkpoint":
        return _folder("tf215_sequential_weights")
    if name == "prototxt":
        return {"m.prototxt": (FIXTURES / "caffe" / "modern.prototxt").read_bytes()}
    if name == "caffemodel_1":
        return {"m.caffemodel": (FIXTURES / "caffe" / "old.caffemodel").read_bytes()}
    form = FORMATS[name]
    return {f"m{form.suffixes[0]}": _written(form.suffixes[0])}


def read(name: str, folder: pathlib.Path) -> None:
    """Read the files of a target as `load_model` or `load_weights` does."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    path = str(folder if len(files) > 1 else files[0])
    if name.startswith("weights"):
        target().load_weights(path)
    elif name in ("keras", "h5"):
        lamina.load_model(path)
    else:
        form = format_of_file(path)
        if form is not None:
            form.read(path, **({"activations": "relu"} if name == "checkpoint" else {}))


_TITLES = {
    "keras": "`.keras`",
    "weights": "`.weights.h5` of ours",
    "weights_plain": "`.weights.h5` as Keras writes it",
    "h5": "`.h5` of Keras 2",
    "saved_model": "SavedModel of Keras 3",
    "saved_model_2": "SavedModel of Keras 2",
    "checkpoint": "TensorFlow's checkpoint",
    "prototxt": "`.prototxt`",
    "caffemodel_1": "`.caffemodel`, old list of layers",
}


def title(name: str) -> str:
    """Return what a table calls a target."""
    return _TITLES.get(name) or f"`{FORMATS[name].suffixes[0]}`"


def names() -> list[str]:
    """Return the targets: the readers of Keras's files, and of each format that is read and written here."""
    return [*_TITLES, *(form.name for form in FORMATS.values() if form.reads and form.writes)]
