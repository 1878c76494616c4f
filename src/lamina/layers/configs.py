"""A layer's constructor arguments as a config in Keras's form, and a layer from a config."""

import functools
import inspect
from typing import Any

from lamina import dtype_policies, registry, serialization
from lamina._types import Config
from lamina.errors import message

BASE = ("name", "trainable", "dtype", "activity_regularizer")
# What Keras writes for parts that are not here; None means that the layer does without.
UNUSED = ("quantization_config", "lora_rank", "lora_alpha", "gptq_unpacked_column_size")


def arguments(cls: type) -> tuple[str, ...]:
    """Return the names of a constructor's own arguments."""
    return serialization.parameters(cls)


def describe(layer: Any, base: type) -> Config:
    """Return the config of a layer: what every layer has first, then its own arguments.

    A class of the library keeps each argument under its own name. A class of the user's is described by the arguments
    that it was made with, unless it has a `get_config` of its own, which adds to what the library's class gives.
    """
    config: Config = {
        "name": layer.name,
        "trainable": layer.trainable,
        "dtype": dtype_policies.serialize(layer.dtype_policy),
    }
    if layer.activity_regularizer is not None:
        config["activity_regularizer"] = serialization.encode(layer.activity_regularizer)
    cls = _described(type(layer), base)
    if registry.home(cls) is None:
        config.update(_given(layer, cls))
        return config
    if cls is base:
        return config
    own = [name for name in arguments(cls) if name not in BASE]
    for name in getattr(cls, "_config_order", None) or own:
        if name not in config:
            config[name] = serialization.encode(getattr(layer, name))
    for name in getattr(cls, "_optional_config", ()):
        value = getattr(layer, name, None)
        if value:
            config[name] = value
    return config


def _described(cls: type, base: type) -> type:
    """Return the class whose arguments are the config: the library's next to a `get_config` by hand, else `cls`."""
    mro = cls.__mro__[: cls.__mro__.index(base) + 1]
    # A model of the library writes its own for its graph or its chain: that says nothing about a class of the user's.
    by_hand = [i for i, c in enumerate(mro[:-1]) if "get_config" in c.__dict__ and not _is_model(c)]
    if by_hand:
        return next(c for c in mro[by_hand[-1] + 1 :] if registry.home(c) is not None)
    own_init = next(c for c in mro if "__init__" in c.__dict__)
    return cls if registry.home(own_init) is None else own_init


def _is_model(cls: type) -> bool:
    return (registry.home(cls) or ("", ""))[1] in ("Model", "Functional", "Sequential")


def _given(layer: Any, cls: type) -> Config:
    """Return the arguments that a layer of the user's class was made with."""
    args, kwargs = layer.__dict__.get("_arguments", ((), {}))
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    given = signature.bind_partial(layer, *args, **kwargs)
    given.apply_defaults()
    config: Config = {}
    for name, value in list(given.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            config.update({key: serialization.encode(v) for key, v in value.items() if key not in BASE})
        elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            if value:
                raise NotImplementedError(
                    message(
                        f"Object {cls.__name__} was created by passing positional only or variadic positional "
                        "arguments to `__init__()`, which no config can name.",
                        fix="give each argument a name, or write a `get_config` and a `from_config`.",
                    )
                )
        elif name not in BASE:
            config[name] = serialization.encode(value)
    return config


def restore(cls: type, config: Config) -> Any:
    """Return the layer that a config describes, also of a class whose constructor takes no `name` or `dtype`.

    Raises:
        ConfigError: If the constructor does not take the arguments.
    """
    config = {key: serialization.decode(value) for key, value in config.items()}
    policy = config.get("dtype")
    if type(policy) is dtype_policies.DTypePolicy:
        config["dtype"] = policy.name
    taken, open_ended = _taken(cls.__init__)  # type: ignore[misc]
    left: Config = {}
    if not open_ended:
        left = {key: config.pop(key) for key in BASE if key in config and key not in taken}
    try:
        layer = cls(**config)
    except Exception as error:
        raise serialization.ConfigError(
            f"Error when deserializing class '{cls.__name__}' using config={config}.\n\nException encountered: {error}"
        ) from error
    for key, value in left.items():
        setattr(layer, {"dtype": "dtype_policy"}.get(key, key), value)
    return layer


@functools.lru_cache(maxsize=1024)
def _taken(function: Any) -> tuple[frozenset[str], bool]:
    """Return the names of the arguments of a function, and whether it takes any others."""
    found = inspect.signature(function).parameters.values()
    return frozenset(p.name for p in found), any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found)


def without_unused(kwargs: Config) -> Config:
    """Return arguments without those for parts that are not here, where they are None."""
    return {key: value for key, value in kwargs.items() if key not in UNUSED or value is not None}
