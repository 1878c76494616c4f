"""All callbacks of one run behind one set of hooks, checked before the run begins."""

import difflib
import inspect
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from lamina import registry
from lamina.callbacks.backup import BackupAndRestore
from lamina.callbacks.base import BATCH_HOOKS, HOOKS, RUN_HOOKS, Callback, Logs, overrides, plain, records_only
from lamina.callbacks.console import screen
from lamina.callbacks.history import History
from lamina.callbacks.progress import ProgbarLogger
from lamina.errors import InvalidTypeError, did_you_mean, message

_hinted: WeakSet[type] = WeakSet()  # classes whose doubtful method names have been mentioned
_WATCHED = (*BATCH_HOOKS, "on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end", "_on_block_end")


@registry.export("callbacks")
class CallbackList(Callback):
    """Tells every callback of a run what happens, in their order.

    Args:
        callbacks: A callback, or a list of them, nested as you like.
        add_history: Whether to add a `History` if there is none.
        add_progbar: Whether to add a `ProgbarLogger` if there is none.
        model: The model that is at work.
        **params: What the callbacks get as `params`: "verbose", "epochs", "steps", "samples", "batch_size".

    Raises:
        InvalidTypeError: For a name, a class, a function or anything else that is no callback, and for a hook that
            cannot take what it will get.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = [] if callbacks is None else _flatten(callbacks)
        for callback in self.callbacks:
            _check(callback)
        _let_backups_see_what_others_remember(self.callbacks)
        self._history = next((c for c in self.callbacks if isinstance(c, History)), None)
        self._progbar = next((c for c in self.callbacks if isinstance(c, ProgbarLogger)), None)
        if self._history is None and add_history:
            self._history = History()
            self.callbacks.append(self._history)
        if self._progbar is None and add_progbar:
            self._progbar = ProgbarLogger()
            self.callbacks.append(self._progbar)
        self._listeners = {hook: [c for c in self.callbacks if _listens(c, hook)] for hook in BATCH_HOOKS}
        self._block_listeners = [c for c in self.callbacks if overrides(c, "_on_block_end")]
        self._open = 0
        # The loop asks for these at every dispatch.
        self._needs_batches = any(_needs_batches(c) for c in self.callbacks)
        self._needs_logs_now = any(_needs_logs_now(c) for c in self.callbacks)
        self._passive = not self._needs_batches and all(records_only(c, n) for c in self.callbacks for n in _WATCHED)
        self.set_model(model)
        self.set_params(params)
        if self._progbar is not None:
            self._progbar.buffered = self.passive

    def set_params(self, params: Any) -> None:
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        if model is None:
            return
        super().set_model(model)
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def overrides(self, name: str) -> bool:
        """Return whether any callback does something in this hook, so that the loop has to stop for it."""
        if name in ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"):
            train = name if "train" in name else name.replace("on_", "on_train_")
            return any(overrides(c, train) for c in self.callbacks) or (train.endswith("end") and self.needs_batches)
        return any(overrides(c, name) for c in self.callbacks)

    @property
    def passive(self) -> bool:
        """Whether every callback only records, so that the end of an epoch may be told after the next has started."""
        return self._passive

    @property
    def needs_logs_now(self) -> bool:
        """Whether any callback must be told of the end of an epoch before the next one is started."""
        return self._needs_logs_now

    @property
    def needs_batches(self) -> bool:
        """Whether any callback makes training go one batch at a time."""
        return self._needs_batches

    @property
    def needs_blocks(self) -> bool:
        """Whether any callback wants to look in on a long epoch about ten times a second."""
        return any(getattr(c, "needs_blocks", False) for c in self.callbacks)

    def flush(self) -> None:
        """Write what still waits to be printed. The loop calls this last, whatever ends the run."""
        screen.leave()

    def _tell(self, hook: str, *place: int, logs: Logs | None) -> None:
        values = plain(logs)
        if screen.drawn and not all(records_only(c, hook) for c in self.callbacks):
            screen.clear()  # what a callback prints goes above the live line
        for callback in self.callbacks:
            getattr(callback, hook)(*place, values)

    def _tell_batch(self, hook: str, batch: int, logs: Logs | None) -> None:
        listeners = self._listeners[hook]
        if listeners:
            values = plain(logs)
            for callback in listeners:
                getattr(callback, hook)(batch, logs=values)

    def _begin(self, hook: str, logs: Logs | None) -> None:
        self._open += 1
        self._tell(hook, logs=logs)

    def _end(self, hook: str, logs: Logs | None) -> None:
        self._tell(hook, logs=logs)
        self._open -= 1
        if self._open < 0:
            raise ValueError(f"`on_xxx_end` called without corresponding `on_xxx_begin`: {hook}.")

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_batch_end", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_end", epoch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell_batch("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begin("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._end("on_train_end", logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._begin("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._end("on_test_end", logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._end("on_predict_end", logs)

    def on_block_end(self, step: int, logs: Callable[[], Logs]) -> None:
        """Tell that `step` batches of the epoch are done; `logs` fetches the results so far."""
        for callback in self._block_listeners:
            callback._on_block_end(step, logs)

    def _on_block_end(self, step: int, logs: Callable[[], Logs]) -> None:
        self.on_block_end(step, logs)


def _needs_batches(callback: Any) -> bool:
    hooks = ("on_train_batch_begin", "on_train_batch_end")
    return bool(getattr(callback, "needs_batches", False)) or any(overrides(callback, hook) for hook in hooks)


def _needs_logs_now(callback: Any) -> bool:
    return bool(getattr(callback, "needs_logs_now", not records_only(callback, "on_epoch_end")))


def _listens(callback: Any, hook: str) -> bool:
    """Return whether a batch hook is worth calling: it is not the empty one of `Callback`, nor leads to that."""
    names = (hook, hook.replace("train_", "")) if "train" in hook else (hook,)
    return any(_function(getattr(callback, name)) is not Callback.__dict__[name] for name in names)


def _function(hook: Any) -> Any:
    return getattr(hook, "__func__", hook)


def _flatten(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, list | tuple):
        return [one for item in callbacks for one in _flatten(item)]
    return [callbacks]


def _check(callback: Any) -> None:
    """Raise if this is no callback, or if one of its hooks cannot take what it will get."""
    if isinstance(callback, type) or not all(hasattr(callback, name) for name in (*HOOKS, "set_model", "set_params")):
        raise _refusal(callback)
    for name in HOOKS:
        hook = getattr(callback, name)
        if getattr(hook, "_is_default", False) is True:
            continue
        takes = ("logs",) if name in RUN_HOOKS else ("epoch" if "epoch" in name else "batch", "logs")
        try:
            signature = inspect.signature(hook)
        except (TypeError, ValueError):
            continue  # compiled code does not say what it takes
        try:
            if name in BATCH_HOOKS:
                signature.bind(0, logs={})
            else:
                signature.bind(*takes)
        except TypeError as error:
            raise InvalidTypeError(
                message(
                    f"The hook `{name}` must take `{', '.join(takes)}`.",
                    owner=type(callback).__name__,
                    received=f"{name}{signature} ({error})",
                    fix=f"write `def {name}(self, {', '.join(takes[:-1])}{', ' * (len(takes) - 1)}logs=None):`.",
                )
            ) from None
    _hint(type(callback))


def _let_backups_see_what_others_remember(callbacks: list[Any]) -> None:
    """Move a backup behind the library's own callbacks that follow it, so that it holds what they know by then."""
    for i in range(len(callbacks) - 2, -1, -1):
        j = i
        while type(callbacks[j]) is BackupAndRestore and j + 1 < len(callbacks) and _own(callbacks[j + 1]):
            callbacks[j], callbacks[j + 1] = callbacks[j + 1], callbacks[j]
            j += 1


