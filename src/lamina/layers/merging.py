"""Layers that make one array out of several."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from lamina import ops, registry
from lamina._types import Array, Shape
from lamina.errors import InvalidArgumentError, InvalidTypeError, invalid, message
from lamina.graph import KerasTensor
from lamina.layers.base import Layer
from lamina.layers.context import get_mask, set_mask
from lamina.layers.signatures import is_shape
from lamina.ops.arithmetic import logical_or
from lamina.ops.basics import unit


class Merge(Layer):
    """The base of layers that take a list of arrays; a subclass writes `_merge_function(inputs)`.

    Arrays of fewer axes get axes of size 1 behind the batch axis; sizes of 1 broadcast.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Raises:
        InvalidArgumentError: If it is called on something else than a list, or the shapes do not broadcast.
    """

    rowwise = True
    supports_masking = True

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)

    def _check_shapes(self, shapes: Any) -> None:
        if not isinstance(shapes, list | tuple) or is_shape(shapes):
            problem = "inputs" if shapes != [] else "at least 1 input"
            raise self._error(
                f"A merge layer should be called on a list of {problem}.",
                f"input_shape={shapes} (not a list of shapes)",
                f"write `{type(self).__name__}()([x1, x2])`.",
            )
        batches = {shape[0] for shape in shapes if shape} - {None}
        if len(batches) > 1:
            raise self._error(
                "Cannot merge tensors with different batch sizes.",
                f"tensors with shapes {list(shapes)}",
                "give every input the same number of rows.",
            )
        self.compute_output_shape(shapes)

    def _error(self, problem: str, received: str, fix: str | None = None) -> InvalidArgumentError:
        return invalid(problem, owner=f"{type(self).__name__} layer `{self.name}`", received=received, fix=fix)

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, list | tuple):
            raise self._error("A merge layer should be called on a list of inputs.", f"inputs={inputs}")
        most = max(x.ndim for x in inputs)
        return self._merge_function([_with_axes(x, most) for x in inputs])

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = [tuple(shape) for shape in input_shape]
        sample = shapes[0][1:]
        for shape in shapes[1:]:
            sample = self._broadcast(sample, shape[1:], shapes)
        batches = {shape[0] for shape in shapes if shape} - {None}
        return (batches.pop() if len(batches) == 1 else None, *sample)

    def _broadcast(self, one: Shape, other: Shape, shapes: list[Shape]) -> Shape:
        if len(one) < len(other):
            one, other = other, one
        free = len(one) - len(other)
        sizes = list(one[:free])
        for i, j in zip(one[free:], other, strict=True):
            if i not in (None, 1) and j not in (None, 1) and i != j:
                raise self._error(
                    f"Inputs have incompatible shapes. Received shapes {one} and {other}.",
                    f"{shapes}",
                    "make the sizes equal, e.g. with a `Dense` layer, or 1 where they shall broadcast.",
                )
            sizes.append(None if i is None or j is None else j if i == 1 else i)
        return tuple(sizes)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        dtype = str(jnp.result_type(*[jnp.dtype(x.dtype) for x in inputs]))
        return KerasTensor(
            self.compute_output_shape([x.shape for x in inputs]),
            dtype=self.compute_dtype if "float" in dtype else dtype,
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return a mask that is true where any of the masks is, or None if one of the inputs has none."""
        if previous_mask is None or not self._has_masks(inputs, previous_mask):
            return None
        if any(mask is None for mask in previous_mask):
            return None
        merged = previous_mask[0]
        for mask in previous_mask[1:]:
            merged = logical_or(merged, mask)
        return merged

    def _has_masks(self, inputs: Any, mask: Any) -> bool:
        if not isinstance(mask, list | tuple):
            raise self._error("`mask` should be a list.", f"mask={mask}")
        if not isinstance(inputs, list | tuple):
            raise self._error("`inputs` should be a list.", f"inputs={inputs}")
        if len(mask) != len(inputs):
            raise self._error(
                "The lists `inputs` and `mask` should have the same length.",
                f"inputs={inputs} of length {len(inputs)}, and mask={mask} of length {len(mask)}",
            )
        return any(one is not None for one in mask)


def _with_axes(x: Array, count: int) -> Array:
    """Return `x` with axes of size 1 behind its first, so that it has `count` axes."""
    if x.ndim == count:
        return x
    return x.reshape((x.shape[0],) + (1,) * (count - x.ndim) + x.shape[1:])


@registry.export("layers")
class Add(Merge):
    """The sum of the inputs.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays that broadcast; result: their common shape.
    """

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total


