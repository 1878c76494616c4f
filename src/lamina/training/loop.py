"""The training loop: epochs, callbacks, logs. No array code."""

from collections.abc import Callable
from typing import Any

from lamina.callbacks import CallbackList
from lamina.training import session
from lamina.training.feed import Feed
from lamina.training.pace import Pace
from lamina.training.stream import warn_ran_dry

Logs = dict[str, Any]
LOOKS = 0.1  # seconds between two looks, where somebody looks
UNSEEN = 0.5  # seconds a dispatch where nobody does: how long Ctrl-C may wait


def fit(
    training: session.Training,
    feed: Feed,
    *,
    epochs: range,
    callbacks: CallbackList,
    validate: Callable[[], Callable[[], Logs]] | None = None,
    validate_at: Callable[[int], bool] = lambda epoch: True,
) -> None:
    """Train the model of `training` on `feed`.

    Args:
        training: The state of the model and its program.
        feed: The data.
        epochs: Numbers of the epochs, from 0.
        callbacks: Told of all that happens.
        validate: Starts an evaluation and returns a function that waits for its logs.
        validate_at: Whether to validate after an epoch.
    """
    try:
        _epochs(training, feed, epochs, callbacks, validate, validate_at)
    except BaseException:
        training.settle()  # whatever ends it, no dispatch under way may leave weights that are not finite
        training.finalize()
        raise


def _epochs(
    training: session.Training,
    feed: Feed,
    epochs: range,
    callbacks: CallbackList,
    validate: Callable[[], Callable[[], Logs]] | None,
    validate_at: Callable[[int], bool],
) -> None:
    model = training.model
    model.stop_training = False
    pace = _pace(training, callbacks)
    waiting: Callable[[], None] | None = None  # the end of the last epoch, not yet told
    progress: _Epoch | None = None
    callbacks.on_train_begin()
    for epoch in range(model.initial_epoch or epochs.start, epochs.stop):
        callbacks.on_epoch_begin(epoch)
        progress = _Epoch(training, feed, callbacks, pace)
        waiting = progress.run(waiting)
        _look_for_the_end(feed, progress, epoch, epochs)
        if not progress.step:
            break
        ends = _end_of(epoch, progress, validate if validate_at(epoch) else None, callbacks)
        # A state whose memory is taken over is verified before the next epoch copies it.
        if callbacks.passive and not model.stop_training and not training.donates:
            waiting = ends
        else:
            ends()
        if model.stop_training:
            break
    if waiting is not None:
        waiting()
    if pace.per_batch is not None:
        model.batch_seconds = pace.per_batch
    training.finalize()
    callbacks.on_train_end(progress.logs if progress is not None else {})


def _look_for_the_end(feed: Feed, progress: "_Epoch", epoch: int, epochs: range) -> None:
    """Warn if the data ended before the epoch did, and stop if no more will come for the epochs that follow."""
    over = bool(getattr(feed, "exhausted", False)) and epoch + 1 < epochs.stop
    if over:
        progress.training.model.stop_training = True
    if over or getattr(feed, "ran_dry", False) or not progress.step:
        warn_ran_dry(progress.step, feed.steps, epoch if over or not progress.step else None)


def _pace(training: session.Training, callbacks: CallbackList) -> Pace:
    most = max(1, training.model.steps_per_execution) if callbacks.needs_batches else None
    unseen = UNSEEN * (4 if training.donates else 1)  # a dispatch costs a large net more
    seconds = LOOKS if callbacks.needs_blocks else unseen
    return Pace(seconds, most, training.model.batch_seconds)


def _end_of(
    epoch: int, progress: "_Epoch", validate: Callable[[], Callable[[], Logs]] | None, callbacks: CallbackList
) -> Callable[[], None]:
    """Start the validation of an epoch and return a function that tells its end."""
    read_validation = validate() if validate is not None else None

    def end() -> None:
        logs = progress.finish()
        if read_validation is not None:
            logs.update({f"val_{name}": value for name, value in read_validation().items()})
        callbacks.on_epoch_end(epoch, logs)

    return end


class _Epoch:
    """One pass over the data."""

    def __init__(self, training: session.Training, feed: Feed, callbacks: CallbackList, pace: Pace) -> None:
        self.training, self.feed, self.callbacks, self.pace = training, feed, callbacks, pace
        self.step = 0
        self.logs: Logs = {}
        self.spoilt = False  # whether a dispatch was undone, since its loss was not finite
        self._open: session.Ticket | None = None

    def run(self, waiting: Callable[[], None] | None) -> Callable[[], None] | None:
        """Send off every block of the epoch. `waiting` is called once the first is under way; what is left returned."""
        self.feed.start_epoch()
        self.training.reset_totals()
        self.training.back_up()
        self.pace.start()
        while not (self.training.model.stop_training and self.step):
            block = self.feed.block(self.pace.count())
            if block is None:
                break
            if self.callbacks.needs_batches:
                self.callbacks.on_train_batch_begin(self.step)
            self.finish()
            self._open = self.training.dispatch(block)
            self.step += block.count
            if waiting is not None:
                waiting()
                waiting = None
            if self.callbacks.needs_batches or self.pace.per_batch is None:
                self.finish()  # otherwise the next block is gathered first, while this one trains
        return waiting

    def finish(self) -> Logs:
        """Wait for the dispatch under way, tell the callbacks, and return the logs so far."""
        ticket, self._open = self._open, None
        if ticket is not None:
            self.logs, finite = self.training.finish(ticket)
            self.pace.done(ticket.block.count)
            self.feed.release(ticket.block)
            if not finite:
                self.spoilt = True
            if self.spoilt and "loss" in self.logs:
                self.logs["loss"] = float("nan")
            self._tell()
        return self.logs

    def _tell(self) -> None:
        if self.callbacks.needs_batches:
            self.callbacks.on_train_batch_end(self.step - 1, dict(self.logs))
        self.callbacks.on_block_end(self.step, lambda: dict(self.logs))


def evaluate(testing: session.Testing, feed: Feed, callbacks: CallbackList) -> Callable[[], Logs]:
    """Evaluate a model and return a function that waits for the logs."""
    testing.model.stop_evaluating = False
    testing.reset_totals()
    feed.start_epoch()
    callbacks.on_test_begin()
    by_batch = callbacks.overrides("on_test_batch_begin") or callbacks.overrides("on_test_batch_end")
    step, report = 0, None
    while (block := feed.block(1 if by_batch else 1 << 30)) is not None:
        if by_batch:
            callbacks.on_test_batch_begin(step)
        report = testing.dispatch(block)
        step += block.count
        if by_batch:
            callbacks.on_test_batch_end(step - 1, session.read(report)[0])
            if testing.model.stop_evaluating:
                break
    if getattr(feed, "ran_dry", False) or not step:
        warn_ran_dry(step, feed.steps, verb="evaluation")

    def wait() -> Logs:
        logs = session.read(report)[0] if report is not None else {}
        callbacks.on_block_end(step, lambda: logs)
        callbacks.on_test_end(logs)
        return logs

    return wait
