"""The network of a recipe, as pure functions: its arrays, its outputs, one step of training."""

import math
import os
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import machine
from lamina._types import Array, Numpy
from lamina.layers import tabular
from lamina.tabular.encoded import Encoded
from lamina.tabular.recipes import WIDE, Recipe

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"selu": tabular.selu, "mish": tabular.mish}
# A step is a program for one core, so that a network has the same bits whatever the number of cores.
# At the first level it compiles in four fifths of the time and is as fast.
ONE_CORE = {"xla_cpu_multi_thread_eigen": False, "xla_backend_optimization_level": 1}
STEPS, WIDE_STEPS = 32, 4  # in a dispatch; of a table with very many columns, whose batches are large
CHUNK = 512  # rows in a dispatch of a prediction
# XLA divides loops over rows among cores; rows of whole vectors (of 16 numbers in AVX-512) have no odd ends.
LANES, LINE = 16, 128
if machine.cores() == 1:
    # XLA on one core takes other paths through its products than on two and more, which agree to the bit. It reads
    # this when it starts; where it has been started already, one core has bits of its own.
    os.environ.setdefault("NPROC", "2")


class Plan(NamedTuple):
    """What decides the shapes of a network."""

    numeric: int
    onehot: int
    sizes: tuple[int, ...]
    outputs: int
    task: str
    recipe: Recipe

    @property
    def widths(self) -> list[int]:
        r = self.recipe
        number = (1 + r.wave_outputs if r.waves else 1) + (r.bin_outputs or r.bins if r.bins else 0)
        features = self.numeric * number + self.onehot + len(self.sizes) * r.category_size
        return [-(-features // LANES) * LANES, *[r.width] * r.depth, self.outputs]

    @property
    def vector_shape(self) -> tuple[int, int]:
        """Of the vector of small arrays, in lines."""
        return -(-sum(math.prod(shape) for shape, _, _ in self.vectors().values()) // LINE), LINE

    def vectors(self) -> dict[str, tuple[tuple[int, ...], float, float]]:
        """Shape, factor of the learning rate and factor of the decay of what is kept in one vector.

        Small arrays are updated together, which is one loop and not a dozen to compile and to run.
        """
        r, n, widths = self.recipe, self.numeric, self.widths
        shapes: dict[str, tuple[tuple[int, ...], float, float]] = {"scale": ((widths[0],), 6.0, 1.0)}
        if r.waves and n:
            shapes["frequencies"] = ((n, r.waves), 0.1, 1.0)
            shapes["phases"] = ((n, r.waves), 0.1, 0.0)
            shapes["wave_kernel"] = ((n, r.waves, r.wave_outputs), 0.1, 1.0)
            shapes["wave_bias"] = ((n, r.wave_outputs), 0.1, 0.0)
        if r.bins and r.bin_outputs and n:
            shapes["bin_kernel"] = ((n, r.bins, r.bin_outputs), 0.3, 1.0)
            shapes["bin_bias"] = ((n, r.bin_outputs), 0.3, 0.0)
        for i, width in enumerate(widths[1:]):
            shapes[f"bias{i}"] = ((width,), 0.1, 0.0)
            if r.parametric and i < r.depth:
                shapes[f"slope{i}"] = ((width,), 0.1, 0.0)
        return shapes


class Params(NamedTuple):
    """The arrays of a network: few, so that little is to be compiled.

    Shapes:
        kernels: features units, of each layer
        table: codes size, the embeddings of all categorical columns under each other
        vector: lines 128, all the rest that is learned and zeros at its end
        edges: columns (bins + 1), of the numbers' bins; fixed
    """

    kernels: tuple[Any, ...]
    table: Any
    vector: Any
    edges: Any


def parts(plan: Plan, vector: Any) -> dict[str, Any]:
    """The arrays that a vector is made of."""
    found, start, vector = {}, 0, vector.reshape(-1)
    for name, (shape, _, _) in plan.vectors().items():
        stop = start + math.prod(shape)
        found[name] = vector[start:stop].reshape(shape)
        start = stop
    return found


def lines(plan: Plan, vector: Any) -> Any:
    """The vector with zeros at its end, in lines."""
    library = np if isinstance(vector, np.ndarray) else jnp
    return library.pad(vector, (0, math.prod(plan.vector_shape) - len(vector))).reshape(plan.vector_shape)


def features(
    plan: Plan, small: dict[str, Any], table: Array, edges: Array, numeric: Array, onehot: Array, codes: Array
) -> Array:
    """The input of the first layer.

    Shapes:
        numeric, onehot, codes: rows columns
        result: rows features
    """
    rows = numeric.shape[0]
    pieces = [onehot]
    if plan.numeric and plan.recipe.waves:
        args = (small["frequencies"], small["phases"], small["wave_kernel"], small["wave_bias"])
        pieces.append(tabular.periodic(numeric, *args).reshape(rows, -1))
    else:
        pieces.append(numeric)
    if plan.recipe.bins and plan.numeric:
        place = tabular.piecewise_linear(numeric, edges)
        if plan.recipe.bin_outputs:
            place = tabular.per_feature(place, small["bin_kernel"], small["bin_bias"])
        pieces.append(place.reshape(rows, -1))
    if plan.sizes:
        starts = np.concatenate([[0], np.cumsum(plan.sizes)[:-1]]).astype(np.int32)
        pieces.append(table[codes + starts].reshape(rows, -1))
    joined = jnp.concatenate(pieces, 1)
    joined = jnp.pad(joined, ((0, 0), (0, plan.widths[0] - joined.shape[1])))
    scaled: Array = joined * small["scale"]
    return scaled


def kept(seed: Array, shape: tuple[int, ...], layer: int, rate: Array) -> Array:
    """1 / (1 - rate) where a unit stays and 0 where it is left out.

    The bits are a hash of its place (C. Wellons, lowbias32): threefry costs more here than the layer that it serves.
    """
    place = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    bits = place * jnp.uint32(0x9E3779B1) ^ (seed + jnp.uint32(0x85EBCA6B * (layer + 1) & 0xFFFFFFFF))
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    uniform = ((bits ^ (bits >> 16)) >> 8).astype(jnp.float32) * jnp.float32(2**-24)
    return jnp.where(uniform >= rate, 1.0 / (1.0 - rate), 0.0)


def forward(
    plan: Plan, kernels: tuple[Any, ...], small: dict[str, Any], hidden: Array, drop: tuple[Array, Array] | None = None
) -> tuple[Array, list[Array]]:
    """Outputs, and what each layer gives before its activation.

    Shapes:
        hidden: rows features
        drop: a seed and a rate, in training
        result: rows outputs; rows units, for each layer
    """
    activation, before = _ACTIVATIONS[plan.recipe.activation], []
    for i, kernel in enumerate(kernels):
        hidden = tabular.scaled_product(hidden, kernel, small[f"bias{i}"])
        before.append(hidden)
        if i == len(kernels) - 1:
            break
        if plan.recipe.parametric:
            hidden = tabular.parametric(hidden, small[f"slope{i}"], activation)
        else:
            hidden = activation(hidden)
        if drop is not None and plan.recipe.dropout:
            hidden = hidden * kept(drop[0], hidden.shape, i, drop[1])
    return hidden, before


def loss(plan: Plan, outputs: Array, target: Array, weight: Array) -> Array:
    """The weighted sum over rows of the squared error or of the cross-entropy with smoothed targets."""
    if plan.task == "regression":
        return jnp.sum(weight[:, None] * (outputs - target) ** 2)
    hot = jax.nn.one_hot(target[:, 0].astype(jnp.int32), plan.outputs)
    smoothing = plan.recipe.smoothing
    wanted = hot * (1.0 - smoothing) + smoothing / plan.outputs
    return jnp.sum(weight * (jax.nn.logsumexp(outputs, 1) - jnp.sum(wanted * outputs, 1)))


class Slots(NamedTuple):
    """Parameters and Adam's moments."""

    params: Params
    first: Params
    second: Params


def train_step(plan: Plan, slots: Slots, batch: tuple[Any, ...], numbers: Array, seed: Array) -> Slots:
    """The state after one batch.

    Shapes:
        numbers: rate, dropout, decay, 1 / (1 - beta1^t), 1 / (1 - beta2^t)
        seed: of the dropout
    """
    numeric, onehot, codes, target, weight = batch
    rate, dropout, decay, one, two = numbers

    def objective(kernels: Any, table: Array, small: dict[str, Array]) -> Array:
        hidden = features(plan, small, table, params.edges, numeric, onehot, codes)
        return loss(plan, forward(plan, kernels, small, hidden, (seed, dropout))[0], target, weight)

    params = slots.params
    kernels, table, small = jax.grad(objective, (0, 1, 2))(params.kernels, params.table, parts(plan, params.vector))
    gradient = lines(plan, jnp.concatenate([small[name].ravel() for name in plan.vectors()]))
    factor, decays = _factors(plan)
    beta2 = plan.recipe.beta2

    def update(p: Array, g: Array, m: Array, v: Array, factor: Any, decays: Any) -> tuple[Array, Array, Array]:
        m = 0.9 * m + 0.1 * g
        v = beta2 * v + (1 - beta2) * g * g
        lr = rate * factor
        return p * (1 - decay * lr * decays) - lr * (m * one) / (jnp.sqrt(v * two) + 1e-8), m, v

    done = [
        update(*leaves, 1.0, 1.0)
        for leaves in zip(params.kernels, kernels, slots.first.kernels, slots.second.kernels, strict=True)
    ]
    tables = update(params.table, table, slots.first.table, slots.second.table, 1.0, 1.0)
    vectors = update(params.vector, gradient, slots.first.vector, slots.second.vector, factor, decays)
    new = [Params(tuple(d[k] for d in done), tables[k], vectors[k], params.edges) for k in range(3)]
    return Slots(*new)


def _factors(plan: Plan) -> tuple[Numpy, Numpy]:
    """Factors of learning rate and decay of each entry of the vector."""
    shapes = plan.vectors().values()
    rates = [np.full(math.prod(shape), rate, np.float32) for shape, rate, _ in shapes]
    decays = [np.full(math.prod(shape), decay, np.float32) for shape, _, decay in shapes]
    return lines(plan, np.concatenate(rates)), lines(plan, np.concatenate(decays))


class Programs(NamedTuple):
    """`train(slots, batches, numbers, seeds, count)` and `predict(params, numeric, onehot, codes)`, see `forward`."""

    train: Any
    predict: Any


def steps_at_once(plan: Plan) -> int:
    """How many steps a dispatch holds."""
    return WIDE_STEPS if plan.numeric > WIDE else STEPS


@lru_cache(maxsize=32)
def programs(plan: Plan) -> Programs:
    """The two compiled programs of a plan: whatever the number of rows, the shapes are the same."""

    def train(slots: Slots, batches: tuple[Any, ...], numbers: Array, seeds: Array, count: Array) -> Slots:
        def one(i: Array, slots: Slots) -> Slots:
            return train_step(plan, slots, tuple(a[i] for a in batches), numbers[i], seeds[i])

        done: Slots = jax.lax.fori_loop(0, count, one, slots)
        return done

    def predict(params: Params, numeric: Array, onehot: Array, codes: Array) -> Any:
        small = parts(plan, params.vector)
        return forward(
            plan, params.kernels, small, features(plan, small, params.table, params.edges, numeric, onehot, codes)
        )

    return Programs(
        jax.jit(train, compiler_options=ONE_CORE),
        jax.jit(predict, compiler_options=ONE_CORE),
    )


def outputs(plan: Plan, params: Params, encoded: Encoded) -> Numpy:
    """The outputs for all rows, a chunk of rows at a time.

    Shapes: result: rows outputs
    """
    run, found = programs(plan).predict, []
    for start in range(0, encoded.rows, CHUNK):
        piece = encoded.take(slice(start, start + CHUNK))
        found.append(np.asarray(run(params, *(padded(a, CHUNK) for a in piece[:3]))[0])[: piece.rows])
    return np.concatenate(found) if found else np.zeros((0, plan.outputs), np.float32)


def padded(array: Numpy, rows: int) -> Numpy:
    """The array with rows of zeros at its end."""
    if len(array) == rows:
        return array
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


def initial(plan: Plan, sample: Encoded, random: np.random.Generator, edges: Numpy) -> Params:
    """Parameters before the first step; layer by layer, what comes before the activation is scaled to the sample.

    A layer's bias puts the bends of its activations among the rows: minus a random mixture of five rows' products.

    Args:
        plan: What decides the shapes.
        sample: Rows, at most as many as a prediction takes at once.
        random: What is drawn from.
        edges: Of the bins.
    """
    r, widths = plan.recipe, plan.widths
    small: dict[str, Any] = {}
    for name, (shape, _, _) in plan.vectors().items():
        small[name] = np.ones(shape) if name in ("scale",) or name.startswith("slope") else np.zeros(shape)
        if name.startswith("bias") and not r.data_init:
            small[name] = random.standard_normal(shape)
    if "bin_kernel" in small:
        small["bin_kernel"] = random.uniform(-1, 1, small["bin_kernel"].shape) * math.sqrt(3 / r.bins)
    if "frequencies" in small:
        small["frequencies"] = r.sigma * random.standard_normal(small["frequencies"].shape)
        small["phases"] = random.uniform(-np.pi, np.pi, small["phases"].shape)
        small["wave_kernel"] = random.uniform(-1, 1, small["wave_kernel"].shape) / math.sqrt(r.waves)
        small["wave_bias"] = random.uniform(-1, 1, small["wave_bias"].shape) / math.sqrt(r.waves)
    small[f"bias{r.depth}"] = np.zeros(plan.outputs)
    kernels = [random.standard_normal((a, b)).astype(np.float32) for a, b in pairwise(widths)]
    kernels[-1] = np.zeros_like(kernels[-1])
    table = random.standard_normal((sum(plan.sizes), r.category_size)).astype(np.float32)

    def params() -> Params:
        vector = lines(plan, np.concatenate([small[name].ravel() for name in plan.vectors()]).astype(np.float32))
        return Params(tuple(kernels), table, vector, edges)

    if not r.data_init:
        return params()
    run, inputs = programs(plan).predict, [padded(a, CHUNK) for a in sample[:3]]
    for i in range(r.depth):
        before = np.asarray(run(params(), *inputs)[1][i], np.float64)[: sample.rows]
        scale = 1.0 / (before.std(0) + 1e-3)
        kernels[i] = (kernels[i] * scale).astype(np.float32)
        shares = random.dirichlet(np.ones(5), widths[i + 1]).T
        rows = random.integers(0, sample.rows, (5, widths[i + 1]))
        small[f"bias{i}"] = -(shares * np.take_along_axis(before * scale, rows, 0)).sum(0)
    return params()
