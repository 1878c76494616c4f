"""Sums and means of values, and the mean of any function of targets and predictions."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config, registry, serialization
from lamina._types import Array, Arrays, Config
from lamina.errors import invalid
from lamina.losses.base import squeeze_or_expand_to_same_rank
from lamina.metrics.base import Metric, canonical, divide_no_nan, same_rank, shape_of, total_dtype
from lamina.ops.masks import get_mask
from lamina.variables import is_float, to_array

_ACROSS_ROWS = ("circle", "dice", "tversky", "ctc")  # losses that look at more than one row at a time
_TWO_BATCHES = (7, 11)  # sizes that no other axis of a result follows


def reduce_to_samplewise_values(
    values: Any, sample_weight: Any, reduce_fn: Callable[..., Array], dtype: Any = None
) -> tuple[Array, Array | None]:
    """Return one weighted value for each sample, and the weight of each, or None without weights.

    Shapes: values `(batch, ...)`; weights `(batch,)`, `(batch, ...)` or what broadcasts to it; results `(batch,)`.

    Args:
        values: The values; of a mask on them (`_keras_mask`) only weighted values take notice.
        sample_weight: Weights, or None. Where a weight is 0 the value does not matter, not even NaN.
        reduce_fn: `jnp.sum` or `jnp.mean`: how the other axes are reduced.
        dtype: Type of both results.

    Raises:
        InvalidArgumentError: If the weights do not broadcast to the values.
    """
    dtype = canonical(dtype or config.floatx())
    mask = get_mask(values)
    values = to_array(values, dtype)
    weight = None
    if sample_weight is not None:
        weight = to_array(sample_weight, dtype)
        if mask is not None:
            weight = masked_weight(weight, mask, dtype)
        values, weight = squeeze_or_expand_to_same_rank(values, weight)
        if values.ndim > weight.ndim:
            values = reduce_fn(values, axis=tuple(range(weight.ndim, values.ndim)))
        rank = weight.ndim
        weight = _broadcast(weight, values)
        values = jnp.where(weight == 0, jnp.zeros((), dtype), values * weight)
        if rank > 1:
            weight = reduce_fn(weight, axis=tuple(range(1, rank)))
    if values.ndim > 1:
        values = reduce_fn(values, axis=tuple(range(1, values.ndim)))
    return values, weight


def masked_weight(sample_weight: Any, mask: Any, dtype: str) -> Any:
    """Return the weights with those under the mask set to 0; without a mask as they are.

    Shapes: weights `(batch,)` or as the mask; mask and result `(batch, ...)`.
    """
    if mask is None:
        return sample_weight
    mask = to_array(mask, dtype)
    if sample_weight is None:
        return mask
    mask, weight = squeeze_or_expand_to_same_rank(mask, to_array(sample_weight, dtype))
    if 0 < weight.ndim < mask.ndim:
        weight = weight.reshape(weight.shape + (1,) * (mask.ndim - weight.ndim))
    return weight * mask


def _broadcast(weight: Array, values: Array) -> Array:
    try:
        return jnp.broadcast_to(weight, values.shape)
    except ValueError:
        raise invalid(
            "`sample_weight` must have one weight for each sample, or a shape that broadcasts to the values.",
            received=f"sample_weight.shape={weight.shape} for values of shape {values.shape}",
            fix="pass weights of shape (batch,); a metric function must return one value for each sample.",
        ) from None


@registry.export("metrics")
class Sum(Metric):
    """The (weighted) sum of the given values: `update_state(values, sample_weight=None)`.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype=dtype, name=name)
        self.total = self.add_variable((), None, total_dtype(self.dtype), name="total")

    def update(self, totals: Arrays, values: Any, sample_weight: Any = None) -> Arrays:
        values, _ = reduce_to_samplewise_values(values, sample_weight, jnp.sum, totals[0].dtype.name)
        return (totals[0] + jnp.sum(values),)

    def compute(self, totals: Arrays) -> Array:
        return totals[0].astype(canonical(self.dtype))


