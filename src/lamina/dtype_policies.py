"""In which types a layer computes and keeps its weights."""

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from lamina import registry, serialization
from lamina._types import Config
from lamina.errors import InvalidTypeError, invalid, message
from lamina.serialization import Configurable
from lamina.variables import is_float, standardize_dtype, to_array

QUANTIZATION_MODES = ("int8", "float8", "int4")
_ABSENT = ("gptq", "awq")
_QUANTIZED = (*QUANTIZATION_MODES, *_ABSENT)
_MIXED = {"mixed_float16": ("float16", "float32"), "mixed_bfloat16": ("bfloat16", "float32")}
_default: "list[DTypePolicy]" = []


@registry.export("dtype_policies", "FloatDTypePolicy", module="keras")
class DTypePolicy(Configurable):
    """The pair of types of a layer: `compute_dtype` and `variable_dtype`.

    Args:
        name: A dtype such as 'float32', or 'mixed_float16' or 'mixed_bfloat16'. None: the default policy's name.

    Raises:
        InvalidArgumentError: If the name stands for no policy.
    """

    def __init__(self, name: str | None = None) -> None:
        self._set(dtype_policy().name if name is None else name)

    def _set(self, source: str, name: str | None = None, mode: str | None = None) -> None:
        self._compute_dtype, self._variable_dtype = self._parse(source)
        self._name: str = source if name is None else name
        self._quantization_mode = mode

    @property
    def name(self) -> str:
        """The name that stands for it."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """Type in which a layer computes."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Type in which a layer keeps its weights."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """How a layer keeps its large weights: 'int8', 'int4', 'float8' or None."""
        return self._quantization_mode

    @staticmethod
    def _parse(name: Any) -> tuple[str, str]:
        if not isinstance(name, str):
            raise InvalidTypeError(
                message(
                    "'name' must be a string, such as 'mixed_float16'.",
                    received=f"name={name!r} (of type {type(name)})",
                )
            )
        if name in _MIXED:
            return _MIXED[name]
        try:
            dtype = standardize_dtype(name)
        except ValueError:
            raise invalid(
                f"Cannot convert '{name}' to a mixed precision DTypePolicy. Valid policies include 'mixed_float16', "
                "'mixed_bfloat16', and the name of any float dtype such as 'float32'."
            ) from None
        return dtype, dtype

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """Return an array or stand-in in another float type, if `autocast` says so; anything else as it is."""
        if not hasattr(x, "dtype"):
            if not hasattr(x, "__array__"):
                return x
            x = to_array(x)
        own, wanted = standardize_dtype(x.dtype), standardize_dtype(dtype)
        return x.astype(wanted) if autocast and is_float(own) and own != wanted else x

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self.name}">'

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(self.name)

    def get_config(self) -> Config:
        """Return the name."""
        return {"name": self.name}


FloatDTypePolicy = DTypePolicy


@registry.export("dtype_policies")
class QuantizedDTypePolicy(DTypePolicy):
    """The types of a layer that keeps its large weights quantized.

    Args:
        mode: 'int8', 'int4' or 'float8'.
        source_name: Name of the policy for everything else. None: the default policy's name.

    Raises:
        InvalidArgumentError: For another mode, or 'int8' with computations in float16, whose range is too small for it.
    """

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        self._set_quantized(mode, mode, source_name)

    def _set_quantized(self, mode: str, written: str, source_name: str | None) -> None:
        if mode not in QUANTIZATION_MODES:
            raise invalid(f"Invalid quantization mode. Expected one of {QUANTIZATION_MODES}.", received=f"mode={mode}")
        source = dtype_policy().name if source_name is None else source_name
        self._set(source, f"{written}_from_{source}", mode)
        self._source_name: str = source
        if self.compute_dtype == "float16" and mode == "int8":
            raise invalid(
                f"Quantization mode='{mode}' doesn't work well with compute_dtype='float16'.",
                fix="use 'float32', 'bfloat16' or 'mixed_bfloat16' as the source.",
            )

    def get_config(self) -> Config:
        """Return the mode and the name of the source."""
        return {"mode": self._quantization_mode, "source_name": self._source_name}


