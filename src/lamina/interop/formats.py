"""The table of formats: how a file is known, and which module reads or writes it."""

import importlib
import importlib.util
import inspect
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lamina._types import Numpy
from lamina.errors import FileFormatError, LaminaError, did_you_mean, invalid, message
from lamina.files.paths import source_of
from lamina.interop.net import Net

_HEAD = 512
# What arithmetic on numbers out of a damaged file raises where no reader foresaw it.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError, RecursionError, EOFError)


@dataclass(frozen=True)
class Format:
    """One kind of file or folder.

    Attributes:
        name: The word in `lamina convert --to NAME`.
        title: What a person calls it.
        suffixes: Endings of its files, the first that of a new one.
        module: The module with `matches(path, head) -> bool` (is this file of the kind; `head` holds its first 512
            bytes, empty for a folder or where there is nothing), `read(path, **options) -> Net` if it can be read,
            `write(net, path, **options) -> notes` if it can be written, and, if another runtime can run the file,
            `verify(path, inputs, net) -> outputs`: arrays in the order of the model's inputs and outputs.
        reads: Whether there is a reader.
        writes: Whether there is a writer.
        peer: The package or program that `verify` runs the file with; empty if there is none.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    module: str
    reads: bool = True
    writes: bool = True
    peer: str = ""

    def _function(self, name: str) -> Callable[..., Any]:
        return cast(Callable[..., Any], getattr(importlib.import_module(self.module), name))

    def matches(self, path: str, head: bytes) -> bool:
        """Return whether this file is of the kind, by its bytes."""
        return bool(self._function("matches")(path, head))

    def options(self, verb: str) -> tuple[str, ...]:
        """Return the names of what may be asked for beside the path, when reading ("read") or writing ("write")."""
        if not (self.reads if verb == "read" else self.writes):
            return ()
        parameters = inspect.signature(self._function(verb)).parameters
        return tuple(name for name in parameters if name not in ("net", "path"))

    def read(self, path: str, **options: Any) -> Net:
        """Return what the file says.

        Raises:
            FileFormatError: If it is damaged, or holds what cannot be held here.
            InvalidArgumentError: If there is no such option.
        """
        self._check("read", options)
        try:
            return cast(Net, self._function("read")(path, **options))
        except LaminaError:
            raise
        except _DAMAGE as error:
            problem = f"The {self.title} file is damaged: {type(error).__name__}: {error}"
            raise FileFormatError(message(problem[:400], owner=source_of(path))) from error

    def write(self, net: Net, path: str, **options: Any) -> tuple[str, ...]:
        """Write the net and return what a person should know of the result, a sentence each.

        Raises:
            InvalidArgumentError: If the format cannot hold the net, or there is no such option.
        """
        self._check("write", options)
        return tuple(self._function("write")(net, path, **options))

    def verify(self, path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy] | None:
        """Return what the format's own runtime computes, or None if it is not installed or there is none."""
        if not self.peer or (importlib.util.find_spec(self.peer) is None and shutil.which(self.peer) is None):
            return None
        return list(self._function("verify")(path, inputs, net))

    def _check(self, verb: str, options: dict[str, Any]) -> None:
        if not (self.reads if verb == "read" else self.writes):
            raise invalid(f"{self.title} files can be {'written' if verb == 'read' else 'read'} only.")
        known = self.options(verb)
        for name in options:
            if name not in known:
                fix = did_you_mean(name, known) if known else "there are no options here."
                raise invalid(f"A {self.title} file has no option `{name}` to {verb} it with.", fix=fix)


# The order matters for reading: what has a signature comes before what has none.
_ALL: tuple[Format, ...] = (
    Format("torch", "PyTorch", (".pt", ".pth"), "lamina.interop.torch_file", peer="torch"),
    Format("safetensors", "safetensors", (".safetensors",), "lamina.interop.safetensors_file", peer="torch"),
    Format("onnx", "ONNX", (".onnx",), "lamina.interop.onnx", peer="onnxruntime"),
    Format("tflite", "TFLite", (".tflite",), "lamina.interop.tflite", peer="ai_edge_litert"),
    Format("stablehlo", "StableHLO", (".stablehlo",), "lamina.interop.stablehlo", reads=False, peer="jax"),
    Format("web", "web page", (".web", ".html"), "lamina.interop.web", reads=False, peer="chromium"),
    Format("c", "C99", (".c",), "lamina.interop.c", reads=False, peer="gcc"),
    Format("tensorflow", "TensorFlow", (".index", ".pb"), "lamina.interop.tensorflow", writes=False, peer="tensorflow"),
    Format("caffe", "Caffe", (".caffemodel", ".prototxt"), "lamina.interop.caffe", peer="cv2"),
)
FORMATS: dict[str, Format] = {f.name: f for f in _ALL}


def format_of_file(path: str) -> Format | None:
    """Return the format of what is at a path, by its bytes, or None if it is none of them."""
    head = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    return next((f for f in FORMATS.values() if f.reads and f.matches(path, head)), None)


def format_for(path: str, name: str | None = None) -> Format | None:
    """Return the format to write a new file in: the one named, else by the ending of the path, else None.

    Raises:
        InvalidArgumentError: If there is none of that name.
    """
    if name is not None:
        if name not in FORMATS:
            raise invalid(f"Unrecognized format={name!r}.", fix=did_you_mean(name, FORMATS))
        return FORMATS[name]
    lower = path.lower()
    fitting = [(len(s), f) for f in FORMATS.values() if f.writes for s in f.suffixes if lower.endswith(s)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None
