"""A model as a plan for the native kernels, or the reason why there is none."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from lamina import activations, layers, losses, optimizers
from lamina import config as settings
from lamina.graph import Graph
from lamina.losses import LossFunctionWrapper
from lamina.metrics import MeanMetricWrapper
from lamina.native import library
from lamina.native.plan import ACTIVATIONS, LOSSES, METRICS, MOST_LAYERS, MOST_METRICS, DensePlan, MetricPlan, Plan
from lamina.optimizers.base import Optimizer
from lamina.stacks import Stack
from lamina.training.steps import Variables
from lamina.variables import Variable

_OWN_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics", "reset_metrics", "get_metrics_result")
_BY_FUNCTION = {getattr(activations, name): name for name in ACTIVATIONS if hasattr(activations, name)}
_LOSSES = {
    losses.SparseCategoricalCrossentropy: LOSSES[0],
    losses.CategoricalCrossentropy: LOSSES[1],
    losses.BinaryCrossentropy: LOSSES[2],
    losses.MeanSquaredError: LOSSES[3],
    losses.MeanAbsoluteError: LOSSES[4],
}
_SLOPES = {"leaky_relu": 0.2, "elu": 1.0}  # of the functions, where no argument says another


class Unsuited(Exception):  # noqa: N818 - no error: the way in which a reason comes up
    """Why a model cannot be trained by the native kernels."""


class Reading(NamedTuple):
    """A plan and the variables behind its arrays.

    Attributes:
        plan: The plan.
        state: For each layer kernel, its slots, bias, its slots.
        params: For each layer kernel and bias.
        keys: State of the random generator of each dropout.
        totals: `(total, count)` of the loss and of each metric.
    """

    plan: Plan
    state: tuple[Variable, ...]
    params: tuple[Variable, ...]
    keys: tuple[Variable, ...]
    totals: tuple[Variable, ...]


def read(model: Any, names: Variables, *, training: bool) -> Reading:
    """Return the plan of a model that is built and compiled.

    Args:
        model: The model.
        names: Its variables.
        training: Whether it is to be trained: then its optimizer is read too.

    Raises:
        Unsuited: If the kernels cannot do what the model does, with the layer and the reason.
    """
    for method in _OWN_STEPS:
        if model.has_own_step(method):
            raise Unsuited(f"the model has a `{method}` of its own")
    if any(isinstance(unit, Stack) for unit in (*names.params, *names.stats)):
        raise Unsuited("it has many equal layers, which XLA runs as a loop")
    if model.adds_losses():
        raise Unsuited("layers add to the loss (a regularizer, `add_loss`)")
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        raise Unsuited("`jax_threefry_partitionable` is off")
    chain = chain_of(model)
    check_input(model._graph.inputs[0], chain)
    plan = Plan(_layers(chain), epsilon=settings.epsilon())
    plan = _with_loss(plan, model)
    metrics, totals = _metrics(model, plan)
    plan = plan._replace(metrics=metrics)
    dense, keys = _variables(chain)
    params = [v for layer in dense for v in (layer.kernel, layer.bias) if v is not None]
    if len({id(v) for v in keys}) != len(keys):
        raise Unsuited("two of its dropouts share a generator")
    if any(v.dtype != "float32" for v in (*params, *totals)):
        raise Unsuited("not all weights are float32")
    state: list[Variable] = []
    if training:
        if {id(v) for v in params} != {id(v) for v in names.params} or len(params) != len(names.params):
            frozen = next((layer.name for layer in dense if not layer.trainable), None)
            raise Unsuited(f"layer `{frozen}` is frozen" if frozen else "its weights are not those of its layers")
        plan, state = _with_optimizer(plan, model.optimizer, dense, params)
    return Reading(plan, tuple(state), tuple(params), tuple(keys), tuple(totals))


# ---- layers


def chain_of(model: Any) -> list[Any]:
    """Return the layers of a model, one after the other, without those that change nothing."""
    chain = list(_walk(model))
    seen: set[int] = set()
    for layer in chain:
        if id(layer) in seen:
            raise Unsuited(f"layer `{layer.name}` is used twice")
        seen.add(id(layer))
    return chain


def check_input(tensor: Any, chain: Sequence[Any]) -> None:
    """Raise `Unsuited` if the kernels do not take an input like this stand-in."""
    if tensor.dtype != "float32":
        raise Unsuited(f"its input is {tensor.dtype}")
    if len(tensor.shape) != 2 and not (chain and type(chain[0]) is layers.Flatten):
        raise Unsuited(f"its input has the shape {tensor.shape}")


def _walk(model: Any) -> Iterator[Any]:
    from lamina.layers.base import Layer

    graph: Graph | None = getattr(model, "_graph", None)
    if graph is None or not model.is_plain_graph:
        raise Unsuited(f"model `{model.name}` is no plain graph of layers: its `call` is its own")
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or isinstance(graph.outputs_struct, dict | list | tuple):
        raise Unsuited(f"model `{model.name}` has several inputs or outputs")
    if isinstance(graph.inputs_struct, dict):
        raise Unsuited(f"the input of model `{model.name}` is a dict")
    at = graph.inputs[0]
    for node in graph.nodes:
        if node.is_input:
            continue
        operation = node.operation
        if len(node.input_tensors) != 1 or node.input_tensors[0] is not at or len(node.output_tensors) != 1:
            raise Unsuited(f"layer `{operation.name}` does not follow the one before it: the model is no chain")
        if node.kwargs or len(node.args) != 1 or node.args[0] is not node.input_tensors[0]:
            raise Unsuited(f"layer `{operation.name}` is called with more than its input")
        at = node.output_tensors[0]
        if not isinstance(operation, Layer):
            raise Unsuited(f"`{operation.name}` is an operation, not a layer")
        if getattr(operation, "_graph", None) is not None:
            yield from _walk(operation)
        elif type(operation) not in (layers.InputLayer, layers.Identity):
            yield operation
    if at is not graph.outputs[0]:
        raise Unsuited(f"model `{model.name}` does not give out its last layer")


def read_forward(model: Any) -> Reading:
    """Return the plan of a model's predictions; its `params` are all that matter of the variables.

    Raises:
        Unsuited: If the kernels cannot do what the model does when it predicts, with the reason.
    """
    if model.has_own_step("predict_step"):
        raise Unsuited("the model has a `predict_step` of its own")
    chain = chain_of(model)
    check_input(model._graph.inputs[0], chain)
    plan = Plan(read_layers(chain))
    params = tuple(v for layer in _variables(chain)[0] for v in (layer.kernel, layer.bias) if v is not None)
    if any(v.dtype != "float32" for v in params):
        raise Unsuited("not all weights are float32")
    return Reading(plan, (), params, (), ())


def read_layers(chain: Sequence[Any]) -> tuple[DensePlan, ...]:
    """Return layers as they are when they predict: regularizers and constraints do not matter."""
    return _layers(chain, learning=False)


def _layers(chain: Sequence[Any], *, learning: bool = True) -> tuple[DensePlan, ...]:
    found: list[DensePlan] = []
    dropout, bare = 0.0, False  # of the layer to come; whether the last layer may still take an activation
    for layer in chain:
        _check_types(layer)
        kind = type(layer)
        if kind is layers.Dense:
            found.append(_dense(layer, found, learning)._replace(dropout=dropout))
            dropout, bare = 0.0, found[-1].activation == "linear"
        elif kind is layers.Dropout:
            dropout = _dropout(layer, dropout)
        elif kind is layers.Flatten:
            if found or dropout or layer.data_format != "channels_last":
                raise Unsuited(f"layer `{layer.name}` is a Flatten that is not the first layer, or moves axes")
        elif (activation := _activation(layer)) is not None:
            if not bare or dropout:
                raise Unsuited(f"activation `{layer.name}` does not follow a Dense layer without one")
            exact = activation[0] == "softmax" and layer.compute_dtype == "float32"  # of rounded outputs
            if not exact and found[-1].bfloat16 != (layer.compute_dtype == "bfloat16"):
                raise Unsuited(f"activation `{layer.name}` computes in another type than the layer before it")
            found[-1] = found[-1]._replace(activation=activation[0], slope=activation[1])
            bare = False
        else:
            raise Unsuited(f"layer `{layer.name}` is a {kind.__name__}")
    if not found or dropout:
        raise Unsuited("its last layer is no Dense layer")
    if len(found) > MOST_LAYERS:
        raise Unsuited(f"it has more than {MOST_LAYERS} layers")
    if any(layer.activation == "softmax" for layer in found[:-1]):
        raise Unsuited("a softmax stands between layers")
    return tuple(found)


def _dropout(layer: Any, before: float) -> float:
    """Return the rate of a dropout that the next layer has before it, one of rate `before` included."""
    if not layer.rate:
        return before
    if before:
        raise Unsuited(f"layer `{layer.name}` is a dropout after a dropout")
    if layer.noise_shape is not None or layer.rate >= 1:
        raise Unsuited(f"layer `{layer.name}` has a noise shape, or drops everything")
    return float(layer.rate)


def _check_types(layer: Any) -> None:
    computes = ("float32", "bfloat16") if library.has_tiles() else ("float32",)
    if layer.compute_dtype not in computes or layer.variable_dtype != "float32":
        raise Unsuited(f"layer `{layer.name}` computes in {layer.compute_dtype}")


def _dense(layer: Any, before: Sequence[DensePlan], learning: bool) -> DensePlan:
    for part in ("kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint"):
        if learning and getattr(layer, part) is not None:
            raise Unsuited(f"layer `{layer.name}` has a {part.replace('_', ' ')}")
    if not isinstance(layer.kernel, Variable) or layer.quantization_config is not None:
        raise Unsuited(f"layer `{layer.name}` has no plain kernel")
    inputs, units = layer.kernel.shape
    if before and before[-1].units != inputs:
        raise Unsuited(f"layer `{layer.name}` does not take the last axis alone")
    name = _BY_FUNCTION.get(layer.activation)
    if name is None:
        raise Unsuited(f"layer `{layer.name}` has the activation {layer.activation!r}")
    short = layer.compute_dtype == "bfloat16"
    return DensePlan(int(inputs), int(units), layer.bias is not None, name, _SLOPES.get(name, 0.0), bfloat16=short)


def _activation(layer: Any) -> tuple[str, float] | None:
    """Return the name and the slope of a layer that is an activation, or None."""
    kind = type(layer)
    if kind is layers.Activation:
        name = _BY_FUNCTION.get(layer.activation)
        return None if name is None else (name, _SLOPES.get(name, 0.0))
    if kind is layers.ReLU and layer.max_value is None and layer.threshold == 0:
        return ("leaky_relu", float(layer.negative_slope)) if layer.negative_slope else ("relu", 0.0)
    if kind is layers.LeakyReLU:
        return "leaky_relu", float(layer.negative_slope)
    if kind is layers.ELU:
        return "elu", float(layer.alpha)
    if kind is layers.Softmax and layer.axis == -1:
        return "softmax", 0.0
    return None


def _variables(chain: Sequence[Any]) -> tuple[list[Any], list[Variable]]:
    dense = [layer for layer in chain if type(layer) is layers.Dense]
    keys = [layer.seed_generator.state for layer in chain if type(layer) is layers.Dropout and layer.rate > 0]
    return dense, keys


# ---- loss and metrics


def _with_loss(plan: Plan, model: Any) -> Plan:
    compiled = model._compile_loss
    if compiled is None or not compiled.built or len(compiled.terms) != 1:
        raise Unsuited("it has not exactly one loss")
    term = compiled.terms[0]
    kind, arguments = _loss_kind(term.loss)
    if term.weight not in (None, 1, 1.0):
        raise Unsuited("its loss has a weight")
    if term.loss.reduction not in ("sum_over_batch_size", "mean", "sum"):
        raise Unsuited(f"its loss has the reduction {term.loss.reduction!r}")
    if term.loss.dtype != "float32":
        raise Unsuited(f"its loss is computed in {term.loss.dtype}")
    if arguments.pop("axis", -1) != -1 or arguments.pop("ignore_class", None) is not None:
        raise Unsuited("its loss has an axis, or a class that it ignores")
    logits = bool(arguments.pop("from_logits", False))
    smoothing = float(arguments.pop("label_smoothing", 0.0) or 0.0)
    if arguments:
        raise Unsuited(f"its loss has the arguments {sorted(arguments)}")
    output = plan.layers[-1].activation
    by_class = kind in LOSSES[:2]
    if by_class and not logits and output != "softmax":
        raise Unsuited("its crossentropy takes probabilities, but its last activation is no softmax")
    if output == "softmax" and (not by_class or logits):
        raise Unsuited("its last activation is a softmax, its loss no crossentropy of probabilities")
    mean = term.loss.reduction != "sum"
    return plan._replace(loss=kind, from_logits=logits, smoothing=smoothing, mean=mean)


def _loss_kind(loss: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(loss, LossFunctionWrapper) and type(loss).__module__.startswith("lamina.losses"):
        name = getattr(loss.fn, "__name__", "")
        if name in LOSSES and loss.fn is getattr(losses, name, None):
            return name, dict(loss._fn_kwargs)
    raise Unsuited(f"its loss `{loss.name}` is none of {', '.join(LOSSES)}")


def _metrics(model: Any, plan: Plan) -> tuple[tuple[MetricPlan, ...], list[Variable]]:
    tracker, compiled = model._loss_tracker, model._compile_metrics
    known = {id(tracker), id(compiled)}
    for metric in model.metrics:
        if id(metric) not in known:
            raise Unsuited(f"it has the metric `{metric.name}` beside those of `compile`")
    entries = [] if compiled is None else compiled.entries
    if len(entries) > MOST_METRICS:
        raise Unsuited(f"it has more than {MOST_METRICS} metrics")
    found = tuple(_metric(entry, plan) for entry in entries)
    totals = [v for metric in (tracker, *(entry.metric for entry in entries)) for v in metric.variables]
    if len({id(v) for v in totals}) != len(totals) or len(totals) != 2 + 2 * len(entries):
        raise Unsuited("one of its metrics is used twice")
    return found, totals


def _metric(entry: Any, plan: Plan) -> MetricPlan:
    metric = entry.metric
    kind = getattr(getattr(metric, "_fn", None), "__name__", "")
    own = isinstance(metric, MeanMetricWrapper) and type(metric).__module__.startswith("lamina.metrics")
    own = own and str(getattr(metric._fn, "__module__", "")).startswith("lamina.")
    if not own or kind not in METRICS:
        raise Unsuited(f"its metric `{metric.name}` is none of {', '.join(METRICS)}")
    if (kind == METRICS[0]) != plan.labels:
        raise Unsuited(f"its metric `{metric.name}` takes other targets than its loss")
    arguments = dict(metric._fn_kwargs)
    threshold = arguments.pop("threshold", 0.5)
    if arguments or metric.dtype != "float32" or not isinstance(threshold, int | float):
        raise Unsuited(f"its metric `{metric.name}` has the arguments {sorted(arguments)}")
    return MetricPlan(kind, entry.weighted, float(threshold))


# ---- the optimizer


def _with_optimizer(
    plan: Plan, optimizer: Any, dense: Sequence[Any], params: Sequence[Variable]
) -> tuple[Plan, list[Variable]]:
    kind = type(optimizer)
    if kind not in (optimizers.SGD, optimizers.Adam, optimizers.AdamW) or kind.apply is not Optimizer.apply:
        raise Unsuited(f"its optimizer is {kind.__name__}")
    for name in ("clipnorm", "clipvalue", "global_clipnorm", "use_ema", "loss_scale_factor",
                 "gradient_accumulation_steps", "amsgrad"):  # fmt: skip
        if getattr(optimizer, name, None):
            raise Unsuited(f"its optimizer has {name}={getattr(optimizer, name)!r}")
    if {id(v) for v in optimizer._trainable_variables} != {id(v) for v in params}:
        raise Unsuited("its optimizer was built for other weights")
    if any(v.overwrite_with_gradient or v.constraint is not None for v in params):
        raise Unsuited("a weight has a constraint, or is overwritten by its gradient")
    layers_ = []
    for layer, one in zip(dense, plan.layers, strict=True):
        decay = [(optimizer._weight_decay_of(v) or 0.0) if v is not None else 0.0 for v in (layer.kernel, layer.bias)]
        layers_.append(one._replace(decay=(float(decay[0]), float(decay[1]))))
    plan = plan._replace(layers=tuple(layers_))
    if kind is optimizers.SGD:
        name = "nesterov" if optimizer.nesterov else "momentum"
        plan = plan._replace(optimizer=name if optimizer.momentum else "sgd", momentum=float(optimizer.momentum))
    else:
        betas = (float(optimizer.beta_1), float(optimizer.beta_2))
        plan = plan._replace(optimizer="adam", betas=betas, adam_epsilon=float(optimizer.epsilon))
    slots = list(optimizer._slots().values()) if plan.slots else []
    return plan, [v for p in params for v in (p, *(s[optimizer._get_variable_index(p)] for s in slots))]
