"""What a user hands to `fit`, `evaluate` or `predict`, made into a feed: checked, the model built, losses resolved."""

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import invalid
from lamina.training import arrays, checks, stream
from lamina.training.dataset import Batches
from lamina.training.feed import ArrayFeed, Feed
from lamina.training.outputs import Outputs

DEFAULT_BATCH = 32


class Data:
    """Inputs, targets and weights of one run.

    Args:
        model: The model that will see them.
        x: Inputs, or what gives batches.
        y: Targets.
        weight: Sample weights.
        batch_size: Rows in a batch, or None.
        shuffle: As in `fit`.
        class_weight: Weights by class number.
        steps: Batches in an epoch, or None.
        name: What to call it in a message: "" for the arguments themselves, else e.g. "validation_data".
        predicting: Whether there are inputs only.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any = None,
        weight: Any = None,
        batch_size: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        steps: Any = None,
        *,
        name: str = "",
        predicting: bool = False,
    ) -> None:
        self.model, self.shuffle, self.class_weight, self.name = model, shuffle, class_weight, name
        self.predicting = predicting
        self.steps = checks.whole_number(steps, "steps_per_epoch", 1, optional=True)
        if config.max_steps_per_epoch() and (not self.steps or self.steps > (config.max_steps_per_epoch() or 0)):
            self.steps = config.max_steps_per_epoch()
        self.batch_size = checks.whole_number(batch_size, "batch_size", 1, optional=True)
        self.source = stream.source_of(x, self._label("x"), shuffle) if x is not None else None
        self.x: Tree = None
        self.y: Tree = None
        self.weight: Tree = None
        self.rows: int | None = None
        self.columns: list[str] | None = None
        if self.source is None:
            self._take_arrays(x, y, weight)
        else:
            self._take_stream(x, y, weight)

    def _label(self, part: str) -> str:
        return part if not self.name else f"{part} of {self.name}"

    def _take_arrays(self, x: Any, y: Any, weight: Any) -> None:
        if x is None:
            raise invalid(
                "There is no data.", owner=f"`{self._label('x')}`", received="x=None", fix="pass inputs as `x`."
            )
        self._check_columns(x)
        self.x, self.y = arrays.to_host(x, self._label("x")), arrays.to_host(y, self._label("y"))
        self.weight = arrays.to_host(weight, self._label("sample_weight"))
        named = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        self.rows = arrays.check_lengths(**{self._label(key): tree for key, tree in named.items() if tree is not None})
        if self.class_weight is not None:
            if self.weight is not None:
                raise invalid(
                    "You cannot pass `class_weight` and `sample_weight` at the same time.", fix="pass one of them."
                )
            if self.y is None:
                raise invalid("`class_weight` needs targets.", received="y=None")
            self.weight = checks.class_weights(self.y, self.class_weight)
        if self.batch_size is None:
            self.batch_size = -(-self.rows // self.steps) if self.steps and not self.predicting else DEFAULT_BATCH
        self.batch_size = min(self.batch_size, self.rows)
        self.steps_given, self.steps = self.steps, self.steps or -(-self.rows // self.batch_size)

    def _check_columns(self, x: Any) -> None:
        """Refuse a data frame whose columns have another order than those that the model was fitted on."""
        self.columns = names = arrays.column_names(x)
        if names is None or not config.strict():
            return
        known = self.model.column_names
        if known is not None and names != known and sorted(names) == sorted(known):
            raise invalid(
                "The columns of the data frame have another order than in `fit`.",
                owner=f"`{self._label('x')}`",
                received=f"{_few(names)} instead of {_few(known)}",
                fix=f"pass `{self._label('x')}[model.column_names]`.",
            )

    def _take_stream(self, x: Any, y: Any, weight: Any) -> None:
        for label, value in (("y", y), ("sample_weight", weight)):
            if value is not None:
                raise invalid(
                    f"When `x` gives batches, `{label}` must not be passed: each batch brings its own.",
                    received=f"{label} beside x of type {type(x).__name__}",
                    fix="let `x` give `(x, y)` or `(x, y, sample_weight)`.",
                )
        numbered = isinstance(self.source, Batches)
        length = getattr(self.source, "length", None)
        if not numbered and hasattr(x, "__len__"):
            length = len(x)
        self.steps_given = self.steps
        self.steps = self.steps or length
        if numbered and self.steps is None:
            raise invalid(
                "The data set has no end, so the number of steps must be said.",
                owner=f"`{self._label('x')}` of type {type(x).__name__}",
                received="num_batches=None",
                fix="pass `steps_per_epoch` to `fit`, `validation_steps` for validation, `steps` elsewhere.",
            )

    # ---- splitting

    def split(self, share: float) -> tuple[Any, Any, Any]:
        """Keep the first rows and return the last `share` of them as `(x, y, sample_weight)`."""
        if self.rows is None:
            raise invalid(
                "`validation_split` needs arrays: what gives batches cannot be split.", fix="pass `validation_data`."
            )
        kept = checks.split_rows(self.rows, share)
        whole = (self.x, self.y, self.weight)
        held: tuple[Any, Any, Any] = jax.tree.map(lambda a: a[kept:], whole)
        self.x, self.y, self.weight = jax.tree.map(lambda a: a[:kept], whole)
        self.rows = kept
        self.batch_size = min(self.batch_size or DEFAULT_BATCH, kept)
        self.steps = self.steps_given or -(-kept // self.batch_size)
        return held

    # ---- making ready

    def build(self) -> None:
        """Check the inputs and build the model for them, if it is not built."""
        if self.rows is None:
            return
        model = self.model
        self.x = checks.inputs(model, self.x, self._label("x"))
        model.build_for(jax.tree.map(lambda a: arrays.spec(a, self.batch_size), self.x))

    def ready(self, purpose: str) -> tuple[Feed, bool]:
        """Build the model, resolve losses and metrics, check everything, and return the feed and whether it pads."""
        if self.rows is None:
            return self._ready_stream(purpose)
        model = self.model
        self.build()
        batch = jax.tree.map(lambda a: arrays.spec(a, self.batch_size), (self.x, self.y, self.weight))
        outputs, drawn = self._resolve(batch)
        self._check(outputs, self.y, self.weight, "y")
        padded = self._rowwise(outputs, batch)
        shuffle = self.shuffle if purpose == "fit" else False
        feed = ArrayFeed(
            (self.x, self.y, self.weight), self.batch_size or DEFAULT_BATCH, shuffle=shuffle, padded=padded,
            steps_per_epoch=self.steps_given, keep=purpose == "evaluate" and bool(self.name),
        )  # fmt: skip
        if purpose == "fit":
            self._ready_to_train()
            if drawn:
                feed.draw_to_look()
            model.column_names = self.columns
        return feed, padded

    def _ready_to_train(self) -> None:
        model = self.model
        own = model.has_own_step("train_step") or model.has_own_step("compute_loss")
        if model._compile_loss is None and not own and not model.adds_losses():
            raise invalid(
                "No loss to compute. Provide a `loss` argument in `compile()`.",
                owner=f"Model `{model.name}`",
                fix="e.g. `model.compile('adam', loss='mse')`.",
            )
        if model.optimizer is None and not model.has_own_step("train_step"):
            raise invalid("There is no optimizer.", owner=f"Model `{model.name}`", fix="pass `optimizer` to `compile`.")
        model.build_optimizer()

    def _resolve(self, batch: Tree) -> tuple[Outputs, bool]:
        """Return the outputs of the model for batches of these specs; resolve losses and metrics the first time."""
        model = self.model
        x, y, _ = batch
        outputs = Outputs(model.output_specs(x), model.names_of_outputs())
        model.outputs_of_step = outputs
        targets = outputs.align(y, f"`{self._label('y')}`") if y is not None else [None] * outputs.count
        if y is None and model._compile_loss is not None and not model.has_own_step("compute_loss"):
            model._compile_loss.build(outputs, targets)  # raises and says which output lacks a target
        fresh = False
        for part in (model._compile_loss, model._compile_metrics):
            if (
                part is not None
                and not part.built
                and not model.has_own_step("compute_loss" if part is model._compile_loss else "compute_metrics")
            ):
                part.build(outputs, targets)
                fresh = True
        return outputs, fresh

    def _check(self, outputs: Outputs, y: Tree, weight: Tree, name: str) -> None:
        model = self.model
        names = [
            self._label(name) if outputs.single else f"{self._label(name)} of {outputs.label(i)}"
            for i in range(outputs.count)
        ]
        if y is not None and model._compile_loss is not None and model._compile_loss.built:
            checks.targets(model._compile_loss, outputs.align(y, f"`{name}`"), names)
        if weight is not None:
            label = self._label("sample_weight")
            found = [w for _, w in arrays.leaves_with_names(weight, label)]
            checks.weights(found, [label] * len(found))
            self._check_weight_shapes(outputs, y, found, label)

    def _check_weight_shapes(self, outputs: Outputs, y: Tree, found: list[Numpy], label: str) -> None:
        for weight in found:
            rows_only = weight.ndim == 1 or (weight.ndim == 2 and weight.shape[1] == 1)
            shapes = [tuple(s.shape[1 : weight.ndim]) for s in outputs.specs] if not rows_only else []
            if not rows_only and all(tuple(weight.shape[1:]) != shape for shape in shapes):
                raise invalid(
                    "Sample weights must be one number a row, or have the shape of the loss's values.",
                    owner=f"`{label}`",
                    received=f"shape {weight.shape}",
                    fix="pass an array of shape (samples,).",
                )

    def _rowwise(self, outputs: Outputs, batch: Tree) -> bool:
        """Return whether short batches may be filled up: whether no row has a part in another's numbers."""
        model = self.model
        if not model.rowwise or any(
            model.has_own_step(s) for s in ("train_step", "test_step", "compute_loss", "compute_metrics")
        ):
            return False
        targets = outputs.align(batch[1], "`y`") if batch[1] is not None else [None] * outputs.count
        concrete = Outputs(model.concrete_outputs(batch[0]), outputs.names)
        for part in (model._compile_loss, model._compile_metrics):
            if part is not None:
                part.outputs = concrete
        loss, metrics = model._compile_loss, model._compile_metrics
        return (loss is None or loss.rowwise(targets)) and (metrics is None or metrics.all_rowwise(targets))

    # ---- streams

    def _ready_stream(self, purpose: str) -> tuple[Feed, bool]:
        feed = stream.StreamFeed(
            self.source, self.steps, check=self._check_batch, padded=True, class_weight=self.class_weight,
            continues=self.steps_given is not None, restarts=purpose == "evaluate",
        )  # fmt: skip
        self._seen = False
        fresh = not self.model.built or any(
            part is not None and not part.built for part in (self.model._compile_loss, self.model._compile_metrics)
        )
        if not fresh:
            feed.restart()
        batch = feed.peek()
        outputs, _ = self._resolve(batch)
        feed.padded = self._rowwise(outputs, batch)
        if fresh:
            feed.restart()
        if purpose == "fit":
            self._ready_to_train()
        return feed, feed.padded

    def _check_batch(self, batch: Tree, label: str) -> Tree:
        """Return a batch made ready. The first builds the model."""
        x, y, weight = batch
        del label
        if self.class_weight is not None and y is not None:
            weight = checks.class_weights(y, self.class_weight)
        x = checks.inputs(self.model, x, "x")
        specs = jax.tree.map(lambda a: arrays.spec(a, None), (x, y, weight))
        self.model.build_for(specs[0])
        if not self._seen:
            self._seen = True
            outputs, _ = self._resolve(specs)
        else:
            outputs = self.model.outputs_of_step
        self._check(outputs, y, weight, "y")
        return x, y, weight

    def batches(self) -> Iterator[Tree]:
        """Yield the inputs of one batch after another, for prediction."""
        model = self.model
        if self.rows is not None:
            size = self.batch_size or DEFAULT_BATCH
            limit = self.rows if self.steps_given is None else min(self.rows, self.steps_given * size)
            for start in range(0, limit, size):
                rows = slice(start, min(start + size, limit))
                yield jax.tree.map(lambda a, rows=rows: np.asarray(a[rows], arrays.device_dtype(a)), self.x)
            return
        source: Any = self.source() if callable(self.source) else self.source
        for step, batch in enumerate(source):
            if self.steps is not None and step >= self.steps:
                break
            x = checks.inputs(model, arrays.to_host(stream.unpack(batch)[0], "x"), "x")
            model.build_for(jax.tree.map(lambda a: arrays.spec(a, None), x))
            yield jax.tree.map(lambda a: np.asarray(a, arrays.device_dtype(a)), x)
        else:
            if self.steps_given is not None and step + 1 < self.steps_given:
                warnings.warn("Your input ran out of data; interrupting prediction.", stacklevel=3)


def _few(names: list[str]) -> str:
    """Return a list for a message, cut after six."""
    return f"[{', '.join(map(repr, names[:6]))}{', ...' if len(names) > 6 else ''}]"
