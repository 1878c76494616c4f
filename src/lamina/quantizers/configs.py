"""How a layer is to be quantized: the mode and the quantizers."""

from typing import Any, Self

from lamina import registry
from lamina._types import Config
from lamina.dtype_policies import QUANTIZATION_MODES, DTypePolicy, DTypePolicyMap, Int4DTypePolicy
from lamina.errors import invalid
from lamina.quantizers.integers import AbsMaxQuantizer
from lamina.serialization import Configurable


@registry.export("quantizers")
class QuantizationConfig(Configurable):
    """Base of the settings of a quantization.

    Args:
        weight_quantizer: What quantizes the weights; None for the mode's own.
        activation_quantizer: What quantizes the inputs; None leaves them as they are.
    """

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = None) -> None:
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self) -> str:
        """'int8', 'int4' or 'float8'."""
        raise NotImplementedError(
            "Subclasses must implement this property. Do not instantiate QuantizationConfig directly."
        )

    @staticmethod
    def weight_quantizer_or_default(config: "QuantizationConfig | None", default: Any) -> Any:
        """Return the quantizer for weights that a config names, else `default`."""
        return default if config is None or config.weight_quantizer is None else config.weight_quantizer

    @staticmethod
    def activation_quantizer_or_default(config: "QuantizationConfig | None", default: Any) -> Any:
        """Return the quantizer for inputs of a config, which may be None; `default` without a config."""
        return default if config is None else config.activation_quantizer


@registry.export("quantizers")
class Int8QuantizationConfig(QuantizationConfig):
    """Weights in 8 bits, one scale for each unit; inputs too, one scale for each row.

    Args:
        weight_quantizer: What quantizes the weights; None for `AbsMaxQuantizer`.
        activation_quantizer: What quantizes the inputs; None leaves them as they are.

    Raises:
        InvalidArgumentError: If the quantizer for weights gives another type than int8.
    """

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = "default") -> None:
        given = AbsMaxQuantizer() if isinstance(activation_quantizer, str) else activation_quantizer
        super().__init__(weight_quantizer, given)
        _check_int8(self)

    @property
    def mode(self) -> str:
        """'int8'."""
        return "int8"


@registry.export("quantizers")
class Int4QuantizationConfig(QuantizationConfig):
    """Weights in 4 bits; inputs as they are, unless a quantizer for them is given.

    Args:
        weight_quantizer: What quantizes the weights; None for the mode's own.
        activation_quantizer: What quantizes the inputs. Default: nothing.
        block_size: How many weights of a unit that follow each other share a scale and a zero point; None or -1 for
            one scale for each unit.

    Raises:
        InvalidArgumentError: If the size is not positive, or quantizers do not fit: blocks have one of their own, and
            whole numbers must be int8 from -8 to 7.
    """

    def __init__(
        self, weight_quantizer: Any = None, activation_quantizer: Any = "default", block_size: int | None = 128
    ) -> None:
        super().__init__(weight_quantizer, None if isinstance(activation_quantizer, str) else activation_quantizer)
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise invalid("block_size must be None, -1, or a positive integer.", received=f"block_size={block_size}")
        self.block_size = block_size
        own = (self.weight_quantizer, self.activation_quantizer)
        if block_size is not None and block_size > 0 and own != (None, None):
            raise invalid(
                "Int4 sub-channel quantization (block_size > 0) does not support custom quantizers. Either set "
                "block_size to None or -1 for per-channel quantization, or remove the custom quantizer arguments.",
                received=f"block_size={block_size}",
            )
        if self.weight_quantizer is not None and tuple(self.weight_quantizer.value_range) != (-8, 7):
            raise invalid(
                "Int4QuantizationConfig requires a weight_quantizer with value_range=(-8, 7).",
                received=f"value_range={self.weight_quantizer.value_range}",
            )
        _check_int8(self)

    @property
    def mode(self) -> str:
        """'int4'."""
        return "int4"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the settings that `get_config` described; files from before there were blocks have no size."""
        return super().from_config({"block_size": None, **config})


@registry.export("quantizers")
class Float8QuantizationConfig(QuantizationConfig):
    """Products in 8-bit floats while training. There is nothing to set."""

    def __init__(self) -> None:
        super().__init__(None, None)

    @property
    def mode(self) -> str:
        """'float8'."""
        return "float8"


def _check_int8(config: QuantizationConfig) -> None:
    quantizer = config.weight_quantizer
    if quantizer is not None and quantizer.output_dtype != "int8":
        raise invalid(
            f"{type(config).__name__} requires a weight_quantizer with output_dtype='int8'.",
            received=f"output_dtype={quantizer.output_dtype}",
        )


_OF_MODE: dict[str, Any] = {
    "int8": Int8QuantizationConfig,
    "int4": Int4QuantizationConfig,
    "float8": Float8QuantizationConfig,
}


def validate_and_resolve_config(mode: Any, config: Any) -> QuantizationConfig:
    """Return the settings that a mode, a config or both stand for.

    Raises:
        InvalidArgumentError: If both are missing, contradict each other, or are not known.
    """
    if isinstance(config, str):
        mode, config = config, None
    if mode is not None and mode not in QUANTIZATION_MODES:
        raise invalid(
            f"Invalid quantization mode. Expected one of {QUANTIZATION_MODES}.",
            received=f"mode={mode}",
            fix="GPTQ and AWQ are made for large language models and are not here."
            if mode in ("gptq", "awq")
            else None,
        )
    if config is None:
        if mode is None:
            raise invalid("You must provide either `mode` or `config` to `quantize`.")
        found: QuantizationConfig = _OF_MODE[mode]()
        return found
    if not isinstance(config, QuantizationConfig):
        raise invalid(
            "Argument `config` must be an instance of `QuantizationConfig`.",
            received=f"config={config} (of type {type(config)})",
        )
    if mode is not None and config.mode != mode:
        raise invalid(f"Contradictory arguments: mode='{mode}' but config.mode='{config.mode}'")
    if config.mode not in QUANTIZATION_MODES:
        raise invalid(
            f"Invalid quantization mode. Expected one of {QUANTIZATION_MODES}.", received=f"mode={config.mode}"
        )
    return config


def block_size_of(policy: DTypePolicy, config: QuantizationConfig | None) -> int | None:
    """Return how many weights share a scale in int4: what the config says, else the policy; None for a whole channel.

    Keras calls it `get_block_size_for_layer`.
    """
    if isinstance(config, Int4QuantizationConfig):
        return config.block_size
    if isinstance(policy, Int4DTypePolicy) and not isinstance(policy, DTypePolicyMap):
        return None if policy.block_size == -1 else policy.block_size
    return None
