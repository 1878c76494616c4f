"""One fit, evaluation or prediction of one model: its variables, its program, and how state goes in and out of them.

After every dispatch the new arrays are in the variables at once. Whatever fails later finds a whole model.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, machine
from lamina._types import Arrays, Tree
from lamina.errors import warn
from lamina.layers.context import CallContext, calling
from lamina.layers.host import revision as learned
from lamina.stacks import Stack, spread, units_of
from lamina.training import engines, repeats, steps
from lamina.training.ahead import Ahead
from lamina.training.steps import Block, State, Variables
from lamina.variables import Variable, bound, held, isolated, moving, store, take, toggled, values

BACKUP_SECONDS = 10.0  # between two copies of a large state


class Ticket(NamedTuple):
    """A dispatch under way.

    Attributes:
        report: What the device will have to say.
        before: The state that it started from, if that still exists.
        block: The data.
        serial: Its number.
    """

    report: Any
    before: State | None
    block: Block
    serial: int


def read(report: Any) -> tuple[dict[str, Any], bool]:
    """Wait for a report and return its logs, as numbers and in the order of their names, and whether all is finite."""
    logs = {name: _number(value) for name, value in sorted(report["logs"].items())}
    finite = bool(np.asarray(report["finite"]))
    engines.let_go()
    return logs, finite


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _number(v) for key, v in value.items()}
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Inside the block Ctrl-C waits until its end, so that it cannot fall between a dispatch and writing back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.getsignal(signal.SIGINT)
    pending: list[Any] = []
    signal.signal(signal.SIGINT, lambda *details: pending.append(details))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
        if pending and callable(old):
            old(*pending[0])


class Training:
    """The state of a model while it is fitted.

    Args:
        model: A model that is built and compiled.
        padded: Whether batches may hold rows that only fill them.
        feed: The data, if the program may pick the rows of a batch itself.
    """

    def __init__(self, model: Any, *, padded: bool, feed: Any = None) -> None:
        config.place_compilation_cache()
        self.model = model
        self._padded = padded
        self._toggled = toggled[0]
        self.names = repeats.variables_of(model, "train")
        self._feed = feed
        self.engine = program(model, self.names, "train", padded, feed)
        self.run, self.donates = self.engine.run, self.engine.donates
        self._zeros = _zeros(model, self.names)
        self._resets_itself = resets_itself(model)
        self._backup: tuple[Arrays, Arrays] | None = None  # weights and statistics
        self._backed_up = 0.0
        self._warned = False
        self._serial = 0  # of the last dispatch
        self.resumed = False  # whether the state is that of an earlier fit
        self.done = 0  # batches of this epoch that the variables have seen
        self._open: list[Ticket] = []  # dispatches whose report has not been read
        self._recovered = 0  # the last dispatch that started from a state which has been given up

    @property
    def variables(self) -> Variables:
        """All that a step may change, one by one and in the model's order."""
        stacked = any(isinstance(unit, Stack) for unit in (*self.names.params, *self.names.stats))
        return steps.variables_of(self.model) if stacked else self.names

    def reset_totals(self) -> None:
        """Start an epoch: the metrics begin anew."""
        self.done = 0
        if self._resets_itself:
            self.model.reset_metrics()
            return
        zeros = [jnp.array(z, copy=True) for z in self._zeros] if self.donates else self._zeros
        store(self.names.totals, zeros)

    def back_up(self) -> None:
        """Copy the weights now and then, where a dispatch takes their memory over: what `recover` goes back to."""
        now = time.monotonic()
        if isinstance(self.run, Ahead) and not self.run.compiled:
            return  # `_prepare` makes the first, when what the compiler needs is free again
        if self.donates and (self._backup is None or now - self._backed_up > BACKUP_SECONDS):
            self._backed_up = now
            self._backup = None  # let go of the old copy first
            self._backup = (_copies(self.names.params), _copies(self.names.stats))

    def _prepare(self, block: Block) -> None:
        """Compile the program for a block, where that is done ahead, and copy the weights after it."""
        if isinstance(self.run, Ahead):
            arrays = State(*(tuple(v._array for v in group) for group in self.names))
            specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
            self.run.ready(specs, block.data, block.rows, np.int32(block.count))
            self.back_up()
            machine.release_memory()
        else:
            self.back_up()

    def dispatch(self, block: Block) -> Ticket:
        """Send a block off and write the arrays to come into the variables. Does not wait."""
        if self._toggled != toggled[0]:
            self._follow()
        if self.engine.picks is None and isinstance(block.data, steps.Rows):  # gathered for another engine
            block = block._replace(data=steps.gathered(block.data))
        if self.donates and self._backup is None:
            self._prepare(block)
        with interrupts_held():  # all of the new state is in the variables, or none
            self._serial += 1
            if self.donates:
                with moving:
                    new, report = self.run(State(*map(take, self.names)), block.data, block.rows, np.int32(block.count))
                    self._write(new)
                ticket = Ticket(report, None, block, self._serial)
            else:
                state = State(*map(held, self.names))
                new, report = self.run(state, block.data, block.rows, np.int32(block.count))
                self._write(new)
                ticket = Ticket(report, state, block, self._serial)
            self.done += block.count
            self._open.append(ticket)
        return ticket

    def _follow(self) -> None:
        """Train from now on what is trainable now: somebody has frozen or thawed a weight since the last step."""
        self._toggled = toggled[0]
        names = repeats.variables_of(self.model, "train")
        if [list(map(id, group)) for group in names] == [list(map(id, group)) for group in self.names]:
            return
        self.settle()
        self.model.build_optimizer()
        self.names = repeats.variables_of(self.model, "train")
        self.engine = program(self.model, self.names, "train", self._padded, self._feed)
        self.run, self.donates = self.engine.run, self.engine.donates
        self._backup = None
        self.back_up()

    def finish(self, ticket: Ticket) -> tuple[dict[str, Any], bool]:
        """Wait for a dispatch; return its logs and whether all is finite. If not, go back to where all was."""
        logs, finite = read(ticket.report)
        if not finite:
            self.recover(ticket)
        self._open = [other for other in self._open if other.serial != ticket.serial]
        return logs, finite

    def settle(self) -> None:
        """Finish what is under way: nobody will ask for its logs any more."""
        for ticket in list(self._open):
            self.finish(ticket)

    def finalize(self) -> None:
        """Let the optimizer put its moving averages, if it keeps any, in place of the weights: the end of fit."""
        finalize = getattr(self.model.optimizer, "finalize_variable_values", None)
        if finalize is not None and (self._serial or self.resumed):
            finalize(self.variables.params)

    def _write(self, state: Any) -> None:
        for group, arrays in zip(self.names, state, strict=True):
            store(group, arrays)

    def recover(self, ticket: Ticket) -> None:
        """Go back to the last finite state before a dispatch whose loss or weights are not; warn once why."""
        block = ticket.block
        if (ticket.before is None and self._backup is None) or ticket.serial <= self._recovered:
            return
        self._recovered = self._serial
        good = ticket.before
        if good is None:
            params, stats = self._backup or ((), ())
            good = State(params, stats, self._fresh_slots(), ())
        if ticket.before is not None and not self._warned:
            good, steps_done = self._last_good(ticket.before, block)
        else:
            steps_done = 0
        self._write(State(good.params, good.stats, good.slots, tuple(self._zeros)))
        values([v for group in self.names for v in group])  # read, hence copied before their memory is taken over
        if not self._warned:
            self._warned = True
            batch = steps.batch_of(block.data, min(steps_done, block.count - 1))
            place = first_not_finite(self.model, self.names, batch)
            warn(
                f"The loss is not finite (NaN or infinity) in training: {place} "
                "The weights are kept as they were before. Usual causes: a learning rate that is too high, "
                "logarithms or divisions by zero in a custom layer or loss, inputs of very different scales. "
                "Try a smaller learning rate or `clipnorm=1.0`.",
                RuntimeWarning,
            )

    def _fresh_slots(self) -> Arrays:
        """Return what the optimizer remembers at its start, with the present iteration and learning rate."""
        optimizer = self.model.optimizer
        fresh = type(optimizer).from_config(optimizer.get_config())
        fresh.build(optimizer._trainable_variables)
        kept = {"iteration", "learning_rate"}
        pairs = zip(optimizer.variables, fresh.variables, strict=True)
        start = {old: old._array if old.name in kept else new._array for old, new in pairs}
        return units_of(self.names.slots, [start[variable] for variable in spread(self.names.slots)])

    def _last_good(self, before: State, block: Block) -> tuple[State, int]:
        """Return the state after the most steps of the block that leave everything finite, and their number."""
        low, high, best = 0, block.count, before
        while high - low > 1:
            middle = (low + high) // 2
            new, report = self.run(before, block.data, block.rows, np.int32(middle))
            if read(report)[1]:
                low, best = middle, State(*new)
            else:
                high = middle
        return best, low


