"""Optimizers with a first and a second moment: Adam and its family."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import config, registry
from lamina.errors import invalid
from lamina.optimizers import checks, rules
from lamina.optimizers.base import Optimizer
from lamina.variables import Variable


@registry.export("optimizers")
class Adam(Optimizer):
    """Momentum over the root of the mean square, both corrected for their start at zero (arXiv:1412.6980).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite, beside the uncorrected root.
        amsgrad: Whether the largest second moment so far divides (Reddi et al. 2018).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        owner = f"{type(self).__name__} optimizer"
        self.beta_1 = checks.share(beta_1, "beta_1", owner, below_one=True)
        self.beta_2 = checks.share(beta_2, "beta_2", owner, below_one=True)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)
        self.amsgrad = amsgrad

    def rule(self) -> rules.Transformation:
        """Return Adam."""
        return rules.adam(self.beta_1, self.beta_2, self.epsilon, self.amsgrad)

    def _slot_groups(self) -> list[dict[str, str]]:
        moments = {"momentum": "_momentums", "velocity": "_velocities"}
        return [moments, {"velocity_hat": "_velocity_hats"}] if self.amsgrad else [moments]


@registry.export("optimizers", "adamw")
class AdamW(Adam):
    """Adam with decoupled weight decay (arXiv:1711.05101).

    Args:
        learning_rate: A number, a schedule or a callable.
        weight_decay: Share of each parameter, times the learning rate, taken off before each update.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite, beside the uncorrected root.
        amsgrad: Whether the largest second moment so far divides.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm, clipvalue, global_clipnorm,
            use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
            **kwargs,
        )  # fmt: skip
        if weight_decay is None:
            raise invalid(
                "Argument `weight_decay` must be a float.",
                owner="AdamW optimizer",
                received="weight_decay=None",
                fix="use `Adam`, which has no weight decay.",
            )


@registry.export("optimizers")
class Adamax(Optimizer):
    """Adam with the largest gradient in place of the mean square (arXiv:1412.6980, section 7.1).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        owner = "Adamax optimizer"
        self.beta_1 = checks.share(beta_1, "beta_1", owner, below_one=True)
        self.beta_2 = checks.share(beta_2, "beta_2", owner, below_one=True)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)

    def rule(self) -> rules.Transformation:
        """Return Adamax."""
        return rules.adamax(self.beta_1, self.beta_2, self.epsilon)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "_m", "norm": "_u"}]


@registry.export("optimizers")
class Nadam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        owner = "Nadam optimizer"
        self.beta_1 = checks.share(beta_1, "beta_1", owner, below_one=True)
        self.beta_2 = checks.share(beta_2, "beta_2", owner, below_one=True)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the moments, and the product of the momentum's decays, which all parameters share."""
        if self.built:
            return
        super().build(variables)
        dtype = variables[0].dtype if variables else config.floatx()
        self._u_product = self._make(jnp.ones((), dtype), None)

    def rule(self) -> rules.Transformation:
        """Return Nadam."""
        return rules.nadam(self.beta_1, self.beta_2, self.epsilon)

    def _rule_for_one(self) -> rules.Transformation:
        return rules.nadam(self.beta_1, self.beta_2, self.epsilon, begun=True)

    def _begin_update(self) -> None:
        step = rules.count(jnp.asarray(self.iterations), self._u_product.value)
        self._u_product.assign(self._u_product.value * rules.nadam_factor(self.beta_1, step))

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "_momentums", "velocity": "_velocities"}]

    def _slots(self) -> rules.Slots:
        return {**super()._slots(), "u_product": self._u_product}


@registry.export("optimizers")
class Lamb(Optimizer):
    """Adam whose step is scaled to the norm of each parameter, for large batches (arXiv:1904.00962).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        owner = "Lamb optimizer"
        self.beta_1 = checks.share(beta_1, "beta_1", owner, below_one=True)
        self.beta_2 = checks.share(beta_2, "beta_2", owner, below_one=True)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)

    def rule(self) -> rules.Transformation:
        """Return Lamb."""
        return rules.lamb(self.beta_1, self.beta_2, self.epsilon)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "_momentums", "velocity": "_velocities"}]


@registry.export("optimizers")
class ScheduleFreeAdamW(Optimizer):
    """AdamW that averages its iterates and needs no schedule (arXiv:2405.15682).

    Args:
        learning_rate: A number, a schedule or a callable.
        beta_1: Share of the average in the point where gradients are taken, in (0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Keeps the division finite.
        warmup_steps: Steps in which the learning rate rises to its value.
    """

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
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
        owner = "ScheduleFreeAdamW optimizer"
        self.beta_1 = checks.share(beta_1, "beta_1", owner, below_one=True)
        self.beta_2 = checks.share(beta_2, "beta_2", owner, below_one=True)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)
        if beta_1 == 0:
            raise invalid("Argument `beta_1` must be greater than 0.", owner=owner, received=f"beta_1={beta_1}")
        self.warmup_steps = warmup_steps

    def rule(self) -> rules.Transformation:
        """Return schedule-free AdamW."""
        return rules.schedule_free_adamw(self.beta_1, self.beta_2, self.epsilon, self.warmup_steps)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "_momentums", "velocity": "_velocities"}]