@registry.export("layers")
class Subtract(Merge):
    """The first input minus the second.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: two arrays that broadcast; result: their common shape.

    Raises:
        InvalidArgumentError: If there are not two inputs.
    """

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)
        if len(input_shape) != 2:
            raise self._error(
                "A `Subtract` layer should be called on exactly 2 inputs.", f"input_shape={list(input_shape)}"
            )

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        if len(inputs) != 2:
            raise self._error("A `Subtract` layer should be called on exactly 2 inputs.", f"{len(inputs)} inputs")
        return inputs[0] - inputs[1]


@registry.export("layers")
class Multiply(Merge):
    """The product of the inputs. What a mask hides counts as 1, and where every mask hides, the result is 0.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays that broadcast; result: their common shape.
    """

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        shown = [_shown(x) for x in inputs]
        product = None
        for x, mask in zip(inputs, shown, strict=True):
            one = x if mask is None else jnp.where(mask, x, jnp.ones((), x.dtype))
            product = one if product is None else product * one
        assert product is not None
        if all(mask is not None for mask in shown):
            seen = _any_of(shown)
            product = jnp.where(seen, product, jnp.zeros((), product.dtype))
            set_mask(product, jnp.any(seen, -1))
        return product


@registry.export("layers")
class Average(Merge):
    """The mean of the inputs.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays that broadcast; result: their common shape.
    """

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total / len(inputs)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        return KerasTensor(self.compute_output_shape([x.shape for x in inputs]), dtype=self.compute_dtype)


@registry.export("layers")
class Maximum(Merge):
    """The largest of the inputs, entry by entry. What a mask hides does not take part.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays that broadcast; result: their common shape.
    """

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        return _extreme(jnp.maximum, inputs)


@registry.export("layers")
class Minimum(Merge):
    """The smallest of the inputs, entry by entry. What a mask hides does not take part.

    Args:
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays that broadcast; result: their common shape.
    """

    def _merge_function(self, inputs: Sequence[Array]) -> Array:
        return _extreme(jnp.minimum, inputs)


def _shown(x: Array) -> Array | None:
    """Return the mask of `x` in the shape of `x`, or None."""
    mask = get_mask(x)
    return None if mask is None else jnp.broadcast_to(jnp.expand_dims(mask, -1) != 0, x.shape)


def _any_of(shown: Sequence[Any]) -> Array:
    total = shown[0]
    for mask in shown[1:]:
        total = total | mask
    return total  # type: ignore[no-any-return]


def _extreme(choose: Callable[[Array, Array], Array], inputs: Sequence[Array]) -> Array:
    """Return `choose` of all inputs; where one is hidden by its mask the others stand alone."""
    result, seen = inputs[0], _shown(inputs[0])
    for x in inputs[1:]:
        mask = _shown(x)
        other = x if mask is None else jnp.where(mask, x, result)
        if seen is not None:
            result = jnp.where(seen, result, other)
        seen = None if mask is None or seen is None else seen | mask
        result = choose(result, other)
    if seen is not None:
        set_mask(result, jnp.any(seen, -1))
    return result


@registry.export("layers")
class Concatenate(Merge):
    """The inputs one behind the other along an axis.

    Args:
        axis: The axis.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes: inputs: a list of arrays whose sizes agree except along `axis`.

    Raises:
        InvalidArgumentError: If the other sizes do not agree.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.rowwise = self.rowwise and (axis == -1 or axis > 0)

    def _check_shapes(self, shapes: Any) -> None:
        if not isinstance(shapes, list | tuple) or is_shape(shapes) or not shapes:
            raise self._error(
                "A `Concatenate` layer should be called on a list of at least 1 input.",
                f"input_shape={shapes}",
                "write `Concatenate()([x1, x2])`.",
            )
        ranks = {len(shape) for shape in shapes}
        if len(ranks) == 1 and -min(ranks) <= self.axis < min(ranks):
            axis = self.axis % min(ranks)
            if all(i == axis or len(set(sizes) - {None}) <= 1 for i, sizes in enumerate(zip(*shapes, strict=True))):
                return
        raise self._error(
            "A `Concatenate` layer requires inputs with matching shapes except for the concatenation axis.",
            f"input_shape={list(shapes)}, axis={self.axis}",
            "make the other sizes equal, e.g. with `Flatten` or `Reshape`.",
        )

    def call(self, inputs: Any) -> Any:
        return jnp.concatenate(inputs, self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        self._check_shapes(input_shape)
        axis = self.axis % len(input_shape[0])
        sizes = [shape[axis] for shape in input_shape]
        result = [next((n for n in column if n is not None), None) for column in zip(*input_shape, strict=True)]
        result[axis] = None if None in sizes else sum(sizes)
        return tuple(result)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the masks one behind the other; an input without a mask counts as all true."""
        if previous_mask is None or not self._has_masks(inputs, previous_mask):
            return None
        whole = []
        for x, mask in zip(inputs, previous_mask, strict=True):
            if mask is None:
                whole.append(ops.ones_like(x, dtype="bool"))
            elif len(mask.shape) < len(x.shape):
                whole.append(logical_or(ops.expand_dims(mask, axis=-1), ops.zeros_like(x, dtype="bool")))
            else:
                whole.append(mask)
        return ops.any(ops.concatenate(whole, axis=self.axis), axis=-1)


