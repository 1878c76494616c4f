"""Training a recipe on arrays: folds, schedules, the epoch that is kept, the average of the networks."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import machine
from lamina._types import Numpy
from lamina.errors import invalid
from lamina.layers import tabular
from lamina.tabular import network, scoring
from lamina.tabular.encoded import Encoded
from lamina.tabular.network import Params, Plan, Slots
from lamina.tabular.recipes import OBJECTIVES, Recipe

Progress = Callable[[int, int, int, float], None]
SAMPLE = 20_000  # rows that bins are made from
LOGARITHM = 0.9  # of its squared error the plain target must reach on one fold, which is a noisy judge
HARDLY = 0.01  # of the metric: what is not worth another cycle
FEWEST = 20  # rows of which some are held back


class Target(NamedTuple):
    """How the network's outputs become values: `mean + scale * output`, or its exponential, within the range seen.

    Shapes: all `outputs`
    """

    mean: Numpy
    scale: Numpy
    low: Numpy
    high: Numpy
    logarithm: Numpy

    @classmethod
    def of(cls, values: Numpy, logarithm: bool) -> "Target":
        """For values of the shape `rows outputs`."""
        seen = np.log(values) if logarithm else values
        scale = seen.std(0)
        flags = np.full(values.shape[1], float(logarithm))
        return cls(seen.mean(0), np.where(scale > 0, scale, 1.0), values.min(0), values.max(0), flags)

    def scaled(self, values: Numpy) -> Numpy:
        """What the network is to give for these values."""
        seen = np.log(values) if self.logarithm[0] else values
        return ((seen - self.mean) / self.scale).astype(np.float32)

    def values(self, outputs: Numpy) -> Numpy:
        """What the network's outputs stand for."""
        found = outputs.astype(np.float64) * self.scale + self.mean
        if self.logarithm[0]:
            found = np.exp(np.minimum(found, np.log(self.high)))
        return np.clip(found, self.low, self.high)


class Fitted:
    """Networks that were trained, and how their outputs become predictions.

    Attributes:
        plan: What decides the shapes.
        members: Parameters of each network, at the epoch that was best.
        curves: For each network the metric of its held back rows after each epoch; less is better.
        epochs: For each network the epoch that was kept, counted from 1.
        temperature: What outputs of classes are divided by.
    """

    def __init__(
        self,
        plan: Plan,
        members: list[Params],
        *,
        target: Target | None = None,
        temperature: float = 1.0,
        curves: list[list[float]] | None = None,
        epochs: list[int] | None = None,
    ) -> None:
        self.plan, self.members, self.target = plan, members, target
        self.temperature, self.curves, self.epochs = temperature, curves or [], epochs or []

    def predict(self, encoded: Encoded) -> Numpy:
        """Probabilities, or values in the units of the target: the average over the networks.

        Shapes: result: rows outputs
        """
        total = np.zeros((encoded.rows, self.plan.outputs))
        for params in self.members:
            found = network.outputs(self.plan, params, encoded)
            if self.target is None:
                total += scoring.softmax(found.astype(np.float64) / self.temperature)
            else:
                total += self.target.values(found)
        return total / len(self.members)

    def state(self) -> tuple[dict[str, Any], dict[str, Numpy]]:
        """What `restore` needs: what goes into JSON, and arrays by name."""
        config: dict[str, Any] = {
            "plan": self.plan._asdict() | {"recipe": asdict(self.plan.recipe), "sizes": list(self.plan.sizes)},
            "members": len(self.members),
            "temperature": self.temperature,
            "curves": self.curves,
            "epochs": self.epochs,
        }
        arrays = {}
        for i, params in enumerate(self.members):
            for j, kernel in enumerate(params.kernels):
                arrays[f"member{i}/kernel{j}"] = np.asarray(kernel)
            arrays[f"member{i}/table"] = np.asarray(params.table)
            arrays[f"member{i}/vector"] = np.asarray(params.vector)
            arrays[f"member{i}/edges"] = np.asarray(params.edges)
        if self.target is not None:
            arrays |= {f"target/{name}": value for name, value in self.target._asdict().items()}
        return config, arrays

    @classmethod
    def restore(cls, config: dict[str, Any], arrays: dict[str, Numpy]) -> "Fitted":
        """What `state` came from.

        Raises:
            InvalidArgumentError: If an array is missing or has another shape.
        """
        described = dict(config["plan"])
        plan = Plan(**described | {"recipe": Recipe(**described["recipe"]), "sizes": tuple(described["sizes"])})

        def array(name: str, shape: tuple[int, ...]) -> Numpy:
            if name not in arrays or tuple(arrays[name].shape) != shape:
                received = str(tuple(arrays[name].shape)) if name in arrays else "nothing"
                raise invalid(f"The array `{name}` must have shape {shape}.", received=received)
            return np.asarray(arrays[name])

        widths, members = plan.widths, []
        for i in range(config["members"]):
            shapes = list(pairwise(widths))
            kernels = tuple(array(f"member{i}/kernel{j}", shape) for j, shape in enumerate(shapes))
            table = array(f"member{i}/table", (sum(plan.sizes), plan.recipe.category_size))
            edges = array(f"member{i}/edges", (plan.numeric, plan.recipe.bins + 1))
            members.append(Params(kernels, table, array(f"member{i}/vector", plan.vector_shape), edges))
        target = None
        if plan.task == "regression":
            target = Target(*(array(f"target/{name}", (plan.outputs,)) for name in Target._fields))
        kept = {name: config[name] for name in ("temperature", "curves", "epochs")}
        return cls(plan, members, target=target, **kept)


