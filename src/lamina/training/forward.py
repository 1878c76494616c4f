"""The forward pass without XLA: a plain chain of layers predicts in the native library, in microseconds.

Whatever is unusual about a model, its input or the circumstances is left to the ordinary way, which does all and
raises what there is to raise: the functions here then return None.
"""

import math
import threading
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import activations, config, layers, machine
from lamina._types import Array, Numpy
from lamina.layers.context import current
from lamina.native import library
from lamina.native.forward import Network, Outdated
from lamina.native.plan import Plan
from lamina.placing import as_jax
from lamina.training.feed import on_cpu
from lamina.training.native_plan import Unsuited, chain_of, check_input, read_layers
from lamina.variables import Variable, frame_now, moving

# Weights up to which the native forward pass is faster; see docs/design/adr/0013-forward-pass.md.
MOST_WEIGHTS = 1 << 20
INTERRUPTIBLE = 1e10  # operations of one call, a tenth of a second: so long may Ctrl-C wait
QUIET = 1e10  # operations after which a prediction may have a line of progress to show
_ONLY_IN_TRAINING = (layers.Dropout, layers.GaussianDropout, layers.GaussianNoise, layers.AlphaDropout)
_KEY = ("forward",)
_FLOAT = np.dtype(np.float32)
_EXACT = frozenset("?bBhHefd")  # types whose values are all floats of 32 bits, or are rounded to them without a word


class Forward:
    """The forward pass of a model.

    Args:
        model: A model that is built.

    Raises:
        Unsuited: If the kernels cannot do what the model does, or are slower.
    """

    def __init__(self, model: Any) -> None:
        self.graph = model._graph
        self._plan, self.inputs, self._parts = _read(model)
        self._variables = list({id(v): v for part in self._parts for v in part.variables}.values())
        # Attributes of the layers as they are now: if one has changed, all is read anew.
        layers_ = [layer for layer in model._flatten_layers() if layer is not model]
        self._now, self._then = [layer.__dict__ for layer in layers_], [dict(layer.__dict__) for layer in layers_]
        self._lock = threading.Lock()
        self._held: list[tuple[Variable, Array]] = []
        self._network = self._load(None)
        self.outputs, self.operations = self._network.outputs, self._network.operations  # the second for a row
        self.piece = max(1, int(INTERRUPTIBLE / self.operations))  # rows of one call

    def valid(self, model: Any) -> bool:
        """Return whether the model is still what was read."""
        try:
            return model._graph is self.graph and self._now == self._then
        except (ValueError, TypeError, RuntimeError):  # arrays, which are compared number by number
            return False

    def network(self) -> Network:
        """Return the network with the weights as they are now."""
        for variable, array in self._held:
            if variable._own is not array and variable._array is not array:
                return self._load(self._network)
        return self._network

    def _load(self, network: Network | None) -> Network:
        """Take the weights as they are now, into `network` if nobody reads it."""
        with self._lock, moving:  # no dispatch takes the memory of an array over meanwhile
            held = [(v, v._array) for v in self._variables]
            jax.block_until_ready([array for _, array in held])
            known = dict(held)
            kept = [array for part in self._parts for array in part.weights(known)]
            places = [_place(array) for array in kept]
            self.threads = machine.cores()
            if network is None or not network.load(places):
                network = Network(self._plan, places)
            self._held, self._network = held, network
            return network

    def __call__(self, x: Numpy, y: Numpy) -> bool:
        """Fill `y` for rows `x` and return whether all numbers are finite; see `Network`."""
        try:
            if len(y) <= self.piece:
                return self.network()(x, y, self.threads)
            pieces = [slice(at, at + self.piece) for at in range(0, len(y), self.piece)]
            return all(self.network()(x[piece], y[piece], self.threads) for piece in pieces)
        except Outdated:
            self._load(None)
            return self(x, y)


