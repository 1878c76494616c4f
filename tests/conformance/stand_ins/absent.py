"""TensorFlow, PyTorch and grain count as not installed, but some test files import them at their head for a few cases.

While files are collected, and only for a test file of Keras, such a module is a thing whose every use skips the test.
Otherwise, and afterwards, there is no such module, whether it is installed or not. The variable `CONFORMANCE_WITH` names
those that shall be found, e.g. `CONFORMANCE_WITH=tensorflow,grain` for the layers that Keras has only with TensorFlow.
"""

import os
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any
from unittest import SkipTest

_FOUND = os.environ.get("CONFORMANCE_WITH", "").split(",")
ROOTS = tuple(name for name in ("tensorflow", "torch", "grain", "tensorboard") if name not in _FOUND)


class Absent(type):
    """Type of the names of packages that are not installed."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls.__module__}.{cls.__name__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise SkipTest(f"{cls.__module__}.{cls.__name__} is not installed")

    def __iter__(cls) -> Iterator[Any]:
        raise SkipTest(f"{cls.__module__}.{cls.__name__} is not installed")

    def __instancecheck__(cls, thing: Any) -> bool:
        return False


def absent(name: str) -> Any:
    """Return what stands for a name of a package that is not installed."""
    module, _, own = name.rpartition(".")
    return Absent(own, (), {"__module__": module})


class AbsentModule(ModuleType):
    """A package that is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{self.__name__}.{name}")


def _for_a_test_file() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<frozen") and name != __file__:
            return name.endswith("_test.py")
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Finder(MetaPathFinder, Loader):
    """Answers the imports of packages that are not installed, for test files alone."""

    collecting = True

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOTS:
            return None
        if self.collecting and _for_a_test_file():
            return spec_from_loader(fullname, self, is_package=True)
        raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


_finder = Finder()


def install() -> None:
    """Begin to answer."""
    sys.meta_path.insert(0, _finder)


def remove() -> None:
    """Forget the modules that were handed out: there is none any more."""
    _finder.collecting = False
    for name in [name for name, module in sys.modules.items() if isinstance(module, AbsentModule)]:
        del sys.modules[name]