def first_not_finite(model: Any, names: Variables, batch: Tree) -> str:
    """Return a sentence that names the first layer whose output, or gradient, is not finite for a batch."""
    found: list[str] = []
    names = Variables(*(tuple(spread(group)) for group in names))

    def watch(layer: Any, outputs: Any) -> Any:
        for leaf in jax.tree.leaves(outputs):
            if not found and not isinstance(leaf, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(leaf))):
                found.append(f"the first output that is not finite is that of layer `{layer.name}`.")
        return outputs

    x, y, weight = batch
    everything = (*names.params, *names.stats, *names.totals)
    arrays = values(everything)
    try:
        with isolated(), calling(CallContext(training=True, collecting=True, observer=watch)):
            model.call_in_step(x, training=True)
        if found:
            return found[0]

        def loss_of(params: Any) -> Any:
            rest = arrays[len(names.params) :]
            with bound(everything, (*params, *rest)), calling(CallContext(training=True, collecting=True)):
                return model.loss_in_step(x, y, model.call_in_step(x, training=True), weight, None, True)

        loss, grads = jax.value_and_grad(loss_of)(arrays[: len(names.params)])
    except Exception as error:  # a diagnosis must not hide what it diagnoses
        return f"its source could not be found ({type(error).__name__})."
    if not bool(jnp.isfinite(loss)):
        return "every layer's output is finite, the loss function's value is not."
    for variable, grad in reversed(list(zip(names.params, grads, strict=True))):
        if not bool(jnp.all(jnp.isfinite(grad))):
            return f"the loss is finite; the first gradient that is not is that of `{variable.path}`."
    return "outputs and gradients of the last good step are finite, so it came with the update that followed."


