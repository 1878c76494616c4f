"""What `compile` was given, resolved against the outputs of the model: losses, weights, metrics, names of logs."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import config, registry
from lamina import losses as loss_functions
from lamina import metrics as metric_functions
from lamina._types import Array, Tree
from lamina.errors import InvalidArgumentError, invalid
from lamina.losses import Loss, LossFunctionWrapper
from lamina.losses.base import to_arrays
from lamina.metrics import Mean, Metric
from lamina.metrics.resolve import is_binary_or_sparse_categorical, resolve
from lamina.training.outputs import Outputs, is_nested, leaves
from lamina.training.terms import parts_of
from lamina.variables import Variable

_BY_SHAPE = ("crossentropy", "ce")


def get_loss(identifier: Any, y_true: Any, y_pred: Any) -> Loss | None:
    """Return the loss that an entry of `compile(loss=...)` means for arrays or specs of these shapes."""
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found: Any
    if isinstance(identifier, str) and identifier.lower() in _BY_SHAPE:
        is_binary, is_sparse = is_binary_or_sparse_categorical(tuple(y_true.shape), tuple(y_pred.shape))
        name = "binary" if is_binary else "sparse_categorical" if is_sparse else "categorical"
        found = loss_functions.get(f"{name}_crossentropy")
    else:
        found = loss_functions.get(identifier)
    if isinstance(found, Loss):
        return found
    name = (
        identifier
        if isinstance(identifier, str)
        else registry.snake_case(getattr(found, "__name__", type(found).__name__))
    )
    return LossFunctionWrapper(found, name=name)


def check_names(loss: Any, metrics: Any, weighted_metrics: Any) -> None:
    """Raise `InvalidArgumentError` for a name that stands for no loss or metric, before anything is built."""
    for entry in leaves(loss):
        if entry is not None and not (isinstance(entry, str) and entry.lower() in _BY_SHAPE):
            if not isinstance(entry, str) and not callable(entry):
                raise registry.unknown("losses", entry, "loss")
            loss_functions.get(entry)
    for argument, found in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if found is not None and not isinstance(found, list | tuple | dict):
            raise invalid(
                f"Expected `{argument}` argument to be a list, tuple, or dict.",
                received=f"{argument}={found!r} of type {type(found)}",
                fix=f"pass [{found!r}].",
            )
        for entry in leaves(found):
            if entry is not None and not (isinstance(entry, str) and entry.lower() in ("accuracy", "acc", *_BY_SHAPE)):
                metric_functions.get(entry)


class Term(NamedTuple):
    """A loss, resolved.

    Attributes:
        places: The number of its output, or a structure of them for a loss that takes several outputs at once.
        loss: The loss.
        weight: By how much it counts; None: as it is.
        name: Its name in the logs.
    """

    places: Tree
    loss: Loss
    weight: float | None
    name: str

    @property
    def outputs(self) -> list[int]:
        """The numbers of the outputs that it takes."""
        return leaves(self.places)

    @property
    def output(self) -> int | None:
        """The number of its output, or None if it takes several."""
        return self.places if isinstance(self.places, int) else None

    def pick(self, values: Sequence[Any]) -> Tree:
        """Return the values of its outputs, in the structure that it takes."""
        return jax.tree.map(lambda place: values[place], self.places)

    def value(self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any], rows: Any) -> Any:
        """Return the loss for aligned targets, outputs and sample weights."""
        own = [weights[index] for index in self.outputs]
        if any(weight is not own[0] for weight in own):
            raise invalid(
                f"The loss `{self.name}` takes several outputs at once, so it takes one sample weight.",
                received="several",
                fix="pass one array as `sample_weight`.",
            )
        masked = () if rows is None else (rows,)
        return self.loss(self.pick(y), self.pick(y_pred), own[0], *masked)


class CompiledLoss:
    """The losses of a model and how they add up.

    Args:
        loss: What `compile` was given: one loss, or a list or dict of them.
        loss_weights: Numbers by which the losses count, in the same form.
    """

    def __init__(self, loss: Any, loss_weights: Any = None) -> None:
        self.loss, self.loss_weights = loss, loss_weights
        self.built = False
        self.terms: list[Term] = []
        self.trackers: list[Mean] = []
        self.outputs: Outputs
        if loss_weights is not None and not isinstance(loss_weights, list | tuple | dict | float | int):
            raise invalid(
                "Expected `loss_weights` argument to be a float (single output case) or a list, tuple, or dict "
                "(multiple output case).",
                received=f"loss_weights={loss_weights!r} of type {type(loss_weights)}",
            )

    @property
    def metrics(self) -> list[Mean]:
        """The means of the single losses, if there are several."""
        return self.trackers

    def build(self, outputs: Outputs, targets: Sequence[Any], name: str = "y") -> None:
        """Resolve the losses for the model's outputs and the aligned specs of their targets, called `name`.

        Raises:
            InvalidArgumentError: If an output has a loss but no target, or a loss does not give values for its rows.
        """
        terms: list[Term] = []
        for part in parts_of(self.loss, self.loss_weights, outputs):
            if part.identifier is None:
                continue
            whole = is_nested(part.places)
            places = leaves(part.places)
            absent = next((index for index in places if targets[index] is None), None)
            if absent is not None:
                raise _no_target("loss", outputs, absent, name)
            loss = get_loss(part.identifier, targets[places[0]], outputs.specs[places[0]])
            assert loss is not None
            if not whole:
                _check_values(loss, targets[part.places], outputs.specs[part.places])
            terms.append(Term(part.places, loss, part.weight, part.name(outputs, loss.name)))
        self.outputs, self.terms = outputs, terms
        self.trackers = [Mean(name=f"{term.name}_loss") for term in terms] if len(terms) > 1 else []
        self.built = True

    def wanted(self, outputs: Outputs) -> list[int]:
        """Return the numbers of the outputs that have a loss, and so must have a target."""
        parts = parts_of(self.loss, self.loss_weights, outputs)
        return sorted({index for part in parts if part.identifier is not None for index in leaves(part.places)})

    def need(self, targets: Sequence[Any], name: str) -> None:
        """Raise `InvalidArgumentError` if an output that has a loss has no target in `name`."""
        for index in (index for term in self.terms for index in term.outputs):
            if targets[index] is None:
                raise _no_target("loss", self.outputs, index, name)

    def values(self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any], rows: Any) -> list[Array]:
        """Return the value of each loss, without its weight, for aligned targets, outputs and sample weights."""
        return [jnp.asarray(_scalar(term, term.value(y, y_pred, weights, rows))) for term in self.terms]

    def total(self, values: Sequence[Array]) -> Array | None:
        """Return the weighted sum of the values, or None if there is no loss."""
        total: Array | None = None
        for term, value in zip(self.terms, values, strict=True):
            one = value if term.weight is None else value * term.weight
            total = one if total is None else total + one
        return total

    def rowwise(self, y: Sequence[Any]) -> bool:
        """Return whether each sample has a loss of its own, for aligned specs of the targets."""
        return all(
            term.output is not None
            and _is_maskable(term.loss)
            and term.loss.per_sample(y[term.output], self.outputs.specs[term.output])
            for term in self.terms
        )


def targets_of(loss: CompiledLoss | None, outputs: Outputs, y: Tree, name: str = "`y`") -> list[Any]:
    """Return the targets, one entry for each output; if only some have a loss, the others need not have a target."""
    return outputs.align(y, name, None if loss is None else loss.wanted(outputs))


def _no_target(what: str, outputs: Outputs, index: int, name: str) -> InvalidArgumentError:
    return invalid(
        f"There is a {what} for {outputs.label(index)}, but no target.",
        owner=f"`{name}`",
        received=f"{name}=None" if outputs.single else "no entry for it",
        fix=f"pass targets, or compile without a {what} for that output.",
    )


def _check_values(loss: Loss, target: Any, prediction: Any) -> None:
    """Raise `InvalidArgumentError` if a loss of the user's gives nothing, or values that belong to no row."""
    if isinstance(getattr(loss, "fn", None), Metric) and config.strict():
        raise invalid(
            "A metric goes on from batch to batch, so it cannot be a loss.",
            received=f"the metric `{loss.name}` as a loss",
            fix="use the loss of that name, from `losses`.",
        )
    if not config.strict() or registry.home(getattr(loss, "fn", type(loss))) is not None or not _is_maskable(loss):
        return
    y_true, y_pred = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (target, prediction))
    found = jax.eval_shape(lambda t, p: loss.call(loss._targets(t), to_arrays(p, loss.dtype)), y_true, y_pred)
    if not hasattr(found, "shape"):
        raise _no_values(loss.name, found)
    shape, wanted = tuple(found.shape), tuple(prediction.shape)
    if shape[:1] == wanted[:1] or math.prod(shape) == 1 or shape == wanted[1:]:
        return
    raise invalid(
        f"The loss `{loss.name}` must return one value for each row, shape ({wanted[0]},) for a batch of {wanted[0]}, "
        "or one number.",
        received=f"shape {shape} for outputs of shape {wanted}",
        fix="reduce over the axes of a row only, e.g. `ops.mean(..., axis=-1)`.",
    )


