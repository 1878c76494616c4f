"""Many networks under way: made, grouped into programs, trained, and asked for what they have reached."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import config as settings
from lamina import machine
from lamina._types import Numpy, Tree
from lamina.errors import LaminaError, did_you_mean, invalid
from lamina.many.members import Maker, Start, index_array
from lamina.many.programs import Group, Request, Template, direction, grouped, places, template
from lamina.training import checks, crew, many
from lamina.training.crew import Network, Program, Progress
from lamina.training.feed import on_cpu
from lamina.training.many import Batches, Fixed, Nets, Rules, batches_of
from lamina.training.scalars import Split

FOR_EVER = 1 << 30  # epochs of patience
VALIDATED_AT_ONCE = 256  # rows in a batch of a validation, where its size does not show


class Seat(NamedTuple):
    """What a network is to do: a configuration, one of its folds, and the rows to train and to validate on."""

    owner: int
    fold: int | None
    rows: Numpy
    held: Numpy | None  # of the same data


class Fitting:
    """Networks of many configurations, from their first step to their last.

    Args:
        maker: Makes their models.
        request: What is asked for.
        epochs: Epochs of those that name none.
        patience: Epochs without an improvement, of those that name none; None: no early stopping.
        validation_split: Share of the last rows to validate on.
        folds: `(rows to train on, rows to validate on)` of each fold, by number of rows; or None.
    """

    def __init__(
        self,
        maker: Maker,
        request: Request,
        *,
        epochs: int,
        patience: int | None,
        validation_split: float = 0.0,
        folds: Callable[[int], list[tuple[Numpy, Numpy]]] | None = None,
    ) -> None:
        settings.place_compilation_cache()
        self.maker, self.request = maker, request
        self.epochs, self.patience = epochs, patience
        self.sets: list[tuple[Any, Any, Any]] = []  # the different data, as they were given
        self.set_of: list[int] = [self._set(i) for i in range(len(maker.configs))]
        self.seats = [seat for i in range(len(maker.configs)) for seat in self._seats(i, validation_split, folds)]
        self.sign = 1
        starts = [maker.start(i) for i in range(len(maker.configs))]
        keys = [self._key(seat) for seat in self.seats]
        self.groups = grouped(starts, [seat.owner for seat in self.seats], keys, lambda n, m: self._made(n, m, starts))
        self.networks: list[Network] = [None] * len(self.seats)  # type: ignore[list-item]
        self.programs = [self._program(group, starts) for group in self.groups]
        self.interrupted = self.late = False
        self.steps, self.seconds = 0, 0.0

    # ---- what each network is to do

    def _set(self, index: int) -> int:
        fit = self.maker.parts[index].fit
        own = (self.maker.x_of(index), fit.get("y", self.request.y), fit.get("sample_weight", self.request.weight))
        for i, known in enumerate(self.sets):
            if all(a is b for a, b in zip(known, own, strict=True)):
                return i
        self.sets.append(own)
        return len(self.sets) - 1

    def _count(self, index: int) -> int:
        leaves = jax.tree.leaves(self.sets[self.set_of[index]][0])
        if not leaves or not hasattr(leaves[0], "__len__"):
            raise invalid("There is no data.", owner="`x`", fix="pass inputs as `x`.")
        return len(leaves[0])

    def _seats(self, index: int, share: float, folds: Any) -> list[Seat]:
        count = self._count(index)
        try:
            given = self.maker.parts[index].fit.get("rows")
            rows = np.arange(count) if given is None else index_array(given, count)
            if folds is not None:
                return [Seat(index, i, rows[a], rows[b]) for i, (a, b) in enumerate(folds(len(rows)))]
            if share:
                kept = checks.split_rows(len(rows), share)
                return [Seat(index, None, rows[:kept], rows[kept:])]
        except LaminaError as error:
            raise self.maker.named(error, index) from error
        return [Seat(index, None, rows, None)]

    def _key(self, seat: Seat) -> Any:
        weight = self.sets[self.set_of[seat.owner]][2]
        size = min(self.maker.batch_of(seat.owner), len(seat.rows))
        if self.request.split and seat.fold is not None:
            size = self.maker.batch_of(seat.owner)  # folds differ by a row
        return size, weight is None

    def _whole(self, index: int, name: str, default: Any, least: int) -> int:
        try:
            return checks.whole_number(self.maker.parts[index].fit.get(name, default), name, least) or 0
        except LaminaError as error:
            raise self.maker.named(error, index) from error

    # ---- programs

    def _made(self, network: int, members: Sequence[int], starts: Sequence[Start]) -> tuple[Template, Rules, Tree]:
        """Return a group's template, its rules and the arguments of its program for one network."""
        seat, request = self.seats[network], self.request
        owner = seat.owner
        _, y, weight = self.sets[self.set_of[owner]]
        pattern = template(self.maker, owner, request, weight, y)
        rules = self._rules(pattern, members)
        start = starts[owner]
        length = 0 if rules.validate is None else rules.validate.length
        arrays: Any = start.params, start.stats
        nets = Nets(
            start.params,
            start.stats,
            start.slots,
            arrays if rules.keeps else ((), ()),
            many.Watch(*(a[0] for a in many.fresh_watch(1))),
        )
        one = np.int32(1)
        order = None if rules.validate is None else np.zeros(length, np.int32)
        fixed = Fixed(np.zeros(0, np.float32), one, one, one, np.zeros(3, np.int32), order, one)
        stack = jax.tree.map(lambda a: np.asarray(a)[None], (nets, fixed))
        data = (pattern.data, pattern.validation)
        stop = np.zeros(2, np.uint32)
        return pattern, rules, (*stack, data, np.zeros((1, 1, rules.train.length), np.int32), one, stop)

    def _rules(self, pattern: Template, members: Sequence[int]) -> Rules:
        watching, request = self.request.watching, self.request
        validated = pattern.validation is not None or request.split
        _check_monitor(pattern.model, watching.monitor, validated)
        self.sign = direction(pattern.model, watching)
        seats = [self.seats[m] for m in members]
        size = self._key(seats[0])[0]
        counts = [len(seat.rows) for seat in seats]
        if not pattern.padded and len(set(counts)) > 1:
            raise Split(np.unique(counts, return_inverse=True)[1].reshape(-1))  # short batches in their own shapes
        validate: Batches | None = None
        held = [len(seat.held) for seat in seats if seat.held is not None]
        if not held and pattern.validation is not None:
            held = [len(jax.tree.leaves(pattern.validation)[0])]
        if held:
            padded = pattern.val_padded and (pattern.padded or not request.split)
            at_once = min(max(size, VALIDATED_AT_ONCE), max(held)) if padded else min(size, *held)
            validate = batches_of(held, at_once, padded)
        return Rules(
            batches_of(counts, size, pattern.padded), validate,
            watching.monitor if watching.stops or watching.keeps else None, self.sign, watching.min_delta,
            watching.start_from_epoch, watching.stops, watching.keeps,
            apart=len(self.sets) > 1, split=request.split,
        )  # fmt: skip

    def _program(self, group: Group, starts: Sequence[Start]) -> tuple[Program, list[Network]]:
        rules, pattern = group.rules, group.template
        data, begins = self._common(group)
        numbers = group.inputs.rows(range(len(group.members)))
        common: Numpy | None = None  # what all validate on
        held = 0
        if rules.validate is not None and not rules.split:
            held = len(jax.tree.leaves(pattern.validation)[0])
            common = _filled(np.arange(held), rules.validate)
        patience = FOR_EVER if self.patience is None else self.patience
        networks = []
        for place, member in enumerate(group.members):
            seat = self.seats[member]
            start = starts[seat.owner]
            own = seat.held
            order, count = common, held
            if own is not None and rules.validate is not None:
                order, count = _filled(own, rules.validate), len(own)
            network = Network(
                start[:3], numbers[place], plan=None if group.plans is None else group.plans[place],
                shuffles=start.shuffles if self.request.shuffle else None,
                by_batch=self.request.shuffle == "batch", rows=seat.rows, first=begins[self.set_of[seat.owner]],
                val_order=order, val_rows=count, epochs=self._whole(seat.owner, "epochs", self.epochs, 0),
                patience=self._whole(seat.owner, "patience", patience, 0), keeps=rules.keeps,
            )  # fmt: skip
            if pattern.drawn and network.stream is not None:
                network.look(rules.train.size)
            self.networks[member] = network
            networks.append(network)
        native = group.plans is not None
        stack = places(starts[self.seats[group.members[0]].owner], rules, data[0], native=native)
        return Program(group.program, rules.train, data, stack, shared=_in_step(networks), native=native), networks

    def _common(self, group: Group) -> tuple[Tree, dict[int, tuple[int, int, int]]]:
        """Return the common arrays of a group and where the data of each set begin in them."""
        pattern = group.template
        wanted = sorted({self.set_of[self.seats[m].owner] for m in group.members})
        if len(self.sets) == 1:
            return (pattern.data, pattern.validation), {wanted[0]: (0, 0, 0)}
        parts: list[list[Tree]] = [[], [], []]
        known: dict[tuple[int, int], int] = {}
        lengths = [0, 0, 0]
        begins: dict[int, tuple[int, int, int]] = {}
        for number in wanted:
            member = next(m for m in group.members if self.set_of[self.seats[m].owner] == number)
            given = self.sets[number]
            checked = template(self.maker, self.seats[member].owner, self.request, given[2], given[1]).data
            place = []
            for i in range(3):
                key = (i, id(given[i]) if i < 2 or self.request.class_weight is None else number)
                if key not in known:
                    known[key] = lengths[i]
                    parts[i].append(checked[i])
                    lengths[i] += len(jax.tree.leaves(checked[0])[0])
                place.append(known[key])
            begins[number] = (place[0], place[1], place[2])
        joined = tuple(jax.tree.map(lambda *arrays: np.concatenate(arrays), *part) for part in parts)
        return (joined, pattern.validation), begins

    # ---- training

    def train(
        self,
        networks: Sequence[int],
        *,
        told: Callable[[int, int], None] | None = None,
        deadline: float | None = None,
        workers: int | None = None,
    ) -> None:
        """Train these networks to their ends. Ctrl-C and the deadline end it early, with what was reached kept."""
        if workers is None:
            workers = machine.cores() if on_cpu() else 1
        wanted = {id(self.networks[n]) for n in networks}
        progress = Progress(told, deadline)
        begin = time.perf_counter()
        try:
            for program, members in self.programs:
                chosen = [network for network in members if id(network) in wanted]
                if chosen and not progress.stop.is_set():
                    crew.train(program, chosen, progress, workers)
        except KeyboardInterrupt:
            self.interrupted = True
        self.late |= progress.late
        self.steps += progress.steps
        self.seconds += time.perf_counter() - begin

    def score(self, network: Network) -> float:
        """Return the watched value of a network: of its best epoch if that is kept, else of its last."""
        values = network.logs.get(self.request.watching.monitor) or []
        if not values:
            return float("nan")
        best = int(network.watch.best_epoch)
        if self.request.watching.keeps and best >= 0:
            return float(values[best])
        finite = int(network.watch.status) != many.NOT_FINITE
        return float(values[-1]) if finite else float("nan")

    def why(self) -> list[str]:
        """Return the keys of the configurations because of which there is more than one program."""
        if len(self.groups) < 2:
            return []
        owners = [{self.seats[m].owner for m in group.members} for group in self.groups]
        keys = list(dict.fromkeys(key for config in self.maker.configs for key in config))
        found = []
        for key in keys:
            values = [{repr(self.maker.configs[o].get(key)) for o in group} for group in owners]
            if any(not a & b for i, a in enumerate(values) for b in values[i + 1 :]):
                found.append(key)
        return found


