"""Keras's `CompileLoss` and `CompileMetrics` with their own constructors: lamina's, given outputs to resolve against."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.training.compiled import CompiledLoss, CompiledMetrics, targets_of
from lamina.training.outputs import Outputs, leaves


def _arrays(tree: Any) -> list[Any]:
    return [jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves(tree)]


def _weights(outputs: Outputs, given: Any) -> list[Any]:
    if given is None or not isinstance(given, list | tuple | dict):
        return [given] * outputs.count
    return outputs.align(jax.tree.map(jnp.asarray, given), "`sample_weight`")


class CompileLoss:
    """The losses of `compile`, called on targets and predictions."""

    def __init__(self, loss: Any, loss_weights: Any = None, reduction: Any = None, output_names: Any = None) -> None:
        self.inner, self.names = CompiledLoss(loss, loss_weights), output_names

    @property
    def metrics(self) -> list[Any]:
        return self.inner.metrics

    def build(self, y_true: Any, y_pred: Any) -> None:
        outputs = Outputs(y_pred, self.names)
        self.inner.build(outputs, targets_of(self.inner, outputs, y_true, "y_true"))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if not self.inner.built:
            self.build(y_true, y_pred)
        outputs = Outputs(y_pred, self.names)
        targets = targets_of(self.inner, outputs, y_true, "y_true")
        values = self.inner.values(_arrays(targets), _arrays(y_pred), _weights(outputs, sample_weight), None)
        for tracker, value in zip(self.inner.trackers, values, strict=False):
            tracker.update_state(value)
        return self.inner.total(values)


class CompileMetrics:
    """The metrics of `compile`, updated with targets and predictions."""

    def __init__(self, metrics: Any, weighted_metrics: Any, name: str = "", output_names: Any = None) -> None:
        self.inner, self.names = CompiledMetrics(metrics, weighted_metrics), output_names

    @property
    def metrics(self) -> list[Any]:
        return self.inner.metrics

    def build(self, y_true: Any, y_pred: Any) -> None:
        outputs = Outputs(y_pred, self.names)
        self.inner.build(outputs, outputs.align(y_true, "y_true"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        outputs = Outputs(y_pred, self.names)
        targets = outputs.align(y_true, "y_true")
        self.inner.add_batch(_arrays(targets), _arrays(y_pred), _weights(outputs, sample_weight), None)

    def result(self) -> Any:
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()