class Rows(NamedTuple):
    """Encoded rows, their targets as the network wants them, and their weights.

    Shapes:
        target: rows outputs, or rows 1 with numbers of classes
        weight: rows
    """

    encoded: Encoded
    target: Numpy
    weight: Numpy

    def take(self, rows: Numpy) -> "Rows":
        return Rows(self.encoded.take(rows), self.target[rows], self.weight[rows])


Measure = Callable[[Numpy, Rows], float]


class Trained(NamedTuple):
    """One network: its best parameters, the curve, the epoch kept (from 1), its outputs for the held back rows."""

    params: Params
    curve: list[float]
    epoch: int
    outputs: Numpy


def schedule(recipe: Recipe, done: int, total: int, steps: int) -> Numpy:
    """Rate, dropout, decay and Adam's corrections of each of the next steps, of a training of `total` steps.

    The rate goes through cycles, each twice as long as the one before, from 0 to its peak and back; dropout and decay
    are constant for half of the training and then fall to 0.

    Shapes: result: steps 5
    """
    step = done + np.arange(steps)
    t = np.minimum(step / total, 1.0)
    rate = 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**recipe.cycles - 1) * t)))
    late = 0.5 * (1 + np.cos(np.pi * (np.maximum(1.0, 2 * t) - 1)))
    one, two = 1 / (1 - 0.9 ** (step + 1)), 1 / (1 - recipe.beta2 ** (step + 1))
    columns = [recipe.learning_rate * rate, recipe.dropout * late, recipe.decay * late, one, two]
    return np.stack(columns, 1).astype(np.float32)