def _check_monitor(model: Any, monitor: str, validated: bool) -> None:
    """Raise `InvalidArgumentError` if what is watched is not among the values that a model reports."""
    logs = list(jax.eval_shape(lambda: model.get_metrics_result()))
    known = [*logs, *(f"val_{name}" for name in logs)] if validated else logs
    if monitor not in known:
        raise invalid(
            "There is no loss or metric of this name"
            + ("." if validated or not monitor.startswith("val_") else ", since nothing is validated."),
            owner="`monitor`",
            received=repr(monitor),
            fix=did_you_mean(monitor, known),
        )


def _filled(rows: Numpy, batches: Batches) -> Numpy:
    """Return row numbers, with copies of the last up to a whole number of batches."""
    out = np.full(batches.length, rows[-1], np.int32)
    out[: len(rows)] = rows
    return out


def _in_step(networks: Sequence[Network]) -> bool:
    """Return whether all networks see the same rows in the same order at the same time."""
    first = networks[0]
    state: Any = None if first.stream is None else first.stream.get_state()
    for other in networks[1:]:
        if (other.first, other.epochs) != (first.first, first.epochs) or not np.array_equal(other.rows, first.rows):
            return False
        if state is not None:
            assert other.stream is not None
            theirs: Any = other.stream.get_state()
            if theirs[2] != state[2] or not np.array_equal(theirs[1], state[1]):
                return False
    return True
