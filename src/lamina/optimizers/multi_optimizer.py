"""One optimizer for each part of a model."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from lamina import registry, serialization
from lamina._types import Arrays, Config
from lamina.errors import InvalidTypeError, invalid
from lamina.optimizers import update
from lamina.optimizers.base import Optimizer
from lamina.optimizers.loss_scale_optimizer import LossScaleOptimizer
from lamina.variables import Variable


@registry.export("optimizers")
class OptimizerMap(serialization.Configurable):
    """Which optimizer trains which variable: a dict from paths, or regular expressions for whole paths.

    Args:
        default_optimizer: The optimizer of variables that no key matches.
        optimizer_map: Keys and optimizers to begin with.
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise InvalidTypeError(
                f"default_optimizer must be a Keras Optimizer instance. Received: {default_optimizer}"
            )
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise InvalidTypeError(f"optimizer_map must be a dictionary. Received: {optimizer_map}")
        self.default_optimizer = default_optimizer
        self._optimizer_map = dict(optimizer_map or {})

    @property
    def optimizer_map(self) -> dict[str, Optimizer]:
        """The keys and their optimizers."""
        return self._optimizer_map

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the map that `get_config` described."""
        return cls(**{name: serialization.deserialize(value) for name, value in config.items()})

    def values(self) -> list[Optimizer]:
        """Return the optimizers that have a key."""
        return list(self._optimizer_map.values())

    def __getitem__(self, key: str) -> Optimizer:
        if key in self._optimizer_map:
            return self._optimizer_map[key]
        matches = [pattern for pattern in self._optimizer_map if re.fullmatch(pattern, key)]
        if len(matches) > 1:
            raise invalid(f"Multiple optimizers assigned to variable {key}.", received=f"keys {matches}")
        return self._optimizer_map[matches[0]] if matches else self.default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        if key in self._optimizer_map:
            raise invalid(f"'{key}' already exists in the OptimizerMap with value {self._optimizer_map[key]}.")
        if not isinstance(key, str):
            raise invalid("key must be a string.", received=repr(key))
        if not isinstance(optimizer, Optimizer):
            raise invalid("optimizer must be a Keras Optimizer instance.", received=repr(optimizer))
        _plain(optimizer, "optimizer cannot be {name}.")
        self._optimizer_map[key] = optimizer

    def __delitem__(self, key: str) -> None:
        del self._optimizer_map[key]

    def __len__(self) -> int:
        return len(self._optimizer_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizer_map)

    def __call__(self, variable: Variable) -> Optimizer:
        return self[variable.path]


def _plain(optimizer: Optimizer, text: str) -> None:
    if isinstance(optimizer, LossScaleOptimizer | MultiOptimizer):
        raise invalid(text.format(name=type(optimizer).__name__))


@registry.export("optimizers")
class MultiOptimizer(Optimizer):
    """Gives each variable to an optimizer of its own choice.

    Args:
        optimizer_map: An `OptimizerMap`, or a function from a variable to an optimizer.
        loss_scale_factor: The loss scale; it replaces that of each optimizer.
        name: Name.
    """

    def __init__(
        self,
        optimizer_map: Callable[[Variable], Optimizer],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._inner_optimizers: list[Optimizer] = []
        self._optimizer_map = optimizer_map
        self._var_to_optimizer_idx: dict[Variable, int] = {}
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._add(optimizer)

    def _add(self, optimizer: Optimizer) -> int:
        known = [i for i, inner in enumerate(self._inner_optimizers) if inner is optimizer]
        if known:
            return known[0]
        optimizer.loss_scale_factor = self.loss_scale_factor
        self._inner_optimizers.append(optimizer)
        return len(self._inner_optimizers) - 1

    def build(self, variables: Sequence[Variable]) -> None:
        """Let each optimizer create its variables for its share of the model."""
        if self.built:
            return
        for variable in variables:
            optimizer = self._optimizer_map(variable)
            if not isinstance(optimizer, Optimizer):
                raise invalid(f"Optimizer for variable {variable.path} is not an Optimizer instance.")
            _plain(optimizer, "{name} cannot be used inside an MultiOptimizer.")
            self._var_to_optimizer_idx[variable] = self._add(optimizer)
        for index, optimizer in enumerate(self._inner_optimizers):
            share = [v for v in variables if self._var_to_optimizer_idx[v] == index]
            if share:
                optimizer.build(share)
        super().build(variables)

    @property
    def loss_scale_factor(self) -> float | None:
        """The loss scale, which every optimizer inside has too."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale_factor = value
        for optimizer in self.__dict__.get("_inner_optimizers", ()):
            optimizer.loss_scale_factor = value

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers inside."""
        return self._inner_optimizers

    @property
    def variables(self) -> list[Variable]:
        """The optimizer's own variables, then those of each optimizer inside."""
        return [*self._variables, *[v for optimizer in self._inner_optimizers for v in optimizer.variables]]

    @property
    def revision(self) -> int:
        """A number that grows whenever a setting changes that a compiled step has built in."""
        return self._revision + sum(optimizer.revision for optimizer in self._inner_optimizers)

    @property
    def learning_rate(self) -> Any:
        """There is none: each optimizer inside has its own."""
        raise AttributeError(
            "Learning rate cannot be accessed on a MultiOptimizer. Access it on the `optimizers` inside instead."
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(
            "Learning rate cannot be set on a MultiOptimizer. Set it on the `optimizers` inside instead."
        )

    def _advance(self, state: update.State, grads: update.Gradients, params: Arrays) -> tuple[Arrays, update.State]:
        values, state = list(params), dict(state)
        for index, optimizer in enumerate(self._inner_optimizers):
            of = self._var_to_optimizer_idx
            share = [i for i, v in enumerate(self._trainable_variables) if of[v] == index]
            if any(grads[i] is not None for i in share):
                own = {variable: state[variable] for variable in optimizer.variables}
                new, own = optimizer._advance(own, [grads[i] for i in share], tuple([params[i] for i in share]))
                state.update(own)
                for i, array in zip(share, new, strict=True):
                    values[i] = array
        state[self._iterations] = state[self._iterations] + 1
        return tuple(values), state

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Do what each optimizer inside does at the end of fit."""
        for index, optimizer in enumerate(self._inner_optimizers):
            share = [v for v in var_list if self._var_to_optimizer_idx[v] == index]
            if share:
                optimizer.finalize_variable_values(share)

    def get_config(self) -> Config:
        """Return the arguments that make an equal optimizer."""
        return {
            "optimizer_map": serialization.serialize(self._optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }
