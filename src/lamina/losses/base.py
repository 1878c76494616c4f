"""What every loss shares: values for each sample, and how weights, masks and a reduction make one number of them."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config as settings
from lamina import names, registry, serialization
from lamina._types import Array, ArrayLike, Config, Tree
from lamina.errors import invalid
from lamina.ops.masks import get_mask

_REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def standardize_reduction(reduction: str | None) -> str | None:
    """Return `reduction`, or raise `InvalidArgumentError` if there is no such reduction."""
    if reduction not in _REDUCTIONS:
        raise invalid(
            f"Invalid value for argument `reduction`. Expected one of {_REDUCTIONS}.",
            received=f"reduction={reduction!r}",
        )
    return reduction


def squeeze_or_expand_to_same_rank(x1: Array, x2: Array, expand_rank_1: bool = True) -> tuple[Array, Array]:
    """Return both arrays with as many axes, where one has just a last axis of size 1 more than the other.

    Shapes: `(batch,)` and `(batch, 1)` give `(batch, 1)` twice; `(batch, steps)` and `(batch, steps, 1)` give
    `(batch, steps)` twice; others stay as they are.

    Args:
        x1: An array.
        x2: Another.
        expand_rank_1: Whether `(batch,)` grows; if not, `(batch, 1)` shrinks.
    """
    if x2.ndim == x1.ndim + 1:
        x2, x1 = squeeze_or_expand_to_same_rank(x2, x1, expand_rank_1)
    elif x1.ndim == x2.ndim + 1 and x1.shape[-1] == 1:
        if x2.ndim == 1 and expand_rank_1:
            x2 = x2[..., None]
        else:
            x1 = x1[..., 0]
    return x1, x2


def _aligned(weight: Array, shape: tuple[int, ...]) -> Array:
    """Return `weight` with the axes that make it broadcast against `shape`: one number a row goes to the whole row."""
    if weight.ndim == len(shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    if weight.ndim < len(shape) and weight.shape == shape[: weight.ndim]:
        weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    return weight


def both(mask: Array | None, other: Array | None) -> Array | None:
    """Return the mask of what both masks keep; None keeps everything. Their leading axes belong together."""
    if mask is None or other is None:
        return other if mask is None else mask
    first, second = (jnp.asarray(m).astype(bool) for m in (mask, other))
    first, second = squeeze_or_expand_to_same_rank(first, second)
    return _aligned(first, second.shape) & _aligned(second, first.shape)


def _weight_of_mask(mask: Array, reduction: str | None, dtype: Any) -> Array:
    """Return what a mask does to the values: for a mean, size / kept, which makes it the mean over what is kept."""
    if reduction not in ("mean", "sum_over_batch_size"):
        return mask.astype(dtype)
    kept = jnp.sum(mask.astype(dtype))
    return jnp.where(mask, mask.size / jnp.maximum(kept, 1), 0).astype(dtype)


def reduce_values(
    values: Array, sample_weight: Array | None = None, reduction: str | None = "sum_over_batch_size"
) -> Array:
    """Return the sum or mean of weighted values, or the values themselves for "none", None and a single value."""
    if reduction in (None, "none") or values.ndim == 0:
        return values
    total = jnp.sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        weight = jnp.sum(sample_weight).astype(total.dtype)
        return jnp.where(weight == 0, 0, total / jnp.where(weight == 0, 1, weight))
    return total / max(values.size, 1)


def reduce_weighted_values(
    values: ArrayLike,
    sample_weight: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: str | None = None,
) -> Array:
    """Return the values of a loss as one number, or weighted but not reduced for the reductions "none" and None.

    What the mask leaves out counts for nothing, also in the denominator, and may be NaN.

    Shapes: values `(batch, ...)`; weights and mask the same, or `(batch,)`, or anything that broadcasts.

    Args:
        values: The loss of each sample, or of each step of each sample.
        sample_weight: How much each counts.
        mask: True where a value counts.
        reduction: "sum_over_batch_size" or "mean" (the sum over the number of values), "sum",
            "mean_with_sample_weight" (the sum over the sum of weights), "none" or None.
        dtype: Type of the result. Default: that of the values.

    Raises:
        InvalidArgumentError: If there is no such reduction.
    """
    standardize_reduction(reduction)
    losses = jnp.asarray(values, dtype)
    weight = None if sample_weight is None else jnp.asarray(sample_weight, losses.dtype)
    if mask is not None:
        keep = jnp.asarray(mask).astype(bool)
        factor = _weight_of_mask(keep, reduction, losses.dtype)
        keep = _aligned(keep, losses.shape)
        losses = jnp.where(keep, losses, 0)
        if weight is None:
            weight = factor
            if reduction == "mean_with_sample_weight":  # the weights of all values, not of rows, are to be summed
                weight = jnp.broadcast_to(keep, losses.shape).astype(losses.dtype)
        else:
            factor, weight = squeeze_or_expand_to_same_rank(factor, weight)
            weight = _aligned(weight, factor.shape) * _aligned(factor, weight.shape)
    if weight is not None:
        losses, weight = squeeze_or_expand_to_same_rank(losses, weight)
        weight = _aligned(weight, losses.shape)
        losses = losses * weight
    return reduce_values(losses, weight, reduction)


def to_arrays(tree: Tree, dtype: str) -> Tree:
    """Return a tree with arrays of one type as leaves. Nested lists of numbers are one array."""
    if isinstance(tree, dict):
        return {key: to_arrays(value, dtype) for key, value in tree.items()}
    if isinstance(tree, list | tuple) and any(isinstance(leaf, dict) or hasattr(leaf, "shape") for leaf in tree):
        found = [to_arrays(leaf, dtype) for leaf in tree]
        return type(tree)(*found) if hasattr(tree, "_fields") else type(tree)(found)
    return jnp.asarray(tree, dtype)


def _compute_dtype(dtype: Any) -> str:
    if dtype is None:
        return settings.floatx()
    name = getattr(dtype, "compute_dtype", None) or dtype  # a policy computes in this type
    if isinstance(name, str):
        name = name.removeprefix("mixed_")
    try:
        return str(jnp.dtype(name).name)
    except TypeError:
        raise invalid(
            f"Invalid dtype: {dtype}.", received=f"dtype={dtype!r}", fix="use e.g. 'float32' or 'bfloat16'."
        ) from None


@registry.export("losses")
class Loss(serialization.Configurable):
    """The base of losses: a subclass says in `call` what each sample costs.

    Args:
        name: Name, for logs. Default: the class's, made unique.
        reduction: "sum_over_batch_size" or "mean", "sum", "mean_with_sample_weight", "none" or None.
        dtype: Type that the loss is computed in, or a dtype policy. Default: `config.floatx()`.

    Raises:
        InvalidArgumentError: If there is no such reduction or type.
    """

    _beyond_keras: tuple[str, ...] = ("dtype",)  # arguments that Keras's configs leave out
    _labels_stay_integers = False  # as floats of low precision, labels would become other labels

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        self.name = name or names.auto_name(type(self).__name__)
        self.reduction = standardize_reduction(reduction)
        self._given_dtype = dtype
        self._dtype = _compute_dtype(dtype)

    @property
    def dtype(self) -> str:
        """The type that the loss is computed in."""
        return self._dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample. Shapes: targets and predictions `(batch, ...)`, result `(batch, ...)`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `call(y_true, y_pred)`.")

    def valid_entries(self, y_true: Any, y_pred: Any, values: Any) -> Array | None:
        """Return the mask of the values that count, or None if all do."""
        return get_mask(values)  # type: ignore[no-any-return]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Array:
        """Return the loss of a batch as one number, or as many as there are values if `reduction` is "none" or None.

        Shapes: targets and predictions `(batch, ...)`; weights and mask `(batch,)` or that of the values.
        """
        mask = both(get_mask(y_pred), mask)
        y_pred, y_true = to_arrays(y_pred, self.dtype), self._targets(y_true)
        values = self.call(y_true, y_pred)
        mask = both(mask, self.valid_entries(y_true, y_pred, values))
        return reduce_weighted_values(values, sample_weight, mask, self.reduction, self.dtype)

    def _targets(self, y_true: Any) -> Any:
        if self._labels_stay_integers:
            labels = jnp.asarray(y_true)
            return labels.astype("int32" if jnp.issubdtype(labels.dtype, jnp.integer) else self.dtype)
        return to_arrays(y_true, self.dtype)

    def per_sample(self, y_true: Any, y_pred: Any) -> bool:
        """Return whether each sample has values of its own, so that a mask of rows can leave one out.

        A loss that makes one number of a whole batch, as `Dice` does, has not: a padded row would change it.
        """
        first = jax.tree.leaves(y_pred)[0]
        values = jax.eval_shape(lambda t, p: self.call(self._targets(t), to_arrays(p, self.dtype)), y_true, y_pred)
        return bool(values.shape[:1] == first.shape[:1] and values.ndim)

    def get_config(self) -> Config:
        """Return `name`, `reduction` and the arguments of the subclass.

        What Keras's own configs leave out is there only if it is not the default, and never where not strict.
        """
        lineage = type(self).__mro__
        written = [i for i, c in enumerate(lineage) if "get_config" in vars(c) and not _is_own(c)]
        cls = lineage[written[-1] + 1] if written else lineage[0]  # what a `get_config` of the user's builds on
        signature = inspect.signature(cls).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.values())
        config = {n: getattr(self, n) for n in ("name", "reduction") if takes_any or n in signature}
        for name in serialization.parameters(cls):
            if name in config:
                continue
            value = serialization.encode(self._argument(name, cls))
            if name in self._beyond_keras and (not settings.strict() or value == signature[name].default):
                continue
            config[name] = value
        return config

    def _argument(self, name: str, cls: type) -> Any:
        return self._given_dtype if name == "dtype" else super()._argument(name, cls)


@registry.export("losses", module="keras.src.losses.losses")
class LossFunctionWrapper(Loss):
    """A function as a loss: `fn(y_true, y_pred, **kwargs)` gives what each sample costs.

    Args:
        fn: The function, or the name of one.
        reduction: How the values become one number.
        name: Name, for logs.
        dtype: Type that the loss is computed in.
        kwargs: Further arguments of the function.
    """

    def __init__(
        self,
        fn: Callable[..., Any] | str,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn: Callable[..., Any] = registry.lookup("losses", fn, "loss") if isinstance(fn, str) else fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the function's values, its arguments brought to the same rank where one has an axis of 1 too many."""
        targets, structure = jax.tree.flatten(y_true)
        pairs = [squeeze_or_expand_to_same_rank(t, p) for t, p in zip(targets, jax.tree.leaves(y_pred), strict=True)]
        y_true, y_pred = (jax.tree.unflatten(structure, [pair[i] for pair in pairs]) for i in (0, 1))
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> Config:
        """Return `name` and `reduction`, and for a bare wrapper the function and its arguments."""
        config = super().get_config()
        if "fn" in config:
            config.update({name: serialization.encode(value) for name, value in self._fn_kwargs.items()})
        return config

    def _argument(self, name: str, cls: type) -> Any:
        return _function_config(self.fn) if name == "fn" else super()._argument(name, cls)

    def __repr__(self) -> str:
        return f"<LossFunctionWrapper({self.fn}, kwargs={self._fn_kwargs})>"


def _is_own(cls: type) -> bool:
    return registry.home(cls) is not None or cls is serialization.Configurable


def _function_config(function: Callable[..., Any]) -> Any:
    """Return the config of a function as Keras writes it where a class takes one: by name, but as a dict."""
    config = serialization.serialize(function)
    if isinstance(config, str):
        return {"module": "builtins", "class_name": "function", "config": config, "registered_name": "function"}
    return config
