"""Where data enters a model."""

import warnings
from typing import Any

from lamina import registry
from lamina._types import Config, Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor, Node, standardize_shape
from lamina.layers import configs
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.variables import standardize_dtype


@registry.export("layers")
class InputLayer(Layer):
    """The layer behind `Input`: it has no weights and gives what it is given.

    Args:
        shape: Shape of one sample, without the batch axis.
        batch_size: Size of the batch axis, if it is fixed.
        dtype: Type of the input. Default: the default float type.
        sparse: Kept for Keras scripts; must be false.
        ragged: Kept for Keras scripts; must be false.
        batch_shape: Shape with the batch axis, instead of `shape` and `batch_size`.
        input_tensor: A stand-in to use as the input.
        optional: Whether None may be passed.
        name: Its name.
    """

    rowwise = True

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name)
        if "input_shape" in kwargs:
            warnings.warn("Argument `input_shape` is deprecated. Use `shape` instead.", stacklevel=2)
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        if kwargs:
            raise invalid(f"Unrecognized keyword arguments: {kwargs}", owner=f"InputLayer `{self.name}`")
        if input_tensor is None:
            self.batch_shape = self._whole_shape(shape, batch_size, batch_shape)
            self._dtype = standardize_dtype(dtype) if dtype is not None else self.variable_dtype
        else:
            self._check_tensor(input_tensor, shape, batch_size, batch_shape, dtype, sparse)
            self.batch_shape, self._dtype = input_tensor.shape, input_tensor.dtype
        for kind, wanted in (("sparse", sparse), ("ragged", ragged)):
            if wanted:
                raise invalid(
                    f"`{kind}=True` is not supported.", owner=f"InputLayer `{self.name}`", fix="pass dense arrays."
                )
        self.sparse, self.ragged, self.optional = False, False, bool(optional)
        self.built = True
        if input_tensor is None:
            input_tensor = KerasTensor(self.batch_shape, dtype=self._dtype, name=self.name)
        self._input_tensor = input_tensor
        Node(self, (), {}, input_tensor)

    def _check_tensor(
        self, tensor: Any, shape: Any, batch_size: Any, batch_shape: Any, dtype: Any, sparse: bool | None
    ) -> None:
        """Raise `InvalidArgumentError` if a given stand-in is none, or is not what the other arguments say."""
        if not isinstance(tensor, KerasTensor):
            raise invalid("Argument `input_tensor` must be a KerasTensor.", received=f"input_tensor={tensor!r}")
        for name, given, found in (
            ("batch_size", batch_size, (tensor.shape or (None,))[0]),
            ("shape", shape if shape is None else tuple(shape), tensor.shape[1:]),
            ("batch_shape", batch_shape if batch_shape is None else tuple(batch_shape), tensor.shape),
            ("dtype", dtype if dtype is None else standardize_dtype(dtype), tensor.dtype),
            ("sparse", sparse, tensor.sparse),
        ):
            if given is not None and given != found:
                raise invalid(
                    f"When providing the `input_tensor` argument, you cannot provide an incompatible `{name}` "
                    "argument.",
                    owner=f"InputLayer `{self.name}`",
                    received=f"{name}={given}, while the stand-in has {found}",
                )

    def _whole_shape(self, shape: Any, batch_size: Any, batch_shape: Any) -> Shape:
        if shape is not None and batch_shape is not None:
            raise invalid("You cannot pass both `shape` and `batch_shape` at the same time.")
        if batch_size is not None and batch_shape is not None:
            raise invalid("You cannot pass both `batch_size` and `batch_shape` at the same time.")
        if batch_shape is not None:
            return standardize_shape(batch_shape)
        if shape is None:
            raise invalid("You must pass a `shape` argument.", fix="pass e.g. `Input((784,))`.")
        if isinstance(shape, int):
            raise invalid(
                f"Cannot convert '{shape}' to a shape.", received=f"shape={shape}", fix=f"pass a tuple: `({shape},)`."
            )
        return (batch_size, *standardize_shape(shape))

    @property
    def dtype(self) -> str:
        """Type of the input."""
        return self._dtype

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if args else None

    def get_config(self) -> Config:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self._dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }

    @classmethod
    def from_config(cls, config: Config) -> "InputLayer":
        known = configs.arguments(cls)
        return cls(**{key: value for key, value in config.items() if key in (*known, "batch_input_shape")})


@registry.export("layers", module="keras")
def Input(  # noqa: N802 - Keras's name
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> Any:
    """Return a stand-in for the input of a model.

    Args:
        shape: Shape of one sample, without the batch axis, e.g. `(784,)`.
        batch_size: Size of the batch axis, if it is fixed.
        dtype: Type of the input. Default: the default float type.
        sparse: Kept for Keras scripts; must be false.
        ragged: Kept for Keras scripts; must be false.
        batch_shape: Shape with the batch axis, instead of `shape` and `batch_size`.
        name: Name of the input, the key for data given as a dict.
        tensor: A stand-in to use.
        optional: Whether None may be passed.

    Raises:
        InvalidArgumentError: If the shape has a size that is negative or no whole number.
    """
    layer = InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)
    return layer.output


__all__ = ["Input", "InputLayer", "InputSpec"]
