"""What every metric is: totals in variables, a pure function that makes new totals, and one that makes the result."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, initializers, names, registry, serialization
from lamina._types import Array, Arrays, Config, Shape, Tree
from lamina.errors import UnboundVariableError, invalid, message
from lamina.serialization import Configurable
from lamina.variables import Variable, bound, isolated, standardize_dtype, to_array, values


@registry.export("metrics")
class Metric(Configurable):
    """Base of all metrics: what a model reports while it trains.

    Every metric of the library defines two pure functions of the tuple of totals, which has the order of `variables`:
    `update(totals, y_true, y_pred, sample_weight) -> totals` and `compute(totals) -> result`. A metric of yours may do
    the same, or override `update_state` and `result` as in Keras.

    Args:
        dtype: Type of the result, or a policy, whose compute type it is. Totals of 16-bit metrics are float32.
        name: Name in the logs.
    """

    _base_config = ("name", "dtype")

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or names.auto_name(type(self).__name__)
        self._dtype = compute_dtype(dtype)
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """Name of the type that the metric computes in."""
        return self._dtype

    @property
    def variables(self) -> list[Variable]:
        """The metric's own variables, then those of metrics that it holds. Attributes are searched, also in lists."""
        own: dict[int, Variable] = {}
        inner: list[Variable] = []
        for found in _find(value for name, value in vars(self).items() if name != "_arguments"):
            if isinstance(found, Variable):
                own[id(found)] = found
            elif found is not self:
                inner.extend(found.variables)
        own.update((id(variable), variable) for variable in inner if id(variable) not in own)
        return list(own.values())

    @property
    def rowwise(self) -> bool:
        """Whether a row of `sample_weight` 0 counts as if it were absent: so for every metric of the library."""
        cls: type = type(self)
        return _is_of_the_library(cls)

    def is_rowwise(self, y_true: Any, y_pred: Any) -> bool:
        """Return `rowwise` for these arrays or specs; a metric over a function of the user looks at its result."""
        del y_true, y_pred
        return self.rowwise

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Return a new variable of the metric.

        Args:
            shape: Its shape.
            initializer: A name, an object, an array or a callable `(shape, dtype) -> array`; None gives zeros.
            dtype: Its type. Default: `config.floatx()`.
            aggregation: Kept for Keras scripts.
            name: Its name, e.g. "total".
        """
        self._check_super_called()
        if initializer is None or (isinstance(initializer, str) and initializer == "zeros"):
            initializer = _zeros
        elif isinstance(initializer, str | dict | type):
            initializer = initializers.get(initializer)
        with names.name_scope(self.name.replace("/", ">"), self):
            variable = Variable(
                initializer,
                shape=shape,
                dtype=canonical(standardize_dtype(dtype)),
                trainable=False,
                aggregation=aggregation,
                synchronization="on_read",
                name=name,
            )
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """Return a new variable: the older name of `add_variable`."""
        return self.add_variable(shape=shape, initializer=initializer, dtype=dtype, name=name)

    def update(self, totals: Arrays, *args: Any, **kwargs: Any) -> Arrays:
        """Return the totals after a batch. Pure."""
        raise NotImplementedError(_missing(self, "update_state"))

    def compute(self, totals: Arrays) -> Tree:
        """Return the metric's value: an array, or a dict of them. Pure."""
        raise NotImplementedError(_missing(self, "result"))

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Make the variables whose shapes depend on the data, so that `variables` is complete. Changes no total.

        Args:
            y_true: Targets, or only their shape and dtype.
            y_pred: Predictions, or only their shape and dtype.
            sample_weight: Weights, or only their shape and dtype.
        """
        args = (y_true, y_pred) if sample_weight is None else (y_true, y_pred, sample_weight)
        if self._is_pure("update_state"):
            self._build_for(*args)
        else:
            with isolated():
                jax.eval_shape(self._update_and_read, *args)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the totals: `update_state(y_true, y_pred, sample_weight=None)` for most metrics."""
        self._build_for(*args, **kwargs)
        own = self.variables
        for variable, array in zip(own, self.update(values(own), *args, **kwargs), strict=True):
            variable.assign(array)

    def result(self) -> Tree:
        """Return the metric's value for what has been added since the last reset."""
        return self.compute(values(self.variables))

    def reset_state(self) -> None:
        """Set every variable to zero."""
        for variable, zeros in zip(self.variables, self._zeros(), strict=True):
            variable.assign(zeros)

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[Array]:
        """Return the totals after a batch; the metric itself stays as it is.

        Args:
            metric_variables: The totals before it, in the order of `variables`.
            args: What `update_state` takes.
            kwargs: What `update_state` takes.

        Raises:
            InvalidArgumentError: If there are more or fewer arrays than variables.
        """
        known = self._known(metric_variables)
        if self._is_pure("update_state"):
            self._build_for(*args, **kwargs)
            return list(self.update(self._complete(known), *args, **kwargs))
        before = self.variables
        try:
            with bound(before, self._complete(known)):
                return self._update_and_read(*args, **kwargs)
        except UnboundVariableError:
            if len(self.variables) == len(before):
                raise
            with bound(self.variables, self._complete(known)):  # its first update made the missing ones
                return self._update_and_read(*args, **kwargs)

    def stateless_result(self, metric_variables: Sequence[Any]) -> Tree:
        """Return the metric's value for given totals; the metric itself stays as it is."""
        arrays = self._complete(self._known(metric_variables))
        if self._is_pure("result"):
            return self.compute(arrays)
        with bound(self.variables, arrays):
            return self.result()

    def stateless_reset_state(self) -> list[Array]:
        """Return the totals at the start; the metric itself stays as it is."""
        if self._is_pure("reset_state"):
            return self._zeros()
        with isolated():
            self.reset_state()
            return list(values(self.variables))

    def __call__(self, *args: Any, **kwargs: Any) -> Tree:
        self._check_super_called()
        self.update_state(*args, **kwargs)
        return self.result()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"

    def _build_for(self, *args: Any, **kwargs: Any) -> None:
        """Make the variables that depend on the shapes of a batch, the first time."""

    def _is_pure(self, method: str) -> bool:
        return getattr(type(self), method) is getattr(Metric, method)

    def _update_and_read(self, *args: Any, **kwargs: Any) -> list[Array]:
        self.update_state(*args, **kwargs)
        return list(values(self.variables))

    def _zeros(self) -> list[Array]:
        return [to_array(np.zeros(variable.shape, jnp.dtype(variable.dtype))) for variable in self.variables]

    def _known(self, metric_variables: Sequence[Any]) -> dict[int, Array]:
        own = self.variables
        if len(metric_variables) != len(own):
            raise invalid(
                "Argument `metric_variables` must be a list of tensors corresponding 1:1 to "
                f"{type(self).__name__}().variables. Received list with length {len(metric_variables)}, but expected "
                f"{len(own)} variables.",
                owner=f"Metric `{self.name}`",
            )
        return {id(variable): to_array(array) for variable, array in zip(own, metric_variables, strict=True)}

    def _complete(self, known: dict[int, Array]) -> Arrays:
        found = [(known.get(id(variable)), variable) for variable in self.variables]
        return tuple([variable.value if array is None else array for array, variable in found])

    def _own_config(self) -> Config:
        """Return the config that the constructor's signature gives, for a class that writes `get_config` by hand."""
        cls: type = type(self)
        wanted = (*self._base_config, *(n for n in serialization.parameters(cls) if n not in self._base_config))
        return {
            name: serialization.encode(getattr(self, name) if name in self._base_config else self._argument(name, cls))
            for name in wanted
        }

    def _check_super_called(self) -> None:
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                message(
                    "You forgot to call `super().__init__()` in the `__init__()` method.",
                    owner=type(self).__name__,
                    fix="make it the first line of `__init__`.",
                )
            )


def compute_dtype(dtype: Any) -> str:
    """Return the name of the type to compute in, from a type, its name, a policy or a policy's config."""
    if isinstance(dtype, dict):
        dtype = serialization.deserialize(dtype)
    dtype = getattr(dtype, "compute_dtype", dtype)
    if isinstance(dtype, str) and dtype.startswith("mixed_"):
        return dtype.removeprefix("mixed_")
    return standardize_dtype(dtype)


def canonical(dtype: str) -> str:
    """Return the type that JAX has for a type: 'float32' for 'float64' unless 64 bits are switched on."""
    return jax.dtypes.canonicalize_dtype(dtype).name


def total_dtype(dtype: str | None = None) -> str:
    """Return the type to sum in. A 16-bit total would stop growing after a few hundred samples, so it is float32."""
    dtype = canonical(dtype or config.floatx())
    return "float32" if "float" in dtype and jnp.dtype(dtype).itemsize < 4 else dtype


def divide_no_nan(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


def same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return both with a last axis of 1 where only one of them has it: `(batch,)` beside `(batch, 1)`.

    Left alone they would broadcast to `(batch, batch)`.
    """
    true, pred = shape_of(y_true), shape_of(y_pred)
    if (len(true), len(pred)) == (1, 2) and pred[-1] == 1:
        return to_array(y_true)[:, None], y_pred
    if (len(true), len(pred)) == (2, 1) and true[-1] == 1:
        return y_true, to_array(y_pred)[:, None]
    return y_true, y_pred


def shape_of(value: Any) -> Shape:
    """Return the shape of an array, a spec or a nested list."""
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)


def _find(things: Iterable[Any]) -> Iterator[Any]:
    """Yield the variables and metrics among things, also those inside lists, tuples and dicts."""
    for thing in things:
        if isinstance(thing, Variable | Metric):
            yield thing
        elif isinstance(thing, list | tuple):
            yield from _find(thing)
        elif isinstance(thing, dict):
            yield from _find(thing.values())


@lru_cache(maxsize=1024)
def _is_of_the_library(cls: type) -> bool:
    """Whether the class that says how a batch is added is one of this package."""
    for base in cls.__mro__:
        if "update_state" in vars(base) or "update" in vars(base):
            return base is not Metric and base.__module__.startswith(f"{__package__}.")
    return False


def _zeros(shape: Sequence[int], dtype: Any = None) -> Array:
    return to_array(np.zeros(shape, jnp.dtype(dtype)))


def _missing(metric: Metric, method: str) -> str:
    return message(
        f"A metric must say what `{method}` does.",
        owner=f"{type(metric).__name__} `{metric.name}`",
        fix=f"define `{method}` in the class.",
    )
