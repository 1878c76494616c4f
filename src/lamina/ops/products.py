"""Products of arrays over axes, under Keras's names. `matmul` is among the operators, in `arithmetic`."""

from typing import Any

import jax.numpy as jnp

from lamina.errors import invalid
from lamina.ops.define import NUMPY, pair, plain
from lamina.ops.dispatch import operation

dot = pair("dot", jnp.dot, "the sum of products over the last axis of `x1` and the last but one of `x2`")
kron = pair("kron", jnp.kron, "the Kronecker product")
outer = pair("outer", jnp.outer, "all products of an element of `x1` and one of `x2`, as a matrix")
vdot = pair("vdot", jnp.vdot, "the sum of all products of elements, `x1` conjugated")


@operation(NUMPY)
def inner(x1: Any, x2: Any) -> Any:
    """Return the sum of products over the last axes; a scalar multiplies.

    Raises:
        InvalidArgumentError: If the last axes are of different sizes.
    """
    x1, x2 = plain(x1), plain(x2)
    first, second = jnp.shape(x1), jnp.shape(x2)
    if first and second and first[-1] != second[-1]:
        raise invalid("The last dimension of both must be the same.", received=f"x1.shape={first}, x2.shape={second}")
    return jnp.inner(x1, x2)


@operation(NUMPY)
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Return the sum of products over axes: so many at the end and the beginning, or a list for each array."""
    return jnp.tensordot(jnp.asarray(x1), jnp.asarray(x2), axes)


@operation(NUMPY)
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Return sums of products as Einstein's notation says, e.g. `einsum("bi,io->bo", x, kernel)`.

    int8 arrays give int32.
    """
    arrays = [jnp.asarray(x) for x in operands]
    small = {x.dtype.name for x in arrays} == {"int8"}
    return jnp.einsum(subscripts, *arrays, **{"preferred_element_type": jnp.int32 if small else None, **kwargs})


@operation(NUMPY)
def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Return the cross product of vectors of 3 numbers (or 2) along axes.

    Args:
        x1: The first vectors.
        x2: The second vectors.
        axisa: Where they are in `x1`.
        axisb: Where they are in `x2`.
        axisc: Where they shall be in the result.
        axis: All three at once.
    """
    return jnp.cross(jnp.asarray(x1), jnp.asarray(x2), axisa, axisb, axisc, axis)


@operation(NUMPY)
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """Return the cross-correlation of two vectors.

    Args:
        x1: The first vector.
        x2: The second vector.
        mode: 'valid' where both overlap fully, 'same' as long as the longer one, 'full' wherever they overlap.
    """
    return jnp.correlate(jnp.asarray(x1), jnp.asarray(x2), mode)
