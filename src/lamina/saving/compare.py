"""The same inputs in lamina and in the runtime of another framework, and how far their outputs are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.interop import Format, Net, peers

ROWS = 64
_SEED = 20


@dataclass(frozen=True)
class Comparison:
    """What another runtime computed beside lamina.

    Attributes:
        side: "source" or "target".
        title: The format.
        difference: The largest difference between two numbers, or None if nothing was compared.
        scale: The largest number that lamina computed.
        why: Why nothing was compared; empty otherwise.
    """

    side: str
    title: str
    difference: float | None
    scale: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.title} ({self.side}): not compared, {self.why}"
        return (
            f"{self.title} ({self.side}) beside lamina: {ROWS} inputs, largest difference {self.difference:.1e} "
            f"(largest output {self.scale:.3g})"
        )


def sample_inputs(model: Any) -> list[Numpy]:
    """Return 64 rows for each input of a model: normal numbers, or zeros and ones where it takes integers."""
    rng = np.random.default_rng(_SEED)
    found = []
    for tensor in model.inputs:
        shape = (ROWS, *(8 if size is None else size for size in tensor.shape[1:]))
        if np.dtype(str(tensor.dtype) if tensor.dtype != "bfloat16" else "float32").kind in "iub":
            found.append(rng.integers(0, 2, shape).astype(tensor.dtype))
        else:
            found.append(rng.normal(size=shape).astype("float32"))
    return found


def predicted(model: Any, inputs: Sequence[Numpy]) -> list[Numpy]:
    """Return what a model computes, an array for each of its outputs."""
    import jax

    given = jax.tree.unflatten(jax.tree.structure(model.input), list(inputs))
    return [np.asarray(array) for array in jax.tree.leaves(model(given, training=False))]


def compared(
    side: str, form: Format, path: str, inputs: Sequence[Numpy], net: Net, expected: Sequence[Numpy]
) -> Comparison:
    """Return how far what a format's own runtime computes is from what lamina does.

    Raises:
        InvalidArgumentError: If the runtime gives outputs of another number or shape.
    """
    try:
        found = form.verify(path, inputs, net)
    except peers.PeerError as error:
        return Comparison(side, form.title, None, why=str(error))
    if found is None:
        why = f"package `{form.peer}` is not installed." if form.peer else "it has no runtime to compare with."
        return Comparison(side, form.title, None, why=why)
    shapes = [array.shape for array in found]
    if [array.size for array in found] != [array.size for array in expected]:
        raise invalid(
            f"{form.title} gives outputs of other shapes than lamina.",
            received=f"{shapes} instead of {[array.shape for array in expected]}",
        )
    apart = [np.abs(np.asarray(a, "float64").ravel() - b.ravel()) for a, b in zip(found, expected, strict=True)]
    scale = max(float(np.max(np.abs(b), initial=0.0)) for b in expected)
    return Comparison(side, form.title, max(float(np.max(a, initial=0.0)) for a in apart), scale)


_KERAS = """
import keras
model = keras.models.load_model(path, compile=False)
import jax
struct = getattr(model, "_inputs_struct", None)
given = inputs[0] if struct is None else jax.tree.unflatten(jax.tree.structure(struct), inputs)
outputs = jax.tree.leaves(model(given, training=False))
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what Keras computes with a `.keras` file."""
    del net
    return peers.outputs_of("Keras", _KERAS, path, inputs)
