"""Optimizers with a momentum and no second moment: SGD, Lion, Muon."""

import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import registry
from lamina._types import Array
from lamina.errors import invalid
from lamina.optimizers import checks, rules
from lamina.optimizers.base import Optimizer
from lamina.variables import Variable


@registry.export("optimizers")
class SGD(Optimizer):
    """Gradient descent, plain or with (Nesterov) momentum: `m <- momentum m - rate g; w <- w + m`.

    Args:
        learning_rate: A number, a schedule or a callable.
        momentum: Share of the last step that the next one keeps, in [0, 1].
        nesterov: Whether the gradient is taken as if the momentum had been applied already.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        if not checks.is_number(momentum) or not 0 <= momentum <= 1:
            raise invalid(
                "`momentum` must be a float between [0, 1].", owner="SGD optimizer", received=f"momentum={momentum!r}"
            )
        self.momentum = momentum
        self.nesterov = nesterov
        self.momentums: list[Variable | None] = []

    def rule(self) -> rules.Transformation:
        """Return gradient descent."""
        return rules.sgd(self.momentum, self.nesterov)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "momentums"}] if self.momentum else []


@registry.export("optimizers")
class Lion(Optimizer):
    """Steps of one size in the direction of a momentum's sign (arXiv:2302.06675).

    Args:
        learning_rate: A number, a schedule or a callable; about a tenth of Adam's.
        beta_1: Share of the momentum in the direction, in (0, 1].
        beta_2: Decay of the momentum.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
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
        if not checks.is_number(beta_1) or not 0 < beta_1 <= 1:
            raise invalid(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to SignSGD.",
                received=f"beta_1={beta_1}.",
            )
        self.beta_1 = beta_1
        self.beta_2 = checks.share(beta_2, "beta_2", "Lion optimizer")

    def rule(self) -> rules.Transformation:
        """Return Lion."""
        return rules.lion(self.beta_1, self.beta_2)

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "_momentums"}]


@registry.export("optimizers")
class Muon(Optimizer):
    """Orthogonalized momentum for matrices, Adam for all else (arXiv:2502.16982).

    Args:
        learning_rate: A number, a schedule or a callable.
        adam_beta_1: Adam's decay of the first moment.
        adam_beta_2: Adam's decay of the second moment.
        adam_weight_decay: Weight decay of what Adam updates.
        epsilon: Adam's.
        exclude_layers: Regular expressions; variables whose path has one are left to Adam.
        exclude_embeddings: Whether embeddings are left to Adam.
        muon_a: First coefficient of the Newton-Schulz iteration.
        muon_b: Second coefficient.
        muon_c: Third coefficient.
        adam_lr_ratio: Adam's learning rate as a multiple of `learning_rate`.
        momentum: Momentum of the matrices.
        ns_steps: Number of Newton-Schulz iterations.
        nesterov: Whether the momentum is Nesterov's.
        rms_rate: Root mean square that a step of a learning rate of 1 has. None: it is not adjusted.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        owner = "Muon optimizer"
        self.adam_beta_1 = checks.share(adam_beta_1, "adam_beta_1", owner, below_one=True)
        self.adam_beta_2 = checks.share(adam_beta_2, "adam_beta_2", owner, below_one=True)
        self.adam_weight_decay = checks.not_negative(adam_weight_decay, "adam_weight_decay", owner)
        self.epsilon = checks.not_negative(epsilon, "epsilon", owner)
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = exclude_embeddings
        self.muon_a = muon_a
        self.muon_b = muon_b
        self.muon_c = muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = checks.share(momentum, "momentum", owner)
        self.ns_steps = ns_steps
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def rule(self) -> rules.Transformation:
        """Return Muon, with Adam for what has a velocity."""
        adam = rules.adam(self.adam_beta_1, self.adam_beta_2, self.epsilon)
        return rules.muon(self.momentum, self.nesterov, self._direction, adam, self.adam_lr_ratio)

    def _direction(self, momentum: Array) -> Array:
        return self.lr_adjust(self.zeropower_via_newtonschulz5(momentum, self.ns_steps))

    def lr_adjust(self, x: Array) -> Array:
        """Return a matrix scaled so that a learning rate means the same as for Adam."""
        return x if self.rms_rate is None else x * (max(x.shape[0], x.shape[1]) ** 0.5 * self.rms_rate)

    def zeropower_via_newtonschulz5(self, x: Array, steps: int) -> Array:
        """Return about the nearest orthogonal matrix.

        Raises:
            InvalidArgumentError: If `x` has fewer than two axes.
        """
        x = jnp.asarray(x)
        if x.ndim < 2:
            raise invalid(
                "Expected gradient or momentum to have at least 2 dimensions.",
                owner=self._owner,
                received=f"shape={tuple(x.shape)}",
            )
        return rules.orthogonalize(x, steps, self.muon_a, self.muon_b, self.muon_c)

    def _should_use_adamw(self, variable: Variable) -> bool:
        if len(variable.shape) != 2 or (self.exclude_embeddings and "embedding" in variable.path.lower()):
            return True
        return any(re.search(keyword, variable.path) for keyword in self.exclude_layers)

    def _weight_decay_of(self, variable: Variable) -> float | None:
        if not self._use_weight_decay(variable):
            return None
        decay: float | None = self.adam_weight_decay if self._should_use_adamw(variable) else self.weight_decay
        return decay

    def _slot_groups(self) -> list[dict[str, str]]:
        return [{"momentum": "momentums", "velocity": "adam_velocities"}]

    def _has_slot(self, name: str, variable: Variable) -> bool:
        return super()._has_slot(name, variable) and (name == "momentum" or self._should_use_adamw(variable))
