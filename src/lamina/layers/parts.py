"""What a layer is made of: its variables, layers, metrics and generators, found among its attributes."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, constraints, initializers, machine, names, regularizers
from lamina._types import Array, Numpy
from lamina.errors import NotBuiltError, invalid, message, warn
from lamina.layers.context import CallContext, current
from lamina.layers.policies import Policies
from lamina.metrics import Metric
from lamina.random import SeedGenerator
from lamina.stacks import penalties
from lamina.variables import Variable, is_float, standardize_dtype

# Attributes of the machinery itself, which hold no part of the layer.
_PRIVATE = frozenset(
    {"_arguments", "_build_shapes", "_compile_config", "_inbound_nodes", "_outbound_nodes", "_losses", "_weights"}
)
_PLAIN = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (list, tuple, set, dict)
_LARGE = 1 << 30  # bytes of a weight from which on it is worth asking how much memory is free


class _Tracker:
    """Stands for what Keras locks against new variables in a built layer; here only `call` may not make any."""

    locked = False

    def lock(self, msg: str | None = None) -> None:
        """Do nothing."""

    def unlock(self) -> None:
        """Do nothing."""


class Parts(Policies):
    """The half of a layer that holds things: everything set as an attribute is part of it, also in lists and dicts."""

    name: str
    built: bool
    _weights: list[Variable]
    _losses: list[Array]
    _trainable: bool
    _path: str | None
    _building = False
    _has_build = False
    _tracker = _Tracker()

    def _parts(self) -> Iterator[Any]:
        """Yield the variables, layers, metrics and generators among the attributes, each as often as it is held."""
        yield from self._weights
        for key, value in list(self.__dict__.items()):
            kind = type(value)
            if kind in _PLAIN or key in _PRIVATE:
                continue
            if issubclass(kind, _PARTS):
                yield value
            elif issubclass(kind, _CONTAINERS) and value:
                yield from _find(value)

    def _sublayers(self) -> "list[Parts]":
        return list({id(p): p for p in self._parts() if isinstance(p, Parts)}.values())

    @property
    def _layers(self) -> "list[Parts]":
        return self._sublayers()

    @property
    def _trainable_variables(self) -> list[Variable]:
        return [v for v in self._own_variables() if v.born_trainable]

    @property
    def _non_trainable_variables(self) -> list[Variable]:
        return [v for v in self._own_variables() if not v.born_trainable]

    @property
    def _seed_generators(self) -> list[SeedGenerator]:
        return list({id(p): p for p in self._parts() if isinstance(p, SeedGenerator)}.values())

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> "list[Parts]":
        found: dict[int, Parts] = {}
        stack: list[Parts] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) in found:
                continue
            found[id(layer)] = layer
            if recursive or layer is self:
                stack.extend(reversed(layer._sublayers()))
        if not include_self:
            found.pop(id(self))
        return list(found.values())

    def _own_variables(self) -> list[Variable]:
        own = {id(p): p for p in self._parts() if isinstance(p, Variable)}.values()
        return [v for v in own if v.born_trainable] + [v for v in own if not v.born_trainable]

    def _stored_variables(self) -> list[Variable]:
        """Return the variables that a file holds for it, in order."""
        return self._own_variables()

    @property
    def variables(self) -> list[Variable]:
        """All its variables: weights and the states of its random generators, each once."""
        found: dict[int, Variable] = {}
        for layer in self._flatten_layers():
            for variable in layer._own_variables():
                found[id(variable)] = variable
            for generator in layer._seed_generators:
                found[id(generator.state)] = generator.state
        return list(found.values())

    @property
    def weights(self) -> list[Variable]:
        """Its variables without the states of random generators: the trainable ones of each layer first."""
        found: dict[int, Variable] = {}
        for layer in self._flatten_layers():
            for variable in layer._own_variables():
                found[id(variable)] = variable
        return list(found.values())

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer may change now."""
        found: dict[int, Variable] = {}
        stack: list[Parts] = [self]
        seen: set[int] = set()
        while stack:
            layer = stack.pop()
            if id(layer) in seen or not layer.trainable:
                continue
            seen.add(id(layer))
            for variable in layer._own_variables():
                if variable.trainable:
                    found[id(variable)] = variable
            stack.extend(reversed(layer._sublayers()))
        return list(found.values())

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that an optimizer may change now."""
        return self.trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer may not change now."""
        changing = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in changing]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that an optimizer may not change now."""
        changing = {id(v) for v in self.trainable_weights}
        return [v for v in self.variables if id(v) not in changing]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics set as attributes, here and in its layers."""
        parts = (p for layer in self._flatten_layers() for p in layer._parts())
        return list({id(p): p for p in parts if isinstance(p, Metric)}.values())

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of its metrics."""
        return [v for metric in self.metrics for v in metric.variables]

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change its weights. Setting it holds from the next step on."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        value = bool(value)
        self._trainable = value
        for variable in self._own_variables():
            if variable.born_trainable:
                variable.trainable = value
        for layer in self._sublayers():
            layer.trainable = value

    @property
    def path(self) -> str | None:
        """Its place in the model, e.g. 'sequential/dense'; None before it is built."""
        return self._path

    def count_params(self) -> int:
        """Return the number of its weights.

        Raises:
            NotBuiltError: Before it is built.
        """
        if not self.built and self._has_build:
            raise NotBuiltError(
                message(
                    f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built.",
                    fix=f"build it: `{self.name}.build(input_shape)`, or call it on data first.",
                )
            )
        return sum(variable.size for variable in self.weights)

    # ---- weights

    def add_weight(
        self,
        *args: Any,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Return a new variable that belongs to the layer.

        Args:
            *args: `shape`, `initializer` and `dtype` may be given without their names.
            shape: Its shape, all sizes known.
            initializer: What fills it. Default: Glorot uniform for floats, zeros for integers and booleans.
            dtype: Its type. Default: the layer's `variable_dtype`.
            trainable: Whether an optimizer may change it.
            autocast: Whether it is read in the compute type.
            regularizer: A function of it that is added to the loss.
            constraint: A function that maps it back to what is allowed after each update.
            aggregation: Kept for Keras scripts.
            overwrite_with_gradient: Whether its "gradient" is its next value.
            name: Its name, e.g. 'kernel'.

        Raises:
            InvalidArgumentError: For a name given as the shape, or inside `call` of a layer that is already built.
        """
        if args:
            shape, initializer, dtype = _positional(args, shape, initializer, dtype)
        if self.built and not self._building and current() is not None:
            raise invalid(
                "You cannot add new elements of state (variables or sub-layers) to a layer that is already built.",
                owner=f"{type(self).__name__} layer `{self.name}`",
                fix="make all weights in `__init__` or in `build`: `call` runs again for each batch.",
            )
        shape = () if shape is None else shape
        dtype = standardize_dtype(dtype) if dtype is not None else self.variable_dtype
        if initializer is None:
            initializer = "glorot_uniform" if is_float(dtype) else "zeros"
        self._check_memory(name, shape, dtype)
        with names.name_scope(self.name, self):
            variable = Variable(
                initializers.get(initializer),
                shape=shape,
                dtype=dtype,
                trainable=trainable,
                autocast=autocast,
                aggregation=aggregation,
                name=name,
            )
        if self._path and not names.current_path():
            variable.path = f"{self._path}/{variable.name}"  # added after `build`
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        variable.from_build = self._building
        if not self._trainable:
            variable.trainable = False
        self._weights.append(variable)
        return variable

    def add_variable(self, shape: Any, initializer: Any, **kwargs: Any) -> Variable:
        """Return a new variable that belongs to the layer; see `add_weight`."""
        return self.add_weight(shape=shape, initializer=initializer, **kwargs)

    def _untrack_variable(self, variable: Variable) -> None:
        """Let a variable that `add_weight` made belong to the layer no more."""
        self._weights = [v for v in self._weights if v is not variable]
        for key in [key for key, value in self.__dict__.items() if value is variable]:
            setattr(self, key, None)

    def get_weights(self) -> list[Numpy]:
        """Return copies of its weights as NumPy arrays, in the order of `weights`."""
        return [np.array(v._array) for v in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set its weights from arrays in the order of `weights`: all of them, or none if one does not fit.

        Raises:
            InvalidArgumentError: If their number, a shape or a type does not fit.
        """
        own = self.weights
        if len(own) != len(weights):
            first = ", ".join(f"{v.path} {v.shape}" for v in own[:8]) + (" ..." if len(own) > 8 else "")
            raise invalid(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length "
                f"{len(weights)}, but the layer was expecting {len(own)} weights.",
                fix=f"pass one array for each of {first}." if own else "build the layer first.",
            )
        arrays = [self._fitting(v, w) for v, w in zip(own, weights, strict=True)]
        _check_values(own, arrays)
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)

    def _check_memory(self, name: str | None, shape: Any, dtype: str) -> None:
        """Raise `InvalidArgumentError` for a weight larger than the memory: to fill it would end the process."""
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(isinstance(size, int | np.integer) for size in sizes):
            return
        size = math.prod(map(int, sizes)) * jnp.dtype(dtype).itemsize
        free = machine.free_memory() if size > _LARGE else None
        if free is not None and size > free:
            raise invalid(
                f"The weight `{name}` of shape {sizes} needs {size / 1e9:,.1f} GB, but {free / 1e9:,.1f} GB are free.",
                owner=f"{type(self).__name__} layer `{self.name}`",
                fix="use fewer units or features.",
            )

    def _fitting(self, variable: Variable, value: Any) -> Any:
        array = value if hasattr(value, "shape") and hasattr(value, "dtype") else np.asarray(value)
        if tuple(array.shape) != variable.shape:
            hint = " It looks transposed: pass `weight.T`." if tuple(array.shape) == variable.shape[::-1] else ""
            raise invalid(
                f"Layer {self.name} weight shape {variable.shape} is not compatible with provided weight shape "
                f"{tuple(array.shape)}.",
                owner=f"`set_weights`, variable `{variable.path}`",
                fix=f"pass an array of shape {variable.shape}.{hint} Nothing was changed.",
            )
        if isinstance(array, np.ndarray) and array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            raise invalid(
                "Weights must be numbers.",
                owner=f"`set_weights`, variable `{variable.path}`",
                received=f"an array of dtype {array.dtype}",
                fix="convert it with `np.asarray(w, dtype='float32')`. Nothing was changed.",
            )
        return array

    def add_loss(self, loss: Any) -> None:
        """Add scalars to the loss of the model, from inside `call`.

        Raises:
            InvalidArgumentError: If a loss is no scalar.
        """
        for one in jax.tree.leaves(loss):
            array = jnp.asarray(one.value if isinstance(one, Variable) else one)
            if array.ndim:
                raise invalid(
                    "`add_loss()` can only be called from inside `build` or `call`, on scalar losses.",
                    owner=f"{type(self).__name__} layer `{self.name}`",
                    received=f"an array of shape {array.shape}",
                    fix="reduce it, e.g. with `ops.mean`.",
                )
            self._record_loss(array, current())

    def _record_loss(self, loss: Array, context: CallContext | None) -> None:
        if context is not None and context.collecting:
            context.losses.append(loss)
        elif not isinstance(loss, jax.core.Tracer):
            self._losses.append(loss)

    @property
    def losses(self) -> list[Array]:
        """The scalars that its layers added in the last call, and the penalties of its regularizers now."""
        context = current()
        if context is not None and context.collecting:
            added = list(context.losses)
        else:
            added = [loss for layer in self._flatten_layers() for loss in layer._losses]
        return added + self._penalties()

    def _penalties(self) -> list[Array]:
        return penalties(self.trainable_weights)

    def save_own_variables(self, store: Any) -> None:
        """Put its own weights into `store` under '0', '1', ..."""
        for i, variable in enumerate(self._stored_variables()):
            store[str(i)] = np.asarray(variable._array)

    def load_own_variables(self, store: Any) -> None:
        """Take its own weights out of `store`.

        Raises:
            InvalidArgumentError: If their number or a shape does not fit.
        """
        own = self._stored_variables()
        if len(store.keys()) != len(own):
            state = "" if self.built or own else " The layer is not built: build the model first."
            raise invalid(
                f"Layer '{self.name}' expected {len(own)} variables, but received {len(store.keys())} variables during "
                f"loading. Expected: {[v.name for v in own]}.{state}"
            )
        arrays = [self._fitting(variable, store[str(i)]) for i, variable in enumerate(own)]
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)


_PARTS = (Variable, Parts, Metric, SeedGenerator)


def _positional(args: tuple[Any, ...], shape: Any, initializer: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Return `shape`, `initializer` and `dtype` of `add_weight` where some were given without their names."""
    if len(args) > 3:
        raise TypeError(f"add_weight() takes at most 3 positional arguments but {len(args)} were given.")
    if isinstance(args[0], str):
        raise invalid(
            "`name` must be passed as a keyword argument.",
            received=f"add_weight('{args[0]}', ...)",
            fix=f"write `add_weight(shape=..., name='{args[0]}')`.",
        )
    found = {"shape": shape, "initializer": initializer, "dtype": dtype}
    for name, value in zip(found, args, strict=False):
        if found[name] is not None:
            raise invalid(f"`{name}` was passed both positionally and as a keyword argument.")
        found[name] = value
    return found["shape"], found["initializer"], found["dtype"]


def _find(value: Any, above: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield the parts of a layer inside a value: itself, or those in a list, tuple, set or dict.

    A container that holds itself, directly or through the containers `above` it, is not entered again.
    """
    if isinstance(value, _PARTS):
        yield value
    elif isinstance(value, _CONTAINERS) and not any(value is container for container in above):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _find(item, (*above, value))


def _check_values(variables: list[Variable], arrays: list[Any]) -> None:
    """Raise `InvalidArgumentError` for weights too large for their variable; warn once if some are not finite."""
    odd = []
    for variable, array in zip(variables, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size or not config.strict():
            continue
        with np.errstate(invalid="ignore"):
            largest = max(abs(float(array.min())), abs(float(array.max())))
        limit = float(jnp.finfo(variable._dtype).max) if is_float(variable._dtype) else math.inf  # type: ignore[no-untyped-call]
        if not math.isfinite(largest):
            odd.append(variable.path)
        elif largest > limit:
            raise invalid(
                f"Weights must fit into {variable._dtype}, whose largest is {limit:.2g}.",
                owner=f"`set_weights`, variable `{variable.path}`",
                received=f"values up to {largest:g}",
                fix="scale them. Nothing was changed.",
            )
    if odd:
        warn(f"`set_weights` was given NaN or infinity for {', '.join(odd[:6])}{', ...' if len(odd) > 6 else ''}.")