def _own(callback: Any) -> bool:
    return type(callback).__module__.startswith("lamina.") and type(callback) is not BackupAndRestore


def _hint(cls: type) -> None:
    """Warn once about methods that look like a hook with a slip in its name, which nothing will call."""
    if cls in _hinted or registry.home(cls) is not None:
        return
    _hinted.add(cls)
    for own in cls.__mro__:
        if registry.home(own) is not None or own.__module__.startswith("keras."):
            break
        for name in vars(own):
            if not name.startswith("on_") or name in HOOKS:
                continue
            ours = name.replace("start", "begin").replace("validation", "test")  # other libraries' words
            close = difflib.get_close_matches(ours, HOOKS, 1, 0.75)
            if close:
                warnings.warn(
                    f"`{cls.__name__}.{name}` is not a hook, so nothing calls it. Did you mean `{close[0]}`?",
                    stacklevel=6,
                )


def _refusal(thing: Any) -> InvalidTypeError:
    """Return the error for what is no callback, with what to write instead."""
    names = [name for name in registry.names("callbacks") if name[0].isupper()]
    if isinstance(thing, str):
        name = next((n for n in names if n.lower() == thing.lower().replace("_", "")), None)
        fix = f"pass the object: `{name}(...)`." if name else f"pass an object. {did_you_mean(thing, names)}"
    elif isinstance(thing, type) and hasattr(thing, "set_model"):
        fix = f"add parentheses: `{thing.__name__}()`, with its arguments if it needs any."
    elif inspect.isroutine(thing):
        name = getattr(thing, "__name__", "<lambda>")
        fix = f"wrap it: `LambdaCallback(on_epoch_end={'f' if name == '<lambda>' else name})`."
    else:
        fix = "pass a list of objects of `lamina.callbacks.Callback` or a subclass of it."
    shown = repr(thing) if isinstance(thing, str | type) else f"{thing!r} (of type {type(thing).__name__})"
    return InvalidTypeError(message("`callbacks` must be a list of Callback objects.", received=shown, fix=fix))
