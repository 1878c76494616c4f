"""How many operations a function of arrays takes: its traced program, read operation by operation.

One operation is one addition, multiplication, comparison or elementary function (`exp`, `tanh`, `sqrt`, ...) of
floating numbers. Moving, reshaping and casting cost none, nor does integer work. A product of `(rows, inner)` and
`(inner, columns)` takes `rows * columns * (2 * inner - 1)`, so that a fully connected layer with a bias takes exactly
`2 * inputs * units` for a sample.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina._types import Shape, Tree

# Two batch sizes: what grows with the batch is the work of a sample, what does not is done once a batch.
_BATCHES = (2, 3)
_FREE = frozenset(
    {
        "reshape", "broadcast_in_dim", "transpose", "convert_element_type", "slice", "dynamic_slice", "concatenate",
        "dynamic_update_slice", "pad", "gather", "scatter", "squeeze", "expand_dims", "iota", "copy", "copy_p", "rev",
        "stop_gradient", "select_n", "split", "bitcast_convert_type", "device_put", "reduce_precision", "random_wrap",
        "optimization_barrier", "random_unwrap", "random_bits", "random_seed", "random_fold_in", "real", "imag",
        "name", "sharding_constraint", "empty", "full",
    }
)  # fmt: skip
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where an operation keeps the program that it calls
_REDUCING = frozenset({"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"})


class UncountableError(Exception):
    """The program has a loop whose length only its data know."""


class Spec:
    """Shape and type of an array; an axis of size None is the batch."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Shape, dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = jnp.dtype(dtype)

    def sized(self, batch: int) -> jax.ShapeDtypeStruct:
        """Return it with a batch of this size."""
        return jax.ShapeDtypeStruct(tuple(batch if size is None else size for size in self.shape), self.dtype)


def per_sample(function: Callable[..., Any], specs: Sequence[Tree]) -> int:
    """Return the operations of `function` for each further sample of the batch; for one call if there is no batch.

    Args:
        function: A function of arrays that can be traced. It is not run.
        specs: Its arguments, as trees of `Spec`.

    Raises:
        UncountableError: If the work depends on the data.
    """
    if not any(None in spec.shape for spec in jax.tree.leaves(list(specs))):
        return count(function, specs, 1)
    few, more = (count(function, specs, batch) for batch in _BATCHES)
    return (more - few) // (_BATCHES[1] - _BATCHES[0])


def count(function: Callable[..., Any], specs: Sequence[Tree], batch: int) -> int:
    """Return the operations of `function` on a batch of this size. Nothing is computed."""
    return _program(jax.make_jaxpr(function)(*jax.tree.map(lambda spec: spec.sized(batch), list(specs))).jaxpr)


def _program(program: Any) -> int:
    """Return the operations of a traced program, without those whose results nobody uses."""
    needed = {id(variable) for variable in program.outvars}
    total = 0
    for equation in reversed(program.eqns):
        if equation.effects or any(id(variable) in needed for variable in equation.outvars):
            needed.update(id(variable) for variable in equation.invars)
            total += _operation(equation)
    return total


def _operation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "cond":
        return max(_program(branch.jaxpr) for branch in params["branches"])
    if name == "scan":
        return int(params["length"]) * _program(params["jaxpr"].jaxpr)
    if name == "while":
        if _program(params["body_jaxpr"].jaxpr) + _program(params["cond_jaxpr"].jaxpr):
            raise UncountableError
        return 0  # integers only, as in the making of random bits
    inner = next((params[key] for key in _CALLED if key in params), None)
    if inner is not None and not name.startswith("reduce"):
        return _program(getattr(inner, "jaxpr", inner))
    if name in _FREE or not any(_is_float(variable) for variable in equation.invars):
        return 0
    return _arithmetic(name, equation)


def _is_float(variable: Any) -> bool:
    return bool(jnp.issubdtype(getattr(variable.aval, "dtype", jnp.int32), jnp.inexact))


def _size(variable: Any) -> int:
    return math.prod(int(size) for size in variable.aval.shape)


def _arithmetic(name: str, equation: Any) -> int:
    result = sum(_size(variable) for variable in equation.outvars)
    given = _size(equation.invars[0])
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        inner = math.prod(int(equation.invars[0].aval.shape[axis]) for axis in contracted)
        return result * max(0, 2 * inner - 1)
    if name in _REDUCING:
        return max(0, given - result)
    if name.startswith("cum"):
        return given
    if name.startswith("scatter"):
        return _size(equation.invars[-1])
    if name in ("sort", "top_k"):
        return given * max(1, (int(equation.invars[0].aval.shape[-1]) - 1).bit_length())
    if name == "integer_pow":
        power = abs(int(equation.params["y"]))
        return result * max(0, power.bit_length() + power.bit_count() - 2)
    return result
