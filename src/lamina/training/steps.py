"""The compiled step: pure functions from state and batch to new state, and the programs that run many of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Array, Arrays, Tree
from lamina.errors import invalid
from lamina.layers.context import CallContext, calling
from lamina.optimizers import stacked
from lamina.stacks import Stack, rows_of, spread, units_of
from lamina.training.ahead import Ahead
from lamina.variables import bound, values


class State(NamedTuple):
    """All that a step may change. It unpacks like the state of Keras's `train_step` on JAX."""

    params: Arrays  # trainable variables
    stats: Arrays  # what layers change as they run: moving means, states of random generators
    slots: Arrays  # what the optimizer remembers
    totals: Arrays  # totals of the metrics


class Variables(NamedTuple):
    """The variables behind a `State`, in the same order; a `Stack` stands for those of repeated layers."""

    params: tuple[Any, ...]
    stats: tuple[Any, ...]
    slots: tuple[Any, ...]
    totals: tuple[Any, ...]


class Block(NamedTuple):
    """K batches for one dispatch.

    Attributes:
        data: Tree `(x, y, sample_weight)` of arrays `(K, batch, ...)`; None where there is none. Or `Rows`.
        rows: How many rows of each batch are real, int32 `(K,)`.
        count: How many of the K batches are to be run.
    """

    data: Tree
    rows: Any
    count: int  # type: ignore[assignment] # not tuple.count: a block is never searched


class Rows(NamedTuple):
    """The data of a block as all rows there are, and which of them are in it.

    Attributes:
        arrays: Tree `(x, y, sample_weight)` of arrays `(rows, ...)`.
        index: Numbers of the rows of each batch, int32 `(K, batch)`.
    """

    arrays: Tree
    index: Any


def gathered(data: Rows) -> Tree:
    """Return the batches themselves, arrays `(K, batch, ...)`."""
    return jax.tree.map(lambda a: a[data.index], data.arrays)


def batch_of(data: Tree, i: int) -> Tree:
    """Return the arrays of one batch of a block, on the device."""
    if isinstance(data, Rows):
        rows = np.asarray(data.index[i])
        return jax.tree.map(lambda a: jnp.asarray(a[rows]), data.arrays)
    return jax.tree.map(lambda a: jnp.asarray(a[i]), data)


def variables_of(model: Any) -> Variables:
    """Return the variables that a step of `model` may change."""
    params = tuple(model.trainable_variables)
    own = {id(v) for v in params}
    totals = tuple(model.metrics_variables)
    own |= {id(v) for v in totals}
    stats = tuple(v for v in model.variables if id(v) not in own)
    optimizer = model.optimizer
    slots = tuple(optimizer.variables) if optimizer is not None else ()
    return Variables(params, stats, slots, totals)


def _forward(model: Any, names: Variables, batch: Tree, rows: Any, training: bool) -> tuple[Array, Tree]:
    """Return the loss of a batch and the outputs. Called with every variable bound; statistics change in place."""
    x, y, weight = batch
    context = CallContext(training=training, rows=rows, collecting=True)
    with calling(context):
        y_pred = model.call_in_step(x, training=training)
        context.rows = None  # a loss of the user's may call layers on what are not rows
        loss = model.loss_in_step(x, y, y_pred, weight, rows, training)
    return loss, y_pred


