"""In which types a layer keeps its weights and computes, and how it comes to keep them quantized."""

import functools
from collections.abc import Callable
from typing import Any

from lamina import dtype_policies, serialization
from lamina.errors import invalid
from lamina.layers import remat
from lamina.quantizers.configs import QuantizationConfig, validate_and_resolve_config


def _checked(quantize: Callable[..., None]) -> Callable[..., None]:
    """Return `quantize` with all that surrounds it: the checks, and the layer as it was if it fails."""

    @functools.wraps(quantize)
    def whole(self: "Policies", mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        config = validate_and_resolve_config(mode, config)
        self._check_quantize(config.mode)
        before = {**self.__dict__, "_weights": list(self._weights)}
        try:
            quantize(self, mode=config.mode, type_check=type_check, config=config)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    whole.__checked__ = True  # type: ignore[attr-defined]
    return whole


class Policies(serialization.Configurable):
    """The part of a layer that knows its types."""

    name: str
    built: bool
    _dtype_policy: dtype_policies.DTypePolicy
    _weights: list[Any]
    _path: str | None
    _is_quantized = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "quantize" in cls.__dict__ and not getattr(cls.quantize, "__checked__", False):
            cls.quantize = _checked(cls.quantize)  # type: ignore[method-assign]

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The types in which it computes and keeps its weights.

        May be set to a policy or its name. A quantized one quantizes the weights of a layer that is built.
        """
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        policy = dtype_policies.get(value)
        known = self.__dict__.get("_dtype_policy")
        path = self.__dict__.get("_path")
        if isinstance(known, dtype_policies.DTypePolicyMap) and path:
            if path in known:
                del known[path]
            known[path] = policy
        else:
            self._dtype_policy = policy
        mode = self._policy.quantization_mode
        if mode is not None and self.__dict__.get("built") and not self._is_quantized:
            try:
                self.quantize(mode, config=self._config_of(policy))
            except BaseException:
                if not isinstance(known, dtype_policies.DTypePolicyMap) and known is not None:
                    self._dtype_policy = known
                raise

    @staticmethod
    def _config_of(policy: dtype_policies.DTypePolicy) -> Any:
        """Return the settings that a policy's name holds beside the mode, or None."""
        from lamina.quantizers import Int4QuantizationConfig

        if isinstance(policy, dtype_policies.Int4DTypePolicy):
            return Int4QuantizationConfig(block_size=policy.block_size)
        return None

    @property
    def _policy(self) -> dtype_policies.DTypePolicy:
        """The policy of this very layer: that of its path, if it has a map."""
        policy, path = self._dtype_policy, self.__dict__.get("_path")
        return policy[path] if isinstance(policy, dtype_policies.DTypePolicyMap) and path else policy

    @property
    def compute_dtype(self) -> str:
        """Type in which it computes."""
        return self._policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Type of its weights."""
        return self._policy.variable_dtype

    @property
    def dtype(self) -> str:
        """Type of its weights."""
        return self.variable_dtype

    @property
    def input_dtype(self) -> str:
        """Type to which its inputs are cast."""
        return self.compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """How its weights are quantized: 'int8', 'int4', 'float8' or None."""
        return self._policy.quantization_mode

    # ---- quantization, for the layers that have it

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Replace its large weights by quantized ones. To be written by a subclass that can.

        Args:
            mode: 'int8', 'int4' or 'float8'. May be left out if `config` is given.
            type_check: Whether a class of the user's is refused, which may compute something else.
            config: Settings, e.g. `quantizers.Int4QuantizationConfig(block_size=64)`.

        Raises:
            InvalidArgumentError: If it is not built, is quantized already, or the mode is not known.
            NotImplementedError: If the layer has nothing to quantize.
        """
        raise self._not_implemented("quantize")

    def quantized_build(self, input_shape: Any, mode: str, config: QuantizationConfig | None = None) -> None:
        """Make the weights of a mode. To be written by a subclass that can."""
        raise self._not_implemented("quantized_build")

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output as `call` does, from quantized weights."""
        mode = self.quantization_mode
        if mode not in dtype_policies.QUANTIZATION_MODES:
            raise self._mode_error(mode)
        return getattr(self, f"_{mode}_call")(*args, **kwargs)

    _remat_mode: remat.RematMode | None = None

    def _calling(self, args: Any, kwargs: Any) -> Callable[..., Any]:
        """Return what computes the output: `call`, unless a quantized policy meets a layer that can follow it."""
        mode = self._policy.quantization_mode
        plain = mode is None or not self._follows(mode)
        call: Callable[..., Any] = self.call if plain else self.quantized_call  # type: ignore[attr-defined]
        return call if self._remat_mode is None else self.rematerialized_call(call, *args, **kwargs)

    def rematerialized_call(self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Return what to call in the place of `layer_call`, as the `RematScope` asks in which the layer was made."""
        return (
            layer_call if self._remat_mode is None else remat.call_of(self, self._remat_mode, layer_call, args, kwargs)
        )

    def _follows(self, mode: str) -> bool:
        cls, method = type(self), f"_{mode}_call"
        return (
            cls.quantized_call is not Policies.quantized_call
            or mode not in dtype_policies.QUANTIZATION_MODES
            or getattr(cls, method) is not getattr(Policies, method)
        )

    def _int8_call(self, *args: Any, **kwargs: Any) -> Any:
        raise self._not_implemented("_int8_call")

    def _int4_call(self, *args: Any, **kwargs: Any) -> Any:
        raise self._not_implemented("_int4_call")

    def _float8_call(self, *args: Any, **kwargs: Any) -> Any:
        raise self._not_implemented("_float8_call")

    def _not_implemented(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"Layer {type(self).__name__} does not have a `{method}` method implemented.")

    _modes: tuple[str, ...] = dtype_policies.QUANTIZATION_MODES

    def _mode_error(self, mode: Any) -> NotImplementedError:
        return NotImplementedError(
            f"Invalid quantization mode. Expected one of {self._modes}. Received: quantization_mode={mode}"
        )

    def _check_quantize(self, mode: str) -> None:
        if not self.built:
            raise invalid(
                "Cannot quantize a layer that isn't yet built.",
                owner=f"{type(self).__name__} layer `{self.name}`",
                fix="call it on data or `build` it first.",
            )
        if self._is_quantized:
            raise invalid(
                f"Layer '{self.name}' is already quantized with dtype_policy='{self.dtype_policy.name}'.",
                received=f"mode={mode}",
            )
        if mode == "int8" and self.compute_dtype == "float16":
            raise invalid(
                f"Quantization mode='{mode}' doesn't work well with compute_dtype='float16'.",
                owner=f"{type(self).__name__} layer `{self.name}`",
                fix="set its `dtype_policy` to 'float32' or 'mixed_bfloat16' first.",
            )


Policies.quantize = _checked(Policies.quantize)  # type: ignore[method-assign]