def of(model: Any) -> Forward | None:
    """Return the forward pass of a model, or None if there is none here and now."""
    if model.engine == "xla" or frame_now() is not None or current() is not None:
        return None
    programs = model.programs
    found = programs.get(_KEY)
    if type(found) is Forward and found.valid(model):
        return found
    if found is None or type(found) is Forward or found is not model._graph:
        try:
            found = Forward(model)
        except (Unsuited, MemoryError):
            found = model._graph  # this graph has none
        programs[_KEY] = found
    return found if type(found) is Forward else None


def predict(model: Any, x: Any, *, quiet: bool = True) -> Numpy | None:
    """Return the outputs for rows in an array of NumPy's, or None.

    Args:
        model: The model.
        x: The rows. Any other type gives None.
        quiet: Whether there will be nothing to show, however long it takes.
    """
    if type(x) is not np.ndarray or not x.ndim or not len(x) or model._graph is None:
        return None
    config.same_process()
    forward = of(model)
    if forward is None or x.shape[1:] != forward.inputs:
        return None
    if not quiet and len(x) * forward.operations > QUIET:
        return None
    return _outputs(forward, x)


def asked(model: Any, x: Any, batch_size: Any, verbose: Any, steps: Any, callbacks: Any) -> Numpy | None:
    """Return what `Model.predict` is asked for with these arguments, or None."""
    if steps is not None or callbacks is not None or config.max_steps_per_epoch():
        return None
    if type(verbose) not in (int, str, bool) or verbose not in (0, "auto"):
        return None
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        return None
    return predict(model, x, quiet=verbose == 0)


def call(model: Any, x: Numpy) -> Array | None:
    """Return the outputs of a call on an array of NumPy's as an array of JAX's, or None."""
    found = predict(model, x)
    return None if found is None else as_jax(found)


def _outputs(forward: Forward, x: Numpy) -> Numpy | None:
    ready = as_floats(x)
    if ready is None:
        return None
    y = np.empty((len(x), forward.outputs), np.float32)
    return y if forward(ready, y) else None


def as_floats(x: Numpy) -> Numpy | None:
    """Return an array in float32 and C order, without a copy if it is; None if its type may need a word."""
    if x.dtype is not _FLOAT:
        if not x.dtype.isnative or x.dtype.char not in _EXACT:
            return None
        with np.errstate(over="ignore"):  # what becomes infinite is refused afterwards
            return np.ascontiguousarray(x, np.float32)
    return np.ascontiguousarray(x, np.float32)


class _Part(NamedTuple):
    """A Dense layer and the normalizations that become part of its weights: of its inputs, and of its outputs."""

    dense: Any
    before: Any = None
    after: Any = None

    @property
    def variables(self) -> list[Variable]:
        """All variables behind its weights."""
        found = [self.dense.kernel, self.dense.bias]
        for norm in (self.before, self.after):
            if norm is not None:
                found += [norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance]
        return [v for v in found if v is not None]

    def weights(self, known: dict[Variable, Array]) -> tuple[Any, Any]:
        """Return kernel and bias, normalizations included, from the arrays of its variables. The bias may be None."""
        kernel, bias = known[self.dense.kernel], None if self.dense.bias is None else known[self.dense.bias]
        if self.before is None and self.after is None:
            return kernel, bias
        weight = np.array(kernel, np.float64)
        shift = np.zeros(weight.shape[1]) if bias is None else np.array(bias, np.float64)
        if self.before is not None:
            scale, offset = _affine(self.before, known)
            shift, weight = shift + offset @ weight, scale[:, None] * weight
        if self.after is not None:
            scale, offset = _affine(self.after, known)
            shift, weight = shift * scale + offset, weight * scale
        return weight.astype(np.float32, order="C"), shift.astype(np.float32)


