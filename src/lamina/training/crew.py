"""Who trains which networks when: stacks that fit a core's cache, one worker a core, stopped networks replaced.

Each worker has a stack of places. When a network is done another takes its place; when none is left and most places are
empty, the stack is made smaller. So a network that stopped early costs at most the rest of its dispatch.
"""

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Numpy, Tree
from lamina.background import Background
from lamina.training import many
from lamina.training.feed import aligned
from lamina.training.many import Batches, Fixed, Nets, Watch

SECONDS = 0.15  # a dispatch should take: how long Ctrl-C, a time limit or the progress line may wait
ORDER_BYTES = 8 << 20  # of row numbers in a dispatch
MOST_EPOCHS = 64  # in a dispatch


class Network:
    """One network on its way: its arrays between dispatches, its stream of shuffles, its logs.

    Args:
        arrays: `(params, stats, slots)`, NumPy.
        numbers: Its inputs of the program.
        plan: Numbers of its plan, if the native kernels run it.
        shuffles: State of NumPy's generator, or None for rows in order.
        by_batch: Whether the rows of each batch are shuffled among themselves only.
        rows: Row numbers that it trains on.
        first: Where its data begin in the common arrays: of inputs, targets, weights.
        val_order: Row numbers to validate on, or None.
        val_rows: How many of them are real.
        epochs: Epochs to train.
        patience: Epochs without an improvement after which it stops.
    """

    def __init__(
        self,
        arrays: tuple[Any, Any, Any],
        numbers: Numpy,
        *,
        plan: Numpy | None = None,
        shuffles: Any,
        by_batch: bool,
        rows: Numpy,
        first: tuple[int, int, int],
        val_order: Numpy | None,
        val_rows: int,
        epochs: int,
        patience: int,
        keeps: bool,
    ) -> None:
        self.params, self.stats, self.slots = arrays
        self.best = (self.params, self.stats) if keeps else ((), ())
        self.numbers, self.plan, self.rows, self.first = numbers, plan, rows.astype(np.int32), first
        self.val_order, self.val_rows = val_order, val_rows
        self.epochs, self.patience, self.by_batch = epochs, patience, by_batch
        self.watch = Watch(*(part[0] for part in many.fresh_watch(1)))
        self.logs: dict[str, list[Any]] = {}
        self.seconds = 0.0
        self.stream: np.random.RandomState | None = None
        if shuffles is not None:
            self.stream = np.random.RandomState()
            self.stream.set_state(shuffles)

    @property
    def open(self) -> bool:
        """Whether it has epochs to train."""
        return int(self.watch.status) == many.TRAINING and int(self.watch.epoch) < self.epochs

    def idle(self) -> "Network":
        """Return a network that is done: it fills a place."""
        twin = copy.copy(self)
        twin.watch, twin.logs, twin.stream = self.watch._replace(status=np.int32(many.DONE)), {}, None
        return twin

    def go_on(self, epochs: int) -> None:
        """Let it train up to so many epochs, unless it was stopped."""
        self.epochs = epochs
        if int(self.watch.status) in (many.TRAINING, many.DONE):
            status = many.TRAINING if int(self.watch.epoch) < epochs else many.DONE
            self.watch = self.watch._replace(status=np.int32(status))

    def look(self, size: int) -> None:
        """Draw what `fit` draws to look at the first batch, before its first epoch."""
        assert self.stream is not None
        self.stream.permutation(min(size, len(self.rows)) if self.by_batch else len(self.rows))

    def draw(self, batches: Batches, out: Numpy) -> None:
        """Write the row numbers of its next epoch, as `fit` alone would draw them: one permutation of NumPy's."""
        count = len(self.rows)
        rows = self.rows
        if self.stream is not None and self.by_batch:
            size = batches.size
            parts = [self.stream.permutation(min(size, count - s)) + s for s in range(0, count, size)]
            rows = rows[np.concatenate(parts)]
        elif self.stream is not None:
            rows = rows[self.stream.permutation(count)]
        out[:count] = rows
        if count < len(out):  # copies of real rows, which count for nothing
            last = rows[(count - 1) // batches.size * batches.size :]
            out[count:] = np.resize(last, len(out) - count)

    def keep(self, epochs: int, logs: dict[str, Numpy]) -> None:
        """Add the logs of so many epochs. Shapes: each `(epochs, ...)`."""
        if not epochs:
            return
        for name, values in logs.items():
            found = self.logs.setdefault(name, [])
            found.extend(float(v) if v.ndim == 0 else np.array(v) for v in values[:epochs])


class Progress:
    """What the workers tell, and how they are told to stop."""

    def __init__(self, told: Callable[[int, int], None] | None = None, deadline: float | None = None) -> None:
        self.steps, self.told, self.deadline = 0, told, deadline
        self.stop = threading.Event()
        self.late = False
        self._lock = threading.Lock()
        self._flag = np.zeros(1, np.int32)  # which the native kernels look at between batches
        address = self._flag.__array_interface__["data"][0]
        self.address = np.array([address & 0xFFFFFFFF, address >> 32], np.uint32)

    def halt(self) -> None:
        """Say that all are to stop, in the middle of an epoch if they can."""
        self.stop.set()
        self._flag[0] = 1

    def add(self, epochs: int, steps: int) -> None:
        """Say that so many epochs, of so many steps in sum, are done."""
        with self._lock:
            self.steps += steps
            if self.told is not None:
                self.told(epochs, steps)
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.late = True
                self.stop.set()


class Program:
    """A compiled program and how to use it.

    Args:
        run: What `many.train_program` returned.
        batches: How an epoch is cut.
        data: `((x, y, weight), (x, y, weight))`: to train on and to validate on.
        places: Most networks in a stack.
        shared: Whether all networks see the same rows at the same time.
        native: Whether the native kernels run them, one after another: then one that is done costs nothing.
    """

    def __init__(
        self, run: Callable[..., Any], batches: Batches, data: Tree, places: int, *, shared: bool, native: bool
    ) -> None:
        self.run = jax.jit(run, donate_argnums=(0,))
        self.native, self.stack = native, 0
        self.batches, self.places, self.shared = batches, places, shared
        self.data = jax.tree.map(jnp.array, data)
        self.compiling = 0.0  # seconds of the first dispatch

    def capacity(self, places: int) -> int:
        """Return the most epochs in a dispatch: an axis of the program, whatever number of epochs is asked for."""
        each = 4 * self.batches.length * (1 if self.shared else places)
        return max(1, min(MOST_EPOCHS, ORDER_BYTES // max(1, each)))


def train(program: Program, networks: Sequence[Network], progress: Progress, workers: int) -> None:
    """Train networks until each is done, or the progress says stop. What they have reached then is in them.

    The networks are dealt out in turn, so that which stack one is in does not depend on the clock.
    """
    waiting = [network for network in networks if network.open]
    if not waiting:
        return
    hands = min(workers, len(waiting))
    longest = -(-len(waiting) // hands)
    places = -(-longest // -(-longest // program.places))  # the same for all, so that one compilation serves them
    if program.native:  # and those that come later: an empty place costs nothing
        places = program.stack = max(places, program.stack)
    crews = [_Worker(program, waiting[i::hands], places, progress) for i in range(hands)]

    def work(worker: "_Worker") -> None:
        try:
            worker.work()
        except BaseException:
            progress.halt()
            raise

    crews[0].compile()  # once, before others ask for the same
    runs: list[Background] = []
    try:
        for worker in crews:
            runs.append(Background(partial(work, worker), name="lamina-crew", daemon=True))
        _wait(runs)
    except BaseException:
        progress.halt()
        _wait(runs)
        raise
    for run in runs:
        if run.failure is not None:
            raise run.failure


def _wait(runs: Sequence[Background]) -> None:
    for run in runs:
        run.wait()


class _Worker:
    """A stack of places and the networks that go through it."""

    def __init__(self, program: Program, networks: Sequence[Network], places: int, progress: Progress) -> None:
        self.program, self.places, self.progress = program, places, progress
        self.waiting = deque(networks)
        self.capacity = program.capacity(places)
        patience = min(network.patience for network in networks)
        # Epochs after which stopped networks are looked for.
        self.look = self.capacity if program.native else max(1, -(-patience // 4))
        self.seats: list[Network] = []
        self.nets: Any = None
        self.fixed: Any = None
        self.seconds: float | None = None  # of an epoch of the stack

    def compile(self) -> None:
        """Take the first networks in and compile the program for them, without training."""
        self._fill()
        begin = time.perf_counter()
        self.nets, logs = self._dispatch(0)
        jax.block_until_ready(logs)
        self.program.compiling = time.perf_counter() - begin

    def work(self) -> None:
        """Train until nothing is left or it is time to stop."""
        if not self.seats:
            self._fill()
        try:
            while any(seat.open for seat in self.seats) and not self.progress.stop.is_set():
                self._advance()
                self._fill()
        finally:
            self._collect()

    def _advance(self) -> None:
        most = max(seat.epochs - int(seat.watch.epoch) for seat in self.seats if seat.open)
        wanted = 1 if self.seconds is None else max(1, int(SECONDS / max(self.seconds, 1e-6)))
        count = min(self.capacity, most, wanted, self.look)
        begin = time.perf_counter()
        self.nets, logs = self._dispatch(count)
        watches = Watch(*(np.array(part) for part in self.nets.watch))
        logs = jax.tree.map(np.asarray, logs)
        spent = time.perf_counter() - begin
        self.seconds = spent / count if self.seconds is None else 0.5 * (self.seconds + spent / count)
        self._tell(watches, logs, spent)

    def _dispatch(self, count: int) -> tuple[Any, Any]:
        batches, shared = self.program.batches, self.program.shared
        shape = (self.capacity, batches.length) if shared else (self.capacity, len(self.seats), batches.length)
        order = aligned(shape, np.int32)
        for k in range(count):
            if shared:
                self.seats[0].draw(batches, order[k])
            else:
                for i, seat in enumerate(self.seats):
                    if seat.open and int(seat.watch.epoch) + k < seat.epochs:
                        seat.draw(batches, order[k, i])
                    else:
                        order[k, i] = 0
        stop = self.progress.address
        return self.program.run(self.nets, self.fixed, self.program.data, order, np.int32(count), stop)  # type: ignore[no-any-return]

    def _tell(self, watches: Watch, logs: dict[str, Any], spent: float) -> None:
        epochs = steps = 0
        open_seats = sum(seat.open for seat in self.seats)
        for i, seat in enumerate(self.seats):
            if not seat.open:
                continue
            made = int(watches.epoch[i]) - int(seat.watch.epoch)
            seat.keep(made, {name: values[i] for name, values in logs.items()})
            seat.watch = Watch(*(part[i] for part in watches))
            seat.seconds += spent / open_seats
            epochs += made
            steps += made * -(-len(seat.rows) // self.program.batches.size)
        self.progress.add(epochs, steps)

    def _fill(self) -> None:
        """Put waiting networks in the places of those that are done; with none waiting, make the stack smaller."""
        finished = [i for i, seat in enumerate(self.seats) if not seat.open]
        if self.seats and not finished:
            return
        if not self.seats or (self.program.shared and len(finished) == len(self.seats)):
            seats = self._next()
        elif self.program.shared:  # they go in step: the next come when all of these are done
            seats = self._fewer(finished)
        elif self.waiting:
            seats = list(self.seats)
            for i in finished[: len(self.waiting)]:
                seats[i] = self.waiting.popleft()
        else:
            seats = self._fewer(finished)
        if seats and seats != self.seats:
            self._seat(seats)

    def _next(self) -> list[Network]:
        """Return the next networks, as many as there are places; empty places get a copy that does not train."""
        seats = [self.waiting.popleft() for _ in range(min(self.places, len(self.waiting)))]
        return seats + [seats[0].idle()] * (self.places - len(seats)) if seats else []

    def _fewer(self, finished: list[int]) -> list[Network]:
        """Return the seats of a smaller stack, if what it saves is worth compiling it."""
        if self.program.native:
            return self.seats
        alive = [seat for i, seat in enumerate(self.seats) if i not in set(finished)]
        places = 1 << max(0, (len(alive) - 1).bit_length())
        if not alive or places > len(self.seats) // 2:
            return self.seats
        left = max(seat.epochs - int(seat.watch.epoch) for seat in alive)
        saved = left * (self.seconds or 0.0) * (1 - places / len(self.seats))
        if saved < self.program.compiling:
            return self.seats
        done = [self.seats[i] for i in finished][: places - len(alive)]
        return alive + done

    def _seat(self, seats: list[Network]) -> None:
        """Let these networks have the places of the stack, in this order."""
        self._collect()
        self.seats = seats
        self.nets = stacked([Nets(s.params, s.stats, s.slots, s.best, s.watch) for s in seats])
        first = seats[0]
        common = all(seat.val_order is first.val_order for seat in seats)
        val_order: Any = first.val_order if common else np.stack([seat.val_order for seat in seats])  # type: ignore[misc]
        self.fixed = jax.tree.map(
            jnp.array,
            Fixed(
                np.stack([seat.numbers for seat in seats]),
                np.array([seat.epochs for seat in seats], np.int32),
                np.array([seat.patience for seat in seats], np.int32),
                np.array([len(seat.rows) for seat in seats], np.int32),
                np.array([seat.first for seat in seats], np.int32),
                val_order,
                np.array([seat.val_rows for seat in seats], np.int32),
                None if first.plan is None else np.stack([seat.plan for seat in seats]),  # type: ignore[misc]
            ),
        )

    def _collect(self) -> None:
        """Bring the arrays of the networks in the stack back into them."""
        if self.nets is None:
            return
        if self.program.shared and self.seats[0].stream is not None:
            drawn = self.seats[0].stream.get_state()  # the first has drawn for all
            for seat in self.seats[1:]:
                if seat.stream is not None:
                    seat.stream.set_state(drawn)
        whole = jax.tree.map(np.asarray, (self.nets.params, self.nets.stats, self.nets.slots, self.nets.best))
        for i, seat in enumerate(self.seats):
            own = jax.tree.map(lambda a, i=i: np.array(a[i]), whole)
            seat.params, seat.stats, seat.slots, seat.best = own
        self.nets = None


def stacked(trees: Sequence[Any]) -> Any:
    """Return trees of arrays as one tree of stacks, on the device."""
    return jax.tree.map(lambda *arrays: jnp.array(np.stack(arrays)), *trees)