class Member:
    """The training of one network on some rows, held to others.

    Args:
        plan: Shapes and recipe.
        train: Rows to train on.
        held: Rows to choose the epoch by; may be none: then the last epoch is kept.
        measure: What is to become small, of outputs for them and of them.
        edges: Of the bins.
        seed: Of its own random numbers.
    """

    def __init__(self, plan: Plan, train: Rows, held: Rows, measure: Measure, edges: Numpy, seed: list[int]) -> None:
        self.plan, self.train, self.held, self.measure = plan, train, held, measure
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        rows = train.encoded.rows
        self.batch = plan.recipe.batch if rows >= plan.recipe.batch else 1 << (rows - 1).bit_length()
        self.steps = max(1, rows // self.batch)
        self.epochs = plan.recipe.epochs
        self.most = network.steps_at_once(plan)  # steps in a dispatch
        self.done = 0
        sample = train.encoded.take(self.random.permutation(rows)[: network.CHUNK])
        params = network.initial(plan, sample, self.random, edges)
        zeros = jax.tree.map(np.zeros_like, params)
        self.slots = Slots(params, zeros, zeros)

    def compile(self) -> None:
        """Has the program made: a dispatch of no step."""
        self._dispatch(np.zeros(0, np.int64))

    def _dispatch(self, rows: Numpy) -> None:
        """Trains on full batches of these rows, at most as many as a dispatch holds."""
        count, batch = len(rows) // self.batch, self.batch
        # Rows short of a batch are filled up with rows of weight 0: the sum is over the real ones.
        encoded, target, weight = self.train.take(rows)
        arrays = [*encoded[:3], target, weight / np.float32(min(batch, self.train.encoded.rows))]
        filled = [network.padded(a, self.most * batch).reshape(self.most, batch, *a.shape[1:]) for a in arrays]
        numbers = schedule(self.plan.recipe, self.done, self.steps * self.epochs, self.most)
        seeds = self.random.integers(0, 2**32, self.most, np.uint32)
        steps = count or int(len(rows) > 0)
        self.slots = network.programs(self.plan).train(self.slots, tuple(filled), numbers, seeds, np.int32(steps))
        self.done += steps

    def epoch(self) -> None:
        """One pass over the rows in a new order, without those that fill no batch."""
        order = self.random.permutation(self.train.encoded.rows)
        if len(order) >= self.batch:
            order = order[: self.steps * self.batch]
        for start in range(0, len(order), self.most * self.batch):
            self._dispatch(order[start : start + self.most * self.batch])

    def run(
        self, deadline: float | None, report: Callable[[int, int, float], None], last: int | None = None
    ) -> Trained:
        """Trains to the end of the schedule, or of the cycle that was no better, or of the time, or to epoch `last`."""
        best, curve, start = (math.inf, self.slots.params, 0, np.zeros((0, self.plan.outputs))), [], time.monotonic()
        epoch, before = 0, math.inf
        while epoch < self.epochs:
            self.epoch()
            epoch += 1
            if deadline is not None:
                self._shorten(epoch, start, deadline)
            found, metric = best[3], -float(epoch)
            if self.held.encoded.rows:
                found = network.outputs(self.plan, self.slots.params, self.held.encoded)
                metric = self.measure(found, self.held)
                curve.append(metric)
            if metric <= best[0]:
                best = (metric, self.slots.params, epoch, found)
            report(epoch, self.epochs, metric)
            if last is not None and epoch >= last:
                break
            if self.plan.recipe.patience and curve and self._cycle_ends(epoch):
                if best[0] >= before:
                    break
                before = best[0]
        return Trained(jax.tree.map(np.asarray, best[1]), curve, best[2], best[3])

    def _shorten(self, epoch: int, start: float, deadline: float) -> None:
        """Makes the schedule as long as the time allows."""
        now = time.monotonic()
        most = epoch + int(max(0.0, deadline - now) / ((now - start) / epoch))
        self.epochs = min(self.epochs, most)

    def _cycle_ends(self, epoch: int) -> bool:
        return epoch in cycle_ends(self.plan.recipe, self.epochs)[1:-1]


def cycle_ends(recipe: Recipe, epochs: int) -> list[int]:
    """The epochs in which a cycle of the learning rate ends."""
    cycles = 2**recipe.cycles - 1
    return [math.ceil(epochs * (2**k - 1) / cycles) for k in range(1, recipe.cycles + 1)]


def enough(recipe: Recipe, curve: list[float]) -> int | None:
    """The end of the last cycle but one, if a network gained less than a hundredth after it; else None."""
    end = cycle_ends(recipe, recipe.epochs)[-2]
    return end if len(curve) >= end and min(curve[:end]) <= (1 + HARDLY) * min(curve) else None


def fit(
    encoded: Encoded,
    target: Numpy,
    weight: Numpy | None = None,
    *,
    task: str,
    outputs: int,
    recipe: Recipe,
    objective: str = "log_loss",
    seed: int = 0,
    time_limit: float | None = None,
    progress: Progress | None = None,
    folds: int | None = None,
    members: int | None = None,
) -> Fitted:
    """Networks trained on these rows: the same bits for the same seed, whatever the number of cores.

    Args:
        encoded: The rows.
        target: Values, `(rows,)` or `(rows, outputs)`, or numbers of classes, `(rows,)`.
        weight: How much each row counts; None for all alike.
        task: "classification" or "regression".
        outputs: Classes, or values of a row.
        recipe: All numbers.
        objective: What the epoch is chosen by: "log_loss", "accuracy" or "auc". Regression has its squared error.
        seed: Of all that is drawn.
        time_limit: Seconds after which the training shall be at its end; schedules are shortened to it.
        progress: Is called with the network, its epoch, its epochs and the metric after each epoch.
        folds: Parts that the rows are dealt into, in the place of the recipe's.
        members: Networks that are averaged, in the place of the recipe's.

    Raises:
        InvalidArgumentError: If a task or an objective has no such name, or there are no rows.
    """
    _check(encoded, task, objective)
    recipe = replace(recipe, folds=folds or max(recipe.folds, members or 0), members=members or folds or recipe.members)
    plan = Plan(encoded.numeric.shape[1], encoded.onehot.shape[1], encoded.sizes, outputs, task, recipe)
    weight = np.ones(encoded.rows, np.float32) if weight is None else np.asarray(weight, np.float32)
    weight = weight / np.float32(weight.mean())
    dealt = deal(target, task, recipe.folds, np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0]))))
    sample = np.random.Generator(np.random.PCG64([seed, 0])).permutation(encoded.rows)[:SAMPLE]
    edges = tabular.bin_edges(encoded.numeric[sample], recipe.bins)
    runner = _Runner(plan, dealt, edges, seed, time_limit, progress)
    if task == "regression":
        return _regression(runner, encoded, np.asarray(target, np.float64).reshape(-1, outputs), weight)
    rows = Rows(encoded, np.asarray(target, np.float32).reshape(-1, 1), weight)
    trained = runner.train(rows, lambda found, held: scoring.metric(objective, found, held.target, held.weight))
    temperature = 1.0
    if recipe.tempered and objective != "accuracy":
        folded = [(t.outputs, *rows.take(runner.held(i))[1:]) for i, t in enumerate(trained)]
        found, classes, weights = (np.concatenate(a) for a in zip(*folded, strict=True))
        if len(found):
            # The average of networks that are too certain is less so than each of them.
            temperature = scoring.temperature(found, classes[:, 0], weights) ** (1 / len(trained))
    return _fitted(plan, trained, None, temperature)


