"""Which machine runs the step. One place decides; nothing above `run` knows.

Today there is one: programs compiled by XLA.
"""

from collections.abc import Callable
from typing import Any

from lamina.training import steps

# Up to this many bytes of state a dispatch keeps the arrays that it was given until its own exist, so that nothing
# that goes wrong in between can lose them. Above it, memory and the copy would cost more than a few per cent.
KEPT_STATE_BYTES = 16 << 20


def state_bytes(names: steps.Variables) -> int:
    """Return the size of all that a step may change."""
    return sum(v._array.nbytes for group in names for v in group)


def train(model: Any, names: steps.Variables, *, padded: bool) -> tuple[Callable[..., Any], bool]:
    """Return `run(state, data, rows, count) -> (state, report)` and whether it takes over the memory of `state`."""
    donate = state_bytes(names) > KEPT_STATE_BYTES
    if model.has_own_step("train_step"):
        return steps.custom_program(model, "train_step", donate), donate
    return steps.train_program(model, names, padded=padded, donate=donate), donate