def _affine(norm: Any, known: dict[Variable, Array]) -> tuple[Numpy, Numpy]:
    """Return factors and summands `(features,)` of a normalization in inference."""
    factor = 1.0 / np.sqrt(np.array(known[norm.moving_variance], np.float64) + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * np.array(known[norm.gamma], np.float64)
    shift = -np.array(known[norm.moving_mean], np.float64) * factor
    return factor, shift if norm.beta is None else shift + np.array(known[norm.beta], np.float64)


def _place(array: Any) -> int:
    """Return the address of an array of NumPy's or JAX's; 0 for None."""
    if array is None:
        return 0
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.unsafe_buffer_pointer())


def _read(model: Any) -> tuple[Plan, tuple[int, ...], list[_Part]]:
    """Return the plan of a model, the shape of a row of its input, and the parts that its layers are made of."""
    if reason := library.why_not() or ("" if on_cpu() else "the default device is no CPU"):
        raise Unsuited(reason)
    chain = [layer for layer in chain_of(model) if type(layer) not in _ONLY_IN_TRAINING]
    shape = model._graph.inputs[0].shape
    check_input(model._graph.inputs[0], chain)
    if shape[0] is not None or any(size is None for size in shape[1:]) or model.input_spec is not None:
        raise Unsuited(f"its input has the shape {shape}")
    if isinstance(model._graph.inputs_struct, list | tuple | dict):
        raise Unsuited("its input is in a list")
    if model.has_own_step("predict_step") or _own_call(model):
        raise Unsuited("its calls are its own")
    for layer in model._flatten_layers():
        if layer.activity_regularizer is not None or "call" in layer.__dict__:
            raise Unsuited(f"layer `{layer.name}` does more than compute its output")
        if layer.compute_dtype != "float32" or layer.variable_dtype != "float32":
            raise Unsuited(f"layer `{layer.name}` computes in {layer.compute_dtype}")
    plain, parts = _folded(chain)
    layers_ = read_layers(plain)
    if sum(layer.inputs * layer.units for layer in layers_) > MOST_WEIGHTS:
        raise Unsuited("with so many weights XLA is faster")
    if layers_[0].inputs != math.prod(shape[1:]) or not all(_is_here(v) for part in parts for v in part.variables):
        raise Unsuited("not all of its weights are float32 in the memory of one CPU")
    for layer in model._flatten_layers():
        layer._called = True
    return Plan(layers_), tuple(shape[1:]), parts


def _folded(chain: list[Any]) -> tuple[list[Any], list[_Part]]:
    """Return the layers without normalizations, and each Dense layer with its normalizations.

    Raises:
        Unsuited: If a normalization is neither right after a Dense layer without activation nor before one.
    """
    plain: list[Any] = []
    parts: list[_Part] = []
    before: Any = None  # of the Dense layer to come
    for layer in chain:
        if type(layer) is layers.BatchNormalization:
            last = plain[-1] if plain else None
            bare = type(last) is layers.Dense and activations.linear is last.activation
            if layer.axis not in (-1, 1) or before is not None or (bare and parts[-1].after is not None):
                raise Unsuited(f"layer `{layer.name}` normalizes another axis, or after a normalization")
            if bare:
                parts[-1] = parts[-1]._replace(after=layer)
            else:
                before = layer
            continue
        if before is not None and type(layer) is not layers.Dense:
            break
        if type(layer) is layers.Dense:
            parts.append(_Part(layer, before))
            before = None
        plain.append(layer)
    if before is not None:
        raise Unsuited(f"layer `{before.name}` is followed by no Dense layer")
    return plain, parts


def _own_call(model: Any) -> bool:
    """Return whether a class of the user's says what a call does."""
    own = [cls for cls in type(model).__mro__ if not cls.__module__.startswith("lamina.")]
    return any({"__call__", "call"} & set(vars(cls)) for cls in own if cls is not object)


def _is_here(variable: Variable) -> bool:
    devices = variable._array.devices()
    return variable._dtype == "float32" and len(devices) == 1 and next(iter(devices)).platform == "cpu"
