"""Learning rates that change with the step: pure functions of the iteration, described by their constructor."""

import inspect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp

from lamina import config, registry, serialization
from lamina._types import Array, ArrayLike, Config
from lamina.errors import invalid
from lamina.optimizers import checks

_MODULE = "keras.optimizers.schedules"


@registry.export("schedules", module=_MODULE)
class LearningRateSchedule(serialization.Configurable):
    """A learning rate as a function of the step. Subclass it and write `__call__(self, step)`.

    `step` is a scalar integer array, traced in a compiled step: use `jax.numpy` or `lamina.ops`, not `if`.
    """

    def __call__(self, step: Any) -> Any:
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`."
        )


def takes_step(rate: Any) -> bool:
    """Return whether a callable learning rate wants the step: a schedule, or any function that needs an argument."""
    if isinstance(rate, LearningRateSchedule):
        return True
    try:
        arguments = inspect.signature(rate).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(a.default is a.empty and a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD) for a in arguments)


def _number(value: Any, name: str, owner: object) -> float:
    """Return a setting as a plain number: a variable or array would be frozen into the compiled step unseen."""
    if not checks.is_number(value) or not math.isfinite(float(value)):
        raise invalid(
            f"Argument `{name}` must be a finite number.", owner=type(owner).__name__, received=f"{name}={value!r}"
        )
    return value if isinstance(value, int | float) else float(value)


def _steps(value: Any, name: str, owner: object) -> float:
    """Return a number of steps, or raise unless it is greater than zero."""
    if not checks.is_number(value) or not float(value) > 0:
        raise invalid(f"Argument `{name}` must be > 0.", owner=type(owner).__name__, received=f"{name}={value}")
    return value if isinstance(value, int | float) else float(value)


def _float(value: ArrayLike) -> Array:
    return jnp.asarray(value, config.floatx())


@registry.export("schedules", module=_MODULE)
class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Args:
        initial_learning_rate: The rate at step 0.
        decay_steps: Steps in which the rate is multiplied by `decay_rate` once.
        decay_rate: The factor.
        staircase: Whether the exponent is rounded down to a whole number.
        name: Kept for configs.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = _number(initial_learning_rate, "initial_learning_rate", self)
        self.decay_steps = _steps(decay_steps, "decay_steps", self)
        self.decay_rate = _number(decay_rate, "decay_rate", self)
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> Array:
        exponent = _float(step) / self.decay_steps
        if self.staircase:
            exponent = jnp.floor(exponent)
        return jnp.power(_float(self.decay_rate), exponent) * self.initial_learning_rate


@registry.export("schedules", module=_MODULE)
class InverseTimeDecay(LearningRateSchedule):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Args:
        initial_learning_rate: The rate at step 0.
        decay_steps: Steps that count as one unit of time.
        decay_rate: What the denominator grows by in a unit.
        staircase: Whether the time is rounded down to whole units.
        name: Kept for configs.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = _number(initial_learning_rate, "initial_learning_rate", self)
        self.decay_steps = _steps(decay_steps, "decay_steps", self)
        self.decay_rate = _number(decay_rate, "decay_rate", self)
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> Array:
        time = _float(step) / self.decay_steps
        if self.staircase:
            time = jnp.floor(time)
        return _float(self.initial_learning_rate) / (time * self.decay_rate + 1.0)


@registry.export("schedules", module=_MODULE)
class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to and including step `boundaries[0]`, then `values[1]` up to `boundaries[1]`, and so on.

    Args:
        boundaries: Steps, strictly increasing.
        values: Rates, one more than boundaries.
        name: Kept for configs.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise invalid(
                "The length of boundaries should be 1 less than the length of values.",
                owner=type(self).__name__,
                received=f"boundaries={boundaries} of length {len(boundaries)}, and values={values} of length "
                f"{len(values)}",
                fix="give one rate for before the first boundary, and one for after each.",
            )
        if any(not low < high for low, high in pairwise(boundaries)):
            raise invalid(
                "Argument `boundaries` must increase strictly.",
                owner=type(self).__name__,
                received=f"boundaries={boundaries}",
                fix="sort the steps, and the values with them.",
            )
        self.boundaries = [_number(b, "boundaries", self) for b in boundaries]
        self.values = [_number(v, "values", self) for v in values]
        self.name = name

    def __call__(self, step: Any) -> Array:
        step, values = jnp.asarray(step), _float(self.values)
        passed = jnp.asarray(self.boundaries, step.dtype) < step
        return values[jnp.sum(passed)]


@registry.export("schedules", module=_MODULE)
class PolynomialDecay(LearningRateSchedule):
    """`(initial - end) * (1 - step / decay_steps) ** power + end`, and `end` from `decay_steps` on.

    Args:
        initial_learning_rate: The rate at step 0.
        decay_steps: Steps until the end.
        end_learning_rate: The rate at the end.
        power: 1 is a straight line.
        cycle: Whether `decay_steps` grows to the next multiple once it is passed.
        name: Kept for configs.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = _number(initial_learning_rate, "initial_learning_rate", self)
        self.decay_steps = _steps(decay_steps, "decay_steps", self)
        self.end_learning_rate = _number(end_learning_rate, "end_learning_rate", self)
        self.power = _number(power, "power", self)
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> Array:
        step, length = _float(step), _float(self.decay_steps)
        if self.cycle:
            length = length * jnp.where(step == 0, 1.0, jnp.ceil(step / length))
        else:
            step = jnp.minimum(step, length)
        left = jnp.power(1.0 - step / length, _float(self.power))
        end = _float(self.end_learning_rate)
        return (_float(self.initial_learning_rate) - end) * left + end


@registry.export("schedules", module=_MODULE)
class CosineDecay(LearningRateSchedule):
    """A straight warmup to `warmup_target`, then half a cosine down to `alpha` of it (arXiv:1608.03983).

    Args:
        initial_learning_rate: The rate at step 0.
        decay_steps: Steps of the cosine, after the warmup.
        alpha: The last rate, as a share of the rate at which the cosine begins.
        name: Kept for configs.
        warmup_target: The rate at the end of the warmup. None: no warmup.
        warmup_steps: Steps of the warmup.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = _number(initial_learning_rate, "initial_learning_rate", self)
        self.decay_steps = _steps(decay_steps, "decay_steps", self)
        self.alpha = _number(alpha, "alpha", self)
        self.name = name
        self.warmup_target = None if warmup_target is None else _number(warmup_target, "warmup_target", self)
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Array:
        step, start = _float(step), _float(self.initial_learning_rate)
        if self.warmup_target is None:
            return self._cosine(step, start)
        target, length = _float(self.warmup_target), _float(self.warmup_steps)
        rising = (target - start) * (step / length) + start
        return jnp.where(step < length, rising, self._cosine(step - length, target))

    def _cosine(self, step: Array, start: Array) -> Array:
        done = jnp.minimum(step, self.decay_steps) / self.decay_steps
        wave = (jnp.cos(done * math.pi) + 1.0) * 0.5
        return start * (wave * (1 - self.alpha) + self.alpha)


@registry.export("schedules", module=_MODULE)
class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine, again and again: each `t_mul` times as long and from `m_mul` times the rate (arXiv:1608.03983).

    Args:
        initial_learning_rate: The rate at step 0.
        first_decay_steps: Steps of the first cosine.
        t_mul: How many times longer each next cosine is.
        m_mul: How many times higher each next cosine begins.
        alpha: The lowest rate, as a share of the initial one.
        name: Kept for configs.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = _number(initial_learning_rate, "initial_learning_rate", self)
        self.first_decay_steps = _steps(first_decay_steps, "first_decay_steps", self)
        self.t_mul = _steps(t_mul, "t_mul", self)
        self.m_mul = _number(m_mul, "m_mul", self)
        self.alpha = _number(alpha, "alpha", self)
        self.name = name

    def __call__(self, step: Any) -> Array:
        done = _float(step) / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = jnp.floor(done)
            done = done - restarts
        else:
            longer = _float(self.t_mul)
            restarts = jnp.floor(jnp.log(1.0 - done * (1.0 - longer)) / jnp.log(longer))
            scale = jnp.power(longer, restarts)
            done = (done - (1.0 - scale) / (1.0 - longer)) / scale
        height = jnp.power(_float(self.m_mul), restarts)
        wave = 0.5 * height * (jnp.cos(math.pi * done) + 1.0)
        return (wave * (1 - self.alpha) + self.alpha) * self.initial_learning_rate


def serialize(learning_rate_schedule: LearningRateSchedule) -> Config:
    """Return a schedule as plain dicts."""
    return serialization.serialize(learning_rate_schedule)  # type: ignore[no-any-return]


def deserialize(config: Config, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the schedule that a config describes."""
    return get(config, custom_objects)


def get(identifier: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the schedule that a config, a name or a schedule stands for; None stays None."""
    if isinstance(identifier, dict) and "module" not in identifier and "registered_name" not in identifier:
        identifier = {"module": _MODULE, **identifier}
    return serialization.get("schedules", identifier, "learning rate schedule", custom_objects)
