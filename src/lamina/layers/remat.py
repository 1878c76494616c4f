"""Memory for work: what a layer's call computes is computed again for its gradient, instead of kept (`jax.checkpoint`).

Source: T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016,
https://arxiv.org/abs/1604.06174.
"""

import functools
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import activations
from lamina.errors import InvalidTypeError, did_you_mean, invalid, message
from lamina.layers.context import CallContext, current, get_mask, set_mask
from lamina.ops.dispatch import first_symbolic
from lamina.variables import Variable, branched

_MODES = ("full", "activations", "larger_than", "list_of_layers")

swapping = threading.RLock()  # held while a layer's activation is another one


class RematMode(NamedTuple):
    """What of a layer is computed again.

    Attributes:
        mode: 'full', 'activations', 'larger_than' or 'list_of_layers'; None for nothing.
        output_size_threshold: Elements of the output from which on 'larger_than' counts.
        layer_names: The names that 'list_of_layers' means.
    """

    mode: str | None
    output_size_threshold: int
    layer_names: tuple[str, ...]


_scopes: ContextVar[tuple[RematMode, ...]] = ContextVar("remat_scopes", default=())


class RematScope:
    """Layers made inside the block compute again for the gradient what they would otherwise keep from the call.

    Results and gradients stay the same. What is saved counts in training alone, and mostly for wide batches.

    Args:
        mode: 'full': all of each layer. 'activations': the activation of each layer that has one. 'larger_than': layers
            whose output has more than `output_size_threshold` elements, the batch included. 'list_of_layers': those in
            `layer_names`. None: no layer, also inside another scope.
        output_size_threshold: See `mode`.
        layer_names: See `mode`.

    Raises:
        InvalidArgumentError: For another mode.
    """

    def __init__(
        self, mode: str | None = "full", output_size_threshold: int = 1024, layer_names: Iterable[str] | None = None
    ) -> None:
        if mode is not None and mode not in _MODES:
            raise invalid(
                f"Invalid mode '{mode}'. Supported modes are: {', '.join(map(repr, _MODES))} and None.",
                owner="RematScope",
                fix=did_you_mean(str(mode), _MODES),
            )
        if isinstance(layer_names, str):
            raise invalid(
                "`layer_names` must be a list of names.",
                owner="RematScope",
                received=f"layer_names={layer_names!r}",
                fix=f"pass [{layer_names!r}].",
            )
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or [])
        self._tokens: list[Token[tuple[RematMode, ...]]] = []

    def __enter__(self) -> "RematScope":
        mode = RematMode(self.mode, self.output_size_threshold, tuple(self.layer_names))
        self._tokens.append(_scopes.set((*_scopes.get(), mode)))
        return self

    def __exit__(self, *details: object) -> None:
        _scopes.reset(self._tokens.pop())


def get_current_remat_mode() -> RematMode | None:
    """Return what the innermost `RematScope` asks for, or None outside of all."""
    scopes = _scopes.get()
    return scopes[-1] if scopes else None


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives what `f` gives, and computes it again for the gradient instead of keeping it.

    `f` may be a layer, or call layers: what it changes (moving averages, random streams, losses) is changed once.

    Raises:
        InvalidTypeError: If `f` is not callable.
    """
    if not callable(f):
        raise InvalidTypeError(message("`remat` needs a function or a layer.", received=f"f={f!r}"))

    @functools.wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        context = current()
        if first_symbolic(args) is not None or first_symbolic(kwargs.values()) is not None:
            return f(*args, **kwargs)
        if context is not None and (context.observer is not None or not (context.collecting or _traced(args, kwargs))):
            return f(*args, **kwargs)  # somebody watches the values themselves, or there is no gradient to come
        return _checkpointed(f, args, kwargs, context)

    return again


def _traced(args: Any, kwargs: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))


def call_of(layer: Any, mode: RematMode, call: Callable[..., Any], args: Any, kwargs: Any) -> Callable[..., Any]:
    """Return what a layer calls in the place of `call`."""
    if mode.mode == "activations" and getattr(layer, "activation", None) not in (None, activations.linear):
        return functools.partial(_with_activation_again, layer, call)
    if mode.mode == "full" or (mode.mode == "list_of_layers" and layer.name in mode.layer_names):
        return remat(call)
    if mode.mode == "larger_than":
        specs = jax.tree.leaves(layer.compute_output_spec(*args, **kwargs))
        if sum(int(np.prod([size or 1 for size in spec.shape])) for spec in specs) > mode.output_size_threshold:
            return remat(call)
    return call


def _with_activation_again(layer: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with swapping:
        activation = layer.activation
        layer.activation = remat(activation)
        try:
            return call(*args, **kwargs)
        finally:
            layer.activation = activation


def _checkpointed(f: Callable[..., Any], args: Any, kwargs: Any, context: CallContext | None) -> Any:
    """Run `f` under `jax.checkpoint`. What it does beside returning something leaves the trace as further outputs."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    leaves = [leaf.value if isinstance(leaf, Variable) else leaf for leaf in leaves]
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)]
    found: dict[str, Any] = {}  # what is no array: it is known once `pure` has been traced

    def pure(arrays: list[Any]) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
            mask = get_mask(leaves[place])
            if mask is not None:
                set_mask(array, mask)
        inner_args, inner_kwargs = jax.tree.unflatten(structure, filled)
        kept = [] if context is None else context.losses
        if context is not None:
            context.losses = []
        try:
            with branched() as state:
                before = dict(state)
                outputs, found["structure"] = jax.tree.flatten(f(*inner_args, **inner_kwargs))
            losses = [] if context is None else context.losses
        finally:
            if context is not None:
                context.losses = kept
        changed = {variable: array for variable, array in state.items() if before.get(variable) is not array}
        found["changed"] = list(changed)
        found["plain"] = [None if isinstance(output, jax.Array) else output for output in outputs]
        arrays_out = [output if isinstance(output, jax.Array) else None for output in outputs]
        masks = [get_mask(output) if isinstance(output, jax.Array) else None for output in outputs]
        return arrays_out, masks, list(changed.values()), losses

    outputs, masks, changed, losses = jax.checkpoint(pure)([leaves[place] for place in places])
    for variable, array in zip(found["changed"], changed, strict=True):
        variable.assign(array)
    if context is not None:
        context.losses.extend(losses)
    for output, mask in zip(outputs, masks, strict=True):
        if mask is not None:
            set_mask(output, mask)
    filled = [p if output is None else output for p, output in zip(found["plain"], outputs, strict=True)]
    return jax.tree.unflatten(found["structure"], filled)
