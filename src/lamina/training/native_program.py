"""Training and evaluation by the native kernels, in the form that XLA's programs have."""

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import machine
from lamina._types import Array, Arrays, Tree
from lamina.native import plan as native
from lamina.training import steps
from lamina.training.native_plan import Reading, Unsuited
from lamina.training.steps import Rows, State, Variables
from lamina.variables import Variable, bound

Wide = Callable[[native.Plan, int], bool]
# A step of less work than this is done before a second thread has heard of it.
THREADED_OPERATIONS = 8e6


def threads_for(plan: native.Plan, batch: int, cores: int) -> int:
    """Return how many threads a step is worth, at most `cores`."""
    work = 6.0 * batch * sum(layer.inputs * layer.units for layer in plan.layers)
    return max(1, min(cores, int(work / THREADED_OPERATIONS)))


class _Places(NamedTuple):
    """Where the variables of a plan are in the groups of a state."""

    state: tuple[tuple[int, int], ...]
    params: tuple[int, ...]
    keys: tuple[int, ...]
    totals: tuple[int, ...]


def _places(reading: Reading, names: Variables) -> _Places:
    where = {id(v): (g, i) for g, group in enumerate(names) for i, v in enumerate(group)}
    in_params = {id(v): i for i, v in enumerate((*names.params, *names.stats))}
    return _Places(
        tuple(where[id(v)] for v in reading.state),
        tuple(in_params[id(v)] for v in reading.params),
        tuple(where[id(v)][1] for v in reading.keys),
        tuple(where[id(v)][1] for v in reading.totals),
    )


def check(plan: native.Plan, batch: Tree) -> None:
    """Raise `Unsuited` if the kernels do not take batches of these shapes and types. None: they are not known yet."""
    if batch is None:
        return
    x, y, weight = (jax.tree.leaves(part) for part in batch)
    if len(x) != 1 or len(y) != 1 or len(weight) > 1:
        raise Unsuited("it has not one array of inputs and one of targets")
    if x[0].dtype != jnp.float32:
        raise Unsuited(f"its inputs are {x[0].dtype}")
    if math.prod(x[0].shape[1:]) != plan.layers[0].inputs:
        raise Unsuited(f"its inputs have the shape {x[0].shape}")
    if math.prod(y[0].shape[1:]) != (1 if plan.labels else plan.layers[-1].units):
        raise Unsuited(f"its targets have the shape {y[0].shape}")
    if not (jnp.issubdtype(y[0].dtype, jnp.integer) or y[0].dtype in (jnp.float32, jnp.bool_)) or (
        plan.labels and not jnp.issubdtype(y[0].dtype, jnp.integer)
    ):
        raise Unsuited(f"its targets are {y[0].dtype}")
    if weight and math.prod(weight[0].shape[1:]) != 1:
        raise Unsuited("it has sample weights for each number of a target")


def types(plan: native.Plan) -> tuple[Any, Any, Any]:
    """Return the types of inputs, targets and weights that the kernels read."""
    return np.float32, np.int32 if plan.labels else np.float32, np.float32


class _Sized(NamedTuple):
    """Pointers, with the batch size in a shape: an array without rows."""

    pointers: native.Pointers
    batch: Any


def _data(plan: native.Plan, data: Any, rows: Any, padded: bool) -> tuple[int, native.Data | native.Pointers] | None:
    """Return the batch size and what the kernels read, or None if they do not take data like these."""
    real = rows if padded else None
    if isinstance(data, _Sized):
        return data.batch.shape[1], data.pointers._replace(real=real)
    try:
        check(plan, jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[2:]), a.dtype), data))
    except Unsuited:
        return None
    x, y, weight = ((jax.tree.leaves(part) or [None])[0] for part in data)
    count = x.shape[0] * x.shape[1]
    y = y.astype(jnp.int32).reshape(count) if plan.labels else y.astype(jnp.float32).reshape(count, -1)
    if weight is not None:
        weight = weight.astype(jnp.float32).reshape(count)
    return x.shape[1], native.Data(x, y, weight, None, real)


