"""Objects to plain dicts and back, in Keras's form. Reading never imports, evaluates or unpickles anything."""

import importlib
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Self

import numpy as np

from lamina import registry
from lamina._types import Config
from lamina.errors import FileFormatError, LaminaError, did_you_mean, invalid, message

_shared: ContextVar[dict[Any, Any] | None] = ContextVar("shared_objects", default=None)
_written: ContextVar[dict[int, tuple[int, Any]] | None] = ContextVar("written_objects", default=None)
_UNSHARED = frozenset({"DTypePolicy", "DTypePolicyMap"})  # equal is as good as the same


class ConfigError(FileFormatError, TypeError):
    """A config cannot be made an object again. Keras raises a `TypeError` here, so this is one too."""


@lru_cache(maxsize=4096)
def parameters(cls: type) -> tuple[str, ...]:
    """Return the names of the constructor's own arguments, in order, without `self`, `*args` and `**kwargs`."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return tuple(p.name for p in found if p.kind in kinds and p.name != "self")


@lru_cache(maxsize=4096)
def config_class(cls: type) -> type:
    """Return the class whose constructor `Configurable.get_config` describes: the first that writes none by hand."""
    own = [c for c in cls.__mro__ if "get_config" in c.__dict__ and c is not Configurable]
    if not own:
        return cls
    mro = cls.__mro__
    return mro[mro.index(own[-1]) + 1] if Configurable in cls.__mro__ else cls


class Configurable:
    """Something that its constructor's arguments describe, each stored under its own name.

    A subclass writes no `get_config`: the signature of its constructor is the list of what to save.
    """

    _base_config: tuple[str, ...] = ()  # attributes that every subclass saves first, e.g. ("name", "trainable")

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        if registry.home(cls) is None:
            self.__dict__["_arguments"] = (args, kwargs)  # a class of the user's may not keep them by name
        return self

    def get_config(self) -> Config:
        """Return the arguments that make an equal object, as plain values."""
        cls: type = config_class(type(self))  # type: ignore[arg-type]
        config = {name: encode(getattr(self, name)) for name in self._base_config}
        for name in parameters(cls):
            if name not in config:
                config[name] = encode(self._argument(name, cls))
        return config

    def _argument(self, name: str, cls: type) -> Any:
        if registry.home(cls) is None:
            args, kwargs = self.__dict__.get("_arguments", ((), {}))
            try:
                given = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)  # type: ignore[misc]
            except TypeError:
                given = None
            if given is not None:
                given.apply_defaults()
                if name in given.arguments:
                    return given.arguments[name]
        try:
            return getattr(self, name)
        except AttributeError:
            raise NotImplementedError(
                message(
                    f"Argument `{name}` of its constructor is not kept, so its config is not known.",
                    owner=type(self).__name__,
                    fix=f"set `self.{name} = {name}` in `__init__`, or write a `get_config`.",
                )
            ) from None

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the object that `get_config` described."""
        return cls(**{name: decode(value) for name, value in config.items()})


def encode(value: Any) -> Any:
    """Return a constructor's argument as it stands in a config: objects as dicts, functions by name, the rest as is."""
    if isinstance(value, Configurable) or (hasattr(value, "get_config") and not isinstance(value, type)):
        return serialize(value)
    if _is_function(value):
        place = registry.home(value)
        return place[1] if place else serialize(value)
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "__array__") and not isinstance(value, type):
        return serialize(value)
    if isinstance(value, list | tuple):
        return type(value)([encode(v) for v in value]) if type(value) in (list, tuple) else [encode(v) for v in value]
    if isinstance(value, dict):
        return {key: encode(v) for key, v in value.items()}
    return value


def _is_function(value: Any) -> bool:
    """Return whether a value is a function, also one that JAX has wrapped, such as `jax.nn.relu`."""
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
        return True
    return callable(value) and hasattr(value, "__wrapped__") and hasattr(value, "__name__")


def decode(value: Any) -> Any:
    """Return an argument out of a config: what `encode` made a dict of becomes an object again."""
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        return deserialize(value)
    if type(value) in (list, tuple) and any(isinstance(v, dict | list | tuple) for v in value):
        return type(value)([decode(v) for v in value])
    return value


def serialize(value: Any) -> Any:
    """Return any value as plain dicts, lists, numbers and strings, in the form of Keras's files.

    A function of the library is written by its name.

    Raises:
        InvalidArgumentError: For a `lambda`, which only its code could describe.
    """
    return _serialize(value, by_name=True)


