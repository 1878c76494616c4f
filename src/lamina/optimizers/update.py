"""One step of an optimizer, pure: arrays in, arrays out. `apply`, `stateless_apply` and fit all end here.

The order is Keras's: gradients that are the new value, unscaling, clipping, weight decay, the rule, the moving
average, constraints, and the iteration.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp

from lamina._types import Array, Arrays
from lamina.optimizers import arithmetic
from lamina.optimizers.rules import Slots, Transformation
from lamina.stacks import Stack, each
from lamina.variables import Variable, bound

if TYPE_CHECKING:
    from lamina.optimizers.base import Optimizer

State: TypeAlias = dict[Variable, Array]  # each variable of the optimizer, and what it holds in this step
Gradients: TypeAlias = Sequence[Array | None]


def advance(optimizer: "Optimizer", state: State, grads: Gradients, params: Arrays) -> tuple[Arrays, State]:
    """Return the parameters and the state after one step. A parameter without a gradient stays as it is."""
    state, values = dict(state), list(params)
    known = [i for i, g in enumerate(grads) if g is not None]
    direct = [i for i in known if optimizer._trainable_variables[i].overwrite_with_gradient]
    usual = [i for i in known if not optimizer._trainable_variables[i].overwrite_with_gradient]
    due = _due(optimizer, state)
    for i in direct:
        _overwrite(optimizer, state, values, i, grads[i], due)
    if usual:
        scale = optimizer.loss_scale_factor
        chosen = [grads[i] if scale is None else grads[i] / scale for i in usual]
        step = _at_once if due is None else _accumulate
        state, values = step(optimizer, state, usual, chosen, values, due)
        if optimizer.use_ema:
            _average(optimizer, state, values)
        for i in usual:
            constraint = optimizer._trainable_variables[i].constraint
            if constraint is not None:
                values[i] = constraint(values[i])
    state[optimizer._iterations] = state[optimizer._iterations] + 1
    return tuple(values), state


def _due(optimizer: "Optimizer", state: State) -> Array | None:
    """Return whether this step ends an accumulation; None if each step updates."""
    steps = optimizer.gradient_accumulation_steps
    return (state[optimizer._iterations] + 1) % steps == 0 if steps else None


def updates_made(optimizer: "Optimizer", state: State) -> Array:
    """Return the number of updates before this step."""
    step = state[optimizer._iterations]
    return step // optimizer.gradient_accumulation_steps if optimizer.gradient_accumulation_steps else step


def _overwrite(optimizer: "Optimizer", state: State, values: list[Array], i: int, grad: Any, due: Array | None) -> None:
    """Let a gradient become the value; of several accumulated ones the largest, as in Keras."""
    if due is None:
        values[i] = grad.astype(values[i].dtype)
        return
    accumulator = optimizer._accumulated_gradients[i]
    most = jnp.maximum(grad.astype(values[i].dtype), state[accumulator])
    values[i] = jnp.where(due, most, values[i])
    state[accumulator] = jnp.where(due, jnp.zeros_like(most), most)


def _at_once(
    optimizer: "Optimizer", state: State, indices: list[int], grads: list[Any], values: list[Array], _: Any = None
) -> tuple[State, list[Array]]:
    """Clip, decay and update: a step without accumulation, or the end of one."""
    rate = jnp.asarray(optimizer._rate(state))
    grads = _clipped(optimizer, [optimizer._trainable_variables[i] for i in indices], grads)
    values = list(values)
    for i in indices:
        weight_decay = optimizer._weight_decay_of(optimizer._trainable_variables[i])
        if weight_decay is not None:
            values[i] = arithmetic.decay(values[i], weight_decay, rate)
    if optimizer._has_own_update_step():
        return _by_update_step(optimizer, state, indices, grads, values)
    return optimizer._apply_rule(state, indices, grads, values, rate)


def _accumulate(
    optimizer: "Optimizer", state: State, indices: list[int], grads: list[Any], values: list[Array], due: Any
) -> tuple[State, list[Array]]:
    """Add the gradients up, and update with their mean if the step is the last of its accumulation."""
    own = list(state)
    accumulators = [optimizer._accumulated_gradients[i] for i in indices]
    sums = [state[a] + g.astype(state[a].dtype) for a, g in zip(accumulators, grads, strict=True)]

    def update() -> tuple[Arrays, Arrays]:
        means = [total / optimizer.gradient_accumulation_steps for total in sums]
        zeros = {a: jnp.zeros_like(state[a]) for a in accumulators}
        fresh, updated = _at_once(optimizer, {**state, **zeros}, indices, means, values)
        return tuple([fresh[v] for v in own]), tuple(updated)

    def wait() -> tuple[Arrays, Arrays]:
        kept = {**state, **dict(zip(accumulators, sums, strict=True))}
        return tuple([kept[v] for v in own]), tuple(values)

    arrays, updated = either(due, update, wait)
    return dict(zip(own, arrays, strict=True)), list(updated)


def either(condition: Array, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """Return `yes()` or `no()`, which give arrays of the same shapes. In a compiled step only one of them runs."""
    if isinstance(condition, jax.core.Tracer):
        return jax.lax.cond(condition, yes, no)
    return yes() if bool(condition) else no()  # `cond` would compile both anew at each call


def by_rule(
    optimizer: "Optimizer",
    rule: Transformation,
    state: State,
    indices: list[int],
    grads: list[Any],
    values: list[Any],
    rate: Array,
) -> tuple[State, list[Array]]:
    """Update the parameters at `indices`, all at once, by a rule."""
    held, before = optimizer._slots(), state
    gradient = dict(zip(indices, grads, strict=True))
    step = updates_made(optimizer, state)
    state, values = dict(state), list(values)

    def run(places: list[int], function: Callable[..., Any]) -> None:
        """Update the parameters at `places`; what all share is read as it was before this step."""
        slots: Slots = {
            name: before[slot] if isinstance(slot, Variable) else tuple([_read(before, slot[i]) for i in places])
            for name, slot in held.items()
        }
        params = tuple([values[i] for i in places])
        updates, slots = function(tuple([gradient[i] for i in places]), slots, params)
        for i, param, change in zip(places, params, updates, strict=True):
            values[i] = param + change.astype(param.dtype)
        for name, slot in held.items():
            if isinstance(slot, Variable):
                state[slot] = slots[name]
            else:
                state.update(
                    {slot[i]: array for i, array in zip(places, slots[name], strict=True) if array is not None}
                )

    def one(grads: Arrays, slots: Slots, params: Arrays) -> tuple[Arrays, Slots]:
        return rule.update(grads, slots, params, step=step, learning_rate=rate)  # type: ignore[no-any-return]

    stacked = [i for i in indices if isinstance(optimizer._trainable_variables[i], Stack)]
    single = [i for i in indices if not isinstance(optimizer._trainable_variables[i], Stack)]
    if single or not stacked:
        run(single, one)
    axes = {name: None if isinstance(slot, Variable) else 0 for name, slot in held.items()}
    for i in stacked:  # row by row, since a rule may take norms or means of a parameter
        run([i], jax.vmap(one, in_axes=(0, axes, 0), out_axes=(0, axes)))
    return state, values


def _clipped(optimizer: "Optimizer", units: Sequence[Any], grads: list[Any]) -> list[Any]:
    """Return the gradients clipped; the limit of a norm is one for each row of a stack."""
    if not optimizer.clipnorm or not any(isinstance(unit, Stack) for unit in units):
        return optimizer._clip_gradients(grads)
    clip = functools.partial(arithmetic.clip_by_norm, limit=optimizer.clipnorm)
    return [each(unit, clip)(jnp.asarray(g)) for unit, g in zip(units, grads, strict=True)]


def _read(state: State, variable: Variable | None) -> Array | None:
    return None if variable is None else state[variable]


def _by_update_step(
    optimizer: "Optimizer", state: State, indices: list[int], grads: list[Any], values: list[Array]
) -> tuple[State, list[Array]]:
    """Update one parameter after the other by the `update_step` that a user wrote."""
    own, trained = list(state), optimizer._trainable_variables
    everything = [*trained, *own]
    with bound(everything, [*values, *state.values()]):
        optimizer._begin_update()
        for i, g in zip(indices, grads, strict=True):
            optimizer.update_step(g, trained[i], optimizer.learning_rate)
        arrays = [variable.value for variable in everything]
    return dict(zip(own, arrays[len(trained) :], strict=True)), arrays[: len(trained)]


def _average(optimizer: "Optimizer", state: State, values: list[Array]) -> None:
    """Move the averages on, and put them in place of the parameters where that is due."""
    made, frequency = updates_made(optimizer, state), optimizer.ema_overwrite_frequency
    for i, average in enumerate(optimizer._model_variables_moving_average):
        if average is None:
            continue
        state[average] = arithmetic.moving_average(state[average], values[i], optimizer.ema_momentum, made != 0)
        if frequency:
            values[i] = jnp.where((made + 1) % frequency == 0, state[average], values[i])
