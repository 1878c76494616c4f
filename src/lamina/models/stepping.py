"""What a model computes inside a step: the loss, the metrics, and Keras's public step functions."""

import inspect
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

from lamina._types import Array, Arrays, Tree
from lamina.layers.context import CallContext, calling
from lamina.metrics import Mean
from lamina.training.compiled import targets_of
from lamina.training.outputs import leaves
from lamina.training.stream import unpack
from lamina.variables import bound, isolated, values

_asking: ContextVar[bool] = ContextVar("lamina_asking", default=False)


class _AskedError(Exception):
    """The losses or metrics of `compile` are wanted for these targets and predictions, and not resolved yet."""

    def __init__(self, part: Any, y: Tree, y_pred: Tree) -> None:
        self.part, self.y, self.y_pred = part, y, y_pred


def what_reaches(model: Any, part: Any, method: str, batch: Tree) -> tuple[Tree, Tree] | None:
    """Return specs of the targets and predictions that a user's own `method` hands on to a part of `compile`.

    None if it hands nothing on. Nothing is computed, nothing changes.

    Args:
        model: The model.
        part: Its losses or metrics.
        method: "compute_loss" or "compute_metrics".
        batch: Specs of `(x, y, sample_weight)`.
    """
    found: list[tuple[Tree, Tree]] = []

    def run(x: Tree, y: Tree, weight: Tree, y_pred: Tree) -> None:
        token = _asking.set(True)
        try:
            with isolated(), calling(CallContext(training=True, collecting=True)):
                getattr(model, method)(x, y, y_pred, weight)
        except _AskedError as asked:
            if asked.part is part:
                found.append(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (asked.y, asked.y_pred)))
        finally:
            _asking.reset(token)

    with suppress(Exception):  # what is wrong with it is said where the step runs
        jax.eval_shape(run, *batch, model.concrete_outputs(batch[0]))
    return found[0] if found else None


def _resolved(model: Any, part: Any, y: Tree, y_pred: Tree) -> None:
    """Resolve the losses or metrics of `compile` where nothing could be known before the step."""
    if not part.built:
        if _asking.get():
            raise _AskedError(part, y, y_pred)
        prepare(model, y, y_pred, None)


def aligned(model: Any, part: Any, y: Tree, weight: Tree) -> tuple[list[Any], list[Any]]:
    """Return targets and sample weights, one entry for each output that a part of `compile` sees."""
    outputs = part.outputs
    targets = targets_of(model._compile_loss, outputs, y)
    if weight is None or outputs.single:
        return targets, outputs.align(weight, "`sample_weight`")
    if not isinstance(weight, list | tuple | dict):
        return targets, [weight] * outputs.count
    return targets, outputs.align(weight, "`sample_weight`")


def total_loss(model: Any, y: Tree, y_pred: Tree, weight: Tree, rows: Any) -> Array:
    """Return the loss of `compile` plus penalties and what layers added, and keep the means of the single losses."""
    compiled = model._compile_loss
    total = None
    if compiled is not None:
        _resolved(model, compiled, y, y_pred)
        targets, weights = aligned(model, compiled, y, weight)
        predictions = leaves(y_pred)
        parts = compiled.values(targets, predictions, weights, rows)
        count = rows_in(predictions[0], rows)
        for tracker, value in zip(compiled.trackers, parts, strict=False):
            tracker.update_state(value, sample_weight=count)
        total = compiled.total(parts)
    for loss in model.losses:
        one = jnp.sum(jnp.asarray(loss, jnp.float32) if jnp.issubdtype(jnp.asarray(loss).dtype, jnp.integer) else loss)
        total = one if total is None else total + one
    return jnp.zeros(()) if total is None else total


def rows_in(array: Any, rows: Any) -> Any:
    """Return the number of real rows of a batch."""
    return jnp.sum(rows.astype(jnp.float32)) if rows is not None else float(array.shape[0] if array.ndim else 1)


def loss_in_step(model: Any, x: Tree, y: Tree, y_pred: Tree, weight: Tree, rows: Any, training: bool) -> Array:
    """Return the loss of a batch by the user's `compute_loss`, if there is one, else by `total_loss`."""
    if not model.has_own_step("compute_loss"):
        return total_loss(model, y, y_pred, weight, rows)
    if "training" in inspect.signature(model.compute_loss).parameters:
        return jnp.asarray(model.compute_loss(x, y, y_pred, weight, training=training))
    return jnp.asarray(model.compute_loss(x, y, y_pred, weight))


def update_metrics(model: Any, y: Tree, y_pred: Tree, weight: Tree, rows: Any) -> None:
    """Add a batch to the metrics of `compile`."""
    compiled = model._compile_metrics
    if compiled is not None:
        _resolved(model, compiled, y, y_pred)
        targets, weights = aligned(model, compiled, y, weight)
        compiled.add_batch(targets, leaves(y_pred), weights, rows)


