"""An optimizer around another that finds the loss scale for half precision by itself."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import registry, serialization
from lamina._types import Array, Arrays, Config
from lamina.errors import invalid
from lamina.optimizers import update
from lamina.optimizers.base import Optimizer
from lamina.variables import Variable

_UNSUPPORTED: Config = {
    "weight_decay": None, "clipnorm": None, "global_clipnorm": None, "clipvalue": None, "use_ema": False,
    "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}  # fmt: skip


@registry.export("optimizers")
class LossScaleOptimizer(Optimizer):
    """Scales the loss so that half-precision gradients do not underflow, and lets another optimizer update.

    Gradients that are not finite halve the scale and change nothing else; a run of finite ones doubles it.

    Args:
        inner_optimizer: The optimizer that updates.
        initial_scale: The first scale.
        dynamic_growth_steps: Number of finite steps after which the scale doubles.
        name: Name.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.pop("dynamic", True):
            raise invalid(
                "LossScaleOptimizer no longer supports `dynamic=False`.",
                fix="set `loss_scale_factor` directly on the `inner_optimizer`.",
            )
        for argument in [a for a in kwargs if a in _UNSUPPORTED]:  # older Keras files hold these, at their defaults
            value = kwargs.pop(argument)
            if value != _UNSUPPORTED[argument]:
                raise invalid(
                    f"LossScaleOptimizer does not support `{argument}`.",
                    received=f"{argument}={value!r}",
                    fix=f"set `{argument}` on the `inner_optimizer`.",
                )
        if kwargs:
            raise invalid(f"LossScaleOptimizer does not support arguments: `{'`, `'.join(kwargs)}`.")
        super().__init__(0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None  # else gradients would be divided twice

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the scale, its counter, and the inner optimizer's variables."""
        if self.built:
            return
        self.step_counter = self._make(np.int32(0), "step_counter")
        self.dynamic_scale = self._make(np.float32(self.initial_scale), "dynamic_scale")
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        """The optimizer's own variables, then the inner optimizer's."""
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def iterations(self) -> Any:
        """The number of updates that the inner optimizer made."""
        return self.inner_optimizer.iterations

    @property
    def revision(self) -> int:
        """A number that grows whenever a setting changes that a compiled step has built in."""
        return self._revision + self.inner_optimizer.revision

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    def _advance(self, state: update.State, grads: update.Gradients, params: Arrays) -> tuple[Arrays, update.State]:
        own = list(state)
        finite = self.check_finite(grads)

        def step() -> tuple[Arrays, Arrays]:
            updated, after = self._finite_step(state, grads, params)
            return updated, tuple([after[v] for v in own])

        def skip() -> tuple[Arrays, Arrays]:
            halved = {self.step_counter: jnp.int32(0), self.dynamic_scale: state[self.dynamic_scale] * 0.5}
            return params, tuple([{**state, **halved}[v] for v in own])

        updated, arrays = update.either(finite, step, skip)
        return updated, dict(zip(own, arrays, strict=True))

    def _finite_step(self, state: update.State, grads: update.Gradients, params: Arrays) -> tuple[Arrays, update.State]:
        count, scale = state[self.step_counter], state[self.dynamic_scale]
        unscaled = [
            g if g is None or variable.overwrite_with_gradient else g / scale.astype(g.dtype)
            for g, variable in zip(grads, self._trainable_variables, strict=True)
        ]
        inner = {variable: state[variable] for variable in self.inner_optimizer.variables}
        params, inner = self.inner_optimizer._advance(inner, unscaled, params)
        grown = count == self.dynamic_growth_steps - 1
        counters = {
            self.step_counter: jnp.where(grown, 0, count + 1).astype(count.dtype),
            self.dynamic_scale: jnp.where(grown, scale * 2.0, scale),
        }
        return params, {**state, **inner, **counters}

    def check_finite(self, grads: update.Gradients) -> Array:
        """Return whether no gradient has an infinity or NaN in it."""
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in grads if g is not None]))

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the present scale."""
        return loss * (self.dynamic_scale.value if self.built else self.initial_scale)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Do what the inner optimizer does at the end of fit."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> Config:
        """Return the arguments that make an equal optimizer."""
        return {
            "name": self.name,
            "inner_optimizer": serialization.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }
