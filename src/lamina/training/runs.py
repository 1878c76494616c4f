"""Repeated layers run as one loop: `jax.lax.scan` over their stacked arrays, with the first of them as its body.

The loop is only taken inside a step whose state holds the stacks; everywhere else the layers run one by one.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina._types import Array
from lamina.graph import Graph, KerasTensor
from lamina.layers.context import CallContext, calling, current, get_mask, set_mask
from lamina.stacks import Stack
from lamina.variables import Frame, entered, frame_now

Carry = list[Any]  # arrays
Remat = bool | int


class _Loop:
    """A scan over the copies of one block.

    Args:
        stacks: The stacks of the block's variables.
        index: Which copy is the body.
        body: `body(arrays) -> arrays`, called with the variables of that copy bound.
        remat: Whether the backward pass computes the inside of a block anew; or the bytes that what it keeps may fill.
    """

    def __init__(self, stacks: Sequence[Stack], index: int, body: Callable[[Carry], Carry], remat: Remat) -> None:
        self.stacks = list(stacks)
        self.members = [stack.members[index] for stack in stacks]
        self.body, self.remat = body, remat
        self.frame, self.context = frame_now(), current()
        self.changed: list[int] = []  # places of the stacks that a block assigns
        self.foreign = False  # whether a block assigns what is not its own
        self.masked: list[bool] = []

    def one(self, carry: tuple[Carry, Carry], rows: list[Array]) -> tuple[tuple[Carry, Carry], tuple[Any, Any]]:
        """Run one block; return its outputs with their masks, and what it assigned and added to the loss."""
        assert self.frame is not None
        before = {**self.frame.arrays, **dict(zip(self.members, rows, strict=True))}
        inner = Frame(dict(before), self.frame.rows, closed=True)
        outer = self.context
        context = CallContext(outer.training if outer else None, outer.rows if outer else None, collecting=True)
        context.values = dict(outer.values) if outer else {}
        arrays, masks = carry
        for array, mask in zip(arrays, masks, strict=True):
            if mask is not None:
                set_mask(array, mask)
        with entered(inner), calling(context):
            outputs = self.body(arrays)
        own = set(self.members)
        self.changed = [i for i, m in enumerate(self.members) if inner.arrays[m] is not before[m]]
        self.foreign = any(inner.arrays[v] is not before.get(v) for v in inner.arrays if v not in own)
        news = [inner.arrays[self.members[i]] for i in self.changed]
        return (outputs, [get_mask(output) for output in outputs]), (news, context.losses)

    def run(self, arrays: Carry) -> Carry | None:
        """Return the outputs of the last block, or None, with nothing done, if the blocks cannot be looped over."""
        assert self.frame is not None
        if not all(isinstance(array, jax.Array) for array in arrays):
            return None
        carry: tuple[Carry, Carry] = (arrays, [get_mask(array) for array in arrays])
        xs = [stack._bound_array(self.frame) for stack in self.stacks]
        kept: list[Any] = []
        if not self._loops(carry, xs):  # the first may differ in type: float32 data before layers in bfloat16
            if self.foreign:
                return None
            carry, first = self.one(carry, [x[0] for x in xs])
            kept, xs = [first], [x[1:] for x in xs]
            if not self._loops(carry, xs):
                return None
        carry, ys = scanned(self.one, carry, xs, self.remat)
        self._keep(kept, ys)
        outputs, masks = carry
        for output, mask in zip(outputs, masks, strict=True):
            if mask is not None:
                set_mask(output, mask)
        return outputs

    def _loops(self, carry: Any, xs: list[Array]) -> bool:
        """Return whether a block gives what the next takes, and assigns its own variables alone."""
        rows = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in xs]
        after, _ = jax.eval_shape(self.one, carry, rows)

        def form(tree: Any) -> Any:
            return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]

        return not self.foreign and form(carry) == form(after)

    def _keep(self, first: list[Any], ys: Any) -> None:
        """Put what the blocks assigned into the stacks, and what they added to the loss where the step finds it."""
        assert self.frame is not None
        news, losses = ys
        if first:
            news, losses = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first[0], ys)
        for place, array in zip(self.changed, news, strict=True):
            stack = self.stacks[place]
            stack._bind(self.frame.arrays, self.frame.rows)
            self.frame.arrays[stack] = array
        if self.context is not None:
            self.context.losses.extend(jnp.sum(loss) for loss in losses)


def scanned(one: Callable[..., Any], carry: Any, xs: list[Array], remat: Remat) -> Any:
    """Return the last carry and the stacked results of a scan, keeping for the backward pass what `remat` allows.

    With a number of bytes: if all that a plain scan keeps fits, nothing is computed twice; else the inside of each
    block is; and if even the arrays between the blocks do not fit, only every so many of those are kept, about the
    root of their number (Chen et al. 2016, arXiv:1604.06174).
    """
    if remat is False:
        return jax.lax.scan(one, carry, xs)
    again = jax.checkpoint(one, prevent_cse=False)
    if remat is True:
        return jax.lax.scan(again, carry, xs)
    count = len(xs[0])
    rows = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in xs]
    if count * _kept_bytes(one, carry, rows) <= remat:
        return jax.lax.scan(one, carry, xs)
    if count * sum(x.nbytes for x in jax.tree.leaves(carry)) <= remat:
        return jax.lax.scan(again, carry, xs)
    length = max(1, int(count**0.5))
    whole = count // length * length
    heads = [x[:whole].reshape(-1, length, *x.shape[1:]) for x in xs]
    segment = jax.checkpoint(lambda c, x: jax.lax.scan(again, c, x), prevent_cse=False)
    carry, head = jax.lax.scan(segment, carry, heads)
    head = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), head)
    if whole == count:
        return carry, head
    carry, tail = jax.lax.scan(again, carry, [x[whole:] for x in xs])
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), head, tail)


def _kept_bytes(one: Callable[..., Any], carry: Any, rows: Any) -> int:
    """Return how many bytes the backward pass of one block needs from its forward pass."""
    specs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), carry)
    backward = jax.eval_shape(lambda c, r: jax.vjp(lambda c, r: one(c, r)[0], c, r)[1], specs, rows)
    weights = sum(_bytes(row) for row in rows)  # kept anyway: they are the stacks themselves
    return max(0, sum(map(_bytes, jax.tree.leaves(backward))) - weights)


def _bytes(spec: Any) -> int:
    return int(math.prod(spec.shape)) * int(spec.dtype.itemsize)


class GraphRun:
    """Blocks of nodes of a graph that follow each other and differ in their variables alone.

    Args:
        graph: The graph.
        start: Place of the first node.
        period: Nodes in a block.
        count: Number of blocks.
        carried: What a block takes from the one before: places of nodes in the block and of their outputs.
        stacks: The variables of the blocks.
        remat: See `scanned`.
    """

    def __init__(
        self, graph: Graph, start: int, period: int, count: int, carried: list[tuple[int, int]],
        stacks: Sequence[Stack], remat: Remat,
    ) -> None:  # fmt: skip
        self.graph, self.start, self.period, self.count = graph, start, period, count
        self.stop = start + period * count
        self.carried, self.stacks, self.remat = carried, list(stacks), remat

    def _between(self, block: int) -> list[KerasTensor]:
        """Return the stand-ins that go from one block into the next; block -1 is what comes before the first."""
        first = self.start + block * self.period
        return [self.graph.nodes[first + place].output_tensors[output] for place, output in self.carried]

    def execute(self, values: dict[int, Any]) -> bool:
        """Add the outputs of the last block to `values`, the arrays of stand-ins by id. False: nothing was done."""
        if not ready(self.stacks):
            return False
        before = self._between(-1)
        if any(id(tensor) not in values for tensor in before):
            return False
        # The second block is the body: what the first takes from before the run may serve all blocks too.
        inner, outer = self._between(0), self._between(1)
        nodes = self.graph.nodes[self.start + self.period : self.start + 2 * self.period]

        def body(arrays: Carry) -> Carry:
            local = {**values, **{id(tensor): array for tensor, array in zip(inner, arrays, strict=True)}}
            for node in nodes:
                args, kwargs = node.fill(local)
                result = node.operation(*args, **kwargs)
                local.update(
                    (id(tensor), value) for tensor, value in zip(node.output_tensors, _leaves(result), strict=True)
                )
            return [local[id(tensor)] for tensor in outer]

        found = _Loop(self.stacks, 1, body, self.remat).run([values[id(tensor)] for tensor in before])
        if found is None:
            return False
        values.update((id(tensor), array) for tensor, array in zip(self._between(self.count - 1), found, strict=True))
        return True


class ChainRun:
    """Layers that follow each other, the output of each the input of the next, and differ in their variables alone.

    Args:
        layer: The first.
        count: Their number.
        stacks: Their variables.
        remat: See `scanned`.
    """

    def __init__(self, layer: Any, count: int, stacks: Sequence[Stack], remat: Remat) -> None:
        self.layer, self.count, self.stacks, self.remat = layer, count, list(stacks), remat

    def execute(self, inputs: Any) -> Any:
        """Return the output of the last layer, or None, with nothing done, if they must run one by one."""
        if not ready(self.stacks):
            return None
        leaves, structure = jax.tree.flatten(inputs)

        def body(arrays: Carry) -> Carry:
            outputs, form = jax.tree.flatten(self.layer(jax.tree.unflatten(structure, arrays)))
            return outputs if form == structure else []  # type: ignore[operator] # of JAX's stubs

        found = _Loop(self.stacks, 0, body, self.remat).run(leaves)
        return None if found is None else jax.tree.unflatten(structure, found)


def ready(stacks: Sequence[Stack]) -> bool:
    """Return whether we are inside a step whose state holds these stacks, and nobody watches the single layers."""
    frame, context = frame_now(), current()
    watched = context is not None and context.observer is not None
    return frame is not None and not watched and all(stack in frame.arrays for stack in stacks)


def _leaves(result: Any) -> list[Any]:
    return jax.tree.leaves(result, is_leaf=lambda x: x is None)