def metrics_in_step(model: Any, loss: Array, batch: Tree, y_pred: Tree, rows: Any) -> None:
    """Add a batch to the mean loss and to the metrics."""
    x, y, weight = batch
    tracker = model._loss_tracker
    if tracker is not None and any(metric is tracker for metric in model.metrics):
        tracker.update_state(loss, sample_weight=rows_in(jax.tree.leaves(x)[0], rows))
    if model.has_own_step("compute_metrics"):
        model.compute_metrics(x, y, y_pred, weight)
    else:
        update_metrics(model, y, y_pred, weight, rows)


# ---- the public functions of Keras on JAX


def stateless_compute_loss(
    model: Any,
    trainable_variables: Any,
    non_trainable_variables: Any,
    metrics_variables: Any,
    x: Tree = None,
    y: Tree = None,
    y_pred: Tree = None,
    sample_weight: Tree = None,
    training: bool = True,
) -> tuple[Array, tuple[Any, list[Array], list[Array]]]:
    """Return the loss and the three lists of variables after computing it."""
    names = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    arrays = (trainable_variables, non_trainable_variables, metrics_variables)
    prepare(model, y, y_pred, sample_weight)
    with bound(_joined(names), _joined(arrays)):
        loss = loss_in_step(model, x, y, y_pred, sample_weight, None, training)
        return loss, (trainable_variables, list(values(names[1])), list(values(names[2])))


def compute_loss_and_updates(
    model: Any,
    trainable_variables: Any,
    non_trainable_variables: Any,
    metrics_variables: Any,
    x: Tree,
    y: Tree,
    sample_weight: Tree,
    training: bool = False,
    optimizer_variables: Any = None,
) -> tuple[Array, tuple[Array, Tree, list[Array], list[Array]]]:
    """Return the (scaled) loss, and unscaled loss, outputs, non-trainable variables and metrics after it."""
    names = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    arrays = (trainable_variables, non_trainable_variables, metrics_variables)
    context = CallContext(training=training, collecting=True)
    with bound(_joined(names), _joined(arrays)), calling(context):
        y_pred = model(x, training=training)
        prepare(model, y, y_pred, sample_weight)
        loss = loss_in_step(model, x, y, y_pred, sample_weight, None, training)
        stats, totals = list(values(names[1])), list(values(names[2]))
    scaled = loss
    if training and model.optimizer is not None and optimizer_variables is not None:
        with bound(model.optimizer.variables, optimizer_variables):
            scaled = model.optimizer.scale_loss(loss)
    return scaled, (loss, y_pred, stats, totals)


def train_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Return logs and state after a step of gradient descent on one batch."""
    params, stats, slots, totals = state
    x, y, weight = unpack(data)
    gradient = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)
    (_, (loss, y_pred, stats, totals)), grads = gradient(
        params, stats, totals, x, y, weight, training=True, optimizer_variables=slots
    )
    params, slots = model.optimizer.stateless_apply(slots, grads, params)
    logs, totals = _with_metrics(model, totals, loss, (x, y, weight), y_pred)
    return logs, (params, stats, slots, totals)


def test_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Return logs and state after one batch of evaluation."""
    params, stats, totals = state
    x, y, weight = unpack(data)
    _, (loss, y_pred, stats, totals) = model.compute_loss_and_updates(
        params, stats, totals, x, y, weight, training=False
    )
    logs, totals = _with_metrics(model, totals, loss, (x, y, weight), y_pred)
    return logs, (params, stats, totals)


def predict_step(model: Any, state: Any, data: Any) -> tuple[Tree, Any]:
    """Return outputs and non-trainable variables for one batch."""
    params, stats = state
    x, _, _ = unpack(data)
    outputs, stats = model.stateless_call(params, stats, x, training=False)
    return outputs, stats


def _with_metrics(
    model: Any, totals: Any, loss: Array, batch: Tree, y_pred: Tree
) -> tuple[dict[str, Any], list[Array]]:
    names = model.metrics_variables
    with bound(names, totals):
        metrics_in_step(model, loss, batch, y_pred, None)
        return model.get_metrics_result(), list(values(names))


def _joined(groups: tuple[Any, ...]) -> list[Any]:
    return [item for group in groups for item in group]


def prepare(model: Any, y: Tree, y_pred: Tree, weight: Tree) -> None:
    """Resolve losses and metrics for outputs and targets of these shapes, the first time."""
    del weight
    needed = [part for part in (model._compile_loss, model._compile_metrics) if part is not None and not part.built]
    if not needed and model.outputs_of_step is not None:
        return
    from lamina.training.outputs import Outputs

    model.outputs_of_step = outputs = Outputs(y_pred, model.names_of_outputs())
    targets = targets_of(model._compile_loss, outputs, y)
    for part in needed:
        part.build(outputs, targets)


def in_order(model: Any, logs: dict[str, Any]) -> Any:
    """Return logs as `evaluate` does: the loss, the metrics in their order, the rest by name; one value alone."""
    names: list[str] = []
    for metric in model.metrics:
        if metric is model._compile_metrics:
            names += [entry.name for entry in metric.entries]
        elif isinstance(metric, Mean) or metric.name in logs:
            names.append(metric.name)
    found = [logs[name] for name in names if name in logs]
    found += [logs[name] for name in sorted(logs) if name not in names]
    return found[0] if len(found) == 1 else found


Variables = Arrays
