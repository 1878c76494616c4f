"""Which layers of a model repeat: blocks that follow each other and differ in nothing but their variables."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import machine
from lamina._types import Tree
from lamina.graph import Graph, KerasTensor
from lamina.optimizers import stacked
from lamina.stacks import Stack
from lamina.training import fingerprints, steps
from lamina.training.fingerprints import Print
from lamina.training.runs import ChainRun, GraphRun
from lamina.training.steps import Variables
from lamina.variables import Variable, frame_now, isolated

# From this many blocks on a loop over them is used. With two Dense(64) and an addition in a block, batch 128, Adam, one
# core, a loop and the unrolled program take (ms a step; s to compile) for 4 blocks 0.30 and 0.29; 0.5 and 0.8, for 8
# 0.59 and 0.65; 0.5 and 1.4, for 16 1.2 and 2.1; 0.5 and 2.8, for 32 2.5 and 8.4; 0.5 and 5.6.
LEAST = 8
_CANDIDATES = 32  # lengths of a block that are tried at one place

_unrolled: ContextVar[bool] = ContextVar("unrolled", default=False)


@contextmanager
def unrolled() -> Iterator[None]:
    """Inside the block models are trained, evaluated and asked layer by layer: to compare with."""
    token = _unrolled.set(True)
    try:
        yield
    finally:
        _unrolled.reset(token)


def variables_of(model: Any, kind: str) -> Variables:
    """Return what `steps.variables_of` does, with the variables of repeated layers in stacks.

    Args:
        model: A model that is built.
        kind: "train", "test" or "predict". A step that the user wrote sees every variable by itself.
    """
    names = steps.variables_of(model)
    if _unrolled.get() or model.has_own_step(f"{kind}_step"):
        return names
    stacks = _stacks(model, names)
    if not stacks:
        return names
    params, stats = (_units(group, stacks) for group in names[:2])
    slots = stacked.slot_stacks(model.optimizer, stacks) if kind == "train" else []
    if any(stack.stale for stack in (*stacks, *slots)):
        for stack in (*stacks, *slots):
            stack.gather()
        machine.release_memory()  # thousands of small arrays
    return Variables(params, stats, _units(names.slots, slots), names.totals)


def traced(model: Any, function: Callable[[Tree], Tree], x: Tree) -> Tree:
    """Return the specs of what a function that calls the model gives for specs; no variable is changed."""
    units = [unit for group in variables_of(model, "predict")[:2] for unit in group] if model.built else []
    stacks = [unit for unit in units if isinstance(unit, Stack)]

    def run(inputs: Tree, arrays: list[Any]) -> Tree:
        with isolated():
            frame = frame_now()
            assert frame is not None
            for stack, array in zip(stacks, arrays, strict=True):
                frame.arrays[stack] = array
                stack._bind(frame.arrays, frame.rows)
            return function(inputs)

    return jax.eval_shape(run, x, [jax.ShapeDtypeStruct(stack.shape, jnp.dtype(stack._dtype)) for stack in stacks])


def _units(variables: tuple[Variable, ...], stacks: list[Stack]) -> Any:
    """Return the variables with a stack in the place of the first of its members."""
    home = {member: stack for stack in stacks for member in stack.members}
    return tuple(dict.fromkeys(home.get(variable, variable) for variable in variables))


def _stacks(model: Any, names: Variables) -> list[Stack]:
    """Return the stacks of a model, with its runs set up; found once for each state of its trainable flags."""
    key = ("runs", tuple(map(id, names.params)), tuple(map(id, names.stats)))
    found: list[Stack] | None = model.programs.get(key)
    if found is None:
        for old in [k for k in list(model.programs) if k[0] == "runs"]:
            model.programs.pop(old, None)
        found = model.programs[key] = _find(model, names) if len(names.params) + len(names.stats) >= LEAST else []
    return found


class _Found(NamedTuple):
    """A run in a graph or a `Repeat`, before its stacks exist."""

    owner: Any
    start: int
    period: int
    count: int  # type: ignore[assignment] # not tuple.count
    carried: list[tuple[int, int]]
    columns: list[list[Variable]]  # the variables of each stack


def _find(model: Any, names: Variables) -> list[Stack]:
    prints = fingerprints.Prints()
    remat = getattr(model, "remat", False)
    allowed = {variable: group for group, variables in enumerate(names[:2]) for variable in variables}
    stacks: list[Stack] = []
    covered: set[int] = set()  # layers inside a run, whose own runs are not used
    for layer in model._flatten_layers():
        graph, copies = getattr(layer, "_graph", None), getattr(layer, "repeated", None)
        runs = _runs_of_graph(graph, prints) if isinstance(graph, Graph) else []
        runs += _runs_of_copies(layer, copies, prints) if copies is not None else []
        if isinstance(graph, Graph):
            graph.runs = {}
        if copies is not None:
            layer.runs = {}
        for run in runs:
            if id(layer) in covered or not _apart(run, allowed):
                continue
            for variable in (v for column in run.columns for v in column):
                del allowed[variable]
            own = [_stack_of(column) for column in run.columns]
            stacks += own
            _set_up(run, own, remat, covered)
    return stacks


def _apart(run: _Found, allowed: dict[Variable, int]) -> bool:
    """Return whether each variable of a run is free, stands in it once, and is trained as the others of its column."""
    groups = [[allowed.get(variable) for variable in column] for column in run.columns]
    everything = [variable for column in run.columns for variable in column]
    alike = all(group[0] is not None and len(set(group)) == 1 for group in groups)
    return alike and len(set(everything)) == len(everything)


def _set_up(run: _Found, stacks: list[Stack], remat: Any, covered: set[int]) -> None:
    if isinstance(run.owner, Graph):
        run.owner.runs[run.start] = GraphRun(run.owner, *run[1:5], stacks, remat)
        inside = [node.operation for node in run.owner.nodes[run.start : run.start + run.period * run.count]]
    else:
        inside = run.owner.repeated[run.start : run.start + run.count]
        run.owner.runs[run.start] = ChainRun(inside[0], run.count, stacks, remat)
    for operation in inside:
        if hasattr(operation, "_flatten_layers"):
            covered.update(id(part) for part in operation._flatten_layers())


def _stack_of(column: list[Variable]) -> Stack:
    """Return the stack of these variables: the one they are in, if it is of them alone."""
    known = column[0]._stack
    if known is not None and list(known.members) == column:
        return known  # type: ignore[no-any-return]
    return Stack(column)


def _runs_of_copies(layer: Any, copies: list[Any], prints: fingerprints.Prints) -> list[_Found]:
    found: list[_Found] = []
    start = 0
    own = [prints.of(copy) for copy in copies]
    while start < len(copies):
        count = 1
        while start + count < len(copies) and own[start + count].same(own[start]):
            count += 1
        if count >= LEAST and own[start].variables and count > max(map(_inner, copies[start : start + 1])):
            columns = [list(column) for column in zip(*[p.variables for p in own[start : start + count]], strict=True)]
            found.append(_Found(layer, start, 1, count, [], columns))
        start += count
    return found


def _inner(operation: Any) -> int:
    """Return how many repeated blocks an operation holds itself: looping over those may gain more."""
    graph, copies = getattr(operation, "_graph", None), getattr(operation, "repeated", None)
    return len(copies) if copies is not None else len(graph.nodes) // 2 if isinstance(graph, Graph) else 0


class _Nodes:
    """The nodes of a graph as numbers: what each does, and where its inputs come from."""

    def __init__(self, graph: Graph, prints: fingerprints.Prints) -> None:
        self.graph = graph
        self.prints: list[Print] = []
        self.sources: list[tuple[tuple[int, int], ...]] = []  # node and output of each input
        self.last = [-1] * len(graph.nodes)  # the last node that uses an output
        made: dict[int, tuple[int, int]] = {}
        uses = Counter(id(node.operation) for node in graph.nodes)
        for place, node in enumerate(graph.nodes):
            once = uses[id(node.operation)] == 1 and not node.is_input
            self.prints.append(prints.of_node(node) if once else prints.lone())
            self.sources.append(tuple(made.get(id(t), (-1, id(t))) for t in node.input_tensors))
            for source, _ in self.sources[-1]:
                if source >= 0:
                    self.last[source] = place
            for output, tensor in enumerate(node.output_tensors):
                made.setdefault(id(tensor), (place, output))
        held = Counter(variable for one in self.prints for variable in one.variables)
        self.prints = [p if all(held[v] == 1 for v in p.variables) else prints.lone() for p in self.prints]
        for tensor in graph.outputs:
            place, _ = made.get(id(tensor), (-1, 0))
            self.last[place] = len(graph.nodes)
        self.kinds: dict[Any, int] = {}
        self.kind = [self.kinds.setdefault(p.key, len(self.kinds)) for p in self.prints]

    def match(self, place: int, period: int) -> bool:
        """Return whether a node does what the one a period before does, with inputs from a period before or alike."""
        other = place - period
        if self.kind[place] != self.kind[other]:
            return False
        pairs = zip(self.sources[place], self.sources[other], strict=True)
        return all((a == b and a[0] < other) or (a[0] - place == b[0] - other and a[1] == b[1]) for a, b in pairs)


def _runs_of_graph(graph: Graph, prints: fingerprints.Prints) -> list[_Found]:
    if len(graph.nodes) < LEAST:
        return []
    nodes = _Nodes(graph, prints)
    places: dict[int, list[int]] = {}
    for place, kind in enumerate(nodes.kind):
        places.setdefault(kind, []).append(place)
    rank = {place: i for same in places.values() for i, place in enumerate(same)}
    found: list[_Found] = []
    start = 0
    while start < len(nodes.kind):
        run = _longest(nodes, start, places[nodes.kind[start]][rank[start] + 1 :][:_CANDIDATES])
        if run is None:
            start += 1
            continue
        found.append(run)
        start = run.start + run.period * run.count
    return found


def _longest(nodes: _Nodes, start: int, again: list[int]) -> _Found | None:
    """Return the run that begins at a node and covers most, or None; `again` are later nodes that do the same."""
    best: _Found | None = None
    for place in again:
        period = place - start
        if best is not None and best.count * best.period >= period * LEAST and period % best.period == 0:
            continue  # whole turns of a shorter block
        stop = place
        while stop < len(nodes.kind) and nodes.match(stop, period):
            stop += 1
        if (stop - start) // period < LEAST:
            continue
        for turn in range(period):
            run = _checked(nodes, start + turn, period, (stop - start - turn) // period)
            if run is not None and (best is None or run.count * run.period > best.count * best.period):
                best = run
            if run is not None and len(run.carried) == 1:
                break
    return best


def _checked(nodes: _Nodes, start: int, period: int, count: int) -> _Found | None:
    """Return the blocks from `start` on as a run, as far as they go into each other and nowhere else; else None."""
    carried = _carried(nodes, start, period)
    if carried is None:
        return None
    count = _alike(nodes, start, period, count)
    for block in range(count - 1):  # what a block makes is used in it and in the next
        first = start + block * period
        if any(nodes.last[first + i] >= first + 2 * period for i in range(period)):
            count = block + 1
            break
    for _ in range(2):  # what the last makes and is used outside must be what a next block would take
        end = start + count * period
        kept = {place for place, _ in carried}
        if all(nodes.last[end - period + i] < end or i in kept for i in range(period)):
            break
        count -= 1
    if count < LEAST:
        return None
    if not _fits(nodes, start, period, carried):
        return _checked(nodes, start + period, period, count - 1)
    prints = [[nodes.prints[start + block * period + i] for i in range(period)] for block in range(count)]
    rows = [[variable for one in block for variable in one.variables] for block in prints]
    if not rows[0] or count <= max(_inner(node.operation) for node in nodes.graph.nodes[start : start + period]):
        return None
    return _Found(nodes.graph, start, period, count, carried, [list(column) for column in zip(*rows, strict=True)])


def _alike(nodes: _Nodes, start: int, period: int, count: int) -> int:
    """Return how many blocks take from outside what the second takes: the same array, or one from the block before."""
    for place in range(start + 2 * period, start + count * period):
        second = start + period + (place - start) % period
        triples = zip(nodes.sources[place], nodes.sources[second], nodes.sources[second - period], strict=True)
        for source, model, before in triples:
            same = source == model if model == before else source[0] - place == model[0] - second
            if not same:
                return (place - start) // period
    return count


def _carried(nodes: _Nodes, start: int, period: int) -> list[tuple[int, int]] | None:
    """Return what the second block takes from the first, as places in it; None if it reaches further back."""
    carried: dict[tuple[int, int], None] = {}
    for i in range(period):
        place = start + period + i
        for source, before in zip(nodes.sources[place], nodes.sources[place - period], strict=True):
            if source == before or source[0] >= start + period:
                continue  # the same for all blocks, or from inside
            if source[0] < start:
                return None
            carried[source[0] - start, source[1]] = None
    first = start - period
    return list(carried) if all(first + place >= 0 for place, _ in carried) else None


def _fits(nodes: _Nodes, start: int, period: int, carried: list[tuple[int, int]]) -> bool:
    """Return whether what goes into the first block has the shapes of what goes into the others."""

    def between(first: int) -> list[KerasTensor] | None:
        made = [nodes.graph.nodes[first + place].output_tensors for place, _ in carried]
        if any(output >= len(tensors) for tensors, (_, output) in zip(made, carried, strict=True)):
            return None
        return [tensors[output] for tensors, (_, output) in zip(made, carried, strict=True)]

    before, after = between(start - period), between(start)
    return before is not None and after is not None and [t.shape for t in before] == [t.shape for t in after]
