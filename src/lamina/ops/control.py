"""Control flow inside a compiled step, under Keras's names: JAX's own, with Keras's arguments."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina._types import Tree
from lamina.errors import invalid
from lamina.ops.define import CORE
from lamina.ops.dispatch import operation


def _plain(tree: Tree) -> Tree:
    """Return a tree with arrays for its variables: JAX's loops take nothing else."""

    def array(leaf: Any) -> Any:
        return leaf.__jax_array__() if hasattr(leaf, "__jax_array__") and not isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(array, tree)


@operation(CORE)
def cond(pred: Any, true_fn: Callable[[], Tree], false_fn: Callable[[], Tree]) -> Tree:
    """Return `true_fn()` if `pred` is true, else `false_fn()`. Both give the same shapes and types."""
    return jax.lax.cond(_plain(pred), true_fn, false_fn)


@operation(CORE)
def switch(index: Any, branches: Sequence[Callable[..., Tree]], *operands: Any) -> Tree:
    """Return `branches[index](*operands)`; an index out of range becomes the nearest. All give the same shapes."""
    return jax.lax.switch(jnp.asarray(index).astype(jnp.int32), branches, *_plain(operands))


@operation(CORE)
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Tree], loop_vars: Tree, maximum_iterations: int | None = None
) -> Tree:
    """Return `loop_vars` after `loop_vars = body(*loop_vars)` was done as long as `cond(*loop_vars)` holds.

    Args:
        cond: Says whether to go on.
        body: Returns the next values, in the same shapes and types.
        loop_vars: The first values: a tuple or list of arrays, or one array.
        maximum_iterations: After how many rounds it ends at the latest.
    """
    several = isinstance(loop_vars, tuple | list)
    first = _plain(tuple(loop_vars) if several else (loop_vars,))

    def go_on(state: Any) -> Any:
        more = cond(*state[0])
        return more if maximum_iterations is None else more & (state[1] < maximum_iterations)

    def step(state: Any) -> Any:
        found = body(*state[0])
        return (tuple(found) if several else (found,)), state[1] + 1

    last = jax.lax.while_loop(go_on, step, (first, 0))[0]
    return last if several else last[0]


@operation(CORE)
def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Tree], Tree], init_val: Tree) -> Tree:
    """Return the value after `value = body_fun(i, value)` for each whole number from `lower` to below `upper`."""
    return jax.lax.fori_loop(lower, upper, body_fun, _plain(init_val))


@operation(CORE)
def scan(
    f: Callable[[Tree, Tree], tuple[Tree, Tree]],
    init: Tree,
    xs: Tree = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """Return the last carry, and what `carry, y = f(carry, x)` gave for each entry `x` of `xs`, stacked.

    Args:
        f: One step.
        init: The first carry.
        xs: Arrays whose first axis is gone through.
        length: How many steps, if there are no `xs`.
        reverse: Whether to go from the last entry to the first.
        unroll: How many steps are compiled in a row.

    Raises:
        InvalidArgumentError: If `unroll` is neither a positive integer nor a boolean.
    """
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise invalid("`unroll` must be an positive integer or boolean.", received=f"unroll={unroll}")
    return jax.lax.scan(f, _plain(init), _plain(xs), length, reverse, unroll)


@operation(CORE)
def associative_scan(f: Callable[[Tree, Tree], Tree], elems: Tree, reverse: bool = False, axis: int = 0) -> Tree:
    """Return what an associative `f` makes of the first entries along an axis, for each number of them.

    With `f = ops.add` these are running sums. Log-many steps, each of them parallel.
    """
    return jax.lax.associative_scan(f, _plain(elems), reverse, axis)


@operation(CORE)
def map(f: Callable[[Tree], Tree], xs: Tree) -> Tree:
    """Return `f(x)` for each entry along the first axis, stacked, one after the other: little memory."""
    return jax.lax.map(f, _plain(xs))


@operation(CORE, "VectorizedMap")
def vectorized_map(function: Callable[[Tree], Tree], elements: Tree) -> Tree:
    """Return `function(x)` for each entry along the first axis, stacked, all at once: `jax.vmap`."""
    return jax.vmap(function)(_plain(elements))


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: set[Any] | None = None, signature: str | None = None
) -> Callable[..., Any]:
    """Return a function of arrays that applies a function of numbers to each element, as `numpy.vectorize`.

    Args:
        pyfunc: The function.
        excluded: Numbers of arguments that are passed as they are.
        signature: Which axes go in and come out, e.g. "(n),(n)->()".

    Raises:
        InvalidArgumentError: If `pyfunc` cannot be called.
    """
    if not callable(pyfunc):
        raise invalid("Expected argument `pyfunc` to be a callable.", received=f"pyfunc={pyfunc}")
    return jnp.vectorize(pyfunc, excluded=excluded or set(), signature=signature)


def custom_gradient(f: Callable[..., tuple[Tree, Callable[..., Tree]]]) -> Callable[..., Tree]:
    """Return a function with a derivative of your own: `f` returns its value and a function of the upstream gradient.

    The decorated function takes arrays and variables; the derivative is with respect to its arguments.
    """
    inner = jax.custom_gradient(f)

    def call(*args: Any, **kwargs: Any) -> Tree:
        return inner(*_plain(args), **_plain(kwargs))

    return call
