"""Which machine runs the step: XLA, or the native kernels. One place decides; nothing above `run` knows.

The rule: the kernels take what they can do (`native_plan.read` says what), on a CPU, at any size where the processor
multiplies tiles, else up to the size at which XLA's products win (docs/design/adr/0007-native-kernels.md has the
measurements). `compile(engine=...)` forces either.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, did_you_mean, invalid
from lamina.native import library
from lamina.native.plan import Plan
from lamina.training import native_plan, native_program, steps
from lamina.training.feed import on_cpu
from lamina.training.likeness import Place, standing_in
from lamina.training.scalars import Split

let_go = native_program.let_go
ENGINES = ("auto", "xla", "native")

# Up to this many bytes of state a dispatch keeps the arrays that it was given until its own exist, so that nothing
# that goes wrong in between can lose them. Above it, memory and the copy would cost more than a few per cent.
KEPT_STATE_BYTES = 16 << 20
# A dispatch of the kernels costs 60 microseconds, so that short ones lose nothing; one of XLA costs a large net more.
NATIVE_SECONDS = 0.08
XLA_SECONDS = 0.5
# Weights up to which all of a network is best kept in the caches. Beyond, products go through tiles, where the
# processor has them; where it has none, those of XLA are better blocked than ours.
MOST_WEIGHTS = 5 << 19
# Weights from which tiles are faster for batches of at least so many rows: a kernel has to be packed for them.
WIDE_WEIGHTS, WIDE_BATCH = 1 << 19, 256


class Engine(NamedTuple):
    """What runs the steps of a fit or an evaluation.

    Attributes:
        name: "xla" or "native".
        reason: Why not the native kernels, where XLA was not asked for.
        run: The program, `run(state, data, rows, count)`.
        donates: Whether it takes over the memory of its state.
        changed: Places of the statistics that an evaluation changes, known once it has run.
        picks: Types of inputs, targets and weights, if it gathers the rows of a batch itself, from `steps.Rows`.
    """

    name: str
    reason: str
    run: Callable[..., Any]
    donates: bool = False
    changed: set[int] | None = None
    picks: tuple[Any, Any, Any] | None = None

    def __str__(self) -> str:
        if self.name == "native":
            return f"native kernels, {library.instructions()}"
        return f"XLA ({self.reason})" if self.reason else "XLA"

    @property
    def longest(self) -> float:
        """Seconds that a dispatch may take: how long Ctrl-C may wait."""
        return NATIVE_SECONDS if self.name == "native" else XLA_SECONDS * (4 if self.donates else 1)


def check(engine: str) -> str:
    """Return `engine`, or raise `InvalidArgumentError` if there is none of that name."""
    if engine not in ENGINES:
        raise invalid(
            f"`engine` must be one of {ENGINES}.",
            received=f"engine={engine!r}",
            fix=did_you_mean(str(engine), ENGINES),
        )
    return engine


def state_bytes(names: steps.Variables) -> int:
    """Return the size of all that a step may change."""
    return sum(v._array.nbytes for group in names for v in group)


def train(model: Any, names: steps.Variables, *, padded: bool, batch: Tree = None) -> Engine:
    """Return what trains a model: its `run(state, data, rows, count) -> (state, report)`.

    Args:
        model: The model.
        names: Its variables.
        padded: Whether batches may hold rows that only fill them.
        batch: Shapes and types of a batch `(x, y, sample_weight)`, if they are known.
    """
    donate = state_bytes(names) > KEPT_STATE_BYTES
    reading, reason = _choice(model, names, batch, training=True)
    if reading is not None:
        run = native_program.train_program(model, names, reading, _wide, padded=padded, donate=donate)
        return Engine("native", "", run, donate, picks=native_program.types(reading.plan))
    if model.has_own_step("train_step"):
        return Engine("xla", reason, steps.custom_program(model, "train_step", donate), donate)
    return Engine("xla", reason, steps.train_program(model, names, padded=padded, donate=donate), donate)


def evaluate(model: Any, names: steps.Variables, *, padded: bool, batch: Tree = None) -> Engine:
    """Return what evaluates a model: its `run(params, (stats, totals), data, rows, count)`. See `train`."""
    reading, reason = _choice(model, names, batch, training=False)
    if reading is not None:
        run, changed = native_program.test_program(model, names, reading, _wide, padded=padded)
        return Engine("native", "", run, changed=changed, picks=native_program.types(reading.plan))
    if model.has_own_step("test_step"):
        run = steps.custom_program(model, "test_step", donate=False)
        return Engine("xla", reason, run, changed=set(range(len(names.stats))))
    run, changed = steps.test_program(model, names, padded=padded)
    return Engine("xla", reason, run, changed=changed)


def stack(
    model: Any, names: steps.Variables, batch: Tree, places: Sequence[Place], numbers: Numpy
) -> tuple[native_plan.Reading | None, Numpy]:
    """Return what the kernels are to run for networks that differ in numbers, or None for XLA; numbers of each plan.

    Args:
        model: The model of one of them.
        names: Its variables.
        batch: Shapes and types of a batch `(x, y, sample_weight)`.
        places: Where the numbers stand in it.
        numbers: Those of each network. Shapes: `(networks, places)`.

    Raises:
        Split: If their plans differ in more than numbers.
    """
    different, which = np.unique(numbers, axis=0, return_inverse=True)
    readings = []
    for values in different:
        with standing_in(places, [float(value) for value in values]):
            readings.append(_choice(model, names, batch, training=True, alone=False)[0])
    if any(reading is None for reading in readings):
        if all(reading is None for reading in readings):
            return None, numbers
        raise Split(np.array([reading is not None for reading in readings])[which.reshape(-1)].astype(int))
    forms = [reading.plan.form() for reading in readings if reading is not None]
    if len(set(forms)) > 1:
        raise Split(np.array([forms.index(form) for form in forms])[which.reshape(-1)])
    plans = np.stack([reading.plan.numbers() for reading in readings if reading is not None])
    return readings[0], plans[which.reshape(-1)]


def predict(model: Any, names: steps.Variables) -> tuple[Callable[..., Any], set[int]]:
    """Return what predicts a batch: its `run(params, stats, x) -> (outputs, stats)`.

    With it come the places of the statistics that it changes, once it has run. This is for what `training.forward` does
    not take: the kernels have it only where products go through tiles.
    """
    by_xla, changed = steps.predict_program(model, names)
    if model.engine == "xla" or not library.has_tiles() or not on_cpu():
        return by_xla, changed
    try:
        reading = native_plan.read_forward(model)
        return native_program.predict_program(model, names, reading, _wide, by_xla), changed
    except native_plan.Unsuited:
        return by_xla, changed


def _choice(
    model: Any, names: steps.Variables, batch: Tree, *, training: bool, alone: bool = True
) -> tuple[native_plan.Reading | None, str]:
    """Return what the native kernels are to run, or None and the reason.

    On a stack of networks, not `alone`, they are faster whatever its size: XLA's products get slower under `vmap` and
    where two stacks run at a time (docs/design/adr/0007-native-kernels.md).

    Raises:
        InvalidArgumentError: If the model is compiled for the native kernels and they cannot train it.
    """
    if model.engine == "xla":
        return None, ""
    reading, reason = None, library.why_not()
    if not reason and not on_cpu():
        reason = "the default device is no CPU"
    if not reason:
        try:
            reading = native_plan.read(model, names, training=training)
            native_program.check(reading.plan, batch)
        except native_plan.Unsuited as found:
            reading, reason = None, str(found)
    if reading is not None and not alone and any(layer.bfloat16 for layer in reading.plan.layers):
        reading, reason = None, "the networks of a stack do not go through tiles"
    if reading is not None and model.engine == "auto" and alone:
        reason = _slower(reading.plan)
        reading = None if reason else reading
    if reading is None and model.engine == "native" and training:
        raise _cannot(model, reason)
    return reading, reason


def _weights(plan: Plan) -> int:
    return sum(layer.inputs * layer.units for layer in plan.layers)


def _wide(plan: Plan, batch: int) -> bool:
    """Return whether products go through tiles and the weights stay in place, or else all lies in the caches."""
    if any(layer.bfloat16 for layer in plan.layers):
        return True
    least = WIDE_WEIGHTS if batch >= WIDE_BATCH else MOST_WEIGHTS
    return library.has_tiles() and _weights(plan) > least


def _slower(plan: Plan) -> str:
    """Return why XLA is faster, or "" if it is not."""
    slower = not library.has_tiles() and _weights(plan) > MOST_WEIGHTS
    return f"with {_weights(plan):,} weights XLA is faster" if slower else ""


def _cannot(model: Any, reason: str) -> InvalidArgumentError:
    return invalid(
        f"The native kernels cannot train this model: {reason}.",
        owner=f"Model `{model.name}`",
        received="engine='native'",
        fix="compile with engine='auto', which takes XLA where they cannot.",
    )