def train_step(model: Any, names: Variables, state: State, batch: Tree, rows: Any) -> State:
    """Return the state after one step of gradient descent. Pure: `model` is only read.

    Args:
        model: What `compile` made ready.
        names: Its variables.
        state: Their arrays.
        batch: `(x, y, sample_weight)`.
        rows: Boolean array `(batch,)`, False for rows that only fill the batch; None if all are real.
    """

    def loss_of(params: Arrays) -> tuple[Array, Any]:
        with bound((*names.params, *names.stats, *names.totals), (*params, *state.stats, *state.totals)):
            loss, y_pred = _forward(model, names, batch, rows, training=True)
            return _scaled(model, names, state, loss), (loss, y_pred, values(names.stats), values(names.totals))

    (_, (loss, y_pred, stats, totals)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    params, slots = _apply(model.optimizer, names, state, stats, grads)
    with bound((*names.params, *names.stats, *names.totals), (*state.params, *stats, *totals)):
        model.metrics_in_step(loss, batch, y_pred, rows)
        totals = values(names.totals)
    return State(params, stats, slots, totals)


def _apply(optimizer: Any, names: Variables, state: State, stats: Arrays, grads: Any) -> tuple[Arrays, Arrays]:
    """Return new parameters and slots. Variables that the optimizer knows but that are frozen now get no gradient."""
    if not names.params:
        return state.params, state.slots
    stacks = [unit for group in names for unit in group if isinstance(unit, Stack)]
    if stacks:
        twin = stacked.view(optimizer, stacks)
        if twin is None:
            return _apply_spread(optimizer, names, state, stats, grads)
        optimizer = twin
    trained = optimizer._trainable_variables
    if len(trained) == len(names.params) and all(a is b for a, b in zip(trained, names.params, strict=True)):
        params, slots = optimizer.stateless_apply(state.slots, grads, state.params)
        return tuple(params), tuple(slots)
    values_of = dict(zip((*names.params, *names.stats), (*state.params, *stats), strict=True))
    grads_of = dict(zip(names.params, grads, strict=True))
    new, slots = optimizer.stateless_apply(
        state.slots, [grads_of.get(v) for v in trained], tuple(values_of[v] for v in trained)
    )
    new_of = dict(zip(trained, new, strict=True))
    return tuple(new_of[v] for v in names.params), tuple(slots)


def _apply_spread(optimizer: Any, names: Variables, state: State, stats: Arrays, grads: Any) -> tuple[Arrays, Arrays]:
    """Return what `_apply` does, for an optimizer that must see each variable by itself."""
    params, before = (rows_of(names.params, arrays) for arrays in (state.params, grads))
    whole = State(params, rows_of(names.stats, state.stats), rows_of(names.slots, state.slots), state.totals)
    single = Variables(*(tuple(spread(group)) for group in names))
    params, slots = _apply(optimizer, single, whole, rows_of(names.stats, stats), before)
    return units_of(names.params, params), units_of(names.slots, slots)


def _scaled(model: Any, names: Variables, state: State, loss: Array) -> Array:
    with bound(names.slots, state.slots):
        return model.optimizer.scale_loss(loss)  # type: ignore[no-any-return]


def test_step(model: Any, names: Variables, state: State, batch: Tree, rows: Any) -> State:
    """Return the state with the totals after one batch of evaluation. Pure."""
    with bound((*names.params, *names.stats, *names.totals), (*state.params, *state.stats, *state.totals)):
        loss, y_pred = _forward(model, names, batch, rows, training=False)
        model.metrics_in_step(loss, batch, y_pred, rows)
        return State(state.params, values(names.stats), state.slots, values(names.totals))


test_step.__test__ = False  # type: ignore[attr-defined]


def predict_step(model: Any, names: Variables, state: State, x: Tree) -> tuple[Tree, Arrays]:
    """Return the outputs for one batch and what layers changed. Pure."""
    with bound((*names.params, *names.stats), (*state.params, *state.stats)):
        outputs = model.predict_in_step(x)
        return outputs, values(names.stats)


def report_of(model: Any, names: Variables, totals: Arrays, params: Sequence[Array]) -> dict[str, Any]:
    """Return what the host reads after a dispatch: the logs, and whether loss and weights are finite."""
    with bound(names.totals, totals):
        logs = model.get_metrics_result()
    leaves = [
        array[:, 0] if isinstance(v, Stack) and array.ndim > 2 else array
        for v, array in zip(names.params, params, strict=False)
    ]
    return {"logs": logs, "finite": _finite((*jax.tree.leaves(logs.get("loss")), *leaves))}


def _finite(leaves: Sequence[Array]) -> Array:
    """Return whether arrays are finite, as far as small ones and the first rows of large ones show.

    A gradient that is not finite fills whole columns of a kernel: d(kernel) = inputs^T d(outputs). What slips through
    spoils the loss of the next step. Reading 100 MB of weights instead would cost a large net 6 % of a step.
    """
    finite: Array = jnp.asarray(True)
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite = finite & jnp.all(jnp.isfinite(leaf if leaf.ndim < 2 or leaf.size <= 1 << 16 else leaf[0]))
    return finite


def _pick(tree: Tree, i: Any) -> Tree:
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), tree)