_in_flight: deque[tuple[Any, Tree]] = deque()  # arrays that a dispatch reads, and what is ready when it has ended


def let_go() -> None:
    """Let go of the arrays that no dispatch reads any more."""
    with contextlib.suppress(IndexError):  # another thread was quicker
        while _in_flight and _in_flight[0][0].is_ready():
            _in_flight.popleft()


def _pointers(data: Tree) -> Tree:
    if not isinstance(data, Rows):
        return data
    x, y, weight = ((jax.tree.leaves(part) or [None])[0] for part in data.arrays)
    return _Sized(native.Pointers.to(x, y, weight, data.index), np.empty((0, data.index.shape[1]), np.int32))


def _keep(data: Tree, report: Any) -> None:
    """Keep the arrays behind pointers until the dispatch has ended, whatever becomes of the fit."""
    let_go()
    if isinstance(data, Rows):
        _in_flight.append((report["finite"], data))


class Cores:
    """How many threads a program may use: what this process may at the time, up to what its step is worth."""

    def __init__(self, plan: native.Plan) -> None:
        self.plan, self._cores = plan, machine.cores()

    def __call__(self, data: Tree) -> Any:
        batch = data.index.shape[1] if isinstance(data, Rows) else jax.tree.leaves(data)[0].shape[1]
        most = threads_for(self.plan, batch, self._cores)
        if most > 1 and hasattr(os, "sched_getaffinity"):  # it may have changed since
            most = min(most, len(os.sched_getaffinity(0)))
        return np.int32(most)


def train_program(
    model: Any, names: Variables, reading: Reading, wide: Wide, *, padded: bool, donate: bool
) -> Callable[..., tuple[State, Any]]:
    """Compile `run(state, data, rows, count) -> (state, report)`: `count` steps in one call of the kernels.

    `wide` says of a plan and a batch size whether they are for tiles.
    Batches of shapes that the kernels do not take, e.g. a weight for each number of a target, go to XLA's program.
    """
    places, plan = _places(reading, names), reading.plan
    by_xla = steps.train_program(model, names, padded=padded, donate=donate)

    def run(state: State, data: Tree, rows: Any, count: Any, threads: Any) -> tuple[State, Any]:
        found = _data(plan, data, rows, padded)
        if found is None:
            return by_xla(state, data, rows, count)  # type: ignore[no-any-return]
        batch, given = found
        # As it is. XLA runs a program that seems to be nothing but a call at once, in the thread that sends it off;
        # with a sum of some length in it, beside it.
        count = jnp.minimum(count, jnp.sum((rows > 0).astype(jnp.int32)))
        placed = plan._replace(wide=wide(plan, batch))
        room = rows.shape[0]
        new = _advanced(
            model.optimizer, names, placed, places, state, batch, given, count, threads, room, in_place=donate
        )
        return new, steps.report_of(model, names, new.totals, new.params)

    compiled = jax.jit(run, donate_argnums=(0,) if donate else ())
    cores = Cores(plan)

    def call(state: State, data: Tree, rows: Any, count: Any) -> tuple[State, Any]:
        new, report = compiled(state, _pointers(data), rows, count, cores(data))
        _keep(data, report)
        return new, report

    return call


def _advanced(
    optimizer: Any, names: Variables, plan: native.Plan, places: _Places, state: State, batch: int,
    given: native.Data | native.Pointers, count: Any, threads: Any, room: int, stack: native.Stack | None = None,
    *, in_place: bool = False,
) -> State:  # fmt: skip
    """Return the state after `count` batches, of `room` that there may be."""
    groups = [list(group) for group in state]
    place = {id(v): i for i, v in enumerate(names.slots)}
    step = state.slots[place[id(optimizer._iterations)]]
    rates = _rates(optimizer, names, state, step, room)
    totals, arrays = native.train(
        plan, batch, given, count, threads, step, rates, [state.stats[i] for i in places.keys],
        [state.totals[i] for i in places.totals], [state[g][i] for g, i in places.state], stack,
        in_place=in_place,
    )  # fmt: skip
    for (g, i), array in zip(places.state, arrays, strict=True):
        groups[g][i] = array
    for i, total in zip(places.totals, totals, strict=True):
        groups[3][i] = total
    for i in places.keys:
        groups[1][i] = state.stats[i] + jnp.array([0, 1], jnp.uint32) * count.astype(jnp.uint32)
    groups[2][place[id(optimizer._iterations)]] = step + count
    return State(*map(tuple, groups))


