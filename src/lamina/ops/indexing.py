"""Functions that read and write chosen places of arrays, and that order or count values, under Keras's names."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InvalidArgumentError, InvalidTypeError, invalid, message
from lamina.ops.define import CORE, MATH, NUMPY, Function, named, single
from lamina.ops.dispatch import operation

nonzero = single("nonzero", jnp.nonzero, "where an array is not zero: a vector of indices for each axis")


# ---- reading and writing


@operation(NUMPY)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the entries at `indices` along an axis, by default of all elements in a row."""
    return jnp.take(jnp.asarray(x), jnp.asarray(indices), axis)


@operation(NUMPY)
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the entries at `indices`, which has a place for each of the result's."""
    return jnp.take_along_axis(jnp.asarray(x), jnp.asarray(indices), axis)


@operation(CORE)
def slice(inputs: Any, start_indices: Any, shape: Sequence[int]) -> Any:
    """Return the block of an array that begins at `start_indices`, which may be traced.

    Args:
        inputs: The array.
        start_indices: An index for each axis.
        shape: Shape of the block; -1 stands for all that is left of an axis.

    Raises:
        InvalidArgumentError: If there is not one index and one size for each axis.
    """
    inputs = jnp.asarray(inputs)
    for name, given in (("shape", shape), ("start_indices", start_indices)):
        if (len(given) if isinstance(given, list | tuple) else np.shape(given)[0]) != inputs.ndim:
            raise _not_one_each(name, given, inputs)
    sizes = [inputs.shape[i] - int(start_indices[i]) if size == -1 else size for i, size in enumerate(shape)]
    return jax.lax.dynamic_slice(inputs, _starts(start_indices), sizes)


def _starts(start_indices: Any) -> list[jax.Array]:
    return [jnp.asarray(start).astype(jnp.int32) for start in start_indices]


def _places(indices: Any) -> Any:
    indices = jnp.asarray(indices)
    return indices if jnp.issubdtype(indices.dtype, jnp.integer) else indices.astype(jnp.int32)


def _not_one_each(name: str, given: Any, inputs: jax.Array) -> InvalidArgumentError:
    first, second = ("inputs", name) if name == "shape" else (name, "inputs")
    return invalid(
        f"The number of dimensions in `{first}` must match the number of dimensions in `{second}`.",
        received=f"{name}={given}, inputs.shape={inputs.shape}",
    )


@operation(CORE)
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """Return an array with `updates` in place of the block that begins at `start_indices`."""
    inputs = jnp.asarray(inputs)
    return jax.lax.dynamic_update_slice(inputs, jnp.asarray(updates, inputs.dtype), _starts(start_indices))


@operation(CORE)
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Any:
    """Return zeros with `values` added at `indices`; what falls on one place adds up.

    Shapes: indices `(*n, k)`, each a place along the first `k` axes of `shape`; values `(*n, *shape[k:])`.
    """
    values = jnp.asarray(values)
    places = tuple(jnp.moveaxis(_places(indices), -1, 0))
    return jnp.zeros(tuple(shape), values.dtype).at[places].add(values)


@operation(CORE)
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """Return an array with `updates` at `indices`.

    Args:
        inputs: The array.
        indices: Places along its first axes, shape `(n, k)`.
        updates: What goes there, shape `(n, *inputs.shape[k:])`.
        reduction: None replaces; 'add', 'max', 'min' or 'mul' combines with what is there.

    Raises:
        InvalidArgumentError: If there is no such reduction.
    """
    inputs = jnp.asarray(inputs)
    places = inputs.at[tuple(jnp.transpose(_places(indices)))]
    updates = jnp.asarray(updates, inputs.dtype)
    kinds = {None: places.set, "add": places.add, "max": places.max, "min": places.min, "mul": places.multiply}
    kind = reduction.lower() if isinstance(reduction, str) else reduction
    if kind not in kinds:
        problem = f"Invalid reduction: {reduction}. Supported values are: None, 'add', 'max', 'min', 'mul'."
        raise invalid(problem)
    return kinds[kind](updates)


# ---- ordering


