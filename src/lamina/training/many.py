"""The program that trains many networks of one architecture at once: a stack of states, many epochs in one dispatch.

One network's training, with its validation and early stopping, is a pure function of arrays; `jax.vmap` makes it one of
a stack. What a step does is `steps.train_step`, as everywhere.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Arrays, Tree
from lamina.native.plan import Stack
from lamina.training import native_program, session, steps
from lamina.training.likeness import Place, standing_in
from lamina.training.native_plan import Reading
from lamina.training.scalars import Inputs, Scalar
from lamina.training.steps import State, Variables

TRAINING, DONE, STOPPED, NOT_FINITE = range(4)  # what a network is about


class Watch(NamedTuple):
    """What early stopping knows of a network.

    Attributes:
        status: `TRAINING`, `DONE` (all its epochs), `STOPPED` (early) or `NOT_FINITE` (its loss or weights).
        epoch: Epochs trained.
        wait: Epochs since the last improvement.
        best: The best value of what is watched.
        best_epoch: Its epoch, from 0; -1 before any.
    """

    status: Any
    epoch: Any
    wait: Any
    best: Any
    best_epoch: Any


class Nets(NamedTuple):
    """All that training changes of a network; in a stack each array has the networks as its first axis."""

    params: Arrays
    stats: Arrays
    slots: Arrays
    best: tuple[Arrays, Arrays]  # params and stats of the best epoch; empty if they are not kept
    watch: Watch


class Fixed(NamedTuple):
    """What differs between networks and stays.

    Attributes:
        numbers: Inputs of the program that were numbers of the model, `(inputs,)`.
        epochs: Epochs to train.
        patience: Epochs without an improvement after which it is stopped.
        rows: Rows that it trains on.
        first: Where its inputs, targets and weights begin in the common arrays, `(3,)`.
        val_order: Rows to validate on, `(steps * batch,)`.
        val_rows: How many of them are real.
        plan: Numbers of the plan, if the native kernels run it, else None.
    """

    numbers: Any
    epochs: Any
    patience: Any
    rows: Any
    first: Any
    val_order: Any
    val_rows: Any
    plan: Any = None


class Batches(NamedTuple):
    """How rows are cut into batches: the same for all networks of a program.

    Attributes:
        size: Rows in a batch.
        steps: Batches of that size.
        short: Rows of one more batch of its own shape; 0: none.
        masked: Whether a batch may have rows that only fill it.
        ragged: Whether some networks have fewer batches than others.
    """

    size: int
    steps: int
    short: int
    masked: bool
    ragged: bool

    @property
    def length(self) -> int:
        """Row numbers in an epoch."""
        return self.size * self.steps + self.short


class Rules(NamedTuple):
    """What is built into a program beside the model.

    Attributes:
        train: Batches of an epoch.
        validate: Batches of a validation, or None.
        monitor: Name of the value that is watched, or None.
        sign: 1 if less is better, -1 if more is.
        min_delta: Least change that counts as an improvement.
        start_from: Epochs before the first that is judged.
        stops: Whether a network without an improvement is stopped.
        keeps: Whether the weights of the best epoch are kept.
        apart: Whether networks have data of their own, at a place of their own in the common arrays.
        split: Whether the rows to validate on are of the same arrays as those to train on.
    """

    train: Batches
    validate: Batches | None
    monitor: str | None
    sign: int
    min_delta: float
    start_from: int
    stops: bool
    keeps: bool
    apart: bool
    split: bool


def batches_of(counts: Any, size: int, padded: bool) -> Batches:
    """Return how rows are cut for networks with these numbers of rows.

    Unless short batches may be padded, all networks must have the same number of rows.
    """
    counts = np.asarray(counts)
    most = int(counts.max())
    if not padded:
        return Batches(size, most // size, most % size, masked=False, ragged=False)
    steps_of = -(-counts // size)
    masked = bool((counts % size != 0).any() or (counts != most).any())
    return Batches(size, int(steps_of.max()), 0, masked, bool((steps_of != steps_of.max()).any()))


def batch_at(data: Tree, first: Any, rows: Any) -> Tree:
    """Return the rows of the common arrays `(x, y, weight)`, each counted from where the network's own begin."""
    return tuple(
        jax.tree.map(lambda a, start=start: a[rows if start is None else rows + start], part)
        for part, start in zip(data, (None,) * 3 if first is None else first, strict=True)
    )


