"""What may look in on training: the twenty hooks of Keras, and how the loop learns which of them anybody waits for."""

from collections.abc import Callable
from typing import Any, TypeVar

from lamina import registry

Hook = TypeVar("Hook", bound=Callable[..., Any])
Logs = dict[str, Any]

BATCH_HOOKS = tuple(
    f"on_{phase}batch_{moment}" for phase in ("", "train_", "test_", "predict_") for moment in ("begin", "end")
)
EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
RUN_HOOKS = tuple(f"on_{phase}_{moment}" for phase in ("train", "test", "predict") for moment in ("begin", "end"))
HOOKS = (*BATCH_HOOKS, *EPOCH_HOOKS, *RUN_HOOKS)


def default(hook: Hook) -> Hook:
    """Mark a hook that does nothing. Keras's own callbacks carry the same mark."""
    hook._is_default = True  # type: ignore[attr-defined]
    return hook


def unawaited(hook: Hook) -> Hook:
    """Mark a hook that is called where batches come one by one, but is no reason for that."""
    hook._is_unawaited = True  # type: ignore[attr-defined]
    return hook


def passive(hook: Hook) -> Hook:
    """Mark a hook that only records what it is told, so that the loop may deliver it late."""
    hook._is_passive = True  # type: ignore[attr-defined]
    return hook


def overrides(callback: Any, name: str) -> bool:
    """Return whether a callback does something in a hook, by its class or by an attribute of its own.

    For `on_train_batch_begin` and `on_train_batch_end` the old names without `train_` count too.
    """
    names = (name, name.replace("train_", "")) if "train_batch" in name else (name,)
    hooks = [getattr(callback, own, None) for own in names]
    return any(hook is not None and not (_marked(hook, "default") or _marked(hook, "unawaited")) for hook in hooks)


def _marked(hook: Any, mark: str) -> bool:
    return getattr(hook, f"_is_{mark}", False) is True  # a mock has every attribute


def records_only(callback: Any, name: str) -> bool:
    """Return whether a hook of a callback may be delivered late: it does nothing, or only records."""
    return not overrides(callback, name) or _marked(getattr(callback, name), "passive")


def plain(logs: Logs | None) -> Logs:
    """Return logs with their names in order, as Keras has them, nested ones laid flat, and numbers as floats."""
    values: Logs = {}
    for name in sorted(logs or ()):
        value = logs[name]  # type: ignore[index] # empty logs have no names
        if isinstance(value, dict):
            values.update(plain(value))
        elif type(value) is float or isinstance(value, str) or getattr(value, "ndim", 0) != 0:
            values[name] = value
        else:
            try:
                values[name] = float(value)
            except (TypeError, ValueError):
                values[name] = value
    return values


@registry.export("callbacks")
class Callback:
    """Base of what looks in on `fit`, `evaluate` and `predict`. Override the hooks that you need.

    Every hook gets `logs`, a dict of Python floats. A hook may set `self.model.stop_training = True` (or
    `stop_evaluating`, `stop_predicting`) or `self.model.optimizer.learning_rate`, read and assign weights, and predict.

    Without a batch hook the batches of an epoch run many at a time; with one they run one by one, which costs speed
    on small networks.

    Attributes:
        model: The model that is at work.
        params: "verbose", "epochs" and "steps" of the run; "samples" and "batch_size" where they are known.
    """

    _model: Any = None
    params: Any = None

    def __init__(self) -> None:
        self.params = None
        self._model = None

    @property
    def model(self) -> Any:
        """The model that is at work."""
        return self._model

    @property
    def needs_logs_now(self) -> bool:
        """Whether the end of an epoch must be told before the next one is started."""
        return not records_only(self, "on_epoch_end")

    @property
    def needs_batches(self) -> bool:
        """Whether training must go one batch at a time."""
        return any(overrides(self, f"on_train_batch_{moment}") for moment in ("begin", "end"))

    @property
    def needs_blocks(self) -> bool:
        """Whether a long epoch must come in several dispatches, about ten a second, each told by `_on_block_end`."""
        return overrides(self, "_on_block_end")

    def set_params(self, params: Any) -> None:
        """Keep the parameters of the run."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Keep the model that is at work."""
        self._model = model

    @default
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of `on_train_batch_begin`."""

    @default
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of `on_train_batch_end`."""

    @default
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before an epoch of `fit`, counted from 0."""

    @default
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch of `fit` and its validation, whose results have names that begin with `val_`."""

    @default
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `fit`, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    @default
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `fit` with the means since the epoch began."""
        self.on_batch_end(batch, logs=logs)

    @default
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `evaluate`, also of the validation inside `fit`."""

    @default
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `evaluate`, also of the validation inside `fit`."""

    @default
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `predict`."""

    @default
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `predict`; `logs["outputs"]` holds what it gave."""

    @default
    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once when `fit` begins."""

    @default
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once when `fit` ends, also when it was asked to stop; not when an error ends it."""

    @default
    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when `evaluate`, or the validation inside `fit`, begins."""

    @default
    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when `evaluate`, or the validation inside `fit`, ends."""

    @default
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when `predict` begins."""

    @default
    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when `predict` ends."""

    @default
    def _on_block_end(self, step: int, logs: Callable[[], Logs]) -> None:
        """Called after each dispatch, which holds one batch or many.

        Args:
            step: Batches done in this epoch.
            logs: Fetches the means since the epoch began. It waits for the device, so not to be called often.
        """