def _no_values(name: str, found: Any) -> InvalidArgumentError:
    return invalid(
        f"The loss `{name}` must return one value for each row: an array of shape (batch,).",
        received="None" if found is None else f"a {type(found).__name__}",
        fix="does it lack a `return`?" if found is None else "return an array.",
    )


def _is_maskable(loss: Loss) -> bool:
    return type(loss).__call__ is Loss.__call__


def _scalar(term: Term, value: Any) -> Any:
    if value is None:
        raise _no_values(term.name, value)
    if getattr(value, "ndim", 0):
        return jnp.sum(value) if term.loss.reduction in ("none", None) else value
    return value


class _Entry(NamedTuple):
    output: int
    metric: Metric
    weighted: bool
    name: str


class CompiledMetrics(Metric):
    """The metrics of `compile` as one: its result is a dict by the names in the logs.

    Args:
        metrics: What `compile` was given: a list, or a list or dict of lists by output.
        weighted_metrics: The same, for metrics that see the sample weights.
    """

    def __init__(self, metrics: Any, weighted_metrics: Any) -> None:
        super().__init__(name="compile_metrics")
        self.given, self.given_weighted = metrics, weighted_metrics
        self.built = False
        self.entries: list[_Entry] = []
        self.outputs: Outputs

    @property
    def metrics(self) -> list[Metric]:
        """The single metrics, the unweighted first."""
        return [entry.metric for entry in self.entries]

    @property
    def variables(self) -> list[Variable]:
        """The totals of all metrics, each once."""
        return list({id(v): v for metric in self.metrics for v in metric.variables}.values())

    def build(self, outputs: Outputs, targets: Sequence[Any], name: str = "y") -> None:
        """Resolve the metrics for the model's outputs and the aligned specs of their targets, called `name`."""
        self.outputs = outputs
        entries: list[_Entry] = []
        names: dict[str, int] = {}
        for weighted, given in ((False, self.given), (True, self.given_weighted)):
            for index, identifiers in enumerate(_lists(given, outputs, "weighted_metrics" if weighted else "metrics")):
                for identifier in identifiers:
                    if targets[index] is None:
                        raise _no_target("metric", outputs, index, name)
                    entries.append(self._entry(identifier, index, weighted, targets[index], names))
        self.entries, self.built = entries, True

    def need(self, targets: Sequence[Any], name: str) -> None:
        """Raise `InvalidArgumentError` if an output that has a metric has no target in `name`."""
        for entry in self.entries:
            if targets[entry.output] is None:
                raise _no_target("metric", self.outputs, entry.output, name)

    def _entry(self, identifier: Any, index: int, weighted: bool, target: Any, names: dict[str, int]) -> _Entry:
        outputs = self.outputs
        prediction = outputs.specs[index]
        metric = resolve(identifier, tuple(target.shape), tuple(prediction.shape))
        metric.prepare(target, prediction)
        prefix = f"{outputs.names[index]}_" if outputs.names and outputs.count > 1 else ""
        return _Entry(index, metric, weighted, _unique(prefix, metric.name, names, weighted))

    def add_batch(self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any], rows: Any) -> None:
        """Add a batch to the totals; rows that only fill the batch count for nothing."""
        for entry in self.entries:
            own = weights[entry.output] if entry.weighted else None
            target, prediction = y[entry.output], y_pred[entry.output]
            if rows is not None:
                own = rows.astype(jnp.float32) if own is None else own * _like(rows, own)
            if own is None:
                entry.metric.update_state(target, prediction)
            else:
                entry.metric.update_state(target, prediction, own)

    def result(self) -> dict[str, Tree]:
        """Return the values by the names that they have in the logs."""
        return {entry.name: entry.metric.result() for entry in self.entries}

    def reset_state(self) -> None:
        """Start all metrics anew."""
        for metric in self.metrics:
            metric.reset_state()

    def all_rowwise(self, y: Sequence[Any]) -> bool:
        """Return whether a row of weight 0 counts as absent for every metric, for aligned specs of the targets."""
        return all(entry.metric.is_rowwise(y[entry.output], self.outputs.specs[entry.output]) for entry in self.entries)