def serialize_keras_object(obj: Any) -> Any:
    """Return any value as `serialize` does, but a function of the library as a dict, as Keras does."""
    return _serialize(obj, by_name=False)


def _serialize(value: Any, by_name: bool) -> Any:  # noqa: PLR0911, C901 - one line for each kind of value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_serialize(v, by_name) for v in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: _serialize(v, by_name) for key, v in value.items()}
    if isinstance(value, bytes):
        return {"class_name": "__bytes__", "config": {"value": value.decode("utf-8")}}
    if isinstance(value, slice):
        parts = {part: _serialize(getattr(value, part), by_name) for part in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": parts}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    if hasattr(value, "__keras_tensor__"):
        return {"class_name": "__keras_tensor__", "config": value.__keras_tensor__()}
    if hasattr(value, "__array__") and not isinstance(value, type):
        array = np.asarray(value)
        return {"class_name": "__tensor__", "config": {"value": array.tolist(), "dtype": array.dtype.name}}
    if isinstance(value, type):
        return _class_config(value)
    if _is_function(value):
        return _function_config(value, by_name)
    return _object_config(value)


def _class_config(cls: type) -> Config:
    module, name = registry.home(cls) or (cls.__module__, cls.__name__)
    return {"module": "builtins", "class_name": "type", "config": {"module": module, "name": name}}


def _function_config(function: Any, by_name: bool) -> Any:
    if function.__name__ == "<lambda>":
        raise invalid(
            "A `lambda` cannot be saved: only its code describes it, and reading code carries a risk of arbitrary code "
            "execution.",
            received=repr(function),
            fix="write it as a named function and decorate it with `register_keras_serializable()`.",
        )
    place = registry.home(function)
    if place and by_name:
        return place[1]
    name = place[1] if place else registry.get_registered_name(function)
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def _object_config(value: Any) -> Config:
    cls = type(value)
    if not hasattr(value, "get_config"):
        raise ConfigError(
            message(
                f"Cannot serialize an object of type {cls.__name__}.",
                received=repr(value),
                fix="give its class a `get_config()` method and register it with `register_keras_serializable()`.",
            )
        )
    inner = value.get_config()
    if not isinstance(inner, dict):
        raise ConfigError(
            message(f"The `get_config()` method of {cls.__name__} should return a dict.", received=repr(inner)[:80])
        )
    place = registry.home(cls)
    key = registry._custom_names.get(cls)
    module, name = place or (cls.__module__, cls.__name__)
    registered = key or (None if place else registry.get_registered_name(cls))
    config: Config = {
        "module": None if module == "__main__" else module,
        "class_name": name,
        "config": serialize(inner),
        "registered_name": name if place and not key and module.startswith("keras.src.") else registered,
    }
    for part, method in (("build_config", "get_build_config"), ("compile_config", "get_compile_config")):
        more = getattr(value, method)() if hasattr(value, method) else None
        if more is not None:
            config[part] = serialize(more)
    written = _written.get()
    if written is not None and name not in _UNSHARED:
        config["shared_object_id"] = written.setdefault(id(value), (len(written) + 1, value))[0]
    return config


@contextmanager
def sharing() -> Iterator[None]:
    """Inside the block an object that is mentioned twice has a `shared_object_id`, and one read by it is made once."""
    tokens = _shared.set({}), _written.set({})
    try:
        yield
    finally:
        _shared.reset(tokens[0])
        _written.reset(tokens[1])


def serialize_shared(value: Any) -> Any:
    """Return `serialize(value)`, with a `shared_object_id` on those objects that occur twice in it."""
    with sharing():
        config = serialize(value)
    found: dict[int, list[Config]] = {}
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if "shared_object_id" in part:
                found.setdefault(part["shared_object_id"], []).append(part)
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            stack.extend(part)
    for places in found.values():
        if len(places) == 1:
            del places[0]["shared_object_id"]
    return config


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True) -> Any:
    """Return the value that `serialize` described.

    Args:
        config: What `serialize` gave, or Keras's `serialize_keras_object`.
        custom_objects: Names to classes and functions of yours, beside the registered ones.
        safe_mode: Kept for Keras scripts. Code in a file is never run, whatever it says.

    Raises:
        FileFormatError: If the config names what is neither in the library's table nor registered, or holds code.
    """
    with registry.custom_object_scope(custom_objects or {}):
        if isinstance(config, str):
            own = registry.get_registered_object(config)
            return config if own is None else own
        return _deserialize(config)


