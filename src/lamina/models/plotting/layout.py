"""Where boxes go: layers of a graph by their longest path, ordered so that few arrows cross, pulled straight.

Positions are kept as `along`, in the direction of the arrows, and `across`. After Sugiyama, Tagawa and Toda (1981).
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from lamina.models.plotting.straight import straighten

_SWEEPS = 8
_MOST_BENDS = 40_000  # places that long arrows pass through; beyond, they are drawn straight


@dataclass(eq=False)
class Place:
    """A box, or a bend of a long arrow.

    Attributes:
        across: Its size across the arrows.
        along: Its size along the arrows.
        thing: What it is for; None for a bend.
        order: Its number in the model, by which boxes of a layer stand at first.
        layer: Its layer, from 0.
        x: Its middle across.
        y: Where it begins along.
    """

    across: float
    along: float
    thing: Any = None
    order: int = 0
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    above: "list[Place]" = field(default_factory=list)
    below: "list[Place]" = field(default_factory=list)


@dataclass(eq=False)
class Arrow:
    """An arrow from one box to another through bends. Arrows of one rail, which start together, share their bends."""

    source: Place
    target: Place
    rail: Hashable
    bends: list[Place] = field(default_factory=list)

    @property
    def stops(self) -> list[Place]:
        """All that it touches, in order."""
        return [self.source, *self.bends, self.target]


@dataclass(eq=False)
class Layout:
    """Boxes and arrows with places, the layers from the first to the last, and the size of it all.

    Attributes:
        layers: The boxes and bends of each layer, in order.
        arrows: The arrows, in the order of the links.
        across: Size across the arrows.
        along: Size along the arrows.
        edges: Where each layer begins and ends along the arrows.
    """

    layers: list[list[Place]]
    arrows: list[Arrow]
    across: float = 0.0
    along: float = 0.0
    edges: list[tuple[float, float]] = field(default_factory=list)


def arrange(
    places: Sequence[Place],
    links: Sequence[tuple[Place, Place, Hashable]],
    gap: float,
    first: Sequence[Place] = (),
    last: Sequence[Place] = (),
) -> Layout:
    """Return a layout of boxes whose sizes are known, with their places across; `stack` sets those along.

    Args:
        places: The boxes, makers before users.
        links: Which box goes into which, and what the arrows that start together have in common.
        gap: Least distance of neighbours in a layer.
        first: Boxes that belong into the first layer.
        last: Boxes that belong into the last layer, if nothing comes after them.
    """
    arrows = [Arrow(*link) for link in links]
    _number(places, arrows, first, last)
    layers = _layers(places, arrows)
    _order(layers)
    straighten(layers, lambda a, b: _space(a, b, gap))
    left = min((p.x - p.across / 2 for row in layers for p in row), default=0.0)
    for row in layers:
        for place in row:
            place.x -= left
    across = max((p.x + p.across / 2 for row in layers for p in row), default=0.0)
    return Layout(layers, arrows, across)


def _space(a: Place, b: Place, gap: float) -> float:
    """Return the least distance of the middles of two neighbours; bends may be closer to one another than boxes."""
    return (a.across + b.across) / 2 + (gap * 0.4 if a.thing is None and b.thing is None else gap)


def _number(places: Sequence[Place], arrows: list[Arrow], first: Sequence[Place], last: Sequence[Place]) -> None:
    """Set the layer of each box: one after the last of those that go into it. Inputs come just before their use."""
    after: dict[int, list[Place]] = defaultdict(list)
    entered = {id(place) for place in first}
    for arrow in arrows:
        after[id(arrow.source)].append(arrow.target)
        entered.add(id(arrow.target))
    for place in places:  # makers come first, so one pass is enough
        for target in after[id(place)]:
            target.layer = max(target.layer, place.layer + 1)
    deepest = max((place.layer for place in places), default=0)
    for place in last:
        if not after[id(place)]:
            place.layer = deepest
    for place in reversed(places):
        if id(place) not in entered and after[id(place)]:
            place.layer = min(target.layer for target in after[id(place)]) - 1


def _layers(places: Sequence[Place], arrows: list[Arrow]) -> list[list[Place]]:
    """Return the boxes layer by layer, with a bend in each layer that arrows of one rail pass."""
    layers: list[list[Place]] = [[] for _ in range(max((p.layer for p in places), default=-1) + 1)]
    for place in places:
        layers[place.layer].append(place)
    bends: dict[tuple[Hashable, int], Place] = {}
    linked: set[tuple[int, int]] = set()
    for arrow in arrows:
        passed = range(arrow.source.layer + 1, arrow.target.layer)
        for layer in passed if len(bends) + len(passed) <= _MOST_BENDS else ():
            bend = bends.get((arrow.rail, layer))
            if bend is None:
                bend = bends[arrow.rail, layer] = Place(10.0, 0.0, order=arrow.source.order, layer=layer)
                layers[layer].append(bend)
            arrow.bends.append(bend)
        for upper, lower in pairwise(arrow.stops):
            if lower.layer - upper.layer == 1 and (id(upper), id(lower)) not in linked:
                linked.add((id(upper), id(lower)))
                upper.below.append(lower)
                lower.above.append(upper)
    for row in layers:
        row.sort(key=lambda place: place.order)
    return layers


# ---- order


def _order(layers: list[list[Place]]) -> None:
    """Order each layer by the means of its neighbours' places, down and up; keep the order with fewest crossings."""
    if all(len(row) < 2 for row in layers):
        return
    best, fewest = [list(row) for row in layers], _all_crossings(layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        rows = layers[1:] if sweep % 2 == 0 else layers[-2::-1]
        for row in rows:
            _sort(row, layers, upwards=sweep % 2 == 1)
        crossings = _all_crossings(layers)
        if crossings < fewest:
            best, fewest = [list(row) for row in layers], crossings
    for row, kept in zip(layers, best, strict=True):
        row[:] = kept


def _sort(row: list[Place], layers: list[list[Place]], upwards: bool) -> None:
    other = layers[row[0].layer + (1 if upwards else -1)]
    index = {id(place): i for i, place in enumerate(other)}
    own = {id(place): i for i, place in enumerate(row)}

    def key(place: Place) -> tuple[float, int]:
        near = place.below if upwards else place.above
        if not near:
            return (own[id(place)] * max(1, len(other)) / max(1, len(row)), own[id(place)])
        return (sum(index[id(p)] for p in near) / len(near), own[id(place)])

    row.sort(key=key)


def _all_crossings(layers: list[list[Place]]) -> int:
    return sum(_crossings(upper, lower) for upper, lower in pairwise(layers))


def _crossings(upper: list[Place], lower: list[Place]) -> int:
    """Return how many arrows between two layers cross: pairs out of order, counted in a tree of sums."""
    index = {id(place): i for i, place in enumerate(lower)}
    ends = [i for place in upper for i in sorted(index[id(p)] for p in place.below)]
    sums = [0] * (len(lower) + 1)
    found = 0
    for seen, end in enumerate(ends):
        smaller, i = 0, end + 1
        while i:
            smaller += sums[i]
            i &= i - 1
        found += seen - smaller
        i = end + 1
        while i <= len(lower):
            sums[i] += 1
            i += i & -i
    return found


# ---- places along


def stack(layout: Layout, between: Sequence[float]) -> None:
    """Set the places along the arrows: the layers one after the other, boxes in their middle, bends as long as a layer.

    Args:
        layout: What `arrange` gave.
        between: The distance of each layer from the next.
    """
    y = 0.0
    for row, space in zip(layout.layers, [*between, 0.0], strict=True):
        height = max((place.along for place in row if place.thing is not None), default=0.0)
        layout.edges.append((y, y + height))
        for place in row:
            if place.thing is None:
                place.y, place.along = y, height
            else:
                place.y = y + (height - place.along) / 2
        y += height + space
    layout.along = layout.edges[-1][1] if layout.edges else 0.0
