"""Configs of Keras 2, and of `.h5` files, in the form of Keras 3: the same classes, with the module of each."""

from typing import Any

from lamina import registry, serialization
from lamina._types import Config
from lamina.errors import FileFormatError, message

_MODELS = {"Sequential": "keras", "Model": "keras.src.models.functional", "Functional": "keras.src.models.functional"}
_KINDS = {  # the key under which an object stands, or its end, to what kind of object it is
    "_initializer": "initializers",
    "_regularizer": "regularizers",
    "_constraint": "constraints",
    "activation": "layers",
    "layers": "layers",
    "layer": "layers",
    "learning_rate": "schedules",
    "optimizer": "optimizers",
    "optimizer_config": "optimizers",
    "loss": "losses",
    "metrics": "metrics",
    "dtype": "dtype_policies",
}
_MODULES = {"schedules": "keras.optimizers.schedules", "dtype_policies": "keras"}
# Arguments that Keras 2 wrote and that mean nothing any more.
_GONE = {
    "initializers": ("dtype",),
    "layers": ("input_length", "virtual_batch_size", "fused", "renorm_clipping", "activity_regularizer_is_none"),
    "optimizers": ("decay", "jit_compile", "is_legacy_optimizer", "initial_decay", "clipnorm_is_none"),
}


def modern(config: Any, kind: str = "models", key: str = "") -> Any:
    """Return a config with the module of every object in it, and with what Keras 3 renamed under its new name.

    Args:
        config: What JSON gave.
        kind: The kind of object that it describes.
        key: The key under which it stands.
    """
    if isinstance(config, list):
        return [modern(item, kind, key) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {name: modern(value, _kind_of(name, kind), name) for name, value in config.items()}
    name = _without_package(config["class_name"], kind)
    config = {**config, "class_name": name}
    if not isinstance(name, str | None):
        raise FileFormatError(message("The name of a class is no text.", received=repr(name)[:80]))
    if name in _MODELS and isinstance(config["config"], list):
        config = {**config, "config": {"name": None, "layers": config["config"]}}  # the oldest form of Sequential
    inner = config["config"]
    if isinstance(inner, dict):
        inner = {k: modern(v, _kind_of(k, kind), k) for k, v in _renamed(inner, name, kind).items()}
    found = {**config, "config": inner}
    if isinstance(config.get("compile_config"), dict):
        said = {
            k: v for k, v in config["compile_config"].items() if v is not None
        }  # Keras 2 wrote out what was not given
        found["compile_config"] = modern(said, "")
    module = str(config.get("module"))
    if name in _MODELS and module.startswith("keras"):
        found["module"] = _MODELS[name]  # Keras 2 had them elsewhere
    if "module" not in config and isinstance(name, str) and not name.startswith("__"):
        plain = isinstance(inner, dict) and not {"dtype", "trainable", "layers"} & set(inner)
        is_operation = "inbound_nodes" in config and plain
        kind = "src.ops.numpy" if is_operation else kind  # an array function between layers
        found["module"] = _MODELS.get(name) or _MODULES.get(kind, f"keras.{kind}")
        found["class_name"] = "Functional" if name == "Model" else name
        if ">" in name:  # registered by the user: `package>name` was the name of the class
            found.update(module=None, registered_name=name, class_name=name.partition(">")[2])
    return found


def _without_package(name: Any, kind: str) -> Any:
    """Return the plain name of an optimizer of Keras 2, which registered its own as if they were the user's."""
    if kind != "optimizers" or not isinstance(name, str) or not name.startswith("Custom>"):
        return name
    plain = name.removeprefix("Custom>")
    own = isinstance(registry.find("optimizers", plain), type)
    return plain if own and registry.get_registered_object(name) is None else name


def _kind_of(key: str, outer: str) -> str:
    for end, kind in _KINDS.items():
        if key == end or (end.startswith("_") and key.endswith(end)):
            return kind
    return "layers" if outer == "models" else outer


def _renamed(inner: Config, name: str, kind: str) -> Config:
    """Return the arguments of an object under the names of Keras 3."""
    config = {key: value for key, value in inner.items() if key not in _GONE.get(kind, ())}
    if kind == "optimizers":
        if "lr" in config:
            config["learning_rate"] = config.pop("lr")
        known = registry.find("optimizers", name)
        if isinstance(known, type):
            allowed = {*serialization.parameters(known), *known._base_config}  # type: ignore[attr-defined]
            config = {key: value for key, value in config.items() if key in allowed}
    axis = config.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    if kind == "metrics" and isinstance(config.get("fn"), str):
        config["fn"] = {"module": "builtins", "class_name": "function", "config": config["fn"]}
    if any(
        isinstance(node, list) for entry in _dicts(config.get("layers")) for node in _listed(entry.get("inbound_nodes"))
    ):
        for end in ("input_layers", "output_layers"):  # Keras 2 wrote a list also for one
            places = config.get(end)
            config[end] = places[0] if isinstance(places, list) and len(places) == 1 else places
    if name == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    return config


def _dicts(values: Any) -> list[Config]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def compile_arguments(config: Config) -> Config:
    """Return the compile config, in the form of Keras 3, that the `training_config` of an `.h5` file holds.

    Raises:
        FileFormatError: If it has no optimizer.
    """
    optimizer = config.get("optimizer_config")
    if not isinstance(optimizer, dict):
        raise FileFormatError(message("The training config has no optimizer.", fix="pass `compile=False`."))
    wanted = ("loss", "loss_weights", "metrics", "weighted_metrics")
    found = {key: modern(config.get(key), _kind_of(key.removeprefix("weighted_"), "")) for key in wanted}
    return {"optimizer": modern(optimizer, "optimizers"), **found}