@operation(NUMPY)
def sort(x: Any, axis: int = -1) -> Any:
    """Return an array sorted along an axis, the smallest first."""
    return jnp.sort(jnp.asarray(x), axis)


@operation(NUMPY)
def argsort(x: Any, axis: int = -1) -> Any:
    """Return the indices that would sort along an axis."""
    x = jnp.asarray(x)
    return jnp.argsort(x, axis if x.ndim else None)


@operation(NUMPY)
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Return indices that put the `kth` element where sorting would, the smaller ones before it."""
    x = jnp.asarray(x)
    return jnp.argpartition(x.reshape(-1), kth, 0) if axis is None else jnp.argpartition(x, kth, axis)


@operation(MATH, "TopK")
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """Return the `k` largest elements of the last axis, the largest first, and their indices."""
    del sorted  # they are always
    return tuple(jax.lax.top_k(jnp.asarray(x), k))


@operation(MATH, "InTopK")
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Return whether fewer than `k` classes are predicted more than the target; never for a prediction of NaN.

    Shapes: targets `(batch,)`, predictions `(batch, classes)`, result `(batch,)`.
    """
    targets, predictions = _places(targets), jnp.asarray(predictions)
    own = jnp.take_along_axis(predictions, targets[..., None], -1)
    own = jnp.where(jnp.isnan(own), -jnp.inf, own)
    return jnp.sum(predictions > own, -1) < k


@operation(NUMPY, "SearchSorted")
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Return where in a sorted vector each value belongs, before ('left') or behind ('right') what equals it.

    Raises:
        InvalidArgumentError: If the sequence is not a vector.
    """
    sequence = jnp.asarray(sorted_sequence)
    if sequence.ndim != 1:
        raise invalid(
            "`searchsorted` only supports 1-D sorted sequences.",
            received=f"sorted_sequence.shape={sequence.shape}",
            fix="apply it to each with `ops.vectorized_map`.",
        )
    return jnp.searchsorted(sequence, jnp.asarray(values), side=side)


@operation(NUMPY)
def digitize(x: Any, bins: Any) -> Any:
    """Return the number of the bin that each element falls into; `bins` are their edges in rising order."""
    bins = jnp.asarray(bins)
    if bins.ndim != 1:
        raise invalid("`bins` must be a 1D array.", received=f"bins={bins}")
    return jnp.digitize(jnp.asarray(x), bins)


@operation(NUMPY)
def unravel_index(indices: Any, shape: Sequence[int]) -> Any:
    """Return where in an array of a shape the elements of these running numbers are: indices for each axis."""
    return jnp.unravel_index(jnp.asarray(indices), tuple(shape))


@operation(NUMPY, "IsIn")
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Return where an element of `x1` is among those of `x2`, or is not, with `invert`."""
    return jnp.isin(jnp.asarray(x1), jnp.asarray(x2), assume_unique, invert)


# ---- counting and adding up


@operation(NUMPY)
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """Return how often each whole number from 0 occurs, or the sum of its weights. Not inside a compiled step.

    Shapes: x and weights `(n,)` or `(rows, n)`; result `(numbers,)` or `(rows, numbers)`.
    """
    if sparse:
        raise invalid("Sparse arrays are not supported.", received="sparse=True")
    x = jnp.asarray(x)
    weights = None if weights is None else jnp.asarray(weights)
    if x.ndim < 2:
        return jnp.bincount(x, weights, minlength)
    rows = range(x.shape[0])
    return jnp.stack([jnp.bincount(x[i], None if weights is None else weights[i], minlength) for i in rows])


