"""What the calls of nested layers share: training or not, the losses they add, the rows that are real."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class CallContext:
    """State of one outermost call.

    Attributes:
        training: Whether layers act as in training; None: not said.
        losses: Scalars that layers added, in order.
        rows: Boolean array `(batch,)` that is False for rows added to fill a batch, or None if all are real.
        collecting: Whether the losses are read from here (a step), not from the layers.
        last: The last layer that finished and its output: who made the input that does not fit.
    """

    __slots__ = ("collecting", "last", "losses", "rows", "training")

    def __init__(self, training: Any = None, rows: Any = None, collecting: bool = False) -> None:
        self.training = training
        self.rows = rows
        self.losses: list[Any] = []
        self.collecting = collecting
        self.last: tuple[Any, Any] | None = None

    def producer(self, value: Any) -> str | None:
        """Return the name of the layer that made `value`, if it was the last to finish."""
        if self.last is not None and self.last[1] is value:
            return str(self.last[0].name)
        return None


_current: ContextVar[CallContext | None] = ContextVar("call_context", default=None)


def current() -> CallContext | None:
    """Return the context of the outermost call under way, or None."""
    return _current.get()


def real_rows() -> Any:
    """Return the mask of real rows of the batch, or None if all are real."""
    context = _current.get()
    return None if context is None else context.rows


@contextmanager
def calling(context: CallContext) -> Iterator[CallContext]:
    """Let the calls inside the block share `context`."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def get_mask(value: Any) -> Any:
    """Return the mask that travels with an array: False where a time step or an entry is only padding. Or None."""
    return getattr(value, "_keras_mask", None)


def set_mask(value: Any, mask: Any) -> None:
    """Let a mask travel with an array."""
    if mask is None:
        if getattr(value, "_keras_mask", None) is not None:
            value._keras_mask = None
        return
    value._keras_mask = mask
