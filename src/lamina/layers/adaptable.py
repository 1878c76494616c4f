"""What layers with one large weight have in common: low-rank adapters for it, and keeping it quantized."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import dtype_policies, initializers, quantizers
from lamina._types import Array, Shape
from lamina.errors import NotBuiltError, invalid, message
from lamina.layers import quantized
from lamina.layers.base import Layer
from lamina.layers.parts import Parts
from lamina.quantizers.configs import QuantizationConfig, block_size_of
from lamina.variables import Variable


class Effective:
    """The weight that a layer multiplies by, under its public name: the variable itself unless the layer is adapted.

    An attribute of this name set on a layer wins, so that a class of the user's may make the weight itself.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        if layer is None:
            return self
        stored = layer.__dict__.get(f"_{self._name}")
        if stored is None:
            raise AttributeError(f"You must build the layer before accessing `{self._name}`.")
        return stored if layer._plain else layer._effective()


class Adaptable(Layer):
    """A layer with one large weight, its kernel or table.

    `enable_lora` freezes the weight and trains a product of two thin matrices that is added to it. `quantize` replaces
    it by 8-bit or 4-bit numbers. Both may be combined.
    """

    _large = "kernel"  # its public name
    _optional_config = ("lora_rank", "lora_alpha")
    _has_build = True

    def _keep(self, lora_rank: int | None, lora_alpha: float | None, quantization_config: Any) -> None:
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank
        self.lora_enabled = False
        self.quantization_config = quantization_config

    def _add_large(self, shape: Shape, **arguments: Any) -> None:
        """Make the weight in `build`, plain or quantized as the policy says."""
        self.lora_enabled = self._is_quantized = False
        mode = self.quantization_mode
        if mode is not None:
            self.quantized_build(shape, mode, self.quantization_config)
        if mode in (None, "float8"):
            setattr(self, f"_{self._large}", self.add_weight(name=self._large, shape=shape, **arguments))

    def _finish_build(self) -> None:
        """Make the adapters that the constructor asked for, at the end of `build`."""
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    @property
    def _plain(self) -> bool:
        return not self.lora_enabled and self._policy.quantization_mode != "int4"

    @property
    def _stored(self) -> Variable:
        return self.__dict__[f"_{self._large}"]  # type: ignore[no-any-return]

    def _effective(self) -> Array:
        """Return what stands under the weight's name: whole numbers if quantized, with the adapters added."""
        mode = self.quantization_mode
        found = self._whole_numbers() if mode == "int4" else self._stored.value
        if self.lora_enabled:
            return jnp.asarray(found + self._delta()).astype(self.compute_dtype)
        return found

    # ---- low-rank adapters

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the large weight; from now on `lora_alpha / rank * a @ b` is trained and added to it.

        Files hold the sum, so that a layer without adapters can read them.

        Args:
            rank: Width of the two thin matrices.
            lora_alpha: Strength of the product. Default: the rank.
            a_initializer: What fills the first matrix.
            b_initializer: What fills the second. With zeros the layer gives what it gave before.

        Raises:
            InvalidArgumentError: If the layer is not built, has adapters already, or has a constraint on the weight.
        """
        owner = f"{type(self).__name__} layer `{self.name}`"
        if getattr(self, f"{self._large}_constraint", None) is not None:
            raise invalid(
                f"Lora is incompatible with {'embedding' if self._large == 'embeddings' else self._large} constraints. "
                f"In order to enable lora on this layer, remove the `{self._large}_constraint` argument.",
                owner=owner,
            )
        if not self.built and not self._building:
            raise NotBuiltError(
                message("Cannot enable lora on a layer that isn't yet built.", owner=owner, fix="build it first.")
            )
        if self.lora_enabled:
            raise invalid("lora is already enabled. This can only be done once per layer.", owner=owner)
        if not isinstance(rank, int | np.integer) or isinstance(rank, bool) or rank <= 0:
            raise invalid("`rank` must be a positive integer.", owner=owner, received=f"rank={rank!r}")
        shape = self._float_shape()
        made = [
            self.add_weight(
                name=f"lora_{self._large}_{letter}",
                shape=size,
                initializer=initializers.get(initializer),
                dtype="float32",  # thin matrices cost little, and halves of float32 would lose small steps
                regularizer=getattr(self, f"{self._large}_regularizer", None),
            )
            for letter, size, initializer in (
                ("a", (*shape[:-1], rank), a_initializer),
                ("b", (rank, shape[-1]), b_initializer),
            )
        ]
        for variable, letter in zip(made, "ab", strict=True):
            variable.from_build = True
            setattr(self, f"lora_{self._large}_{letter}", variable)
        self._stored.trainable = False
        self.lora_enabled = True
        self.lora_rank = int(rank)
        self.lora_alpha = rank if lora_alpha is None else lora_alpha

    @property
    def _adapters(self) -> tuple[Variable, Variable]:
        return getattr(self, f"lora_{self._large}_a"), getattr(self, f"lora_{self._large}_b")

    @property
    def _strength(self) -> float:
        return (self.lora_alpha or 0) / (self.lora_rank or 1)

    def _delta(self) -> Array:
        """Return what the adapters add to the weight."""
        a, b = self._adapters
        delta: Array = self._strength * jnp.matmul(a.value, b.value)
        return delta

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change its weights; below adapters the weight itself stays frozen."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        Parts.trainable.__set__(self, value)  # type: ignore[attr-defined]
        if self.__dict__.get("lora_enabled"):
            self._stored.trainable = False

    # ---- quantization

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        if type_check and type(self) is not type(self)._own_class():
            raise self._not_implemented("quantize")
        if mode not in self._modes:
            raise self._mode_error(mode)
        if not isinstance(self.__dict__.get(f"_{self._large}"), Variable):
            raise self._not_implemented("quantize")
        self.quantization_config = config
        shape = self._stored.shape
        if mode == "float8":
            self.quantized_build(shape, mode, config)
        else:
            values = self._quantized_values(self._stored, mode, config)
            self._weights = [v for v in self._weights if v is not self._stored]
            self.quantized_build(shape, mode, config)
            for variable, value in zip(self._quantized_variables(), values, strict=True):
                variable.assign(value)
        if self._policy.quantization_mode is None:
            name = mode
            if mode == "int4":
                block = block_size_of(self._policy, config)
                name = f"int4/{-1 if block is None else block}"
            self._set_policy(f"{name}_from_{self._policy.name}")

    def _set_policy(self, name: str) -> None:
        self.dtype_policy = dtype_policies.get(name)

    @classmethod
    def _own_class(cls) -> type[Any]:
        """Return the library's class that it is or comes from."""
        return next(c for c in cls.__mro__ if c.__module__.startswith("lamina.layers"))

    def quantized_build(self, input_shape: Any, mode: str, config: QuantizationConfig | None = None) -> None:
        """Make the variables of a mode for a weight of the shape `input_shape`."""
        if mode not in self._modes:
            raise self._mode_error(mode)
        if mode == "int8":
            self._int8_build(input_shape, config)
        elif mode == "int4":
            self._int4_build(input_shape, config)
        else:
            quantized.float8_weights(self)
        self._is_quantized = True

    def _int8_build(self, shape: Shape, config: QuantizationConfig | None) -> None:
        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, quantizers.AbsMaxQuantizer())
        self._original_shape = tuple(shape)
        self._add_quantized("", shape, "zeros", "int8")
        self._add_quantized("_scale", self._int8_scale_shape(shape), "ones", None)

    def _int4_build(self, shape: Shape, config: QuantizationConfig | None) -> None:
        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, None)
        self._original_shape = tuple(shape)
        self._int4_block_size = block = block_size_of(self._policy, config)
        rows, columns = matrix = self._matrix(shape)
        self._orig_input_dim, self._orig_output_dim = matrix
        packed, scale = quantized.int4_shapes(matrix, block, self._across)
        self._add_quantized("", packed, "zeros", "int8")
        self._add_quantized("_scale", scale, "ones", None)
        if block is None or block == -1:
            return
        self._add_quantized("_zero", scale, "zeros", "int8")
        groups = np.arange(columns if self._across else rows) // block
        self.g_idx = self._add_quantized(None, groups.shape, initializers.Constant(groups), "float32")

    def _add_quantized(self, suffix: str | None, shape: Any, initializer: Any, dtype: Any) -> Variable:
        name = "g_idx" if suffix is None else f"{self._large}{suffix}"
        variable = self.add_weight(name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False)
        variable.from_build = True
        setattr(self, name if suffix != "" else f"_{name}", variable)
        return variable

    def _quantized_variables(self) -> list[Variable]:
        """Return the weight in whole numbers, its scale, and its zero point if it has one."""
        named = (f"_{self._large}", f"{self._large}_scale", f"{self._large}_zero")
        return [found for found in (self.__dict__.get(name) for name in named) if found is not None]

    def _quantized_values(self, weight: Any, mode: str, config: QuantizationConfig | None) -> list[Any]:
        """Return the arrays for `_quantized_variables` from a float weight."""
        if mode == "int8":
            usual = quantizers.AbsMaxQuantizer(axis=self._int8_axes())
            whole, scale = QuantizationConfig.weight_quantizer_or_default(config, usual)(weight, to_numpy=True)
            return [whole, self._keep_scale(scale)]
        block = block_size_of(self._policy, config)
        matrix = np.asarray(quantized.value_of(weight)).reshape(self._matrix(tuple(weight.shape)))
        quantizer = QuantizationConfig.weight_quantizer_or_default(config, None)
        found = quantized.int4_of(matrix, block, quantizer, self._across)
        return [part for part in (found.packed, found.scale, found.zero) if part is not None]

    def _int4(self) -> quantized.Int4:
        scale, zero = (getattr(self, f"{self._large}_{part}", None) for part in ("scale", "zero"))
        parts = (self._stored, scale, zero, getattr(self, "g_idx", None))
        return quantized.Int4(*map(quantized.value_of, parts))

    def _whole_numbers(self) -> Array:
        unpacked = quantizers.unpack_int4(self._stored, self._orig_output_dim, axis=-1)
        return unpacked.reshape(self._original_shape)

    def _floats(self) -> Array:
        """Return the weight that the quantized numbers stand for, without adapters."""
        if self.quantization_mode == "int4":
            found = quantized.floats_of(self._int4(), self._orig_output_dim, self._across, self.compute_dtype)
            return found.reshape(self._original_shape)
        scale = self._spread_scale(getattr(self, f"{self._large}_scale").value)
        floats: Array = self._stored.value.astype(self.compute_dtype) / scale.astype(self.compute_dtype)
        return floats

    def _float_shape(self) -> Shape:
        return self._original_shape if self.quantization_mode == "int4" else self._stored.shape

    # ---- what a subclass says about the shape of its weight

    _across = False  # whether weights share a scale along a row of the matrix rather than down a column

    def _int8_axes(self) -> tuple[int, ...]:
        """Return the axes of the weight along which a scale is shared."""
        raise NotImplementedError

    def _matrix(self, shape: Any) -> tuple[int, int]:
        """Return the shape of the weight as a matrix, for 4 bits."""
        raise NotImplementedError

    def _int8_scale_shape(self, shape: Any) -> tuple[int, ...]:
        """Return the shape in which the scale of 8-bit numbers is kept."""
        axes = {axis % len(shape) for axis in self._int8_axes()}
        ones = np.empty([1 if i in axes else size for i, size in enumerate(shape)], bool)
        return tuple(np.shape(self._keep_scale(ones)))

    def _keep_scale(self, scale: Any) -> Any:
        """Return the scale of 8-bit numbers in the form in which it is kept."""
        return jnp.squeeze(scale, self._int8_axes())

    def _spread_scale(self, scale: Any) -> Any:
        """Return a kept scale in a form that broadcasts with the weight."""
        return jnp.expand_dims(scale, self._int8_axes())

    # ---- files

    @property
    def variable_serialization_spec(self) -> dict[str | None, list[str]]:
        """The names of the variables in a file, in order, for each mode."""
        large, bias = self._large, ["bias"] if self._large == "kernel" else []
        moments = [
            f"{part}_{name}" for part in ("inputs", "kernel", "outputs_grad") for name in ("scale", "amax_history")
        ]
        found: dict[str | None, list[str]] = {
            None: [large, *bias],
            "int8": [large, *bias, f"{large}_scale"],
            "int4": [large, *bias, f"{large}_scale", f"{large}_zero", "g_idx"],
            "float8": [large, *bias, *moments],
        }
        return {mode: names for mode, names in found.items() if mode is None or mode in self._modes}

    def _stored_variables(self) -> list[Variable]:
        own = self._own_variables()
        if not self.built or f"_{self._large}" not in self.__dict__ or (self._plain and not self._is_quantized):
            return own
        names = self.variable_serialization_spec[self.quantization_mode]
        named = [self.__dict__.get(f"_{name}" if name == self._large else name) for name in names]
        first = [v for v in named if v is not None]
        apart = {id(v) for v in (*first, *(self._adapters if self.lora_enabled else ()))}
        return first + [v for v in own if id(v) not in apart]

    def save_own_variables(self, store: Any) -> None:
        """Put its own weights into `store` under '0', '1', ...; what adapters add is added to the weight."""
        stored = self._stored_variables()
        merged: dict[int, Any] = {}
        if self.lora_enabled and self.quantization_mode not in ("int8", "int4"):
            merged[id(self._stored)] = self._effective()
        elif self.lora_enabled:
            values = self._quantized_values(
                self._floats() + self._delta(), str(self.quantization_mode), self._requantize()
            )
            merged = {id(v): value for v, value in zip(self._quantized_variables(), values, strict=True)}
        for i, variable in enumerate(stored):
            store[str(i)] = np.asarray(merged.get(id(variable), variable._array))

    def _requantize(self) -> QuantizationConfig | None:
        """Return the settings with which the sum of weight and adapters is quantized for a file."""
        if self.quantization_mode == "int4":
            return quantizers.Int4QuantizationConfig(block_size=self._int4_block_size)
        return None

    def load_own_variables(self, store: Any) -> None:
        """Take its own weights out of `store`; adapters then add nothing."""
        super().load_own_variables(store)
        if self.lora_enabled:
            for variable in self._adapters:
                variable.assign(jnp.zeros(variable.shape, variable.dtype))