class Epochs(NamedTuple):
    """What runs an epoch of a network of a stack, and its validation: in traced functions, under `jax.vmap`.

    Attributes:
        train: `train(state, data, order, rows, stack, active) -> (state, whole)`; `whole` says whether it came to the
            end. Shapes: `order` (steps * batch,), of which the first `rows` count. A network that is not `active`
            costs nothing.
        test: The same for an evaluation; only the totals of the state change.
    """

    train: Callable[..., tuple[State, Any]]
    test: Callable[..., tuple[State, Any]]


def epochs(model: Any, names: Variables, reading: Reading, size: int, test_size: int) -> Epochs:
    """Return what runs epochs with the kernels, in batches of `size` rows, validations in batches of `test_size`."""
    places, plan = _places(reading, names), reading.plan

    def cut(data: Tree, order: Any, rows: Any, active: Any, size: int) -> tuple[native.Data, Any]:
        x, y, weight = ((jax.tree.leaves(part) or [None])[0] for part in data)
        y = y.astype(jnp.int32).reshape(-1) if plan.labels else y.astype(jnp.float32).reshape(len(y), -1)
        weight = None if weight is None else weight.astype(jnp.float32).reshape(-1)
        index = order.reshape(-1, size)
        real = jnp.clip(rows - jnp.arange(len(index), dtype=jnp.int32) * size, 0, size)
        return native.Data(x, y, weight, index, real), jnp.where(active, (rows + size - 1) // size, 0)

    def ran(totals: Sequence[Any]) -> Any:
        return totals[places.totals[1]] > 0  # rows seen; one that is stopped on the way gives back what it got

    def train(state: State, data: Tree, order: Any, rows: Any, stack: native.Stack, active: Any) -> tuple[State, Any]:
        given, count = cut(data, order, rows, active, size)
        assert given.index is not None
        new = _advanced(
            model.optimizer, names, plan, places, state, size, given, count, np.int32(1), len(given.index), stack
        )
        return new, ran(new.totals)

    def test(state: State, data: Tree, order: Any, rows: Any, stack: native.Stack, active: Any) -> tuple[State, Any]:
        given, count = cut(data, order, rows, active, test_size)
        params: Sequence[Any] = (*state.params, *state.stats)
        sums = native.evaluate(
            plan, test_size, given, count, np.int32(1), [state.totals[i] for i in places.totals],
            [params[i] for i in places.params], stack,
        )  # fmt: skip
        totals = list(state.totals)
        for i, total in zip(places.totals, sums, strict=True):
            totals[i] = total
        return state._replace(totals=tuple(totals)), ran(totals)

    return Epochs(train, test)


def _rates(optimizer: Any, names: Variables, state: State, step: Any, room: int) -> Array:
    """Return the learning rate, or that of each step of the dispatch if a schedule makes it change."""
    rate = optimizer._learning_rate
    if isinstance(rate, Variable):
        return state.slots[[id(v) for v in names.slots].index(id(rate))].astype(jnp.float32)

    def at(iteration: Any) -> Array:
        slots = dict(zip(names.slots, state.slots, strict=True)) | {optimizer._iterations: iteration}
        with bound(names.slots, state.slots):
            return jnp.asarray(optimizer._rate(slots), jnp.float32)

    return jax.vmap(at)(step + jnp.arange(room, dtype=step.dtype))


def test_program(
    model: Any, names: Variables, reading: Reading, wide: Wide, *, padded: bool
) -> tuple[Callable[..., Any], set[int]]:
    """Compile `run(params, (stats, totals), data, rows, count)`: `count` batches of evaluation in one call.

    It returns `((stats, totals), report)`. With it come the places of the statistics that it changes: none.
    """
    places, plan = _places(reading, names), reading.plan
    by_xla, changed = steps.test_program(model, names, padded=padded)

    def run(params: Arrays, rest: tuple[Arrays, Arrays], data: Tree, rows: Any, count: Any, threads: Any) -> Any:
        found = _data(plan, data, rows, padded)
        if found is None:
            return by_xla(params, rest, data, rows, count)
        batch, given = found
        stats, totals = rest
        everything: Sequence[Any] = (*params, *stats)
        new = list(totals)
        sums = native.evaluate(
            plan._replace(wide=wide(plan, batch)), batch, given, count, threads, [totals[i] for i in places.totals],
            [everything[i] for i in places.params],
        )  # fmt: skip
        for i, total in zip(places.totals, sums, strict=True):
            new[i] = total
        return (stats, tuple(new)), steps.report_of(model, names, tuple(new), ())

    compiled = jax.jit(run)
    cores = Cores(plan)

    def call(params: Arrays, rest: tuple[Arrays, Arrays], data: Tree, rows: Any, count: Any) -> Any:
        rest, report = compiled(params, rest, _pointers(data), rows, count, cores(data))
        _keep(data, report)
        return rest, report

    return call, changed


test_program.__test__ = False  # type: ignore[attr-defined]


# Rows from which a prediction is worth packing the kernels, and how many go through them at once.
LEAST_PREDICTED, PREDICTED_ROWS = 32, 512


def predict_program(
    model: Any, names: Variables, reading: Reading, wide: Wide, by_xla: Callable[..., Any]
) -> Callable[..., Any]:
    """Compile `run(params, stats, x) -> (outputs, stats)`: one batch of prediction, through tiles.

    What is not for tiles, and what has a number in its outputs that is not finite, goes to XLA's program.

    Raises:
        Unsuited: If its variables are not those of its layers.
    """
    where = {id(v): i for i, v in enumerate((*names.params, *names.stats))}
    if not all(id(v) in where for v in reading.params):
        raise Unsuited("its weights are not those of its layers")
    places, plan = tuple(where[id(v)] for v in reading.params), reading.plan._replace(wide=True)
    dtype = model._graph.outputs[0].dtype

    def run(params: Arrays, stats: Arrays, x: Any, threads: Any) -> tuple[Any, Arrays]:
        rows = x.shape[0]
        batch = min(rows, PREDICTED_ROWS)
        weights = [(*params, *stats)[i] for i in places]
        outputs = native.predict(plan, batch, x, np.int32(rows // batch), threads, weights).astype(dtype)
        finite = jnp.all(jnp.isfinite(outputs))
        return jax.lax.cond(finite, lambda: outputs, lambda: by_xla(params, stats, x)[0]), stats

    compiled = jax.jit(run)

    def call(params: Arrays, stats: Arrays, x: Any) -> Any:
        if not _predictable(reading.plan, x, wide):
            return by_xla(params, stats, x)
        return compiled(params, stats, x, np.int32(threads_for(plan, len(x), machine.cores())))

    return call


def _predictable(plan: native.Plan, x: Any, wide: Wide) -> bool:
    """Return whether a batch is one array of rows for this plan, and enough of them for tiles."""
    if not isinstance(x, np.ndarray | jax.Array) or x.dtype != np.float32 or x.ndim < 2:
        return False
    rows = len(x)
    fits = rows <= PREDICTED_ROWS or rows % PREDICTED_ROWS == 0
    return fits and math.prod(x.shape[1:]) == plan.layers[0].inputs and rows >= LEAST_PREDICTED and wide(plan, rows)