def _mask(block_rows: Any, i: Any, data: Tree, padded: bool) -> Any:
    if not padded:
        return None
    size = jax.tree.leaves(data)[0].shape[1]
    return jnp.arange(size, dtype=jnp.int32) < block_rows[i]


def train_program(model: Any, names: Variables, *, padded: bool, donate: bool) -> Callable[..., Any]:
    """Compile `run(state, data, rows, count) -> (state, report)`: `count` steps of training in one dispatch."""

    def run(state: State, data: Tree, rows: Any, count: Any) -> tuple[State, Any]:
        def body(i: Any, state: State) -> State:
            return train_step(model, names, state, _pick(data, i), _mask(rows, i, data, padded))

        state = jax.lax.fori_loop(0, count, body, state)
        return state, report_of(model, names, state.totals, state.params)

    program = jax.jit(run, donate_argnums=(0,) if donate else ())
    return Ahead(program) if donate and any(isinstance(v, Stack) for v in names.params) else program


def test_program(model: Any, names: Variables, *, padded: bool) -> tuple[Callable[..., Any], set[int]]:
    """Compile `run(params, (stats, totals), data, rows, count)`: `count` batches of evaluation in one dispatch.

    It returns `((stats, totals), report)`. With it come the places of the statistics that it changes, once it has run.
    """
    changed: set[int] = set()

    def run(params: Arrays, rest: tuple[Arrays, Arrays], data: Tree, rows: Any, count: Any) -> tuple[Any, Any]:
        def body(i: Any, rest: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
            state = State(params, rest[0], (), rest[1])
            new = test_step(model, names, state, _pick(data, i), _mask(rows, i, data, padded))
            changed.update(_differing(state.stats, new.stats))
            return new.stats, new.totals

        rest = jax.lax.fori_loop(0, count, body, rest)
        return rest, report_of(model, names, rest[1], ())

    return jax.jit(run), changed


test_program.__test__ = False  # type: ignore[attr-defined]


def _differing(before: Arrays, after: Arrays) -> list[int]:
    """Return the places where a step, while it is traced, has put another array."""
    return [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old is not new]


def predict_program(model: Any, names: Variables) -> tuple[Callable[..., Any], set[int]]:
    """Compile `run(params, stats, x) -> (outputs, stats)`: one batch of prediction.

    With it come the places of the statistics that it changes, once it has run.
    """
    changed: set[int] = set()

    def run(params: Arrays, stats: Arrays, x: Tree) -> tuple[Tree, Arrays]:
        outputs, new = predict_step(model, names, State(params, stats, (), ()), x)
        changed.update(_differing(stats, new))
        return outputs, new

    return jax.jit(run), changed


def custom_program(model: Any, method: str, donate: bool) -> Callable[..., Any]:
    """Compile `run(state, data, rows, count) -> (state, report)` over a `train_step` or `test_step` of the user's.

    The method has Keras-on-JAX's form, `step(state, data) -> (logs, state)`; the logs of the last batch are reported.
    """

    def one(state: Any, data: Tree, i: Any) -> tuple[Any, Any]:
        batch = _pick(data, i)
        batch = tuple(batch)
        while batch and batch[-1] is None:
            batch = batch[:-1]
        logs, new = getattr(model, method)(tuple(state), batch)
        if jax.tree.leaves(jax.tree.map(lambda *_: 0, tuple(map(tuple, state)))) != [0] * len(jax.tree.leaves(new)):
            raise invalid(
                f"`{method}` must return `(logs, state)` with a state of the same structure as it was given.",
                owner=type(model).__name__,
            )
        return logs, type(state)(*map(tuple, new)) if isinstance(state, State) else tuple(map(tuple, new))

    def run(state: Any, data: Tree, rows: Any, count: Any) -> tuple[Any, Any]:
        del rows
        logs_spec, _ = jax.eval_shape(one, state, data, 0)
        start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), logs_spec)

        def body(i: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            logs, state = one(carry[1], data, i)
            return logs, state

        logs, state = jax.lax.fori_loop(0, count, body, (start, state))
        finite = jnp.bool_(True)
        for leaf in (*jax.tree.leaves(logs), *state[0]):
            if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact):
                finite &= jnp.all(jnp.isfinite(leaf))
        return state, {"logs": logs, "finite": finite}

    return jax.jit(run, donate_argnums=(0,) if donate else ())