def _like(rows: Any, weights: Any) -> Any:
    return rows.astype(weights.dtype).reshape(rows.shape + (1,) * (weights.ndim - 1))


def _lists(given: Any, outputs: Outputs, argument: str) -> list[list[Any]]:
    """Return a list of metrics for each output."""
    if not given:
        return [[] for _ in range(outputs.count)]
    if outputs.single:
        return [[entry for entry in leaves(given) if entry is not None]]
    if isinstance(given, dict):
        found = outputs.align(given, f"Invalid `{argument}`. It")
    elif len(given) == outputs.count:
        found = list(given)
    else:
        names = f" {outputs.names}" if outputs.names else ""
        raise invalid(
            f"Invalid `{argument}`. It should be a dict or a list matching the {outputs.count} outputs of the "
            f"model{names}.",
            received=f"{argument}={given!r}",
            fix="pass one list of metrics for each output, or a dict by output name.",
        )
    return [[e for e in leaves(entry) if e is not None] if entry is not None else [] for entry in found]


def _unique(prefix: str, name: str, names: dict[str, int], weighted: bool) -> str:
    """Return the name in the logs: Keras's rule for several metrics of the same name."""
    full = f"{prefix}{name}"
    if full in names and weighted:
        full = f"{prefix}weighted_{name}"
    count = names.get(full, 0)
    names[full] = count + 1
    return f"{full}_{count}" if count else full
