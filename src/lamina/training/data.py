"""What a user hands to `fit`, `evaluate` or `predict`, made into a feed: checked, the model built, losses resolved."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lamina import config
from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, invalid, warn
from lamina.layers.base import building
from lamina.training import arrays, checks, stream
from lamina.training.compiled import targets_of
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
        steps_name: What to call `steps` in a message.
        columns: Names that the columns of a data frame should have. Default: those that the model was fitted on.
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
        steps_name: str = "steps_per_epoch",
        columns: list[str] | None = None,
    ) -> None:
        config.same_process()
        self.model, self.shuffle, self.class_weight, self.name = model, shuffle, class_weight, name
        self.predicting = predicting
        self.steps = checks.whole_number(steps, steps_name, 1, optional=True)
        if config.max_steps_per_epoch() and (not self.steps or self.steps > (config.max_steps_per_epoch() or 0)):
            self.steps = config.max_steps_per_epoch()
        if not config.strict() and not batch_size:
            batch_size = None  # as in Keras, 0 is no size
        self.batch_size = checks.whole_number(
            batch_size, "validation_batch_size" if name else "batch_size", 1, optional=True
        )
        if not isinstance(shuffle, bool | np.bool_) and shuffle not in (0, 1, "batch"):
            raise invalid(
                "`shuffle` must be True (all rows), 'batch' (the rows of each batch) or False.",
                received=f"shuffle={shuffle!r}",
            )
        self.source = stream.source_of(x, self._label("x"), shuffle) if x is not None else None
        self.x: Tree = None
        self.y: Tree = None
        self.weight: Tree = None
        self.rows: int | None = None
        self.columns: list[str] | None = None
        self._known_columns = columns if columns is not None else model.column_names
        self._classes_told: set[int] = set()
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
        self._check_order(x, y)
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
        """Refuse a data frame whose columns have another order than in `fit`; say so if some have other names."""
        self.columns = names = arrays.column_names(x)
        known = self._known_columns
        if names is None or known is None or names == known or not config.strict():
            return
        if sorted(names) == sorted(known):
            raise invalid(
                "The columns of the data frame have another order than in `fit`.",
                owner=f"`{self._label('x')}`",
                received=f"{_few(names)} instead of {_few(known)}",
                fix=f"pass `{self._label('x')}[model.column_names]`.",
            )
        new, lost = [n for n in names if n not in known], [n for n in known if n not in names]
        if len(names) == len(known) and [str(i) for i in range(len(names))] not in (names, known):
            warn(
                f"`{self._label('x')}` has columns {_few(new)} where `fit` had {_few(lost)}; "
                "they are taken by position."
            )

    def _check_order(self, x: Any, y: Any) -> None:
        """Say so if the rows of a data frame and of its targets have the same labels in another order."""
        ours, theirs = (getattr(data, "index", None) for data in (x, y))
        if not config.strict() or not all(hasattr(i, "equals") and hasattr(i, "sort_values") for i in (ours, theirs)):
            return
        assert ours is not None
        assert theirs is not None
        if len(ours) == len(theirs) and not ours.equals(theirs) and ours.sort_values().equals(theirs.sort_values()):
            warn(
                f"`{self._label('x')}` and `{self._label('y')}` have the same index in another order. Rows are matched "
                "by position, not by index; `y.loc[x.index]` would match them by index."
            )

    def _take_stream(self, x: Any, y: Any, weight: Any) -> None:
        for label, value in (("y", y), ("sample_weight", weight)):
            if value is not None:
                raise invalid(
                    f"When `x` gives batches, `{label}` must not be passed: each batch brings its own.",
                    received=f"{label} beside x of type {type(x).__name__}",
                    fix="let `x` give `(x, y)` or `(x, y, sample_weight)`.",
                )
        if self.batch_size is not None and not self.name and config.strict():
            warn(f"`batch_size` is ignored: `x` of type {type(x).__name__} gives whole batches.")
        numbered = isinstance(self.source, Batches)
        length = getattr(self.source, "length", None) if numbered else _length(x)
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
        fresh = False
        with building:
            for part, own in ((model._compile_loss, "compute_loss"), (model._compile_metrics, "compute_metrics")):
                if y is None and part is model._compile_loss and self._own_step:
                    continue  # a step of the user's may make its targets itself; the loss is built when it asks for it
                if part is not None and not part.built and self._build_part(part, own, outputs, batch):
                    fresh = True
        return outputs, fresh

    def _build_part(self, part: Any, own: str, outputs: Outputs, batch: Tree) -> bool:
        """Resolve losses or metrics, for what a method `own` of the user's hands on to them if there is one."""
        y = batch[1]
        if self.model.has_own_step(own):
            handed = self.model.what_reaches(part, own, batch)
            if handed is None:
                return False
            y, names = handed[0], outputs.names
            outputs = Outputs(handed[1], names)
        loss = self.model._compile_loss if part is self.model._compile_metrics else part
        part.build(outputs, targets_of(loss, outputs, y, f"`{self._label('y')}`"), self._label("y"))
        return True

    def _targets(self, outputs: Outputs, y: Tree) -> list[Any]:
        return targets_of(self.model._compile_loss, outputs, y, f"`{self._label('y')}`")

    def _check(self, outputs: Outputs, y: Tree, weight: Tree, name: str) -> None:
        model = self.model
        names = [
            self._label(name) if outputs.single else f"{self._label(name)} of {outputs.label(i)}"
            for i in range(outputs.count)
        ]
        if not self._own_step:
            targets = self._targets(outputs, y)
            for part in (model._compile_loss, model._compile_metrics):
                if part is not None and part.built:
                    part.need(targets, self._label(name))
            if model._compile_loss is not None and model._compile_loss.built:
                checks.targets(model._compile_loss, targets, names)
        else:
            for label, array in arrays.leaves_with_names(y, self._label(name)):
                arrays.check_values(array, label)
        if weight is not None:
            label = self._label("sample_weight" if self.class_weight is None else "class_weight")
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

    @property
    def _own_step(self) -> bool:
        """Whether the user's class says what is done with a batch, so that targets may mean anything."""
        return any(self.model.has_own_step(name) for name in ("train_step", "test_step", "compute_loss"))

    def _rowwise(self, outputs: Outputs, batch: Tree) -> bool:
        """Return whether short batches may be filled up: whether no row has a part in another's numbers."""
        model = self.model
        if not model.rowwise or any(
            model.has_own_step(s) for s in ("train_step", "test_step", "compute_loss", "compute_metrics")
        ):
            return False
        targets = self._targets(outputs, batch[1])
        concrete = Outputs(model.concrete_outputs(batch[0]), outputs.names)
        for part in (model._compile_loss, model._compile_metrics):
            if part is not None:
                part.outputs = concrete
        loss, metrics = model._compile_loss, model._compile_metrics
        return (loss is None or loss.rowwise(targets)) and (metrics is None or metrics.all_rowwise(targets))

    # ---- streams

    def _ready_stream(self, purpose: str) -> tuple[Feed, bool]:
        feed = stream.StreamFeed(
            self.source, self.steps, check=self._check_batch, padded=True, name=self.name or "the data",
            continues=self.steps_given is not None, restarts=purpose == "evaluate",
        )  # fmt: skip
        self._seen: Any = None  # sizes of the inputs of the last batch
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
            if weight is not None:
                raise invalid(
                    "You cannot specify `class_weight` and `sample_weight` at the same time.", fix="pass one of them."
                )
            weight = checks.class_weights(y, self.class_weight, self._classes_told)
        x = checks.inputs(self.model, x, "x")
        specs = jax.tree.map(lambda a: arrays.spec(a, None), (x, y, weight))
        self.model.build_for(specs[0])
        sizes = [leaf.shape[1:] for leaf in jax.tree.leaves(specs[0])]
        if self._seen != sizes:
            self._seen = sizes
            outputs, _ = self._resolve(specs)
            for part in (self.model._compile_loss, self.model._compile_metrics):
                if part is not None and part.built and not self._own_step:
                    part.outputs = outputs
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
        step = 0
        for step, batch in enumerate(source, 1):
            x = self._input_of(batch, step - 1)
            model.build_for(jax.tree.map(lambda a: arrays.spec(a, None), x))
            yield jax.tree.map(lambda a: np.asarray(a, arrays.device_dtype(a)), x)
            if step == self.steps:
                return
        if step == 0:
            raise stream.empty(f"`{self._label('x')}`")
        if self.steps_given is not None:
            warn(f"Your input ran out of data; interrupting prediction. It gave {step} of {self.steps_given} batches.")

    def _input_of(self, batch: Any, number: int) -> Tree:
        """Return the inputs of one batch of a stream, checked."""
        try:
            x = arrays.to_host(stream.unpack(batch)[0], "x")
            arrays.check_lengths(x=x)
            return checks.inputs(self.model, x, "x")
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"In batch {number} of the data: {error}") from error


def _length(data: Any) -> int | None:
    """Return how many batches a loader gives, or None if it does not know."""
    try:
        return len(data)
    except TypeError:  # no length, or, for some loaders, an endless one
        return None


def _few(names: list[str]) -> str:
    """Return a list for a message, cut after six."""
    return f"[{', '.join(map(repr, names[:6]))}{', ...' if len(names) > 6 else ''}]"
