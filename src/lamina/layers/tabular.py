"""What networks for tables are made of, as functions of arrays; the layers are in `scaled` and `numeric_embeddings`.

Sources: RealMLP (arXiv 2407.04491), numeric embeddings (arXiv 2203.05556), TabM (arXiv 2410.24210).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina._types import Array, Numpy

# cos(2 pi t) for |t| <= 1/2 as a polynomial of t², least squares on Chebyshev points: error 1.3e-8.
_COSINE = (1.0, -19.739205523545, 64.939158375249, -85.450759675343, 60.172046878717, -25.982424773206, 6.547571376957)


def scaled_product(inputs: Array, kernel: Array, bias: Array | None) -> Array:
    """`inputs @ kernel / sqrt(features) + bias`: the neural-tangent parametrization (Jacot et al. 2018).

    Shapes:
        inputs: ... features
        kernel: features units
        bias: units
    """
    product: Array = jnp.matmul(inputs, kernel) * (kernel.shape[-2] ** -0.5)
    return product if bias is None else product + bias


def parametric(inputs: Array, slope: Array, activation: Callable[[Any], Any]) -> Array:
    """`inputs + slope * (activation(inputs) - inputs)`: linear where slope is 0, the activation where it is 1."""
    result: Array = inputs + slope * (activation(inputs) - inputs)
    return result


def selu(inputs: Array) -> Array:
    """SELU (Klambauer et al. 2017) with one exponential, finite in value and slope everywhere."""
    negative = 1.7580993408473766 * (jnp.exp(jnp.minimum(inputs, 0.0)) - 1.0)
    return jnp.where(inputs > 0, 1.0507009873554805 * inputs, negative)


def mish(inputs: Array) -> Array:
    """`inputs * tanh(softplus(inputs))` (Misra 2019) as a quotient of polynomials of one exponential."""
    power = jnp.exp(jnp.minimum(inputs, 20.0))
    top = power * (power + 2.0)
    return inputs * (top / (top + 2.0))


def cosine_of_turns(turns: Array) -> Array:
    """`cos(2 pi turns)`, to 1e-6, in arithmetic that vectorizes; its slope is the polynomial's."""
    part = turns - jnp.round(turns)
    square = part * part
    total = jnp.full_like(square, _COSINE[-1])
    for factor in _COSINE[-2::-1]:
        total = total * square + factor
    return total


def periodic(inputs: Array, frequencies: Array, phases: Array, kernel: Array, bias: Array) -> Array:
    """Each number beside learned waves of it: `[x, kernel @ cos(2 pi (frequencies x) + phases) + bias]` (PBLD).

    Shapes:
        inputs: ... features
        frequencies, phases: features waves; phases in radians
        kernel: features waves outputs
        bias: features outputs
        result: ... features (1 + outputs)
    """
    waves = cosine_of_turns(inputs[..., None] * frequencies + phases * 0.15915494309189535)
    return jnp.concatenate([inputs[..., None], per_feature(waves, kernel, bias)], -1)


def per_feature(inputs: Array, kernel: Array, bias: Array) -> Array:
    """A product of its own for each feature.

    Shapes:
        inputs: ... features n
        kernel: features n outputs
        bias: features outputs
        result: ... features outputs
    """
    product: Array = jnp.einsum("...fn,fno->...fo", inputs, kernel) + bias
    return product


def piecewise_linear(inputs: Array, edges: Array) -> Array:
    """How far each number has come through each bin: 0 before it, 1 after it, a line within; open at both ends.

    Shapes:
        inputs: ... features
        edges: features (bins + 1), ascending
        result: ... features bins
    """
    low, high = edges[:, :-1], edges[:, 1:]
    width = high - low
    place = (inputs[..., None] - low) / jnp.where(width > 0, width, 1.0)
    bins = low.shape[-1]
    first, last = jnp.arange(bins) == 0, jnp.arange(bins) == bins - 1
    place = jnp.where(first, place, jnp.maximum(place, 0.0))
    place = jnp.where(last, place, jnp.minimum(place, 1.0))
    return jnp.where(width > 0, place, 0.0)


def ensemble_product(inputs: Array, kernel: Array, into: Array, out: Array, bias: Array | None) -> Array:
    """`((inputs * into) @ kernel) * out + bias` for each member: one kernel, scales of its own (BatchEnsemble).

    Shapes:
        inputs: ... members features
        kernel: features units
        into: members features
        out, bias: members units
    """
    product = jnp.matmul(inputs * into, kernel) * out
    return product if bias is None else product + bias


def bin_edges(numeric: Numpy, bins: int) -> Numpy:
    """Where the bins of each column begin and end: as many rows in each, a value of many rows counting as one bin's.

    Columns of fewer values have bins of no width at their end, which say nothing.

    Shapes: result: columns (bins + 1)
    """
    edges = np.zeros((numeric.shape[1], bins + 1), np.float32)
    for column, values in zip(edges, numeric.T, strict=True):
        if not bins:
            break
        distinct, counts = np.unique(values, return_counts=True)
        if len(distinct) > bins + 1:
            share = len(values) / bins
            for _ in range(8):  # towards a bin for each frequent value and equal ones for the rest
                share = np.minimum(counts, share).sum() / bins
            mass = np.cumsum(np.minimum(counts, share))
            places = np.searchsorted(mass, np.linspace(0, mass[-1], bins + 1)[1:-1])
            distinct = np.unique(np.concatenate([distinct[:1], distinct[places], distinct[-1:]]))
        column[: len(distinct)] = distinct
        column[len(distinct) :] = distinct[-1]
    return edges
