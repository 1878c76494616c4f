"""The training loop: epochs, callbacks, logs. No array code."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lamina.callbacks import CallbackList
from lamina.saving import snapshots
from lamina.training import session
from lamina.training.endings import Request
from lamina.training.feed import Feed
from lamina.training.pace import Pace
from lamina.training.resume import Keeper, Keeping, Place
from lamina.training.stream import warn_ran_dry

Logs = dict[str, Any]
LOOKS = 0.1  # seconds between two looks, where somebody looks


class Fit(NamedTuple):
    """What one `fit` works with.

    Attributes:
        training: The state of the model and its program.
        feed: The data.
        callbacks: Told of all that happens.
        keeping: Takes the fit down and puts it back.
        request: Whether the process has been told to end.
        keeper: Keeps snapshots in a folder, if any are wanted.
        validate: Starts an evaluation and returns a function that waits for its logs.
        validate_at: Whether to validate after an epoch.
    """

    training: session.Training
    feed: Feed
    callbacks: CallbackList
    keeping: Keeping
    request: Request
    keeper: Keeper | None = None
    validate: Callable[[], Callable[[], Logs]] | None = None
    validate_at: Callable[[int], bool] = lambda epoch: True


def fit(work: Fit, epochs: range) -> None:
    """Train for `epochs`, whose numbers count from 0."""
    training = work.training
    now = Now()
    try:
        _epochs(work, epochs, now)
    except BaseException:
        training.settle()  # whatever ends it, no dispatch under way may leave weights that are not finite
        # In between, callbacks may have been told of what a snapshot would have them told of again.
        if work.keeper is not None and now.quiet and training.done and hasattr(work.feed, "goto"):
            logs = now.progress.logs if now.progress is not None else {}
            work.keeper.save(work.keeping, Place(now.epoch, training.done, False), logs, wait=True)
        training.finalize()
        snapshots.settle()
        raise


class Now:
    """Where a fit is.

    Attributes:
        epoch: Number of the epoch.
        quiet: Whether batches run, rather than callbacks.
        progress: The epoch's progress.
    """

    def __init__(self) -> None:
        self.epoch, self.quiet = 0, False
        self.progress: _Epoch | None = None


def _epochs(work: Fit, epochs: range, now: Now) -> None:
    training, feed, callbacks = work.training, work.feed, work.callbacks
    model = training.model
    model.stop_training = False
    pace = _pace(training, callbacks)
    waiting: Callable[[], None] | None = None  # the end of the last epoch, not yet told
    place, logs = _begin(work, epochs)
    for epoch in range(place.epoch, place.epoch if place.stopped else epochs.stop):
        if not place.step:
            callbacks.on_epoch_begin(epoch)
        now.epoch = epoch
        now.progress = progress = _Epoch(work, epoch, pace, place.step, logs)
        now.quiet = not callbacks.needs_batches
        waiting = progress.run(waiting)
        _look_for_the_end(feed, progress, epoch, epochs)
        if not progress.step:
            break
        now.quiet = False
        ends = _end_of(epoch, progress, work)
        # A state whose memory is taken over is verified before the next epoch copies it.
        if callbacks.passive and not model.stop_training and not training.donates and work.keeper is None:
            waiting = ends
        else:
            ends()
        place, logs = Place(epoch + 1, 0, bool(model.stop_training)), {}
        _keep(work, place, last=epoch + 1 == epochs.stop or model.stop_training or work.request.made)
        work.request.heed()
        if model.stop_training:
            break
    now.quiet = False
    if waiting is not None:
        waiting()
    if pace.per_batch is not None:
        model.batch_seconds = pace.per_batch
    training.finalize()
    callbacks.on_train_end(now.progress.logs if now.progress is not None else {})


def _begin(work: Fit, epochs: range) -> tuple[Place, Logs]:
    """Tell the callbacks, put back what an earlier run left; return where training goes on, with the logs so far."""
    work.callbacks.on_train_begin()
    place = work.keeping.place
    if place is not None and place.step and not place.stopped:
        work.callbacks.on_epoch_begin(place.epoch)
    resumed = work.keeping.begin()
    if resumed is None:
        return Place(work.training.model.initial_epoch or epochs.start, 0, False), {}
    work.training.resumed = True
    work.training.done = resumed[0].step
    return resumed


def _keep(work: Fit, place: Place, last: bool) -> None:
    if work.keeper is not None and (last or work.keeper.due()):
        work.keeper.save(work.keeping, place, {}, wait=last)


def _look_for_the_end(feed: Feed, progress: "_Epoch", epoch: int, epochs: range) -> None:
    """Warn if the data ended before the epoch did, and stop if no more will come for the epochs that follow."""
    over = bool(getattr(feed, "exhausted", False)) and epoch + 1 < epochs.stop
    if over:
        progress.training.model.stop_training = True
    if over or getattr(feed, "ran_dry", False) or not progress.step:
        warn_ran_dry(progress.step, feed.steps, epoch if over or not progress.step else None)


def _pace(training: session.Training, callbacks: CallbackList) -> Pace:
    most = max(1, training.model.steps_per_execution) if callbacks.needs_batches else None
    longest = training.engine.longest
    seconds = min(LOOKS, longest) if callbacks.needs_blocks else longest
    return Pace(seconds, most, training.model.batch_seconds)


def _end_of(epoch: int, progress: "_Epoch", work: Fit) -> Callable[[], None]:
    """Start the validation of an epoch, if it has one, and return a function that tells its end."""
    read_validation = work.validate() if work.validate is not None and work.validate_at(epoch) else None

    def end() -> None:
        logs = progress.finish()
        if read_validation is not None:
            logs.update({f"val_{name}": value for name, value in read_validation().items()})
        work.callbacks.on_epoch_end(epoch, logs)

    return end


class _Epoch:
    """One pass over the data.

    Args:
        work: The fit.
        epoch: Its number.
        pace: How many batches go into a dispatch.
        step: Batches that are done already.
        logs: What those gave.
    """

    def __init__(self, work: Fit, epoch: int, pace: Pace, step: int, logs: Logs) -> None:
        self.training, self.feed, self.callbacks, self.pace = work.training, work.feed, work.callbacks, pace
        self._work, self._epoch = work, epoch
        self.step, self.logs = step, logs
        self.spoilt = False  # whether a dispatch was undone, since its loss was not finite
        self._open: session.Ticket | None = None

    def run(self, waiting: Callable[[], None] | None) -> Callable[[], None] | None:
        """Send off every block of the epoch. `waiting` is called once the first is under way; what is left returned."""
        if not self.step:
            with session.interrupts_held():
                self.feed.start_epoch()
                self.training.reset_totals()
        self.training.back_up()
        self.pace.start()
        while not (self.training.model.stop_training and self.step):
            if self._work.request.made or (self._work.keeper is not None and self._work.keeper.due()):
                self._pause()
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

    def _pause(self) -> None:
        """Take a snapshot where all that was read has been trained on, and end if the process is to."""
        self.finish()
        place = Place(self._epoch, self.step, False)
        if self._work.keeper is not None and self.step:
            self._work.keeper.save(self._work.keeping, place, self.logs, wait=self._work.request.made)
        self._work.request.heed()

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
