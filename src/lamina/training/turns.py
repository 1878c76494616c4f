"""Threads around one model: one may train it while others predict and evaluate; a second one may not train it."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from lamina._types import Arrays
from lamina.errors import InUseError, message
from lamina.training.steps import Variables
from lamina.variables import held, moving, store, values

P = ParamSpec("P")
R = TypeVar("R")


class Turns:
    """Which thread trains a model now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0  # a callback may train the model that is being trained

    @contextmanager
    def training(self, model: Any, method: str) -> Iterator[None]:
        """Inside the block this thread trains the model.

        Raises:
            InUseError: If another thread trains it.
        """
        me = threading.get_ident()
        with self._lock:
            if self._owner not in (None, me):
                raise InUseError(
                    message(
                        f"`{method}` was called while another thread trains the model.",
                        owner=f"Model `{model.name}`",
                        fix="wait until that one is done, or give each thread a model of its own "
                        "(`clone_model`). Predicting and evaluating beside it is fine.",
                    )
                )
            self._owner, self._depth = me, self._depth + 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._owner = None

    @property
    def mine(self) -> bool:
        """Whether this thread trains the model."""
        return self._owner == threading.get_ident()

    @property
    def elsewhere(self) -> bool:
        """Whether another thread trains the model, so that this one must not write to it."""
        return self._owner not in (None, threading.get_ident())

    def read(self, names: Variables) -> tuple[Arrays, Arrays]:
        """Return weights and statistics, safe from another thread's dispatch that takes their memory over."""
        if self.mine or threading.active_count() == 1:
            return held(names.params), held(names.stats)
        with moving:
            return values(names.params), values(names.stats)

    def keep(self, names: Variables, stats: Arrays, changed: set[int]) -> None:
        """Store the statistics that a prediction or an evaluation has changed, unless another thread trains."""
        if changed and not self.elsewhere:
            indices = sorted(changed)
            store([names.stats[i] for i in indices], [stats[i] for i in indices])


def alone(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return a method of a model that trains it, so that it is refused while another thread trains the model."""

    @functools.wraps(method)
    def run(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.turns.training(self, method.__name__):
            return method(self, *args, **kwargs)

    return run
