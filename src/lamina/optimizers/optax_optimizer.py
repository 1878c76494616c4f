"""Any transformation of optax as an optimizer."""

import re
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp

from lamina import registry
from lamina._types import Array, Config
from lamina.errors import invalid, message
from lamina.optimizers import checks
from lamina.optimizers.base import Optimizer, State
from lamina.variables import Variable


def is_transformation(value: Any) -> bool:
    """Return whether a value is an `optax.GradientTransformation`: it has `init` and `update`."""
    return (
        not isinstance(value, type)
        and callable(getattr(value, "init", None))
        and callable(getattr(value, "update", None))
    )


@registry.export("optimizers", module="lamina.optimizers")
class OptaxOptimizer(Optimizer):
    """Any `optax.GradientTransformation` as an optimizer: the leaves of its state become variables.

    Args:
        transformation: The transformation. What it returns is added to the parameters, as by `optax.apply_updates`.
        learning_rate: Multiplies what the transformation returns. 1.0 leaves it as it is. Of a transformation made by
            `optax.inject_hyperparams` the attribute `learning_rate` is the rate inside it.
    """

    def __init__(
        self,
        transformation: Any,
        learning_rate: Any = 1.0,
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
        if not is_transformation(transformation):
            raise invalid(
                "Argument `transformation` must be an `optax.GradientTransformation`.",
                owner="OptaxOptimizer",
                received=repr(transformation),
            )
        self.transformation = transformation
        self._leaves: list[Variable | None] = []
        self._injected: Variable | None = None

    @property
    def learning_rate(self) -> Any:
        """The transformation's own rate if `optax.inject_hyperparams` made it changeable, else the multiplier."""
        return self._rate({}) if self._injected is None else self._injected.value

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if self._injected is None or callable(value):
            Optimizer.learning_rate.__set__(self, value)  # type: ignore[attr-defined]
        else:
            traced = isinstance(value, jax.core.Tracer | Variable)
            self._injected.assign(value if traced else checks.learning_rate(value, self._owner))

    def build(self, variables: Sequence[Variable]) -> None:
        """Create a variable for each leaf of the transformation's state."""
        if self.built:
            return
        super().build(variables)
        with jax.ensure_compile_time_eval():
            state = self.transformation.init(tuple([v.value for v in variables]))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            name = re.sub(r"\W+", "_", jax.tree_util.keystr(path)).strip("_")
            self._leaves.append(self._make(jnp.asarray(leaf), name or "state"))
            if name == "hyperparams_learning_rate":
                self._injected = self._leaves[-1]
        self._structure = jax.tree.structure(state)

    def _apply_rule(
        self,
        state: State,
        indices: list[int],
        grads: list[Any],
        values: list[Any],
        rate: Array,
        one: bool = False,
    ) -> tuple[State, list[Array]]:
        """Update by the transformation. A parameter without a gradient counts as one with a gradient of zero."""
        given = dict(zip(indices, grads, strict=True))
        full = tuple([given[i].astype(p.dtype) if i in given else jnp.zeros_like(p) for i, p in enumerate(values)])
        leaves = [v for v in self._leaves if v is not None]
        inner = jax.tree.unflatten(self._structure, [state[v] for v in leaves])
        updates, inner = self.transformation.update(full, inner, tuple(values))
        after = [
            p + (u * rate).astype(p.dtype) if i in given else p
            for i, (p, u) in enumerate(zip(values, updates, strict=True))
        ]
        arrays = [jnp.asarray(a).astype(state[v].dtype) for a, v in zip(jax.tree.leaves(inner), leaves, strict=True)]
        return {**state, **dict(zip(leaves, arrays, strict=True))}, after

    def get_config(self) -> Config:
        """Raise: a transformation is code, and files hold none."""
        raise NotImplementedError(
            message(
                "An optax transformation cannot be described by a config.",
                owner=self._owner,
                fix="save the weights alone with `save_weights`, which keeps its state too, or compile the model with "
                "one of the optimizers in `lamina.optimizers` first.",
            )
        )

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> Self:
        """Raise, as `get_config` does."""
        raise NotImplementedError("An optax transformation cannot be described by a config.")
