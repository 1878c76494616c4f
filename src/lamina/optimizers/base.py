"""The life of an optimizer: arguments, variables in Keras's order, and a step that changes variables or only arrays."""

import re
import warnings
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, initializers, names, registry, serialization
from lamina._types import Array, Arrays, Config
from lamina.errors import invalid
from lamina.optimizers import arithmetic, checks, update
from lamina.optimizers.rules import Slots, Transformation
from lamina.optimizers.schedules import takes_step
from lamina.variables import Variable, bound, values

Slot: TypeAlias = "list[Variable | None]"  # one for each trainable variable
State: TypeAlias = update.State

_COMMON = (
    "name", "learning_rate", "weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip


class _Tracked(list[Any]):
    """A list that an optimizer of a user's keeps: a variable put into it becomes the optimizer's, as in Keras."""

    def __init__(self, items: Iterable[Any], owner: "Optimizer") -> None:
        super().__init__(items)
        self._owner = owner

    def append(self, item: Any) -> None:
        self._owner._track(item)
        super().append(item)

    def __reduce__(self) -> Any:
        return list, (list(self),)


@registry.export("optimizers")
class Optimizer(serialization.Configurable):
    """Changes trainable variables by their gradients. Subclass it and write Keras's `update_step`, or a `rule`.

    Args:
        learning_rate: A number, a schedule, or a callable. A number becomes a variable: setting it compiles nothing.
        weight_decay: Share of each parameter, times the learning rate, taken off before each update.
        clipnorm: Limit of the L2 norm of each gradient.
        clipvalue: Limit of each element of a gradient.
        global_clipnorm: Limit of the L2 norm of all gradients together.
        use_ema: Whether to keep a moving average of the parameters.
        ema_momentum: Momentum of that average.
        ema_overwrite_frequency: Every so many steps the average replaces the parameters. None: at the end of fit.
        loss_scale_factor: The loss is multiplied and the gradients are divided by it.
        gradient_accumulation_steps: Update once for so many gradients, with their mean.
        name: Name. Default: the class's, in snake case, made unique.

    Raises:
        InvalidArgumentError: If an argument cannot be used.
    """

    _base_config = _COMMON

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._lock = False
        self._variables: dict[Variable, None] = {}
        self._trainable_variables: list[Variable] = []
        self._trainable_variables_indices: dict[Variable, int] = {}
        self._model_variables_moving_average: Slot = []
        self._accumulated_gradients: list[Variable] = []
        self._spared: tuple[frozenset[Variable], str] = (frozenset(), "")
        self._revision = 0
        owner = f"{type(self).__name__} optimizer"
        cls: type = type(self)
        checks.no_more(kwargs, (*serialization.parameters(cls), *_COMMON), owner)
        checks.one_clipping(owner, clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        if use_ema:
            checks.averaging(ema_momentum, ema_overwrite_frequency, owner)
        self.name = name or names.auto_name(type(self).__name__)
        self.weight_decay = checks.not_negative(weight_decay, "weight_decay", owner)
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        self.clipvalue = clipvalue
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = checks.not_negative(loss_scale_factor, "loss_scale_factor", owner)
        self.gradient_accumulation_steps = checks.accumulation(gradient_accumulation_steps, owner)
        self.built = False
        self._iterations = self._scalar(np.int32(0), "iteration")
        if not callable(learning_rate):
            number = np.asarray(checks.learning_rate(learning_rate, owner), config.floatx())
            learning_rate = self._scalar(number, "learning_rate")
        self._learning_rate: Any = learning_rate

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "_lock":
            self._check_super_called()
        if name != "_trainable_variables":
            value = self._track(value)
        if not name.startswith("_") and (name != "learning_rate" or callable(value)):
            self.__dict__["_revision"] += (
                1  # a number as learning rate is an array of the state: it is built into nothing
            )
        super().__setattr__(name, value)

    def _check_super_called(self) -> None:
        if "_lock" not in self.__dict__:
            raise checks.super_not_called(type(self).__name__)

    def _track(self, value: Any) -> Any:
        """Make a variable, or those in a list, the optimizer's own, unless it is one that the optimizer trains."""
        if isinstance(value, Variable):
            if value not in self._trainable_variables_indices:
                self._variables.setdefault(value)
        elif type(value) in (list, tuple):
            for item in value:
                self._track(item)
            return _Tracked(value, self) if type(value) is list else value
        return value

    @property
    def _owner(self) -> str:
        return f"{type(self).__name__} optimizer `{self.name}`"

    @property
    def variables(self) -> list[Variable]:
        """Iteration, learning rate, averages, accumulators, then the slots: the order of Keras's files."""
        return list(self._variables)

    @property
    def iterations(self) -> Any:
        """The number of updates made so far."""
        if self.gradient_accumulation_steps:
            return self._iterations // self.gradient_accumulation_steps
        return self._iterations

    @property
    def revision(self) -> int:
        """A number that grows whenever a setting changes that a compiled step has built in."""
        return self._revision

    @property
    def learning_rate(self) -> Any:
        """The present learning rate: the variable, or what the schedule gives for this iteration."""
        return self._rate({})

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value):
            self._variables.pop(self._learning_rate, None)
            self._learning_rate = value
        elif callable(self._learning_rate):
            raise checks.rate_not_settable(self._owner)
        else:
            traced = isinstance(value, jax.core.Tracer | Variable)
            self._learning_rate.assign(value if traced else checks.learning_rate(value, self._owner))

    def _rate(self, state: State) -> Any:
        rate = self._learning_rate
        if isinstance(rate, Variable):
            return state.get(rate, rate)
        return rate(state.get(self._iterations, self._iterations)) if takes_step(rate) else rate()

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the optimizer's variables for the variables that it is to train."""
        self._check_super_called()
        if self.built:
            return
        self._trainable_variables_indices = {variable: i for i, variable in enumerate(variables)}
        self._trainable_variables = list(variables)
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = [
                self.add_variable_from_reference(variable, "gradient_accumulator") for variable in variables
            ]
        self.built = True
        self._build_slots(variables)

    def _build_slots(self, variables: Sequence[Variable]) -> None:
        groups = self._slot_groups()
        if not groups:
            return
        with jax.ensure_compile_time_eval():
            starts = self.rule().init(tuple([variable.value for variable in variables]))
        for group in groups:
            slots: dict[str, Slot] = {name: [] for name in group}
            for i, variable in enumerate(variables):
                for name, slot in slots.items():
                    kept = self._has_slot(name, variable)
                    slot.append(self._make(starts[name][i], self._slot_name(name, variable)) if kept else None)
            for name, attribute in group.items():
                setattr(self, attribute, slots[name])

    def _slot_groups(self) -> list[dict[str, str]]:
        """The rule's slots and the attributes that hold them. Slots of a group alternate; group follows group."""
        return []

    def _has_slot(self, name: str, variable: Variable) -> bool:
        return not variable.overwrite_with_gradient

    def _slot_name(self, name: str, variable: Variable) -> str:
        return f"{variable.path.replace('/', '_')}_{name}"

    def _slots(self) -> Slots:
        """Each slot of the rule: a list with a variable for each trainable one, or one variable that all share."""
        return {name: getattr(self, attribute) for group in self._slot_groups() for name, attribute in group.items()}

    def _make(self, value: Any, name: str | None) -> Variable:
        with names.name_scope(self.name, self):
            variable = Variable(value, trainable=False, name=name)
        self._track(variable)
        return variable

    def _scalar(self, value: Any, name: str) -> Variable:
        variable = self._make(value, name)
        variable.aggregation = "only_first_replica"
        return variable

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Add a variable of a shape to the optimizer. `layout` is kept for Keras scripts."""
        self._check_super_called()
        start = initializers.get(initializer)
        with names.name_scope(self.name, self):
            variable = Variable(start, shape, dtype, trainable=False, aggregation=aggregation, name=name)
        self._track(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """Add a variable of the shape and type of another, called `<path>_<name>`."""
        own = self._slot_name(name or "var", reference_variable)
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, name=own)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str | Sequence[str], initializer: Any = "zeros"
    ) -> Any:
        """Add a variable for each trainable one, or one of each of several names in turn.

        Returns:
            A list, or a tuple of lists, one for each name. None stands where the gradient is the new value.
        """
        each = [name] if isinstance(name, str) else list(name)
        starts = list(initializer) if isinstance(initializer, list | tuple) else [initializer] * len(each)
        if len(each) != len(starts):
            raise invalid(
                "The number of provided names must match the number of provided initializers.",
                owner=self._owner,
                received=f"name='{name}', initializer='{initializer}'",
            )
        made: tuple[Slot, ...] = tuple([] for _ in each)
        for variable in trainable_variables:
            for slot, own, start in zip(made, each, starts, strict=True):
                none = variable.overwrite_with_gradient
                slot.append(None if none else self.add_variable_from_reference(variable, own, start))
        return made[0] if isinstance(name, str) else made

    def assign(self, variable: Variable, value: Any) -> None:
        """Set a variable."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add to a variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract from a variable."""
        variable.assign_sub(value)

    def rule(self) -> Transformation:
        """Return the update rule: an `optax.GradientTransformationExtraArgs`, as those in `optimizers.rules`."""
        raise NotImplementedError(
            f"{self._owner} has no rule.\nTo fix it: write `update_step(self, gradient, variable, learning_rate)`."
        )

    def _apply_rule(
        self, state: State, indices: list[int], grads: list[Any], values: list[Any], rate: Array, one: bool = False
    ) -> tuple[State, list[Array]]:
        rule = self._rule_for_one() if one else self.rule()
        return update.by_rule(self, rule, state, indices, grads, values, rate)

    def _rule_for_one(self) -> Transformation:
        """The rule for one parameter at a time, after `_begin_update`."""
        return self.rule()

    def _begin_update(self) -> None:
        """Advance what all parameters share, before `update_step` is called for each."""

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable, and its slots, by its gradient. Override it to write a rule as in Keras."""
        before = self._state()
        params: list[Any] = [variable.value if v is variable else None for v in self._trainable_variables]
        index = self._get_variable_index(variable)
        grads, rate = [jnp.asarray(gradient)], jnp.asarray(learning_rate)
        after, params = self._apply_rule(before, [index], grads, params, rate, one=True)
        variable.assign(params[index])
        _assign(before, after)

    def _has_own_update_step(self) -> bool:
        return type(self).update_step is not Optimizer.update_step

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Variable:
        """Change variables by gradients, given as pairs; return the variable that counts the steps."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Change variables by gradients. None as a gradient leaves its variable alone, with a warning.

        Args:
            grads: One for each variable.
            trainable_variables: The variables; the first call builds the optimizer for them. Default: those built for.

        Raises:
            InvalidArgumentError: If there is no gradient at all, or one of a wrong shape, or an unknown variable.
        """
        if len(grads) == 0:
            return
        if trainable_variables is not None and not self.built:
            self.build(list(trainable_variables))
            self.built = True
        complete = checks.gradients(self, grads, trainable_variables)
        trained, before = self._trainable_variables, self._state()
        params = values(trained)
        updated, after = self._advance(before, complete, params)
        _assign(dict(zip(trained, params, strict=True)), dict(zip(trained, updated, strict=True)))
        _assign(before, after)

    def stateless_apply(
        self, optimizer_variables: Sequence[Array], grads: Sequence[Any], trainable_variables: Sequence[Array]
    ) -> tuple[Any, Any]:
        """Return the arrays of the trainable variables and of `variables` after one step. Nothing else changes.

        Args:
            optimizer_variables: What `variables` hold, in that order.
            grads: One for each trainable variable, or None.
            trainable_variables: What the variables hold that the optimizer was built for.

        Raises:
            InvalidArgumentError: If a list has another length, or there is no gradient at all.
        """
        self._check_super_called()
        own, trained = self.variables, self._trainable_variables
        checks.stateless(self, len(optimizer_variables), len(trainable_variables))
        if type(self).apply is Optimizer.apply:
            state: State = dict(zip(own, optimizer_variables, strict=True))
            params, state = self._advance(state, checks.gradients(self, grads, None), tuple(trainable_variables))
            after = tuple([state[variable] for variable in own])
        else:  # a user's `apply` works on variables
            with bound([*trained, *own], [*trainable_variables, *optimizer_variables]):
                self.apply(grads)
                params, after = values(trained), values(own)
        keep = list if isinstance(trainable_variables, list) else tuple
        keep_own = list if isinstance(optimizer_variables, list) else tuple
        return keep(params), keep_own(after)

    def _advance(self, state: State, grads: update.Gradients, params: Arrays) -> tuple[Arrays, State]:
        return update.advance(self, state, grads, params)

    def _state(self) -> State:
        own = self.variables
        return dict(zip(own, values(own), strict=True))

    def _var_key(self, variable: Variable) -> Variable:
        return variable

    def _get_variable_index(self, variable: Variable) -> int:
        try:
            return self._trainable_variables_indices[variable]
        except KeyError:
            raise checks.unknown_variable(variable, self._owner) from None

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        return arithmetic.clip(grads, self.clipnorm, self.global_clipnorm, self.clipvalue)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Spare variables from weight decay.

        Args:
            var_list: The variables.
            var_names: Regular expressions: a variable is spared if one is found in its name. ["bias"] spares biases.
        """
        self._spared = frozenset(var_list or ()), "|".join(sorted(set(var_names or ())))
        self._revision += 1

    def _use_weight_decay(self, variable: Variable) -> bool:
        listed, pattern = self._spared
        return variable not in listed and not (pattern and re.search(pattern, variable.name))

    def _weight_decay_of(self, variable: Variable) -> float | None:
        """The share of a variable that decays in a step, before the learning rate; None: it does not."""
        return self.weight_decay if self._use_weight_decay(variable) else None

    def _apply_weight_decay(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            weight_decay = self._weight_decay_of(variable)
            if weight_decay is not None:
                variable.assign(arithmetic.decay(variable.value, weight_decay, jnp.asarray(self.learning_rate)))

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times `loss_scale_factor`: what to differentiate."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Put the moving averages, if they are kept, in place of the variables: the end of fit."""
        if self.use_ema:
            averages = self._model_variables_moving_average
            checks.same_length(len(var_list), len(averages), self._owner)
            for variable, average in zip(var_list, averages, strict=True):
                if average is not None:
                    variable.assign(average)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set `variables` to arrays in the same order.

        Raises:
            NotBuiltError: If they do not exist yet.
            InvalidArgumentError: If the number of arrays, or a shape, differs.
        """
        checks.built(self, "set_weights()")
        checks.weights(self, weights)
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put `variables` into a mapping, under "0", "1", ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Set `variables` from a mapping. If it holds another number of them, warn and change nothing."""
        own = self.variables
        if len(store.keys()) != len(own):
            warnings.warn(
                f"Skipping variable loading for optimizer '{self.name}', because it has {len(own)} variables whereas "
                f"the saved optimizer has {len(store.keys())} variables.",
                stacklevel=2,
            )
            return
        weights = [np.asarray(store[str(i)]) for i in range(len(own))]
        checks.weights(self, weights)
        for variable, weight in zip(own, weights, strict=True):
            variable.assign(weight)

    def get_config(self) -> Config:
        """Return the arguments that make an equal optimizer without its state."""
        lineage = type(self).__mro__[: type(self).__mro__.index(Optimizer)]
        by_hand = [i for i, c in enumerate(lineage) if "get_config" in c.__dict__]
        cls = type(self).__mro__[by_hand[-1] + 1 if by_hand else 0]  # those below describe their own arguments
        rate = self._learning_rate
        config = {name: serialization.encode(getattr(self, name)) for name in _COMMON if name != "learning_rate"}
        config["learning_rate"] = float(rate.numpy()) if isinstance(rate, Variable) else serialization.serialize(rate)
        for name in serialization.parameters(cls):
            if name not in config:
                config[name] = serialization.encode(self._argument(name, cls))
        return config

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the optimizer that `get_config` described."""
        with registry.custom_object_scope(custom_objects or {}):
            return cls(**{name: serialization.decode(value) for name, value in config.items()})


def _assign(before: State, after: State) -> None:
    """Assign what changed."""
    for variable, array in after.items():
        if array is not before[variable]:
            variable.assign(array)