@registry.export("metrics")
class Mean(Metric):
    """The (weighted) mean of the given values: `update_state(values, sample_weight=None)`. 0 before the first.

    Args:
        name: Name in the logs.
        dtype: Type of the result.
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype=dtype, name=name)
        self.total = self.add_variable((), None, total_dtype(self.dtype), name="total")
        self.count = self.add_variable((), None, total_dtype(self.dtype), name="count")

    def update(self, totals: Arrays, values: Any, sample_weight: Any = None) -> Arrays:
        total, count = totals
        values, weight = reduce_to_samplewise_values(values, sample_weight, jnp.mean, total.dtype.name)
        if weight is not None:
            samples = jnp.sum(weight)
        else:
            samples = jnp.asarray(values.shape[0] if values.ndim else 1, count.dtype)
        return total + jnp.sum(values), count + samples.astype(count.dtype)

    def compute(self, totals: Arrays) -> Array:
        mean = divide_no_nan(*totals)
        return mean.astype(canonical(self.dtype)) if is_float(self.dtype) else mean


@registry.export("metrics")
class MeanMetricWrapper(Mean):
    """The (weighted) mean of a function of targets and predictions that returns one value for each sample.

    Args:
        fn: The function, `fn(y_true, y_pred, **kwargs)`.
        name: Name in the logs.
        dtype: Type of the result.
        kwargs: Further arguments of the function.

    Raises:
        InvalidArgumentError: If `fn` cannot be called.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        if not callable(fn):
            raise invalid(
                "`fn` must be a function of `y_true` and `y_pred`.",
                owner=f"{type(self).__name__} `{self.name}`",
                received=f"fn={fn!r}",
                fix="pass a function; for a metric by name use `metrics.get`.",
            )
        self._fn = fn
        self._fn_kwargs = kwargs
        home = registry.home(fn) or registry.home(type(fn))
        if home is not None and home[0] == "keras.losses":
            self._direction = "down"  # callbacks read it: a loss is better when it is smaller

    @property
    def rowwise(self) -> bool:
        """Whether a row of `sample_weight` 0 counts as if it were absent: so for functions of the library."""
        return super().rowwise and _goes_by_row(self._fn)

    def is_rowwise(self, y_true: Any, y_pred: Any) -> bool:
        """Return whether the function gives one value for each row of these arrays or specs.

        Of a user's function only the shape of the result is looked at: one that mixes rows and still returns a value
        for each passes. What cannot be traced does not.
        """
        if self.rowwise:
            return self._reduces_no_rows(len(shape_of(y_pred)))
        if not super().rowwise or _is_own(self._fn):
            return False
        try:
            shapes = [self._result_shape(y_true, y_pred, batch) for batch in _TWO_BATCHES]
        except Exception:  # the user's function: it says why when the step runs it
            return False
        return all(shape[:1] == (batch,) for shape, batch in zip(shapes, _TWO_BATCHES, strict=True))

    def _reduces_no_rows(self, rank: int) -> bool:
        """Return whether the axis that a function reduces, if it says one, is not that of the batch."""
        axis = self._fn_kwargs.get("axis")
        return axis is None or rank == 0 or axis % rank != 0

    def _result_shape(self, y_true: Any, y_pred: Any, batch: int) -> tuple[int, ...]:
        types = [canonical(jnp.dtype(getattr(value, "dtype", "float32")).name) for value in (y_true, y_pred)]
        tails = [shape_of(value)[1:] for value in (y_true, y_pred)]
        spec: Any = jax.ShapeDtypeStruct
        specs = [spec((batch, *tail), dtype) for tail, dtype in zip(tails, types, strict=True)]
        result = jax.eval_shape(lambda true, pred: jnp.asarray(self._fn(true, pred, **self._fn_kwargs)), *specs)
        return tuple(result.shape)

    def update(  # type: ignore[override]  # a mean takes values, its subclasses targets: as in Keras
        self, totals: Arrays, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Arrays:
        weight = self._weight(y_true, y_pred, sample_weight, totals[0].dtype.name)
        if _goes_by_row(self._fn):
            y_true, y_pred = same_rank(y_true, y_pred)
            alone = len(shape_of(y_true)) == len(shape_of(y_pred)) == 1 and self._reduces_no_rows(1)
            if alone and weight is not None and shape_of(weight):  # each row needs a value for its weight
                y_true, y_pred = to_array(y_true)[:, None], to_array(y_pred)[:, None]
        return super().update(totals, self._fn(y_true, y_pred, **self._fn_kwargs), weight)

    def _weight(self, y_true: Any, y_pred: Any, sample_weight: Any, dtype: str) -> Any:
        """Return the weights without what a mask on the predictions leaves out, or None if all count."""
        del y_true
        return masked_weight(sample_weight, get_mask(y_pred), dtype)

    def get_config(self) -> Config:
        """Return the function and its arguments beside the name, or what the constructor of a subclass takes."""
        cls: type = type(self)
        if "fn" not in serialization.parameters(cls):
            return self._own_config()
        return {
            "name": self.name,
            "dtype": self.dtype,
            "fn": _function_config(self._fn),
            **serialization.serialize(self._fn_kwargs),
        }


def _is_own(function: Any) -> bool:
    return isinstance(function, FunctionType) and function.__module__.startswith(("lamina.losses.", "lamina.metrics."))


def _goes_by_row(function: Any) -> bool:
    """Return whether a function is one of the library that gives one value for each row."""
    return _is_own(function) and function.__name__ not in _ACROSS_ROWS


def _function_config(function: Any) -> Any:
    """Return a function as Keras's files have it: those of the library by name, in a dict of their own."""
    if registry.home(function) is None:
        return serialization.serialize(function)
    name = function.__name__
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
