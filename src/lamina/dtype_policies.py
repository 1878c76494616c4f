"""In which types a layer computes and keeps its weights."""

from typing import Any

from lamina import registry, serialization
from lamina._types import Config
from lamina.errors import InvalidTypeError, invalid, message
from lamina.serialization import Configurable
from lamina.variables import standardize_dtype

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
        self.name: str = dtype_policy().name if name is None else name
        name = self.name
        if not isinstance(name, str):
            raise InvalidTypeError(
                message(
                    "'name' must be a string, such as 'mixed_float16'.",
                    received=f"name={name!r} (of type {type(name)})",
                )
            )
        self.compute_dtype, self.variable_dtype = self._parse(name)
        self.quantization_mode: str | None = None

    @staticmethod
    def _parse(name: str) -> tuple[str, str]:
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

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(self.name)

    def get_config(self) -> Config:
        """Return the name."""
        return {"name": self.name}


FloatDTypePolicy = DTypePolicy


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
        return DTypePolicy(identifier)
    else:
        try:
            return DTypePolicy(standardize_dtype(identifier))
        except ValueError:
            pass
    raise invalid(
        "Cannot interpret `dtype` argument. Expected a string or an instance of DTypePolicy.",
        received=f"dtype={identifier!r}",
    )


def serialize(dtype_policy: DTypePolicy) -> Config:
    """Return the config of a policy."""
    return serialization.serialize(dtype_policy)  # type: ignore[no-any-return]


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the policy that a config describes."""
    return serialization.deserialize(config, custom_objects)
