"""What the calls of nested layers share: training or not, the losses they add, the rows that are real."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax


class CallContext:
    """State of one outermost call.

    Attributes:
        training: Whether layers act as in training; None: not said.
        losses: Scalars that layers added, in order.
        rows: Boolean array `(batch,)` that is False for rows added to fill a batch, or None if all are real.
        collecting: Whether the losses are read from here (a step), not from the layers.
        last: The last layer that finished and its output: who made the input that does not fit.
        observer: Called with each layer and its output, or None.
    """

    __slots__ = ("collecting", "last", "losses", "observer", "rows", "training")

    def __init__(
        self,
        training: Any = None,
        rows: Any = None,
        collecting: bool = False,
        observer: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self.training = training
        self.rows = rows
        self.losses: list[Any] = []
        self.collecting = collecting
        self.observer = observer
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


# Masks of what takes no attribute: JAX's tracers. An entry goes when its tracer does.
_masks: dict[int, Any] = {}


def get_mask(value: Any) -> Any:
    """Return the mask that travels with an array: False where a time step or an entry is only padding. Or None."""
    mask = getattr(value, "_keras_mask", None)
    return _masks.get(id(value)) if mask is None and _masks else mask


def set_mask(value: Any, mask: Any) -> None:
    """Let a mask travel with an array, or none any more."""
    try:
        value._keras_mask = mask
    except AttributeError:
        if mask is None:
            _masks.pop(id(value), None)
            return
        if id(value) not in _masks:
            weakref.finalize(value, _masks.pop, id(value), None)
        _masks[id(value)] = mask


def masks_of(tree: Any) -> Any:
    """Return the masks that travel with an array, or with the arrays of a list, tuple or dict in their structure."""
    return get_mask(tree) if tree is None or hasattr(tree, "shape") else jax.tree.map(get_mask, tree)


def has_mask(masks: Any) -> bool:
    """Return whether there is a mask among masks of one or many arrays."""
    return masks is not None and (hasattr(masks, "shape") or bool(jax.tree.leaves(masks)))