def _regression(runner: "_Runner", encoded: Encoded, values: Numpy, weight: Numpy) -> Fitted:
    """Networks of the values, or of their logarithms where these are less skewed and hardly worse."""
    plain = Target.of(values, False)

    def rows(target: Target) -> Rows:
        return Rows(encoded, target.scaled(values), weight)

    def measure(target: Target) -> Measure:
        def measured(found: Numpy, held: Rows) -> float:
            wanted = target.values(held.target)
            return scoring.metric("squared", target.values(found) / plain.scale, wanted / plain.scale, held.weight)

        return measured

    target, firsts = plain, []
    if _skewed(values):
        target = Target.of(values, True)
        if runner.plan.recipe.members > 1 and len(runner.held(0)):
            firsts = [runner.train(rows(t), measure(t), only=1)[0] for t in (plain, target)]
            better = min(firsts[0].curve) < LOGARITHM * min(firsts[1].curve)
            target, firsts = (plain, firsts[:1]) if better else (target, firsts[1:])
    trained = runner.train(rows(target), measure(target), done=firsts)
    return _fitted(runner.plan, trained, target, 1.0)


def _skewed(values: Numpy) -> bool:
    """Whether the values are above 0 and have a long tail which their logarithms have not."""
    if values.min() <= 0 or not values.std(0).min() > 0:
        return False

    def skewness(x: Numpy) -> Numpy:
        return np.asarray(np.mean((x - x.mean(0)) ** 3, 0) / x.std(0) ** 3)

    plain = skewness(values)
    return bool((plain > 1).all() and (np.abs(skewness(np.log(values))) < plain / 2).all())


def _fitted(plan: Plan, trained: list[Trained], target: Target | None, temperature: float) -> Fitted:
    return Fitted(
        plan,
        [t.params for t in trained],
        target=target,
        temperature=temperature,
        curves=[t.curve for t in trained],
        epochs=[t.epoch for t in trained],
    )


class _Runner:
    """Trains the members, each on its rows, as many at once as there are cores."""

    def __init__(
        self,
        plan: Plan,
        dealt: Numpy,
        edges: Numpy,
        seed: int,
        time_limit: float | None,
        progress: Progress | None,
    ) -> None:
        self.plan, self.dealt, self.edges, self.seed, self.progress = plan, dealt, edges, seed, progress
        self.end = None if time_limit is None else time.monotonic() + time_limit

    def held(self, i: int) -> Numpy:
        """The rows by which member i chooses its epoch."""
        return np.flatnonzero(self.dealt == i % self.plan.recipe.folds)

    def train(self, rows: Rows, measure: Measure, *, only: int = 0, done: Sequence[Trained] = ()) -> list[Trained]:
        """The members, after those that are done already; or only the first ones."""
        members = range(len(done), only or self.plan.recipe.members)
        if not members:
            return list(done)
        workers, ahead = min(len(members), machine.cores()), int(not done)
        rounds, begun = ahead + math.ceil((len(members) - ahead) / workers), len(done) + ahead
        now, last = time.monotonic(), self._enough(done[0]) if done else None

        def made(i: int) -> Member:
            kept = np.flatnonzero(self.dealt != i % self.plan.recipe.folds)
            return Member(self.plan, rows.take(kept), rows.take(self.held(i)), measure, self.edges, [self.seed, 1 + i])

        def train(i: int) -> Trained:
            turn = (ahead + (i - begun) // workers + 1) / rounds
            deadline = None if self.end is None else now + (self.end - now) * turn
            report = partial(self.progress, i) if self.progress else (lambda *a: None)
            return made(i).run(deadline, report, last)

        if not done:  # it compiles before there are threads, of which each would, and tells how many cycles are enough
            done = [train(0)]
            last = self._enough(done[0])
            members = members[1:]
        with ThreadPoolExecutor(workers, "lamina-tabular") as pool:
            return [*done, *pool.map(train, members)]

    def _enough(self, first: Trained) -> int | None:
        return enough(self.plan.recipe, first.curve) if self.plan.recipe.patience else None


def _check(encoded: Encoded, task: str, objective: str) -> None:
    if task not in ("classification", "regression"):
        raise invalid("`task` must be 'classification' or 'regression'.", received=f"task={task!r}")
    if objective not in OBJECTIVES:
        raise invalid(f"`objective` must be one of {', '.join(OBJECTIVES)}.", received=f"objective={objective!r}")
    if not encoded.rows:
        raise invalid("There are no rows to train on.", received="0 rows")


def deal(target: Numpy, task: str, folds: int, random: np.random.Generator) -> Numpy:
    """The fold of each row, each class dealt evenly; -1 for all where there are too few rows to hold any back."""
    rows = len(target)
    if rows < FEWEST or folds < 2:
        return np.full(rows, -1)
    order = random.permutation(rows)
    if task == "classification":
        order = order[np.argsort(np.asarray(target)[order], kind="stable")]
    dealt = np.empty(rows, np.int64)
    dealt[order] = np.arange(rows) % folds
    return dealt