def _over(batches: Batches, order: Any, rows: Any, step: Callable[..., Any], carry: Any) -> Any:
    """Return `carry` after `step(carry, row numbers, mask)` for each batch of `order`."""
    size = batches.size

    def body(i: Any, carry: Any) -> Any:
        index = jax.lax.dynamic_slice_in_dim(order, i * size, size)
        if not batches.masked:
            return step(carry, index, None)
        mask = jnp.arange(size, dtype=jnp.int32) + i * size < rows
        new = step(carry, index, mask)
        return _either(i * size < rows, new, carry) if batches.ragged else new

    carry = jax.lax.fori_loop(0, batches.steps, body, carry) if batches.steps else carry
    return step(carry, order[batches.steps * size :], None) if batches.short else carry


def _either(condition: Any, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _by_xla(model: Any, names: Variables, rules: Rules) -> native_program.Epochs:
    """Return what runs epochs step by step, as one network alone has them."""

    def run(step: Callable[..., State], batches: Batches) -> Callable[..., tuple[State, Any]]:
        def epoch(state: State, data: Tree, order: Any, rows: Any, stack: Stack, active: Any) -> tuple[State, Any]:
            def one(state: State, index: Any, mask: Any) -> State:
                return step(model, names, state, batch_at(data, stack.begins, index), mask)

            return _over(batches, order, rows, one, state), True

        return epoch

    return native_program.Epochs(
        run(steps.train_step, rules.train), run(steps.test_step, rules.validate or rules.train)
    )


def one_epoch(
    model: Any,
    names: Variables,
    rules: Rules,
    zeros: Arrays,
    epochs: native_program.Epochs,
    nets: Nets,
    fixed: Fixed,
    data: Any,
    order: Any,
    stop: Any,
) -> tuple[Nets, dict[str, Any]]:
    """Return a network after one epoch, and its logs. Pure. One that no longer trains stays as it is.

    Args:
        model: What `compile` made ready.
        names: Its variables.
        rules: What else is built in.
        zeros: The metrics' totals at the start.
        epochs: What runs the steps.
        nets: The network.
        fixed: What is its own.
        data: `((x, y, weight) to train on, the same to validate on)`.
        order: Its row numbers of this epoch.
        stop: Address of a flag that ends it early: an epoch that does not come to its end counts for nothing.
    """
    stack = Stack(fixed.plan, fixed.first if rules.apart else None, stop)
    active = nets.watch.status == TRAINING
    before = State(nets.params, nets.stats, nets.slots, zeros)
    after, whole = epochs.train(before, data[0], order, fixed.rows, stack, active)
    report = steps.report_of(model, names, after.totals, after.params)
    logs = dict(report["logs"])
    tested = after
    if rules.validate is not None:
        own = stack if rules.split else stack._replace(begins=None)
        held = data[0 if rules.split else 1]
        start = after._replace(totals=zeros)
        tested, seen = epochs.test(start, held, fixed.val_order, fixed.val_rows, own, active)
        whole &= seen
        found = steps.report_of(model, names, tested.totals, ())["logs"]
        logs.update({f"val_{name}": value for name, value in found.items()})
    finite = report["finite"]
    new = nets._replace(params=after.params, stats=tested.stats, slots=after.slots)
    new = _either(finite, new, nets)  # the weights stay those of the last good epoch
    watch, better = _judged(rules, nets.watch, fixed, finite, logs)
    best = _either(better, (new.params, new.stats), nets.best) if rules.keeps else nets.best
    new = new._replace(best=best, watch=watch)
    return _either(active & whole, new, nets), logs


def _judged(rules: Rules, watch: Watch, fixed: Fixed, finite: Any, logs: dict[str, Any]) -> tuple[Watch, Any]:
    """Return what early stopping knows after an epoch, and whether it was the best: `callbacks.EarlyStopping`."""
    epoch = watch.epoch + 1
    status = jnp.where(epoch >= fixed.epochs, DONE, TRAINING)
    if rules.monitor is None:
        better = jnp.asarray(False)
        wait, best = watch.wait, watch.best
    else:
        value = jnp.asarray(logs[rules.monitor], jnp.float32)
        counts = watch.epoch >= rules.start_from
        nearer = rules.sign * value + rules.min_delta < rules.sign * watch.best
        better = counts & (nearer | (watch.best_epoch < 0) | (jnp.isnan(watch.best) & ~jnp.isnan(value)))
        wait = jnp.where(counts, jnp.where(better, 0, watch.wait + 1), watch.wait)
        better &= finite
        best = jnp.where(better, value, watch.best)
        if rules.stops:
            late = counts & ~better & (wait >= fixed.patience) & (watch.epoch > 0)
            status = jnp.where(late & (status == TRAINING), STOPPED, status)
    status = jnp.where(finite, status, NOT_FINITE).astype(jnp.int32)
    return Watch(status, epoch, wait, best, jnp.where(better, watch.epoch, watch.best_epoch)), better


def train_program(
    model: Any,
    names: Variables,
    rules: Rules,
    places: tuple[Place, ...],
    scalars: tuple[Scalar, ...],
    inputs: Inputs,
    reading: Reading | None = None,
) -> Callable[..., Any]:
    """Return `run(nets, fixed, data, order, count, stop) -> (nets, logs)`, not compiled: `count` epochs of a stack.

    The native kernels run them if there is a `reading` of the model, one network after the other; XLA all together.

    Shapes: `order` is `(epochs, networks, rows)`, or `(epochs, rows)` if all networks see the same rows at the same
    time; logs `(networks, epochs)`.
    """
    zeros = tuple(session._zeros(model, names))
    tracing = threading.Lock()  # other numbers stand in the model meanwhile
    if reading is None:
        epochs = _by_xla(model, names, rules)
    else:
        epochs = native_program.epochs(model, names, reading, rules.train.size, (rules.validate or rules.train).size)

    def one(nets: Nets, fixed: Fixed, data: Any, order: Any, count: Any, stop: Any) -> tuple[Nets, Any]:
        def epoch(nets: Nets, order: Any) -> tuple[Nets, Any]:
            return one_epoch(model, names, rules, zeros, epochs, nets, fixed, data, order, stop)

        with tracing, standing_in(places, scalars), inputs.giving(fixed.numbers):
            specs = jax.eval_shape(epoch, nets, order[0])[1]
            kept = jax.tree.map(lambda s: jnp.zeros((order.shape[0], *s.shape), s.dtype), specs)

            def body(k: Any, carry: tuple[Nets, Any]) -> tuple[Nets, Any]:
                nets, kept = carry
                nets, logs = epoch(nets, order[k])
                return nets, jax.tree.map(lambda all_, now: all_.at[k].set(now), kept, logs)

            return jax.lax.fori_loop(0, count, body, (nets, kept))  # type: ignore[no-any-return]

    def run(nets: Nets, fixed: Fixed, data: Any, order: Any, count: Any, stop: Any) -> tuple[Nets, Any]:
        shared = order.ndim == 2
        # A validation set that all share is one array; the networks' own rows of it are a stack.
        held = None if fixed.val_order is None or fixed.val_order.ndim == 1 else 0
        own = Fixed(0, 0, 0, 0, 0, held, 0, None if fixed.plan is None else 0)
        axes = (0, own, None, None if shared else 1, None, None)
        return jax.vmap(one, in_axes=axes)(nets, fixed, data, order, count, stop)

    return run


def fresh_watch(count: int) -> Watch:
    """Return what is known of networks before their first epoch."""
    zeros = np.zeros(count, np.int32)
    return Watch(zeros, zeros.copy(), zeros.copy(), np.zeros(count, np.float32), np.full(count, -1, np.int32))


__all__ = [
    "DONE", "NOT_FINITE", "STOPPED", "TRAINING", "Batches", "Fixed", "Nets", "Rules", "Watch", "batch_at", "batches_of",
    "fresh_watch", "one_epoch", "train_program",
]  # fmt: skip
