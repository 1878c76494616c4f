"""What the calls of nested layers share: training or not, the losses they add, the rows that are real."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

from lamina.ops.masks import get_mask as get_mask
from lamina.ops.masks import set_mask as set_mask


class CallContext:
    """State of one outermost call.

    Attributes:
        training: Whether layers act as in training; None: not said.
        values: Values of other arguments that outer calls hand down, by name.
        losses: Scalars that layers added, in order.
        rows: Boolean array `(batch,)` that is False for rows added to fill a batch, or None if all are real.
        collecting: Whether the losses are read from here (a step), not from the layers.
        last: The last layer that finished and its output: who made the input that does not fit.
        observer: Called with each layer and its output; what it returns goes on in place of the output. Or None.
    """

    __slots__ = ("collecting", "last", "losses", "observer", "rows", "training", "values")

    def __init__(
        self,
        training: Any = None,
        rows: Any = None,
        collecting: bool = False,
        observer: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.training = training
        self.values: dict[str, Any] = {}
        self.rows = rows
        self.losses: list[Any] = []
        self.collecting = collecting
        self.observer = observer
        self.last: tuple[Any, Any] | None = None

    def hand_down(self, names: frozenset[str], parameters: tuple[str, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Fill arguments that outer calls hand down into `kwargs`, and return the values that inner calls shall see."""
        values = dict(self.values)
        for name in names:
            value = kwargs.pop(name, values.get(name))
            values[name] = value
            if value is not None and name in parameters:
                kwargs[name] = value
        return values

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


def masks_of(tree: Any) -> Any:
    """Return the masks that travel with an array, or with the arrays of a list, tuple or dict in their structure."""
    return get_mask(tree) if tree is None or hasattr(tree, "shape") else jax.tree.map(get_mask, tree)


def has_mask(masks: Any) -> bool:
    """Return whether there is a mask among masks of one or many arrays."""
    return masks is not None and (hasattr(masks, "shape") or bool(jax.tree.leaves(masks)))
