"""A function written in JAX as a layer."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import registry, serialization
from lamina._types import Config, Tree
from lamina.errors import invalid
from lamina.layers import signatures
from lamina.layers.base import Layer
from lamina.random import SeedGenerator, draw_key
from lamina.variables import Variable

_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float)


@registry.export("layers")
class JaxLayer(Layer):
    """The outputs of a pure function of parameters and inputs, such as the `apply` of a Flax or Haiku module.

    Args:
        call_fn: The function. Of the arguments `params`, `state`, `rng`, `inputs` and `training` it takes those that
            it names, `inputs` among them. It returns the outputs, and with a `state` the pair `(outputs, state)`.
        init_fn: Makes parameters and state from those of `rng`, `inputs` and `training` that it names: `params`, or
            `(params, state)`, or `state`, according to what `call_fn` takes.
        params: A tree of arrays to begin with instead: they are trained.
        state: A tree of arrays that `call_fn` changes.
        seed: Seed of `rng`.
        native_serialization_platforms: Kept for Keras scripts.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Raises:
        InvalidArgumentError: If a function has other arguments, or nothing says what `params` and `state` are.
    """

    def __init__(
        self,
        call_fn: Callable[..., Any],
        init_fn: Callable[..., Any] | None = None,
        params: Tree = None,
        state: Tree = None,
        seed: int | None = None,
        native_serialization_platforms: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.call_fn, self.init_fn, self.seed = call_fn, init_fn, seed
        self.native_serialization_platforms = native_serialization_platforms
        self._call_takes = _arguments(call_fn, "call_fn", ("params", "state", "rng", "inputs", "training"))
        self._init_takes = _arguments(init_fn, "init_fn", ("rng", "inputs", "training")) if init_fn else []
        self.seed_generator = SeedGenerator(seed) if "rng" in self._call_takes else None
        stateful = {"params", "state"} & set(self._call_takes)
        if stateful and init_fn is None and params is None and state is None:
            raise invalid(
                "`init_fn`, `params` and `state` cannot all be `None` when `call_fn` takes a `params` or a `state` "
                "argument.",
                owner=f"JaxLayer `{self.name}`",
            )
        self.params, self.state = self._variables(params, True), self._variables(state, False)
        if not stateful or params is not None or state is not None:
            self._build_at_init()

    def _variables(self, tree: Tree, trainable: bool) -> Tree:
        def variable(value: Any) -> Any:
            if not isinstance(value, _ARRAYS):
                return value  # what is no array is a setting of the function
            array = jnp.asarray(value)
            dtype = None if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype.name
            return self.add_weight(array.shape, lambda *_, **__: array, dtype=dtype, trainable=trainable)

        return jax.tree.map(variable, tree)

    def build(self, input_shape: Any) -> None:
        """Make parameters and state for inputs of this shape."""
        if self.init_fn is None or self.params is not None or self.state is not None:
            return
        inputs = jax.tree.map(
            lambda shape: jnp.ones([size or 1 for size in shape]), input_shape, is_leaf=signatures.is_shape
        )
        given = {"rng": draw_key(None), "inputs": inputs, "training": True}
        made = self.init_fn(**{name: given[name] for name in self._init_takes})
        takes = [name for name in ("params", "state") if name in self._call_takes]
        found = dict(zip(takes, made if len(takes) == 2 else (made,), strict=False))
        self.params = self._variables(found.get("params"), True)
        self.state = self._variables(found.get("state"), False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        given = {
            "params": jax.tree.map(_value, self.params),
            "state": jax.tree.map(_value, self.state),
            "rng": self.seed_generator.next() if self.seed_generator is not None and training else None,
            "inputs": inputs,
            "training": training,
        }
        found = self.call_fn(**{name: given[name] for name in self._call_takes})
        if "state" not in self._call_takes:
            return found
        outputs, state = found
        old: Any = jax.tree.structure(given["state"])
        new: Any = jax.tree.structure(state)
        if old != new:
            raise invalid(
                "`call_fn` must return a state of the structure that it was given.",
                owner=f"JaxLayer `{self.name}`",
                received=f"{new} instead of {old}",
            )
        for variable, array in zip(jax.tree.leaves(self.state), jax.tree.leaves(state), strict=True):
            if isinstance(variable, Variable):
                variable.assign(array)
        return outputs

    def get_config(self) -> Config:
        """Return the functions by their registered names; parameters and state are in the weights."""
        config: Config = {**super().get_config(), "params": None, "state": None}
        for name in ("call_fn", "init_fn"):
            config[name] = serialization.serialize(getattr(self, name))
        del config["params"], config["state"]
        return config


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Variable) else leaf


def _arguments(function: Callable[..., Any], name: str, allowed: tuple[str, ...]) -> list[str]:
    """Return the names of the arguments of a function, or raise if it takes others."""
    found = list(inspect.signature(function).parameters)
    if "inputs" not in found:
        raise invalid(f"Missing required argument in `{name}`: `inputs`", received=f"{name}({', '.join(found)})")
    for argument in found:
        if argument not in allowed:
            raise invalid(
                f"Unsupported argument in `{name}`: `{argument}`, supported arguments are `{'`, `'.join(allowed)}`"
            )
    return found
