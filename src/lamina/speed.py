"""How fast a model runs here, beside what the machine allows: `measure(model)`, and the limits themselves.

A roofline of three: the products that a step needs over the measured rate of products, the bytes that it must move over
the measured rate of a stream of that size, and what a step costs that does next to nothing. What is left over is the
share that the machine would allow and the program does not take.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import config, machine
from lamina._types import Tree
from lamina.errors import invalid, positive_integer
from lamina.training import steps
from lamina.variables import values

ROWS = (1, 32, 256)
_DATA = 64 << 20  # bytes of made-up rows, at most
_STEPS = 64  # steps in an epoch of made-up rows, at most


class Work(NamedTuple):
    """What a step or a call must do at least.

    Attributes:
        flops: Operations of its matrix products by the type that they are computed in; a multiply-add counts as two.
        moved: Bytes that it must read and write: weights, what the optimizer remembers, inputs and outputs.
        held: Bytes of weights and state, which decide what memory they lie in.
    """

    flops: dict[str, float]
    moved: float
    held: float


class Share(NamedTuple):
    """A measured time beside the least times that the limits give, all in seconds.

    Attributes:
        name: "training" or "predict".
        rows: Rows of a step or call.
        seconds: The time.
        work: What is done.
        compute: Its products at the machine's rate.
        memory: Its bytes at the machine's rate.
        dispatch: What it costs however few the rows, beyond the two.
        least: What a network costs that does nothing.
    """

    name: str
    rows: int
    seconds: float
    work: Work
    compute: float
    memory: float
    dispatch: float
    least: float

    @property
    def reached(self) -> float:
        """Share of the machine's limit, at most 1: what is measured twice differs by a little."""
        return min(1.0, (self.least + max(self.compute, self.memory)) / self.seconds)

    @property
    def holds(self) -> str:
        """What holds it back: "compute", "memory" or "dispatch"."""
        parts = {"dispatch": self.dispatch, "compute": self.compute, "memory": self.memory}
        return max(parts, key=lambda name: parts[name])


class Speed(NamedTuple):
    """What `measure` has found.

    Attributes:
        model: Name of the model.
        batch: Rows of a batch in training.
        engine: What runs the steps of training, and why.
        compiled: How it was compiled for the measurement, in words.
        shares: Training, then `predict` by rows.
        limits: The machine's rates, in words.
    """

    model: str
    batch: int
    engine: str
    compiled: str
    shares: tuple[Share, ...]
    limits: tuple[tuple[str, str], ...]


def measure(model: Any, batch_size: int = 32, *, seconds: float = 1.0) -> Speed:
    """Return how fast a copy of `model` trains and predicts on random rows, beside the limits of the machine.

    Args:
        model: A model whose inputs have a known shape. If it is not compiled, the copy is, as its output suggests.
        batch_size: Rows of a batch in training.
        seconds: Length of each of the five measurements.

    Raises:
        InvalidArgumentError: If a shape of the inputs is not known, or an input is text.
    """
    batch_size = positive_integer(batch_size, "batch_size", owner="speed.measure")
    specs = _specs(model)
    config.place_compilation_cache()
    model = copy.deepcopy(model)
    compiled = _compile(model)
    row_bytes = sum(4 * math.prod(shape) for shape, _ in specs)
    count = max(2, min(_STEPS, _DATA // max(1, row_bytes * batch_size)))
    largest = max(ROWS[-1], min(8192, _DATA // max(1, row_bytes)))
    x = _pack(model, [_inputs(shape, dtype, max(count * batch_size, largest)) for shape, dtype in specs])
    y = _targets(model, count * batch_size)
    calls = _predicting(model, x, sorted({*ROWS, largest}), seconds)
    training = _training(model, x, y, batch_size, count, seconds)
    held = training.work.held
    used = {kind for one in (training, *calls) for kind in one.work.flops}
    limits = [(f"{kind} matrix product", f"{rate(kind) / 1e9:,.0f} GFLOP/s") for kind in sorted(used)]
    limits += [
        (f"memory, {_size(held)} at once", f"{stream(held) / 1e9:,.1f} GB/s"),
        ("a step that does nothing", f"{1e6 * step_cost():,.1f} us"),
        ("a predict that does nothing", f"{1e6 * call_cost():,.1f} us"),
    ]
    return Speed(model.name, batch_size, engine(model), compiled, (training, *calls), tuple(limits))


def engine(model: Any) -> str:
    """Return what has run the last training of `model`, and why, as the library says it."""
    found = [program for key, program in model.programs.items() if key[0] == "train"]
    return str(found[-1]) if found and hasattr(found[-1], "name") else "XLA"


def bounds(work: Work) -> tuple[float, float]:
    """Return the least seconds for the products and for the bytes."""
    return sum(flops / rate(kind) for kind, flops in work.flops.items()), work.moved / stream(work.held)


def _predicting(model: Any, x: Tree, rows: list[int], seconds: float) -> list[Share]:
    shares: list[Share] = []
    for n in rows:
        part = _first(x, n)
        took = median(partial(model.predict, part, batch_size=max(32, n), verbose=0), seconds)
        work = predicting_work(model, part)
        compute, memory = bounds(work)
        shares.append(
            Share("predict", n, took, work, compute, memory, max(0.0, took - max(compute, memory)), call_cost())
        )
    fixed = min(one.dispatch for one in shares)  # what rows cost on top of it is not the call's
    return [one._replace(dispatch=fixed) for one in shares]


def _training(model: Any, x: Tree, y: Tree, batch: int, count: int, seconds: float) -> Share:
    def step(rows: int) -> tuple[float, Work]:
        part, targets = _first(x, count * rows), _first(y, count * rows)
        took = slope(lambda epochs: model.fit(part, targets, batch_size=rows, epochs=epochs, verbose=0), seconds)
        return took / count, training_work(model, _first(x, rows), _first(y, rows))

    single, work = step(1)
    fixed = single - max(bounds(work))
    took, work = step(batch)
    fixed = max(0.0, min(fixed, took - max(bounds(work))))
    return Share("training", batch, took, work, *bounds(work), fixed, step_cost())


# What the machine can do, measured once in a process


@cache
def rate(kind: str = "float32") -> float:
    """Return the operations per second of a matrix product of this type."""
    return machine.matmul_rate(dtype=kind, seconds=0.5)


@cache
def _stream(power: int) -> float:
    return machine.stream_rate(1 << power, seconds=0.3)


def stream(nbytes: float) -> float:
    """Return the bytes per second of a stream over about so many bytes."""
    return _stream(max(14, min(28, round(math.log2(max(1.0, nbytes))))))


@cache
def step_cost() -> float:
    """Return the seconds that a step of training takes which does next to nothing."""
    model, x = _nothing(), np.ones((2048, 1), "float32")
    return slope(lambda epochs: model.fit(x, x, batch_size=1, epochs=epochs, verbose=0), 0.5) / len(x)


@cache
def call_cost() -> float:
    """Return the seconds that `predict` takes for one row of one number."""
    model, x = _nothing(), np.ones((1, 1), "float32")
    return median(lambda: model.predict(x, verbose=0), 0.3)


@cache
def _nothing() -> Any:
    from lamina import layers, models

    model = models.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def slope(train: Callable[[int], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return what one more epoch costs: what a fit does once, compiling above all, cancels."""

    def timed(epochs: int) -> float:
        begin = clock()
        train(epochs)
        return clock() - begin

    timed(1)
    once, more = timed(1), 1
    # The first fit of several epochs may compile, and a short one says little about how long an epoch takes.
    while (taken := timed(1 + more) - once) < seconds / 6 and more < 1 << 12:
        more = min(1 << 12, more * (8 if taken < seconds / 60 else 2))
    found = [(timed(1 + more) - timed(1)) / more for _ in range(3 if taken < seconds else 1)]
    least = statistics.median(found)
    return least if least > 0 else taken / more


def median(work: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median time of `work` after two that are not counted; at least five are."""
    work(), work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        begin = clock()
        work()
        times.append(clock() - begin)
    return statistics.median(times)


# What a model must do


def training_work(model: Any, x: Tree, y: Tree) -> Work:
    """Return what a step of training must do; without the gradient by the inputs, which nobody needs."""
    names = steps.variables_of(model)
    state = steps.State(*(tuple(values(group)) for group in names))
    if model.has_own_step("train_step"):
        flops = {kind: 3 * n for kind, n in predicting_work(model, x).flops.items()}
    else:
        traced = jax.make_jaxpr(lambda s, b: steps.train_step(model, names, s, b, None))(state, (x, y, None))
        flops = products(traced.jaxpr)
    weights, slots = (float(sum(a.nbytes for a in group)) for group in (state.params, state.slots))
    # Weights are read on the way there and on the way back, and written; the gradient need not leave the caches.
    return Work(flops, 3 * weights + 2 * slots + _nbytes((x, y)), weights + slots)


def predicting_work(model: Any, x: Tree) -> Work:
    """Return what predicting the rows of `x` must do."""
    names = steps.variables_of(model)
    state = steps.State(*(tuple(values(group)) for group in names))
    traced = jax.make_jaxpr(lambda s, b: steps.predict_step(model, names, s, b)[0])(state, x)
    weights = float(sum(v._array.nbytes for v in model.variables))
    outputs = sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in traced.jaxpr.outvars)
    return Work(products(traced.jaxpr), weights + _nbytes(x) + outputs, weights)


def products(jaxpr: Any) -> dict[str, float]:
    """Return the operations of the matrix products of a program by type; those of a loop count for each turn."""
    found: dict[str, float] = {}
    for equation in jaxpr.eqns:
        times, name, parts = 1.0, equation.primitive.name, []
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval, equation.outvars[0].aval
            kind = str(left.dtype)
            size = 2.0 * math.prod(out.shape) * math.prod(left.shape[i] for i in contracted)
            found[kind] = found.get(kind, 0.0) + size
            continue
        if name == "scan":
            times = float(equation.params["length"])
        for value in equation.params.values():
            parts += [value] if not isinstance(value, tuple | list) else list(value)
        inner = [
            products(getattr(part, "jaxpr", part)) for part in parts if hasattr(getattr(part, "jaxpr", part), "eqns")
        ]
        if name == "cond":  # one of the branches runs
            inner = [max(inner, key=lambda flops: sum(flops.values()))] if inner else []
        for flops in inner:
            for kind, size in flops.items():
                found[kind] = found.get(kind, 0.0) + times * size
    return found


def _nbytes(tree: Tree) -> float:
    return float(sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))


def _size(nbytes: float) -> str:
    return f"{nbytes / 1e6:,.3g} MB" if nbytes >= 1e5 else f"{nbytes / 1e3:,.3g} KB"


# Random rows and targets


def _specs(model: Any) -> list[tuple[tuple[int, ...], str]]:
    """Return shape without rows, and type, of each input."""
    tensors = model.input_specs() if callable(getattr(model, "input_specs", None)) else model.inputs
    found = [(tuple(tensor.shape[1:]), str(tensor.dtype)) for tensor in tensors or ()]
    unknown = not found or any(axis is None for shape, _ in found for axis in shape)
    if unknown or any(dtype == "string" for _, dtype in found):
        raise invalid(
            "Random rows can be made for inputs of a known shape and of numbers only.",
            owner=f"Model `{model.name}`",
            received=f"inputs {found}" if found else "a model that is not built",
            fix="give each Input its shape, or build the model on one of your rows before it is saved.",
        )
    return found


def _inputs(shape: tuple[int, ...], dtype: str, rows: int) -> Any:
    random = np.random.default_rng(0)
    if np.issubdtype(np.dtype(dtype) if dtype != "bfloat16" else np.float32, np.floating):
        return random.standard_normal((rows, *shape), dtype=np.float32)
    return random.integers(0, 2, (rows, *shape)).astype(dtype)  # small numbers are in every vocabulary


def _pack(model: Any, flat: list[Any]) -> Tree:
    return model.pack_inputs(flat) if len(flat) > 1 else flat[0]


def _first(tree: Tree, rows: int) -> Tree:
    return jax.tree.map(lambda a: a[:rows], tree)


def _outputs(model: Any) -> list[Any]:
    outputs = model.outputs
    return list(outputs) if outputs else []


def _compile(model: Any) -> str:
    """Compile the model if it is not, and return in words what it is trained with."""
    if not model.compiled:
        last = getattr(model.layers[-1], "activation", None)
        name = getattr(last, "__name__", "")
        loss = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}.get(name, "mse")
        if len(_outputs(model)) != 1:
            loss = "mse"
        model.compile(optimizer="adam", loss=loss)
        return f"adam, {loss} (the file does not say)"
    losses = sorted({_name(loss) for loss in jax.tree.leaves(model.loss)})
    return f"{model.optimizer.name}, {', '.join(losses) or 'no loss'}"


def _name(loss: Any) -> str:
    return str(loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", loss))


def _targets(model: Any, rows: int) -> Tree:
    """Return targets of the shape and kind that the losses take."""
    tensors = _outputs(model)
    losses = model.loss
    if isinstance(losses, dict):
        names = model.names_of_outputs() or list(losses)
        each: list[Any] = [losses.get(name) for name in names]
    elif isinstance(losses, list | tuple):
        each, names = list(losses), []
    else:
        each, names = [losses] * len(tensors), []
    made = [_target(tuple(t.shape[1:]), _name(loss), rows) for t, loss in zip(tensors, each, strict=True)]
    if isinstance(losses, dict):
        return dict(zip(names, made, strict=True))
    return made if len(made) > 1 else made[0]


def _target(shape: tuple[int, ...], loss: str, rows: int) -> Any:
    random = np.random.default_rng(1)
    if "sparse" in loss:
        return random.integers(0, shape[-1], (rows, *shape[:-1])).astype(np.int32)
    if "categorical" in loss or "kl" in loss.lower():
        return np.eye(shape[-1], dtype=np.float32)[random.integers(0, shape[-1], (rows, *shape[:-1]))]
    if "binary" in loss or "hinge" in loss:
        return random.integers(0, 2, (rows, *shape)).astype(np.float32)
    return random.random((rows, *shape), dtype=np.float32)
