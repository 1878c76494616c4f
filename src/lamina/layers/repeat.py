"""The same block many times in a row, each time with weights of its own."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import registry, serialization
from lamina._types import Shape
from lamina.errors import InvalidArgumentError, invalid
from lamina.layers.base import Layer


@registry.export("layers", module="lamina.layers")
class Repeat(Layer):
    """`n` copies of a block, the output of each the input of the next.

    The copies are layers like any others, with names and weights of their own, found in `repeated`. Those that are
    alike are compiled once and run as a loop, however many there are.

    Args:
        block: A layer or a model, of which copies are made: itself the first, the others by its config and with new
            weights; or a function that returns a new layer or model at each call, given the number of the copy if it
            asks for an argument; or a list of `n` layers.
        n: Number of copies, at least 1.
        **kwargs: `name`, `dtype`, `trainable`: see `Layer`.

    Shapes:
        inputs: what the first copy takes
        result: what the last copy gives

    Raises:
        InvalidArgumentError: If `block` makes no layers, or `n` is no whole number of at least 1.
    """

    _has_build = True
    _config_order = ("block", "n")

    def __init__(self, block: Any, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
            raise invalid(
                "`n` must be a whole number of at least 1.", owner=f"Repeat layer `{self.name}`", received=f"n={n!r}"
            )
        self.n = int(n)
        self._alike = isinstance(block, Layer)
        self.repeated: list[Any] = _copies(block, self.n, f"Repeat layer `{self.name}`")
        self.runs: dict[int, Any] = {}  # where copies that are alike begin, and what runs them as one loop

    @property
    def block(self) -> Any:
        """The layer of which copies were made, or the list of all copies."""
        return self.repeated[0] if self._alike else self.repeated

    @property
    def layers(self) -> list[Any]:
        """The copies."""
        return list(self.repeated)

    @property
    def rowwise(self) -> bool:
        """Whether each row of the output depends on that row of the input alone: as the copies."""
        return self.activity_regularizer is None and all(copy.rowwise for copy in self.repeated)

    @rowwise.setter
    def rowwise(self, value: bool) -> None:
        """Do nothing: the copies say it."""

    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        """Whether all copies let masks pass."""
        return all(copy.supports_masking for copy in self.repeated)

    def build(self, input_shape: Any) -> None:
        for copy in self.repeated:
            if not copy.built:
                copy.build(input_shape)
            input_shape = copy.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        for copy in self.repeated:
            input_shape = copy.compute_output_shape(input_shape)
        return input_shape  # type: ignore[no-any-return]

    def call(self, inputs: Any) -> Any:
        place = 0
        while place < self.n:
            run = self.runs.get(place)
            outputs = run.execute(inputs) if run is not None else None
            if run is None or outputs is None:
                inputs, place = self.repeated[place](inputs), place + 1
            else:
                inputs, place = outputs, place + run.count
        return inputs

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "runs": {}}


def _copies(block: Any, n: int, owner: str) -> list[Any]:
    if isinstance(block, type):
        raise _no_layers(f"the class {block.__name__}", owner, f"call it: `Repeat({block.__name__}(...), {n})`.")
    if isinstance(block, Layer):
        found = [block, *(_copy(block, f"{block.name}_{i}") for i in range(1, n))]
    elif isinstance(block, list | tuple):
        found = list(block)
        if len(found) != n:
            raise invalid(
                "A list must hold as many layers as `n` says.", owner=owner, received=f"{len(found)} layers and n={n}"
            )
    elif callable(block):
        numbered = _takes_number(block)
        found = [block(i) if numbered else block() for i in range(n)]
    else:
        raise _no_layers(repr(block), owner, "pass a layer, a model, or a function that returns one.")
    for layer in found:
        if not isinstance(layer, Layer):
            raise _no_layers(f"a {type(layer).__name__}", owner, "return a layer or a model.")
    if len({id(layer) for layer in found}) < n:
        raise _no_layers("the same layer twice", owner, "make a new layer at each call.")
    return found


def _copy(layer: Layer, name: str) -> Any:
    """Return a layer by the config of another, under a name of its own."""
    with serialization.sharing():  # what the copy shares inside, it shares with no other copy
        return type(layer).from_config({**layer.get_config(), "name": name})


def _takes_number(function: Callable[..., Any]) -> bool:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in found)


def _no_layers(received: str, owner: str, fix: str) -> InvalidArgumentError:
    return invalid("`block` must be a layer or make layers.", owner=owner, received=received, fix=fix)