def _deserialize(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)([_deserialize(v) for v in config])
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _deserialize(v) for key, v in config.items()}
    name, inner = config["class_name"], config["config"]
    if isinstance(name, str) and name.startswith("__"):
        return _deserialize_special(name, inner)
    shared, key = _shared.get(), config.get("shared_object_id")
    if shared is not None and isinstance(key, int | str) and key in shared:
        return shared[key]
    value = _deserialize_object(config, name, {} if inner is None else inner)
    if shared is not None and isinstance(key, int | str):
        shared[key] = value
    return value


def _deserialize_special(name: str, inner: Any) -> Any:
    try:
        if name in ("__numpy__", "__tensor__"):
            return _array(inner["value"], inner["dtype"], on_device=name == "__tensor__")
        if name == "__bytes__":
            return str(inner["value"]).encode("utf-8")
        if name == "__slice__":
            return slice(*[_deserialize(inner[part]) for part in ("start", "stop", "step")])
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__keras_tensor__":
            return registry.lookup("graph", "KerasTensor", "stand-in")(shape=inner["shape"], dtype=inner["dtype"])
    except (KeyError, TypeError, IndexError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(message(f"A `{name}` in the config is not whole.", received=repr(inner)[:80])) from error
    if name == "__typespec__" and not isinstance(inner, list | tuple):
        raise ConfigError(message("Expected 'config' to be a list or a tuple.", received=repr(inner)[:80]))
    raise FileFormatError(
        message(
            "The config holds code, which carries a risk of arbitrary code execution. Reading a model never runs code, "
            "also with `safe_mode=False`.",
            received=f"class_name={name!r}",
            fix="where the model is made, write the `lambda` as a named function, register it with "
            "`register_keras_serializable()`, and save the model again.",
        )
    )


def _array(value: Any, dtype: Any, on_device: bool) -> Any:
    if not isinstance(dtype, str) or dtype.rstrip("0123456789") not in ("float", "int", "uint", "bool", "bfloat"):
        raise ConfigError(message("An array in the config must hold numbers.", received=f"dtype={dtype!r}"))
    try:
        if not on_device:
            return np.array(value, dtype)
        import jax.numpy as jnp

        return jnp.asarray(np.array(value, jnp.dtype(dtype)))
    except (ValueError, OverflowError) as error:
        raise ConfigError(message("An array in the config cannot be read.", received=repr(value)[:80])) from error


def _deserialize_object(config: Config, name: Any, inner: Any) -> Any:
    if name not in ("function", "type") and not isinstance(inner, dict):
        raise ConfigError(message(f"Expected 'config' to be a dict for {name}.", received=repr(inner)[:80]))
    cls = _resolve(config, name, inner)
    if not isinstance(cls, type) or name == "type":
        return cls
    if not hasattr(cls, "from_config"):
        raise ConfigError(
            message(
                f"Unable to reconstruct an instance of {name!r}: its class has no `from_config()` method.",
                fix="write a classmethod `from_config(cls, config)` that returns `cls(**config)`.",
            )
        )
    try:
        value = cls.from_config(dict(inner))
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, LaminaError):
            raise
        raise ConfigError(
            message(
                f"{name!r} could not be deserialized properly: {type(error).__name__}: {error}",
                received=f"config={repr(inner)[:200]}",
                fix="see that its constructor takes what its `get_config()` returns, and that objects in the config "
                "are explicitly deserialized in its `from_config()`.",
            )
        ) from error
    for part, method in (("build_config", "build_from_config"), ("compile_config", "compile_from_config")):
        if config.get(part) and hasattr(value, method):
            getattr(value, method)(config[part])
    return value


def _resolve(config: Config, name: Any, inner: Any) -> Any:
    """Return the class or function that a config names, from the user's objects or the closed table."""
    module, registered = config.get("module"), config.get("registered_name")
    is_function = name == "function"
    if is_function and not isinstance(inner, str):
        raise ConfigError(message("Expected 'config' to be a non-null str for a function.", received=repr(inner)[:80]))
    if is_function:
        name = inner
    elif name == "type" and isinstance(inner, dict):
        module, name = inner.get("module"), inner.get("name")
    for key in (name,) if is_function else (registered,):
        own = registry.get_registered_object(key) if isinstance(key, str) else None
        if own is not None:
            return own
    found = _built_in(module, name, is_function) or (_table() and _built_in(module, name, is_function))
    if found is not None:
        if registered and registered not in (name, config.get("class_name")):
            raise invalid(
                f"{name!r} resolved to a Keras built-in, which has no registered name.",
                received=f"registered_name={registered!r}",
                fix="remove `registered_name` from the config, or register the class.",
            )
        return found
    own = _by_bare_name(name) if isinstance(name, str) else None
    if own is not None:
        return own
    raise _not_located("function" if is_function else "class", name, module, registered)


@lru_cache(maxsize=1)
def _table(rooms: str = "activations constraints initializers metrics models optimizers utils.feature_space") -> bool:
    """Import the rooms that fill the table, since a program need not have used all of them."""
    for room in rooms.split():
        importlib.import_module(f"lamina.{room}")
    return True


def _built_in(module: Any, name: Any, is_function: bool) -> Any:
    """Return what the closed table has under Keras's module and name: a class, or a function where one may stand."""
    if not isinstance(name, str) or not isinstance(module, str | None):
        return None
    if is_function and module in (None, "builtins"):
        found = registry.function(name)
        return found if _kind(found) in _OF_FUNCTIONS else None
    found = registry.at(module, name) if module else None
    if _kind(found) in _NOT_IN_FILES and not hasattr(found, "build_from_config"):
        return None
    if isinstance(found, types.FunctionType):
        return found if is_function or registry.kind_of_module(module or "") in _OF_FUNCTIONS else None
    return None if is_function else found


def _kind(thing: Any) -> str | None:
    place = registry.home(thing)
    return registry.kind_of_module(place[0]) if place else None


_NOT_IN_FILES = ("callbacks", "utils")  # a model has none of these but layers; some write files when they are made
_OF_FUNCTIONS = ("activations", "losses", "metrics")  # kinds in which Keras's files may name a function as a class


def _by_bare_name(name: str) -> Any:
    """Return the user's object of this name without its package: Keras up to 3.6 wrote functions so."""
    own = registry.get_registered_object(name)
    if own is not None or ">" in name:
        return own
    ends = [thing for key, thing in registry.get_custom_objects().items() if key.endswith(f">{name}")]
    return ends[0] if len(ends) == 1 else None


def _not_located(what: str, name: Any, module: Any, registered: Any) -> ConfigError:
    if name == "Lambda":
        return ConfigError(
            message(
                "The model has a `Lambda` layer, which holds Python code: a risk of arbitrary code execution. Reading "
                "a model never runs code.",
                fix="write the layer as a class with a `call` method, decorate it with "
                "`register_keras_serializable()`, and save the model again.",
            )
        )
    if isinstance(module, str) and (module == "keras" or module.startswith("keras.")):
        known = [n for n in registry.names(registry.kind_of_module(module) or "") if what != "class" or n[0].isupper()]
        return ConfigError(
            message(
                f"Could not locate {what} {name!r}: it is Keras's, and lamina has only fully connected networks.",
                received=f"module={module!r}",
                fix=f"use another, or pass one of yours: `custom_objects={{{name!r}: ...}}`. "
                f"{did_you_mean(str(name), known)}",
            )
        )
    own_names = [*registry.get_custom_objects(), *registry.scoped_objects()]
    kind = registry.kind_of_module(module) if isinstance(module, str) else None
    return ConfigError(
        message(
            f"Could not locate {what} {name!r}. It is neither one of the library's nor registered.",
            received=f"module={module!r}, registered_name={registered!r}",
            fix=f"decorate the {what} with `register_keras_serializable()`, or pass "
            f"`custom_objects={{{name!r}: ...}}`. {did_you_mean(str(name), [*registry.names(kind or ''), *own_names])}",
        )
    )


def get(kind: str, identifier: Any, noun: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the object that a name, a config, a class or an object stands for; None stays None.

    Args:
        kind: The family, e.g. "initializers".
        identifier: A name ("glorot_uniform"), a config dict, a class, an object or a function.
        noun: What to call it in an error: "initializer".
        custom_objects: Names of yours, beside the registered ones.

    Raises:
        InvalidArgumentError: If it stands for nothing, with the nearest names.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        if "class_name" in identifier and "module" not in identifier and "registered_name" not in identifier:
            identifier = {"module": f"keras.{kind}", **identifier}  # Keras 2 wrote no module
        return deserialize(identifier, custom_objects)
    found = registry.lookup(kind, identifier, noun, custom_objects) if isinstance(identifier, str) else identifier
    if isinstance(found, type):
        return found()
    if not callable(found) and not isinstance(found, Configurable):
        raise registry.unknown(kind, identifier, noun)
    return found
