"""`compile`, `fit`, `evaluate`, `predict`: the arguments checked, then handed to the loop."""

import inspect
import os
import warnings
from typing import Any

from lamina import config, optimizers
from lamina._types import Array, Config, Tree
from lamina.callbacks import CallbackList, History, console
from lamina.errors import NotCompiledError, invalid, message
from lamina.metrics import Mean, Metric
from lamina.models import stepping
from lamina.models.batches import OnBatch
from lamina.models.state import HasStateTree
from lamina.training import checks, endings, engines, forward, loop, prediction, session
from lamina.training.compiled import CompiledLoss, CompiledMetrics, check_names
from lamina.training.resume import Keeper, Keeping
from lamina.training.turns import Turns, alone
from lamina.variables import Variable


class Trainer(OnBatch, HasStateTree):
    """The half of a model that trains. `Model` inherits it."""

    name: str
    built: bool
    dtype_policy: Any
    trainable_variables: Any
    rowwise: Any
    column_names: list[str] | None
    optimizer: Any = None
    loss: Any = None
    compiled = False
    stop_training = False
    stop_evaluating = False
    stop_predicting = False
    steps_per_execution = 1
    batch_seconds: float | None = None
    history: History | None = None
    keeping: Keeping | None = None  # while it is fitted
    _initial_epoch: int | None = None
    run_eagerly = False
    jit_compile: Any = "auto"
    remat: bool | int = False
    engine = "auto"
    _compile_loss: CompiledLoss | None = None
    _compile_metrics: CompiledMetrics | None = None
    _loss_tracker: Mean | None = None
    _compile_config: Config | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        remat: bool | int = False,
        engine: str = "auto",
    ) -> None:
        """Say how the model is trained.

        Args:
            optimizer: An optimizer or its name.
            loss: A loss, its name or a function `(y_true, y_pred) -> values`; for several outputs a list or dict.
            loss_weights: Numbers by which the losses count.
            metrics: A list of metrics, names or functions; for several outputs a list or dict of lists.
            weighted_metrics: The same, for metrics that see the sample weights.
            run_eagerly: Kept for Keras scripts; steps are always compiled.
            steps_per_execution: Batches between two calls of a callback's batch hooks.
            jit_compile: Kept for Keras scripts; steps are always compiled.
            auto_scale_loss: Whether a `mixed_float16` model gets loss scaling.
            remat: Whether the backward pass computes what is inside repeated layers anew, instead of keeping it: less
                memory for about a third more work. A number of bytes: only as far as what is kept would not fit.
            engine: What runs the steps on a CPU: "auto" (native kernels where they can and are faster), "xla", or
                "native", which is an error where they cannot.

        Raises:
            InvalidArgumentError: For a name that stands for nothing, with the nearest names.
        """
        engine = engines.check(engine)
        found = optimizers.get(optimizer)
        check_names(loss, metrics, weighted_metrics)
        if auto_scale_loss and self.dtype_policy.name == "mixed_float16" and found is not None:
            found = _scaled(found)
        self.steps_per_execution = checks.whole_number(steps_per_execution, "steps_per_execution", 1) or 1
        self.remat = checks.rematerialization(remat)
        self.optimizer, self.loss = found, loss
        self._compile_loss = CompiledLoss(loss, loss_weights) if loss is not None else None
        self._compile_metrics = (
            CompiledMetrics(metrics, weighted_metrics) if metrics is not None or weighted_metrics is not None else None
        )
        self._loss_tracker = Mean(name="loss")
        self.run_eagerly, self.jit_compile, self.engine = run_eagerly, jit_compile, engine
        self.stop_training, self.compiled = False, True
        self.programs.clear()
        self.batch_seconds = None
        self._compile_config = {
            "optimizer": found,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": not run_eagerly if jit_compile == "auto" else jit_compile,
            **({"remat": self.remat} if self.remat else {}),
        }

    def compile_from_config(self, config: Config) -> None:
        """Compile with what `get_compile_config` gave. A `compile` of the user's is not called, with a warning."""
        from lamina import serialization

        if type(self).compile is not Trainer.compile:
            warnings.warn(
                "`compile()` was not called as part of model loading because the model's `compile()` method is custom. "
                "Call it on the loaded model, or let the class write `get_compile_config()` and "
                "`compile_from_config(config)` too.",
                stacklevel=2,
            )
            return
        given = serialization.deserialize({k: v for k, v in config.items() if k != "jit_compile"})
        self.compile(
            **{key: value for key, value in given.items() if key in inspect.signature(Trainer.compile).parameters}
        )
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> Config | None:
        """Return the arguments of `compile` as plain values, or None before it."""
        from lamina import serialization

        return serialization.serialize(self._compile_config) if self.compiled else None

    @property
    def initial_epoch(self) -> int | None:
        """Number of the epoch that a callback wants to begin with, or None."""
        return self._initial_epoch

    @property
    def programs(self) -> dict[Any, Any]:
        """The compiled programs of this model."""
        found: dict[Any, Any] = self.__dict__.setdefault("_programs", {})
        return found

    @property
    def turns(self) -> Turns:
        """Which thread trains this model."""
        found: Turns = self.__dict__.setdefault("_turns", Turns())
        return found

    # ---- metrics

    @property
    def metrics(self) -> list[Metric]:
        """The mean loss, the metrics of `compile`, and those set as attributes of the model or its layers."""
        found: list[Metric] = []
        if self._loss_tracker is not None:
            found.append(self._loss_tracker)
        if self._compile_metrics is not None:
            found.append(self._compile_metrics)
        if self._compile_loss is not None:
            found.extend(self._compile_loss.metrics)
        layers: list[Any] = self._flatten_layers()  # type: ignore[attr-defined]
        for layer in layers:
            if layer is self or not hasattr(layer, "train_step"):
                found.extend(p for p in layer._parts() if isinstance(p, Metric))
        return list({id(m): m for m in found}.values())

    @property
    def metrics_names(self) -> list[str]:
        """Names of the metrics."""
        return [metric.name for metric in self.metrics]

    @property
    def metrics_variables(self) -> list[Variable]:
        """The totals of the metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def reset_metrics(self) -> None:
        """Start all metrics anew."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the present values of the metrics by their names in the logs."""
        logs: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            if isinstance(result, dict):
                logs.update(result)
            else:
                logs[metric.name] = result
        return logs

    # ---- what a step does; a subclass may override these

    def compute_loss(
        self, x: Tree = None, y: Tree = None, y_pred: Tree = None, sample_weight: Tree = None, training: bool = True
    ) -> Array:
        """Return the loss of a batch: that of `compile`, penalties, and what layers added."""
        del x, training
        return stepping.total_loss(self, y, y_pred, sample_weight, None)

    def compute_metrics(self, x: Tree, y: Tree, y_pred: Tree, sample_weight: Tree = None) -> dict[str, Any]:
        """Add a batch to the metrics and return their values."""
        del x
        stepping.update_metrics(self, y, y_pred, sample_weight, None)
        return self.get_metrics_result()

    def train_step(self, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
        """Return the logs and the state after one step of training, as Keras on JAX: override it for your own.

        Args:
            state: `(trainable, non_trainable, optimizer, metrics)` variables as arrays.
            data: `(x, y)`, `(x, y, sample_weight)` or `(x,)`.
        """
        return stepping.train_step(self, state, data)

    def test_step(self, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
        """Return the logs and the state `(trainable, non_trainable, metrics)` after one batch of evaluation."""
        return stepping.test_step(self, state, data)

    def predict_step(self, state: Any, data: Any) -> tuple[Tree, Any]:
        """Return the outputs and the non-trainable variables for `state = (trainable, non_trainable)`."""
        return stepping.predict_step(self, state, data)

    def stateless_compute_loss(self, *args: Any, **kwargs: Any) -> tuple[Array, Any]:
        """Return the loss and the variables after computing it; see Keras. Nothing is changed."""
        return stepping.stateless_compute_loss(self, *args, **kwargs)

    def compute_loss_and_updates(self, *args: Any, **kwargs: Any) -> tuple[Array, Any]:
        """Return the loss and `(unscaled loss, outputs, non-trainable, metrics)`; see Keras. Nothing is changed."""
        return stepping.compute_loss_and_updates(self, *args, **kwargs)

    def what_reaches(self, part: Any, method: str, batch: Tree) -> tuple[Tree, Tree] | None:
        """Return specs of what a user's own `compute_loss` or `compute_metrics` hands on to a part of `compile`."""
        return stepping.what_reaches(self, part, method, batch)

    def has_own_step(self, name: str) -> bool:
        """Return whether a subclass overrides a method of the trainer."""
        return getattr(type(self), name) is not getattr(Trainer, name) or name in self.__dict__

    # ---- the verbs

    @alone
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train the model and return the history of its logs.

        Args:
            x: Inputs: an array, a data frame, a list or dict of them for several inputs, or a generator,
                `PyDataset` or loader that gives `(x, y)` or `(x, y, sample_weight)` batches.
            y: Targets, unless `x` gives them.
            batch_size: Rows in a batch. Default: 32.
            epochs: Number of the last epoch.
            verbose: 0: silent; 1: a line that lives; 2: a line an epoch; "auto": 1.
            callbacks: What may look in.
            validation_split: Share of the last rows to validate on, in (0, 1).
            validation_data: `(x, y)`, `(x, y, sample_weight)`, or what gives batches of them.
            shuffle: True: all rows anew each epoch; "batch": the rows of each batch; False: in order.
            class_weight: Weights by class number.
            sample_weight: A weight for each row.
            initial_epoch: Number of the first epoch.
            steps_per_epoch: Batches in an epoch. Default: until the data end.
            validation_steps: Batches of a validation. Default: all.
            validation_batch_size: Rows in a batch of the validation. Default: `batch_size`.
            validation_freq: Validate every so many epochs, or after these epochs, counted from 1.
            resume: Folder of this one training. What an earlier run of the same script left there, whatever ended it,
                goes on from the last snapshot (about one a second) to the same bits that an unbroken run gives. A
                generator is read again from its start. A training that had ended is not done again.

        Raises:
            InvalidArgumentError: If the data or an argument cannot be right. Nothing has changed then.
            InUseError: If another process trains into the folder `resume`.
            FileFormatError: If the snapshot there is damaged.
            Terminated: A `SystemExit` with code 143, if SIGTERM came: the weights are those of the last dispatch, and
                the folder `resume`, if given, holds them.
            NotCompiledError: Before `compile`.
        """
        self._need_compiled("fit")
        epochs = checks.whole_number(epochs, "epochs", 0) or 0
        first = checks.whole_number(initial_epoch, "initial_epoch", 0) or 0
        if config.max_epochs() is not None:
            epochs = min(epochs, config.max_epochs() or 0)
        share = checks.validation_share(validation_split)
        data = self._data(x, y, sample_weight, batch_size, shuffle, class_weight, steps_per_epoch)
        validation = self._validation(data, share, validation_data, validation_batch_size, validation_steps)
        feed, padded = data.ready("fit")
        training = session.Training(self, padded=padded, feed=feed)
        told = CallbackList(
            callbacks, add_history=True, add_progbar=verbose != 0, model=self,
            verbose=verbose, epochs=epochs, steps=feed.steps, samples=data.rows, batch_size=data.batch_size,
        )  # fmt: skip
        check, at = None, _schedule(validation_freq)
        if validation is not None:
            validation_feed, validation_padded = validation.ready("evaluate")
            check = self._validator(validation_feed, validation_padded, told)
            checked = (validation_feed, at)
        self.column_names = data.columns
        self.keeping = Keeping(training.variables, feed, told.callbacks, first, checked if check is not None else None)
        keeper = None if resume is None else Keeper(resume)
        if verbose == 2:
            console.say(f"Engine: {training.engine}")
        try:
            with endings.awaited() as request:
                if keeper is not None:
                    keeper.find(self.keeping)
                work = loop.Fit(training, feed, told, self.keeping, request, keeper, check, at)
                loop.fit(work, range(first, epochs))
        finally:
            self.keeping = None
            told.flush()
            if keeper is not None:
                keeper.close()
        assert self.history is not None
        return self.history

    def _validation(self, data: Any, share: float, given: Any, batch_size: Any, steps: Any) -> Any:
        if given is None:
            if not share:
                return None
            x, y, weight = data.split(share)
        else:
            x, y, weight = _unpacked(given)
        return self._data(
            x, y, weight, data.batch_size if batch_size is None else batch_size, False, None, steps,
            name="validation_data" if given is not None else "validation", steps_name="validation_steps",
            columns=data.columns,
        )  # fmt: skip

    def _validator(self, feed: Any, padded: bool, told: CallbackList) -> Any:
        names: list[session.Testing] = []

        def validate() -> Any:
            if not names:
                names.append(session.Testing(self, padded=padded, feed=feed))
            return loop.evaluate(names[0], feed, told)

        return validate

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics: a number, a list in the order of `metrics_names`, or a dict.

        The result does not depend on `batch_size`. Arguments as those of `fit`.

        Raises:
            InvalidArgumentError: If the data or an argument cannot be right.
            NotCompiledError: Before `compile`.
        """
        self._need_compiled("evaluate")
        data = self._data(x, y, sample_weight, batch_size, False, None, steps, steps_name="steps")
        feed, padded = data.ready("evaluate")
        told = CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=1,
            steps=feed.steps, samples=data.rows, batch_size=data.batch_size,
        )  # fmt: skip
        testing = session.Testing(self, padded=padded, feed=feed)
        try:
            logs = loop.evaluate(testing, feed, told)()
        finally:
            told.flush()
        return logs if return_dict else stepping.in_order(self, logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for all rows of `x` as NumPy arrays.

        Args:
            x: Inputs, as those of `fit`.
            batch_size: Rows in a batch. It does not show in the result; without need the library takes its own.
            verbose: 0: silent; 1 or "auto": a line that lives.
            steps: Batches to predict, for data that do not end.
            callbacks: What may look in.

        Raises:
            InvalidArgumentError: If the data do not fit the model.
        """
        if (found := forward.asked(self, x, batch_size, verbose, steps, callbacks)) is not None:
            return found
        data = self._data(x, None, None, batch_size, False, None, steps, predicting=True, steps_name="steps")
        told = CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=1,
            steps=data.steps, samples=data.rows, batch_size=data.batch_size,
        )  # fmt: skip
        data.build()
        by_batch = any(told.overrides(f"on_predict_batch_{moment}") for moment in ("begin", "end"))
        try:
            if data.rows is not None and steps is None and self.rowwise and not by_batch:
                return prediction.rowwise(prediction.Predicting(self), data.x, data.batch_size or 1, told)
            return prediction.batched(self, data.batches(), told)
        finally:
            told.flush()

    def _need_compiled(self, method: str) -> None:
        if not self.compiled:
            raise NotCompiledError(
                message(
                    f"You must call `compile()` before calling `{method}()`.",
                    owner=f"Model `{self.name}`",
                    fix="e.g. `model.compile('adam', 'mse')`.",
                )
            )


def _scaled(optimizer: Any) -> Any:
    if isinstance(optimizer, optimizers.LossScaleOptimizer):
        return optimizer
    return optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")


def _unpacked(given: Any) -> tuple[Any, Any, Any]:
    if isinstance(given, tuple | list) and len(given) in (2, 3):
        return (given[0], given[1], given[2] if len(given) == 3 else None)
    if isinstance(given, tuple | list):
        raise invalid(
            "`validation_data` must be `(x, y)` or `(x, y, sample_weight)`.",
            received=f"a {type(given).__name__} of length {len(given)}",
            fix="put several inputs into one list or dict: `([x1, x2], y)`.",
        )
    return given, None, None


def _schedule(freq: Any) -> Any:
    if isinstance(freq, list | tuple | set):
        wanted = set(freq)
        return lambda epoch: epoch + 1 in wanted
    every = checks.whole_number(freq, "validation_freq", 1) or 1
    return lambda epoch: (epoch + 1) % every == 0
