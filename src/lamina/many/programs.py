"""Which networks share a program: those whose models differ in numbers only, as far as no decision hangs on them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina._types import Numpy, Tree
from lamina.callbacks import EarlyStopping
from lamina.errors import LaminaError, invalid
from lamina.many.members import Maker, Start, streams_kept
from lamina.training import engines, likeness, many, steps
from lamina.training.arrays import device_dtype
from lamina.training.data import Data
from lamina.training.feed import ArrayFeed, on_cpu
from lamina.training.many import Rules
from lamina.training.scalars import Inputs, Scalar, Split

STACK_BYTES = 1 << 20  # of state and activations of a stack, on a CPU: about what a core keeps near
NATIVE_BYTES = 64 << 20  # of the state of a stack that the native kernels train
MOST_PLACES = 32
DEVICE_BYTES = 256 << 20  # the same on another device


class Watching(NamedTuple):
    """What is watched: see the arguments of `fit_many`."""

    monitor: str
    mode: str
    min_delta: float
    start_from_epoch: int
    stops: bool
    keeps: bool


class Request(NamedTuple):
    """What is asked for, of all networks alike."""

    y: Any
    weight: Any
    class_weight: Any
    shuffle: Any
    validation: Any  # (x, y, weight) or None
    split: bool  # whether each validates on rows of its own data
    watching: Watching


class Template(NamedTuple):
    """A model made ready, from which the program of its group is compiled.

    Attributes:
        model: The model.
        padded: Whether its short batches may be filled up.
        data: `(x, y, weight)` as the device takes them.
        validation: The same to validate on, or None.
        val_padded: Whether short batches of the validation may be filled up.
        drawn: Whether a fit draws an order of the rows before the first epoch, to look at the first batch.
    """

    model: Any
    padded: bool
    data: Tree
    validation: Tree
    val_padded: bool
    drawn: bool


def template(maker: Maker, index: int, request: Request, weight: Any, y: Any) -> Template:
    """Return the model of a configuration, with all checks of `fit` done."""
    model, _ = maker.model(index)
    drawn = any(part is not None and not part.built for part in (model._compile_loss, model._compile_metrics))
    validation, val_padded, size = None, False, maker.batch_of(index)
    try:
        with streams_kept():
            data = Data(model, maker.x_of(index), y, weight, size, request.shuffle, request.class_weight)
            feed, padded = data.ready("fit")
            if request.validation is not None:
                vx, vy, vw = request.validation
                held = Data(model, vx, vy, vw, size, False, name="validation_data", columns=data.columns)
                if held.rows is None:
                    raise invalid("`validation_data` must be arrays.", fix="pass `(x, y)` or `(x, y, sample_weight)`.")
                val_feed, val_padded = held.ready("evaluate")
                assert isinstance(val_feed, ArrayFeed)
                validation = on_host(val_feed.data)
    except LaminaError as error:
        raise maker.named(error, index) from error
    assert isinstance(feed, ArrayFeed)
    return Template(model, padded, on_host(feed.data), validation, val_padded if validation else padded, drawn)


def on_host(data: Tree) -> Tree:
    """Return arrays in the types that the device computes with."""
    return jax.tree.map(lambda a: np.ascontiguousarray(a, device_dtype(a)), tuple(data))


def direction(model: Any, watching: Watching) -> int:
    """Return 1 if less of the watched value is better, -1 if more is.

    Raises:
        InvalidArgumentError: If nothing says so, or the mode is none.
    """
    if watching.mode not in ("auto", "min", "max"):
        raise invalid("`mode` must be 'auto', 'min' or 'max'.", received=f"mode={watching.mode!r}")
    asked = EarlyStopping(watching.monitor, mode=watching.mode)
    asked.set_model(model)
    asked._set_monitor_op()
    return 1 if asked._is_improvement(0.0, 1.0) else -1


class Group(NamedTuple):
    """Networks of one program: the template, what differs, and who they are.

    Attributes:
        template: The model that the program is compiled from.
        rules: What else is built in.
        program: `run` of `many.train_program`, not compiled.
        inputs: The numbers that differ.
        members: Numbers of the networks.
        plans: Numbers of each network's plan, if the native kernels run them.
    """

    template: Template
    rules: Rules
    program: Callable[..., Any]
    inputs: Inputs
    members: list[int]
    plans: Numpy | None = None


def grouped(
    starts: Sequence[Start],
    owners: Sequence[int],
    keys: Sequence[Any],
    make: Callable[[int, Sequence[int]], tuple[Template, Rules, Tree]],
) -> list[Group]:
    """Return the groups of networks that share a program.

    Args:
        starts: By configuration.
        owners: The configuration of each network.
        keys: What else must be equal, for each network.
        make: `make(network, members) -> (template, rules, example)` of a group; the example are the arguments of its
            program for one network.
    """
    by_structure: dict[Any, list[int]] = {}
    for network, owner in enumerate(owners):
        shapes = tuple((a.shape, a.dtype.str) for part in starts[owner][:3] for a in part)
        by_structure.setdefault((keys[network], shapes, starts[owner].structure), []).append(network)
    found: list[Group] = []
    waiting = list(by_structure.values())
    while waiting:
        members = waiting.pop(0)
        numbers = np.array([starts[owners[m]].numbers for m in members], np.float64)
        try:
            group = _program(make(members[0], members), members, numbers.reshape(len(members), -1))
        except Split as split:
            group = split.parts
        if isinstance(group, Group):
            found.append(group)
        else:
            waiting[:0] = [
                [m for m, part in zip(members, group, strict=True) if part == one] for one in np.unique(group)
            ]
    return found


def _program(made: tuple[Template, Rules, Tree], members: list[int], numbers: Numpy) -> Group | Numpy:
    """Return a group with its program, or, if a decision hangs on what differs, the number of each member's part."""
    pattern, rules, example = made
    places = likeness.describe(pattern.model).places
    differing = [i for i in range(len(places)) if (numbers[:, i] != numbers[0, i]).any()]
    names = steps.variables_of(pattern.model)
    reading = plans = None
    if not rules.train.short and not (rules.validate and rules.validate.short):
        batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((rules.train.size, *a.shape[1:]), a.dtype), pattern.data)
        try:
            reading, plans = engines.stack(
                pattern.model, names, batch, [places[i] for i in differing], numbers[:, differing]
            )
        except Split as split:
            return split.parts
    if reading is not None and plans is not None:
        example = (example[0], example[1]._replace(plan=plans[:1]), *example[2:])

    def trace(chosen: Sequence[int]) -> tuple[Callable[..., Any], Inputs]:
        inputs = Inputs()
        scalars = tuple(Scalar(numbers[:, i], inputs) for i in chosen)
        run = many.train_program(
            pattern.model, names, rules, tuple(places[i] for i in chosen), scalars, inputs, reading
        )
        if chosen:
            jax.eval_shape(run, *example)
        inputs.closed = True
        return run, inputs

    try:
        run, inputs = trace(differing)
    except Split as split:
        return split.parts
    except Exception:
        if not differing:
            raise
        for i in differing:
            try:
                trace([i])
            except Split as split:
                return split.parts
            except Exception:  # it is built into the program, whatever it is
                return np.unique(numbers[:, i], return_inverse=True)[1].reshape(-1)
        raise
    return Group(pattern, rules, run, inputs, members, plans if reading is not None else None)


def places(starts: Start, rules: Rules, data: Tree, *, native: bool) -> int:
    """Return how many networks go into a stack."""
    state = sum(a.nbytes for part in starts[:3] for a in part)
    row = sum(a[:1].nbytes for a in jax.tree.leaves(data))
    widths = sum(a.shape[-1] for a in starts.params if a.ndim > 1)
    each = state + rules.train.size * (row + 3 * 4 * widths)
    if native:  # they run one after another, so that no cache limits them
        return int(np.clip(NATIVE_BYTES // max(1, state), 1, MOST_PLACES))
    limit = STACK_BYTES if on_cpu() else DEVICE_BYTES
    return int(np.clip(limit // max(1, each), 1, MOST_PLACES if on_cpu() else 4096))