@registry.export("dtype_policies")
class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """The types of a layer that multiplies in 8-bit floats.

    Args:
        mode: 'float8'.
        source_name: Name of the policy for everything else. None: the default policy's name.
        amax_history_length: Over how many steps the largest value is taken for the scale.
    """

    default_amax_history_length = 1024

    def __init__(self, mode: str, source_name: str | None = None, amax_history_length: int = 1024) -> None:
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise InvalidTypeError(
                message(
                    "`amax_history_length` must be an integer.",
                    received=f"amax_history_length={amax_history_length!r}",
                )
            )
        self.amax_history_length = amax_history_length

    def get_config(self) -> Config:
        """Return the mode, the name of the source and the length of the history."""
        return {**super().get_config(), "amax_history_length": self.amax_history_length}


@registry.export("dtype_policies")
class Int4DTypePolicy(QuantizedDTypePolicy):
    """The types of a layer that keeps its large weights in 4 bits.

    Args:
        mode: 'int4/N': N weights that follow each other share a scale and a zero point; 'int4/-1': a whole channel
            shares a scale.
        source_name: Name of the policy for everything else. None: the default policy's name.

    Raises:
        InvalidArgumentError: For another form of `mode`.
    """

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        first, _, size = mode.partition("/")
        expected = "Expected format 'int4/<block_size>'"
        if first != "int4" or not size or "/" in size:
            raise invalid(f"Invalid mode for Int4DTypePolicy. {expected}, but got '{mode}'.")
        try:
            self.block_size = int(size)
        except ValueError:
            raise invalid(
                f"Invalid mode for Int4DTypePolicy. <block_size> must be an integer. {expected}, but got '{mode}'."
            ) from None
        if self.block_size < -1 or self.block_size == 0:
            raise invalid(
                "Invalid block_size in mode. Supported values are -1 (per-channel) or a positive integer "
                f"(sub-channel), but got {self.block_size} from '{mode}'."
            )
        self.mode = first
        self._set_quantized(first, mode, source_name)

    def get_config(self) -> Config:
        """Return the mode with the size of a block, and the name of the source."""
        return {"mode": f"int4/{self.block_size}", "source_name": self._source_name}


@registry.export("dtype_policies")
class DTypePolicyMap(DTypePolicy, MutableMapping):  # type: ignore[type-arg]
    """A dict from the paths of layers, or regular expressions for them, to policies; other paths have the default.

    Args:
        default_policy: A policy or its name. None: the default policy of the process, also after loading.
        policy_map: Paths to policies.

    Raises:
        InvalidArgumentError: If the default is itself a map.
        InvalidTypeError: If `policy_map` is no dict.
    """

    def __init__(self, default_policy: Any = None, policy_map: Any = None) -> None:
        if isinstance(default_policy, DTypePolicyMap):
            raise invalid("`default_policy` cannot be a `DTypePolicyMap`.")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise InvalidTypeError(
                message(
                    "If specified, `policy_map` must be a dict.",
                    received=f"policy_map={policy_map} of type {type(policy_map)}",
                )
            )
        self._given = default_policy
        self.default_policy = get(default_policy)
        self._policy_map: dict[str, DTypePolicy] = policy_map or {}

    @property
    def name(self) -> str:
        """The default's name after 'map_'."""
        return f"map_{self.default_policy.name}"

    @property
    def compute_dtype(self) -> str:
        """That of the default."""
        return self.default_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """That of the default."""
        return self.default_policy.variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """That of the default."""
        return self.default_policy.quantization_mode

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._policy_map:
            return self._policy_map[key]
        matching = [pattern for pattern in self._policy_map if re.fullmatch(pattern, key)]
        if len(matching) > 1:
            raise invalid(
                f"Path '{key}' matches multiple dtype policy specification keys: {matching}.",
                fix="let each path match at most one key of the DTypePolicyMap.",
            )
        return self._policy_map[matching[0]] if matching else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._policy_map:
            raise invalid(
                f"{key} already exist in the DTypePolicyMap with value {self._policy_map[key]}.",
                fix="delete it first.",
            )
        try:
            self._policy_map[key] = get(policy)
        except (ValueError, TypeError) as error:
            raise invalid(
                "Cannot interpret the assigned value by `dtype_policies.get`.",
                received=f"{policy} of type {type(policy)}",
            ) from error

    def __delitem__(self, key: str) -> None:
        del self._policy_map[key]

    def __contains__(self, key: object) -> bool:
        return key in self._policy_map

    def __len__(self) -> int:
        return len(self._policy_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._policy_map)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        mapping = [(path, policy.name) for path, policy in self.items()]
        return f"<DTypePolicyMap at {hex(id(self))} default_policy={self.default_policy.name}, mapping={mapping}>"

    def get_config(self) -> Config:
        """Return the default and the policies. Without a default of its own, those of the process apply on loading."""
        policies = {path: serialize(policy) for path, policy in self.items()}
        if self._given is None:
            for policy in policies.values():
                policy["config"][("source_name" if "source_name" in policy["config"] else "name")] = None
        return {"default_policy": serialization.encode(self._given), "policy_map": policies}

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Any:
        """Return the map that `get_config` described."""
        policies = serialization.deserialize(config["policy_map"], custom_objects)
        return cls(serialization.decode(config["default_policy"]), policies)


