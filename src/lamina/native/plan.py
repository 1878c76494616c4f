"""What a native kernel is told: the network, its loss, its optimizer, its metrics. `plan.h` mirrors it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina._types import Array, Numpy
from lamina.native import library

ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu", "selu", "elu", "softmax",
)  # fmt: skip
LOSSES = (
    "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "mean_squared_error",
    "mean_absolute_error",
)  # fmt: skip
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam")
METRICS = (
    "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy", "mean_squared_error",
    "mean_absolute_error",
)  # fmt: skip
TRAIN, EVALUATE, PREDICT = range(3)
MOST_METRICS = 8
MOST_LAYERS = 512
_WEIGHTS, _INDEX, _REAL, _LABELS, _ADDRESSES, _STACK, _NUMBERS, _BEGINS, _STOP = (1 << i for i in range(9))


class DensePlan(NamedTuple):
    """A layer: `activation(inputs @ kernel + bias)`, with a dropout before it.

    Attributes:
        inputs: Its width.
        units: Width of its outputs.
        bias: Whether it has one.
        activation: One of `ACTIVATIONS`; softmax only in the last layer.
        slope: Of leaky_relu below 0; alpha of elu.
        dropout: Rate of the dropout of its inputs; 0: none.
        decay: Weight decay of kernel and bias, before the learning rate.
        bfloat16: Whether it multiplies bfloat16 and rounds its outputs to it. Only in a wide plan.
    """

    inputs: int
    units: int
    bias: bool
    activation: str
    slope: float = 0.0
    dropout: float = 0.0
    decay: tuple[float, float] = (0.0, 0.0)
    bfloat16: bool = False


class MetricPlan(NamedTuple):
    """A metric: one of `METRICS`, whether it sees the sample weights, and its threshold."""

    kind: str
    weighted: bool = False
    threshold: float = 0.5


class Plan(NamedTuple):
    """A network and how it is trained.

    Attributes:
        layers: From the inputs to the outputs.
        loss: One of `LOSSES`.
        from_logits: Whether the outputs are logits.
        mean: Whether the loss is a mean over the rows, else a sum.
        smoothing: Label smoothing.
        epsilon: How far probabilities are kept from 0 and 1.
        optimizer: One of `OPTIMIZERS`.
        momentum: Of gradient descent.
        betas: Adam's decays of the first and the second moment.
        adam_epsilon: Adam's epsilon.
        metrics: What is measured beside the loss.
        wide: Whether parameters stay where they are and products go through tiles, which only some kernels have.
    """

    layers: tuple[DensePlan, ...]
    loss: str = "mean_squared_error"
    from_logits: bool = False
    mean: bool = True
    smoothing: float = 0.0
    epsilon: float = 1e-7
    optimizer: str = "sgd"
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-7
    metrics: tuple[MetricPlan, ...] = ()
    wide: bool = False

    @property
    def slots(self) -> int:
        """Arrays that the optimizer keeps for each parameter."""
        return {"sgd": 0, "adam": 2}.get(self.optimizer, 1)

    @property
    def dropouts(self) -> int:
        """Layers with a dropout before them."""
        return sum(layer.dropout > 0 for layer in self.layers)

    @property
    def labels(self) -> bool:
        """Whether targets are numbers of classes."""
        return self.loss == "sparse_categorical_crossentropy"

    def attributes(self, mode: int, batch: int) -> dict[str, Any]:
        """Return the plan as the attributes of a call."""
        shape = [mode, batch, LOSSES.index(self.loss), OPTIMIZERS.index(self.optimizer), self.from_logits, self.mean]
        shape += [len(self.layers), len(self.metrics), self.wide]
        for layer in self.layers:
            shape += [layer.inputs, layer.units, layer.bias, ACTIVATIONS.index(layer.activation), layer.bfloat16]
        for metric in self.metrics:
            shape += [METRICS.index(metric.kind), metric.weighted]
        return {"shape": np.array(shape, np.int64), "numbers": self.numbers()}

    def numbers(self) -> Numpy:
        """Return what may differ between networks of one shape: rates, decays, slopes ..., float32."""
        numbers = [self.smoothing, self.epsilon, self.momentum, *self.betas, *(1 - b for b in self.betas)]
        numbers += [self.adam_epsilon]
        for layer in self.layers:
            numbers += [layer.slope, layer.dropout, *layer.decay]
        numbers += [metric.threshold for metric in self.metrics]
        return np.array(numbers, np.float32)

    def form(self) -> tuple[Any, ...]:
        """Return what must be equal for networks of one stack: all but the numbers."""
        return (*self.attributes(TRAIN, 1)["shape"].tolist(), *(layer.dropout > 0 for layer in self.layers))


class Data(NamedTuple):
    """What a call reads. Shapes: `rows` stands for all rows there are.

    Attributes:
        x: float32 `(rows, inputs)`, or any shape with as many elements.
        y: int32 `(rows,)` for labels, else float32 `(rows, outputs)`; None for predictions.
        weights: float32 `(rows,)`, or None.
        index: int32 `(batches, batch)`, the rows of each batch, or None: row after row.
        real: int32 `(batches,)`, how many rows of each batch count, or None: all.
    """

    x: Array
    y: Array | None
    weights: Array | None = None
    index: Array | None = None  # type: ignore[assignment] # not tuple.index
    real: Array | None = None


class Pointers(NamedTuple):
    """What a call reads, as addresses of arrays of the host: their sizes are not part of the program.

    Whoever passes them keeps the arrays until the call has ended.

    Attributes:
        addresses: Of x, y, weights and index, each as its low and its high half, uint32 `(8,)`.
        rows: Number of rows, int32.
        weights: None if there are none.
        real: As in `Data`.
    """

    addresses: Any
    rows: Any
    weights: Any
    real: Any = None

    @classmethod
    def to(cls, x: Numpy, y: Numpy, weights: Numpy | None, index: Numpy) -> "Pointers":
        """Return pointers to arrays of the types and shapes of `Data`, in C order."""
        places = [0 if a is None else a.__array_interface__["data"][0] for a in (x, y, weights, index)]
        halves = [half for place in places for half in (place & 0xFFFFFFFF, place >> 32)]
        return cls(np.array(halves, np.uint32), np.int32(len(x)), None if weights is None else np.int32(1))


class Stack(NamedTuple):
    """What makes a call under `jax.vmap` one call for the networks of a stack, one after the other on one thread.

    A network with no batches to run stays as it was, as does one that is stopped on the way.

    Attributes:
        numbers: The plan's `numbers()` of the network.
        begins: Where its rows of x, y and weights begin in the data, int32 `(3,)`, or None: at 0.
        stop: Address of an int32 that stops the call once it is not 0, as its low and its high half, uint32 `(2,)`.
    """

    numbers: Any
    begins: Any
    stop: Any


def _call(
    plan: Plan, mode: int, batch: int, data: Data | Pointers, head: Sequence[Any], rest: Sequence[Any],
    results: Sequence[Any], stack: Stack | None = None, in_place: int = 0,
) -> Any:  # fmt: skip
    """Call the kernels inside a traced function.

    `head` are count and threads, `rest` what follows the data, `in_place` how many of its arrays, the last, become the
    last results.
    """
    if not library.available():
        raise RuntimeError(library.why_not())
    given = (_WEIGHTS * (data.weights is not None)) | (_REAL * (data.real is not None)) | (_LABELS * plan.labels)
    if isinstance(data, Pointers):
        given |= _ADDRESSES
        read = [data.addresses, data.rows, data.real]
    else:
        given |= _INDEX * (data.index is not None)
        read = [data.x, data.y, data.weights, data.index, data.real]
    if stack is not None:
        given |= _STACK | _NUMBERS | _STOP | (_BEGINS * (stack.begins is not None))
        head, read = [stack.numbers, stack.stop, *head], [stack.begins, *read]
    arrays = [a for a in read if a is not None]
    everything = [*head, *arrays, *rest]
    call: Any = jax.ffi.ffi_call(
        library.TARGET, results, vmap_method="expand_dims" if stack is not None else None,
        input_output_aliases={len(everything) - i: len(results) - i for i in range(1, in_place + 1)},
    )  # fmt: skip
    return call(*everything, **plan.attributes(mode, batch), given=np.int64(given))


def _like(arrays: Sequence[Any]) -> list[Any]:
    return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]


def train(
    plan: Plan,
    batch: int,
    data: Data | Pointers,
    count: Any,
    threads: Any,
    updates: Any,
    rates: Any,
    keys: Sequence[Any],
    totals: Sequence[Any],
    state: Sequence[Any],
    stack: Stack | None = None,
    *,
    in_place: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Return totals and state after `count` batches. To be called in a traced function on a CPU.

    Args:
        plan: The network.
        batch: Rows in a batch.
        data: The data.
        count: Batches to run, int32.
        threads: How many threads may work, int32.
        updates: Updates made before, int32.
        rates: The learning rate, float32 `()`, or one for each batch there is room for.
        keys: A key, uint32 `(2,)`, for each dropout.
        totals: `(total, count)` of the loss and of each metric, float32 `()` each.
        state: For each layer kernel, its slots, bias, its slots.
        stack: If it is one network of a stack.
        in_place: Whether the new state takes the memory of the old.
    """
    rest = [updates, rates, *keys, *totals, *state]
    results, kept = _like([*totals, *state]), len(state) if in_place else 0
    found = _call(plan, TRAIN, batch, data, (count, threads), rest, results, stack, kept)
    return list(found[: len(totals)]), list(found[len(totals) :])


def evaluate(
    plan: Plan,
    batch: int,
    data: Data | Pointers,
    count: Any,
    threads: Any,
    totals: Sequence[Any],
    params: Sequence[Any],
    stack: Stack | None = None,
) -> list[Any]:
    """Return the totals after `count` batches. Arguments as those of `train`; `params` are kernels and biases."""
    return list(_call(plan, EVALUATE, batch, data, (count, threads), [*totals, *params], _like(totals), stack))


def predict(plan: Plan, batch: int, x: Any, count: Any, threads: Any, params: Sequence[Any]) -> Any:
    """Return the outputs, float32 `(rows, outputs)`, for `count` batches of rows. Arguments as those of `train`."""
    rows = int(np.prod(x.shape)) // plan.layers[0].inputs
    result = [jax.ShapeDtypeStruct((rows, plan.layers[-1].units), np.float32)]
    return _call(
        plan._replace(loss=LOSSES[-1], metrics=()), PREDICT, batch, Data(x, None), (count, threads), params, result
    )[0]