@registry.export("layers")
class Dot(Merge):
    """The sum of products of two inputs along one axis of each.

    Args:
        axes: The axis, or one for each input. The batch axis 0 cannot be one.
        normalize: Whether both are divided by their length along the axis first, which gives the cosine.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, *sizes, k)` and `(batch, *others, k)`, with k at any place
        result: `(batch, *sizes, *others)`, `(batch, 1)` if nothing is left

    Raises:
        InvalidTypeError: If `axes` is neither a whole number nor a list.
        InvalidArgumentError: If `axes` are not two, there are not two inputs, or their sizes differ along the axes.
    """

    _config_order = ("axes", "normalize")

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = _two_axes(axes)
        self.normalize = normalize
        self.rowwise = self.rowwise and 0 not in ([axes] if isinstance(axes, int) else axes)

    def _check_shapes(self, shapes: Any) -> None:
        if not isinstance(shapes, list | tuple) or is_shape(shapes) or len(shapes) != 2:
            raise self._error("A `Dot` layer should be called on a list of 2 inputs.", f"input_shape={shapes}")
        one, other = self._places(shapes)
        if 0 in (one, other):
            raise self._error(
                "Cannot perform batch_dot over axis 0, the batch axis.", f"axes={self.axes}, input_shape={list(shapes)}"
            )
        a, b = shapes[0][one], shapes[1][other]
        if a != b and None not in (a, b):
            raise self._error(
                f"Incompatible input shapes: axis values {a} (at axis {one}) != {b} (at axis {other}).",
                f"input shapes {shapes[0]}, {shapes[1]}",
                "choose `axes` of the same size.",
            )

    def _places(self, shapes: Any) -> tuple[int, int]:
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        for axis, shape in zip(axes, shapes, strict=True):
            if len(shape) < 2 or not -len(shape) <= axis < len(shape):
                raise self._error("Cannot do batch_dot on inputs with rank < 2 or without the axis.", f"{list(shapes)}")
        return axes[0] % len(shapes[0]), axes[1] % len(shapes[1])

    def call(self, inputs: Any) -> Any:
        one, other = self._places([x.shape for x in inputs])
        x, y = inputs
        if self.normalize:
            x, y = unit(x, one), unit(y, other)
        left = [0, *range(2, x.ndim + 1)]
        left[one] = 1
        right = [0, *range(x.ndim + 1, x.ndim + y.ndim)]
        right[other] = 1
        out = [n for n in (*left, *right[1:]) if n != 1]
        product = jnp.einsum(x, left, y, right, out)
        return product if product.ndim > 1 else product[:, None]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        self._check_shapes(input_shape)
        one, other = self._places(input_shape)
        rest = [size for i, size in enumerate(input_shape[0]) if i != one]
        rest += [size for i, size in enumerate(input_shape[1]) if i not in (0, other)]
        return tuple(rest) if len(rest) > 1 else (*rest, 1)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None


def _two_axes(axes: Any) -> Any:
    if isinstance(axes, int):
        return axes
    if not isinstance(axes, list | tuple):
        raise InvalidTypeError(
            message("Invalid type for argument `axes`: it should be a list or an int.", received=f"axes={axes}")
        )
    if len(axes) != 2:
        raise invalid("Invalid format for argument `axes`: it should contain two elements.", received=f"axes={axes}")
    if not all(isinstance(axis, int) for axis in axes):
        raise invalid("Invalid format for argument `axes`: list elements should be integers.", received=f"axes={axes}")
    return axes


def add(inputs: Any, **kwargs: Any) -> Any:
    """Return the sum of the inputs; see `Add`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """Return the first input minus the second; see `Subtract`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """Return the product of the inputs; see `Multiply`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """Return the mean of the inputs; see `Average`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """Return the largest of the inputs, entry by entry; see `Maximum`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """Return the smallest of the inputs, entry by entry; see `Minimum`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """Return the inputs one behind the other along an axis; see `Concatenate`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """Return the sum of products of two inputs along one axis of each; see `Dot`."""
    return Dot(axes=axes, **kwargs)(inputs)
