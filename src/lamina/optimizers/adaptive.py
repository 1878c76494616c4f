"""Optimizers that divide by a mean or sum of squared gradients: RMSprop, Adagrad, Adadelta, Adafactor, Ftrl."""

from typing import Any

from lamina import registry
from lamina.errors import InvalidArgumentError, invalid
from lamina.optimizers import checks, rules
from lamina.optimizers.base import Optimizer
from lamina.variables import Variable


@registry.export("optimizers")
class RMSprop(Optimizer):
    """The gradient over the root of its mean square (Hinton 2012).

    Args:
        learning_rate: A number, a schedule or a callable.
        rho: Decay of the mean square, in [0, 1].
        momentum: Share of the last step that the next one keeps.
        epsilon: Keeps the division finite, under the root.
        centered: Whether the variance divides instead of the mean square.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        owner = "RMSprop optimizer"
        self.rho = checks.share(rho, "rho", owner)
        self.momentum = checks.share(momentum, "momentum", owner)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)
        self.centered = centered
        self._momentums: list[Variable | None] = []
        self._average_gradients: list[Variable | None] = []

    def rule(self) -> rules.Transformation:
        """Return RMSprop."""
        return rules.rmsprop(self.rho, self.momentum, self.epsilon, self.centered)

    def _slot_groups(self) -> list[dict[str, str]]:
        groups = [{"velocity": "_velocities"}]
        if self.momentum > 0:
            groups.append({"momentum": "_momentums"})
        if self.centered:
            groups.append({"average_gradient": "_average_gradients"})
        return groups


@registry.export("optimizers")
class Adagrad(Optimizer):
    """The gradient over the root of the sum of all its squares (Duchi et al. 2011).

    Args:
        learning_rate: A number, a schedule or a callable.
        initial_accumulator_value: Start of the sums, zero or more.
        epsilon: Keeps the division finite, under the root.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        owner, start = "Adagrad optimizer", initial_accumulator_value
        self.initial_accumulator_value = checks.not_negative(start, "initial_accumulator_value", owner)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)

    def rule(self) -> rules.Transformation:
        """Return Adagrad."""
        return rules.adagrad(self.initial_accumulator_value, self.epsilon)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"accumulator": "_accumulators"}]


@registry.export("optimizers")
class Adadelta(Optimizer):
    """Steps in the units of the parameters, from the mean squares of both (arXiv:1212.5701).

    Args:
        learning_rate: A number, a schedule or a callable.
        rho: Decay of the mean squares, in [0, 1].
        epsilon: Keeps the division finite, under the roots.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        owner = "Adadelta optimizer"
        self.rho = checks.share(rho, "rho", owner)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)

    def rule(self) -> rules.Transformation:
        """Return Adadelta."""
        return rules.adadelta(self.rho, self.epsilon)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"accumulated_grad": "_accumulated_grads", "accumulated_delta_var": "_accumulated_delta_vars"}]


@registry.export("optimizers")
class Adafactor(Optimizer):
    """Adam's second moment in little memory, by rows and columns, without momentum (arXiv:1804.04235).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_2_decay: Exponent by which the decay of the second moment nears 1.
        epsilon_1: Added to the squared gradients.
        epsilon_2: The least root mean square of a parameter that scales its step.
        clip_threshold: The most that the root mean square of a step may be before scaling.
        relative_step: Whether a constant learning rate is held below 1 / sqrt(step).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        owner = "Adafactor optimizer"
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = checks.not_negative(epsilon_1, "epsilon_1", owner)
        self.epsilon_2 = checks.not_negative(epsilon_2, "epsilon_2", owner)
        self.clip_threshold = checks.not_negative(clip_threshold, "clip_threshold", owner)
        self.relative_step = relative_step

    def rule(self) -> rules.Transformation:
        """Return Adafactor."""
        relative = self.relative_step and not callable(self._learning_rate)
        return rules.adafactor(self.beta_2_decay, self.epsilon_1, self.epsilon_2, self.clip_threshold, relative)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"r": "_r", "c": "_c", "velocity": "_v"}]

    def _slot_name(self, name: str, variable: Variable) -> str:
        return variable.name if name in ("r", "c") else super()._slot_name(name, variable)


@registry.export("optimizers")
class Ftrl(Optimizer):
    """Follow the regularized leader, with L1, L2 and shrinkage (McMahan et al. 2013).

    Args:
        learning_rate: A number, a schedule or a callable.
        learning_rate_power: Exponent by which the rate falls with the sum of squares, zero or less.
        initial_accumulator_value: Start of the sums of squares, zero or more.
        l1_regularization_strength: Strength of L1, zero or more.
        l2_regularization_strength: Strength of L2, zero or more.
        l2_shrinkage_regularization_strength: Strength of L2 on the gradient, zero or more.
        beta: The paper's beta.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        if learning_rate_power > 0:
            raise _wrong("learning_rate_power", "negative", learning_rate_power)
        for argument in ("initial_accumulator_value", *_STRENGTHS):
            if getattr(self, argument) < 0:
                raise _wrong(argument, "positive", getattr(self, argument))

    def rule(self) -> rules.Transformation:
        """Return Ftrl."""
        return rules.ftrl(
            self.learning_rate_power,
            self.initial_accumulator_value,
            self.l1_regularization_strength,
            self.l2_regularization_strength,
            self.l2_shrinkage_regularization_strength,
            self.beta,
        )

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"accumulator": "_accumulators", "linear": "_linears"}]


_STRENGTHS = ("l1_regularization_strength", "l2_regularization_strength", "l2_shrinkage_regularization_strength")


def _wrong(name: str, sign: str, value: float) -> InvalidArgumentError:
    return invalid(f"`{name}` needs to be {sign} or zero.", received=f"{name}={value}.")