class Testing:
    """The state of a model while it is evaluated: the metrics start anew, the weights are only read."""

    def __init__(self, model: Any, *, padded: bool, feed: Any = None) -> None:
        config.place_compilation_cache()
        self.model = model
        self.names = repeats.variables_of(model, "test")
        self.engine = program(model, self.names, "test", padded, feed)
        self.run, self._changed = self.engine.run, self.engine.changed
        self._zeros = _zeros(model, self.names)
        self._resets_itself = resets_itself(model)
        self._custom = model.has_own_step("test_step")
        # An evaluation has totals of its own, so that it is right while other threads train or evaluate.
        self._totals: Arrays | None = tuple(self._zeros) if model.turns.elsewhere else None

    def reset_totals(self) -> None:
        """Start the metrics anew."""
        if self._resets_itself:
            self.model.reset_metrics()
        else:
            self._show(tuple(self._zeros))

    def _show(self, totals: Arrays) -> None:
        """Let the metrics have these totals, unless another thread trains and they are its own."""
        self._totals = totals
        if not self.model.turns.elsewhere:
            store(self.names.totals, totals)
            values(self.names.totals)  # read, hence copied before their memory is taken over

    def dispatch(self, block: Block) -> Any:
        """Send a block off, write totals and statistics back, and return the report. Does not wait."""
        turns = self.model.turns
        params, stats = turns.read(self.names)
        totals = values(self.names.totals) if self._totals is None else self._totals
        if self._custom:
            (_, stats, totals), report = self.run(
                (params, stats, totals), block.data, block.rows, np.int32(block.count)
            )
        else:
            (stats, totals), report = self.run(params, (stats, totals), block.data, block.rows, np.int32(block.count))
        turns.keep(self.names, stats, self._changed)
        self._show(totals)
        return report


def _copies(variables: tuple[Variable, ...]) -> Arrays:
    return tuple(jnp.array(array, copy=True) for array in held(variables))


def resets_itself(model: Any) -> bool:
    """Return whether the user's own code says how a metric of the model starts anew."""
    metrics = [part for metric in model.metrics for part in (metric, *getattr(metric, "metrics", ()))]
    return model.has_own_step("reset_metrics") or any(
        not type(metric).reset_state.__module__.startswith("lamina.") for metric in metrics
    )


def _zeros(model: Any, names: Variables) -> list[Any]:
    """Return the totals at the start, in the order of the metrics' variables."""
    zeros = [z for metric in model.metrics for z in metric.stateless_reset_state()]
    if len(zeros) != len(names.totals):
        return [jnp.zeros(v.shape, v._dtype) for v in names.totals]
    return [jax.device_put(z) for z in zeros]


def program(model: Any, names: Variables, kind: str, padded: bool, feed: Any = None) -> engines.Engine:
    """Return what runs the steps of one kind for the variables as they stand, and tell the feed what it takes.

    It is kept with the model, so that a second fit, another number of epochs or another learning rate compile nothing.
    """
    optimizer = model.optimizer
    batch = None if feed is None else feed.peek()
    revision = getattr(optimizer, "revision", 0) if kind == "train" else 0
    key = (
        kind,
        padded,
        id(optimizer) if kind == "train" else 0,
        revision,
        learned(),
        _kinds(batch),
        tuple(tuple(map(id, group)) for group in names),
    )
    found = model.programs.get(key)
    if found is None:
        for old in [k for k in list(model.programs) if k[0] == kind and k[1] == padded]:
            model.programs.pop(old, None)
        choose = engines.train if kind == "train" else engines.evaluate
        machine.program_made()
        found = choose(model, names, padded=padded, batch=batch)
        model.programs[key] = found
    if feed is not None:
        feed.hand_over(found.picks)
    return found  # type: ignore[no-any-return]


def _kinds(batch: Tree) -> Any:
    """Return what of a batch may decide which engine takes it: types, and shapes without the rows."""
    return tuple((str(leaf.dtype), leaf.shape[1:]) for leaf in jax.tree.leaves(batch)), jax.tree.structure(batch)