def dtype_policy() -> DTypePolicy:
    """Return the policy of layers that name none: float32 unless set otherwise."""
    from lamina import config

    return _default[0] if _default else DTypePolicy(config.floatx())


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of layers that name none.

    Raises:
        InvalidArgumentError: If it is neither a name nor a policy.
    """
    if not isinstance(policy, str | DTypePolicy):
        raise invalid(
            "Invalid `policy` argument. Expected the string name of a policy (such as 'mixed_float16') or a "
            "`DTypePolicy` instance.",
            received=f"policy={policy!r} (of type {type(policy)})",
        )
    _default[:] = [get(policy)]


def get(identifier: Any) -> DTypePolicy:
    """Return the policy that a name, a dtype, a config or a policy stands for; None gives the default."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        policy = deserialize(identifier)
        if isinstance(policy, DTypePolicy):
            return policy
    elif isinstance(identifier, str):
        return quantized(identifier) if identifier.startswith(_QUANTIZED) else DTypePolicy(identifier)
    else:
        try:
            return DTypePolicy(standardize_dtype(identifier))
        except ValueError:
            pass
    raise invalid(
        "Cannot interpret `dtype` argument. Expected a string or an instance of DTypePolicy.",
        received=f"dtype={identifier!r}",
    )


def quantized(name: str) -> DTypePolicy:
    """Return the policy that a name such as 'int8_from_float32' stands for.

    Raises:
        InvalidArgumentError: If the name stands for no quantized policy.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(message("`policy` must be a string.", received=f"policy={name!r}"))
    if not name.startswith(_QUANTIZED):
        raise invalid("`policy` is incompatible with the current supported quantization.", received=f"policy={name}")
    mode, middle, source = name.partition("_from_")
    if not middle or "_from_" in source:
        raise invalid(
            "Cannot convert `policy` into a valid pair (`mode`, `source_name`) to instantiate `QuantizedDTypePolicy`.",
            received=f"policy={name}",
            fix="write it like 'int8_from_float32'.",
        )
    if name.startswith(_ABSENT):
        raise invalid(
            f"Policies for {mode.partition('/')[0].upper()} are not here: it is made for large language models.",
            received=f"policy={name}",
            fix=f"use one of {QUANTIZATION_MODES}.",
        )
    if mode.startswith("float8"):
        return QuantizedFloat8DTypePolicy(mode, source)
    return (Int4DTypePolicy if mode.startswith("int4/") else QuantizedDTypePolicy)(mode, source)


def serialize(dtype_policy: DTypePolicy) -> Config:
    """Return the config of a policy."""
    return serialization.serialize(dtype_policy)  # type: ignore[no-any-return]


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the policy that a config describes."""
    return serialization.deserialize(config, custom_objects)