@operation(NUMPY)
def histogram(x: Any, bins: int = 10, range: tuple[float, float] | None = None) -> Any:
    """Return how many elements fall into each bin of equal width, and the edges of the bins.

    Args:
        x: A vector.
        bins: How many.
        range: From where to where. Default: from the smallest to the largest element.

    Raises:
        InvalidTypeError: If `bins` is not an integer.
        InvalidArgumentError: If another argument cannot be used.
    """
    if isinstance(bins, bool) or not isinstance(bins, int):
        raise InvalidTypeError(message("Argument `bins` must be of type `int`.", received=f"bins={bins!r}"))
    if bins < 0:
        raise invalid("Argument `bins` should be a non-negative integer.", received=f"bins={bins}")
    if range and (not isinstance(range, tuple) or len(range) < 2):
        raise invalid("Argument `range` must be a tuple of two elements.", received=f"range={range}")
    if range and range[1] < range[0]:
        problem = "The second element of `range` must be greater than the first."
        raise invalid(problem, received=f"range={range}")
    x = jnp.asarray(x)
    if x.ndim > 1:
        raise invalid("Input tensor must be 1-dimensional.", received=f"input.shape={x.shape}")
    return jnp.histogram(x, bins, range)


@operation(NUMPY)
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Return each value once, and as asked where it is first, which one each element is, and how often it occurs.

    Inside a compiled step `size` must say how many there are at most; `fill_value` fills up.
    """
    return jnp.unique(
        jnp.asarray(x), return_index, return_inverse, return_counts, axis,
        equal_nan=False, size=size, fill_value=fill_value, sorted=sorted,
    )  # fmt: skip


def _segments(name: str, function: Function, returns: str) -> Function:
    def compute(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
        data, segment_ids = jnp.asarray(data), jnp.asarray(segment_ids)
        if segment_ids.ndim != 1:
            given = f"got shape: {segment_ids.ndim}."
            raise invalid(f"Argument `segment_ids` should be an 1-D vector, {given}", fix="flatten both before.")
        if segment_ids.shape != data.shape[:1]:
            shapes = f"Got {segment_ids.shape} v.s. {data.shape}."
            raise invalid(f"Argument `segment_ids` and `data` should have same leading dimension. {shapes}")
        if num_segments is None:
            problem = "Argument `num_segments` must be set when using the JAX backend."
            raise invalid(problem, received="num_segments=None")
        return function(data, segment_ids, num_segments, indices_are_sorted=sorted)

    said = f"{returns} of the entries of each segment: entry `i` of `data` belongs to segment `segment_ids[i]`"
    return operation(MATH)(named(compute, name, said))


segment_max = _segments("segment_max", jax.ops.segment_max, "the largest")
segment_min = _segments("segment_min", jax.ops.segment_min, "the smallest")
segment_prod = _segments("segment_prod", jax.ops.segment_prod, "the product")
segment_sum = _segments("segment_sum", jax.ops.segment_sum, "the sum")


# ---- along an axis


@operation(NUMPY)
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Return the differences of neighbours along an axis, taken `n` times."""
    return jnp.diff(jnp.asarray(a), n, axis)


@operation(NUMPY)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Return the integral along an axis by the trapezoidal rule.

    Args:
        y: The values.
        x: Where they are. Default: at distances `dx`.
        dx: Distance.
        axis: Along which axis.
    """
    return jnp.trapezoid(jnp.asarray(y), None if x is None else jnp.asarray(x), jnp.asarray(dx), axis)


@operation(NUMPY)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Return the powers of the elements of a vector, a row for each: the Vandermonde matrix.

    Args:
        x: A vector.
        N: How many powers. Default: as many as elements.
        increasing: Whether the power 0 comes first.

    Raises:
        InvalidTypeError: If `N` is not an integer or `increasing` is not a boolean.
        InvalidArgumentError: If `x` is not a vector or `N` is negative.
    """
    x = jnp.asarray(x)
    if x.ndim != 1:
        raise invalid("Input tensor must be 1-dimensional.", received=f"input.shape={x.shape}")
    if N is not None and not isinstance(N, int):
        raise InvalidTypeError(message("Argument `N` must be of type `int`.", received=f"N={N!r}"))
    if N is not None and N < 0:
        raise invalid("Argument 'N' must be nonnegative.", received=f"N={N}")
    if increasing not in (True, False):
        given = f"increasing={increasing!r}"
        raise InvalidTypeError(message("Argument `increasing` must be of type `bool`.", received=given))
    return jnp.vander(x, N, increasing)


@operation(NUMPY)
def corrcoef(x: Any) -> Any:
    """Return Pearson's correlation coefficients of the rows of a matrix."""
    return jnp.corrcoef(jnp.asarray(x))
