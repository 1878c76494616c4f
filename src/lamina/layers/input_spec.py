"""What a layer accepts: rank, sizes, dtype of its input."""

from typing import Any

import jax

from lamina._types import Config, Shape
from lamina.errors import InvalidArgumentError, InvalidTypeError, invalid, message


class InputSpec:
    """The rank, sizes and dtype that a layer asks of an input. What is None is free.

    Args:
        dtype: Name of the type.
        shape: Full shape; None for free sizes.
        ndim: Exact number of axes.
        max_ndim: Largest number of axes.
        min_ndim: Smallest number of axes.
        axes: Sizes of certain axes, e.g. `{-1: 784}`.
        allow_last_axis_squeeze: Whether a last axis of size 1 may be missing or extra.
        name: Name of the input.
        optional: Whether None may be passed.
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shape: Shape | None = None if shape is None else tuple(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.name, self.optional = name, optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        except (ValueError, TypeError, AttributeError):
            raise InvalidTypeError(
                message("Argument `axes` must be a dict with integer keys.", received=f"axes={axes!r}")
            ) from None
        limit = self.ndim or self.max_ndim
        if self.axes and limit is not None and max(self.axes) > limit - 1:
            raise invalid(f"Axis {max(self.axes)} is greater than the maximum allowed value: {limit - 1}")

    def __repr__(self) -> str:
        parts = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        return f"InputSpec({', '.join(f'{p}={getattr(self, p)}' for p in parts if getattr(self, p))})"

    def get_config(self) -> Config:
        """Return the arguments of the constructor."""
        parts = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {part: getattr(self, part) for part in parts}

    @classmethod
    def from_config(cls, config: Config) -> "InputSpec":
        """Return the spec that `get_config` described."""
        return cls(**config)

    def mismatch(self, shape: Shape, dtype: str) -> str | None:
        """Return what about an input does not fit, in Keras's words, or None if it fits."""
        ndim = len(shape)
        if self.ndim is not None and ndim != self.ndim and not self.allow_last_axis_squeeze:
            return f"expected ndim={self.ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={ndim}"
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.dtype is not None and dtype != self.dtype:
            return f"expected dtype={self.dtype}, found dtype={dtype}"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return (
                    f"expected axis {axis} of input shape to have value {size}, but received input with shape {shape}"
                )
        return self._shape_mismatch(shape)

    def _shape_mismatch(self, shape: Shape) -> str | None:
        if self.shape is None:
            return None
        wanted, found = self.shape, shape
        if self.allow_last_axis_squeeze:
            wanted = wanted[:-1] if wanted and wanted[-1] == 1 else wanted
            found = found[:-1] if found and found[-1] == 1 else found
        for want, size in zip(wanted, found, strict=False):
            if want is not None and size is not None and want != size:
                return f"expected shape={self.shape}, found shape={found}"
        return None


def check(spec: Any, inputs: Any, owner: str) -> None:
    """Raise `InvalidArgumentError` unless `inputs` are what the spec, or the list of specs, of a layer asks."""
    if not spec:
        return
    specs = list(spec.values()) if isinstance(spec, dict) else jax.tree.leaves(spec)
    if isinstance(inputs, dict) and all(getattr(s, "name", None) for s in specs):
        missing = [s.name for s in specs if s.name not in inputs]
        if missing:
            raise invalid(
                f'Missing data for input "{missing[0]}". You passed a data dictionary with keys {list(inputs)}. '
                f"Expected the following keys: {[s.name for s in specs]}",
                owner=owner,
            )
        inputs = [inputs[s.name] for s in specs]
    values = jax.tree.leaves(inputs, is_leaf=lambda x: x is None)
    if len(values) != len(specs):
        raise invalid(
            f'Layer "{owner}" expects {len(specs)} input(s), but it received {len(values)} input tensors.',
            received=f"{[getattr(v, 'shape', v) for v in values]}",
        )
    for i, (value, one) in enumerate(zip(values, specs, strict=True)):
        if one is None or (value is None and one.optional):
            continue
        if not hasattr(value, "shape"):
            raise invalid(
                f"Inputs to a layer should be tensors. Got '{value}' (of type {type(value)}) as input for layer "
                f"'{owner}'."
            )
        problem = one.mismatch(tuple(value.shape), str(value.dtype))
        if problem:
            raise InvalidArgumentError(
                f"Input {i} with name '{one.name}' of layer '{owner}' is incompatible with the layer: {problem}"
            )
