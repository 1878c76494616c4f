"""Places across for boxes in layers, so that arrows run straight: the method of Brandes and Köpf (2001).

Each box is lined up with the middle one of its neighbours in the layer before (or after), where no other arrow is in
the way; boxes in one line share a place. Four such layouts, one for each corner that they are pushed towards, are
averaged.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

Box = Any  # a `layout.Place`
Rows = list[list[Box]]


def straighten(rows: Rows, space: Callable[[Box, Box], float]) -> None:
    """Set `x` of each box.

    Args:
        rows: The boxes, layer by layer, each layer in its order.
        space: Least distance of the middles of two neighbours in a layer.
    """
    crossed = _crossed(rows)
    found = []
    for downwards in (True, False):
        for leftwards in (True, False):
            turned = rows if downwards else rows[::-1]
            turned = turned if leftwards else [row[::-1] for row in turned]
            places = _one(turned, crossed, space, downwards, leftwards)
            found.append(places if leftwards else {key: -x for key, x in places.items()})
    _balance(rows, found)


def _crossed(rows: Rows) -> set[tuple[int, int]]:
    """Return the arrows that cross a piece of a long one: they give way to it."""
    crossed: set[tuple[int, int]] = set()
    for upper, lower in pairwise(rows):
        places = {id(box): i for i, box in enumerate(upper)}
        left, done = 0, 0
        for i, box in enumerate(lower):
            piece = next((b for b in box.above if box.thing is None and b.thing is None), None)
            if piece is None and i < len(lower) - 1:
                continue
            right = places[id(piece)] if piece is not None else len(upper) - 1
            for other in lower[done : i + 1]:
                crossed.update((id(b), id(other)) for b in other.above if not left <= places[id(b)] <= right)
            left, done = right, i + 1
    return crossed


def _one(
    rows: Rows, crossed: set[tuple[int, int]], space: Callable[[Box, Box], float], downwards: bool, leftwards: bool
) -> dict[int, float]:
    """Return a place for each box, pushed to the left as far as it goes."""
    lines = _lines(rows, crossed, downwards)
    after: dict[int, dict[int, float]] = {line: {} for line in set(lines.values())}
    before: dict[int, dict[int, float]] = {line: {} for line in after}
    for row in rows:
        for a, b in pairwise(row):
            one, other = lines[id(a)], lines[id(b)]
            distance = space(a, b) if leftwards else space(b, a)
            after[one][other] = before[other][one] = max(distance, after[one].get(other, 0.0))
    x = _pushed(after, before)
    return {id(box): x[lines[id(box)]] for row in rows for box in row}


def _lines(rows: Rows, crossed: set[tuple[int, int]], downwards: bool) -> dict[int, int]:
    """Return, for each box, the `id` of the first one in its line."""
    root = {id(box): id(box) for row in rows for box in row}
    taken: set[int] = set()
    for earlier, row in pairwise(rows):
        places = {id(box): i for i, box in enumerate(earlier)}
        free = 0  # what stands left of it in the earlier layer is behind us
        for box in row:
            near = sorted((b for b in (box.above if downwards else box.below)), key=lambda b: places[id(b)])
            for other in _middle(near):
                edge = (id(other), id(box)) if downwards else (id(box), id(other))
                if edge in crossed or places[id(other)] < free or id(other) in taken:
                    continue
                root[id(box)] = root[id(other)]
                taken.add(id(other))
                free = places[id(other)] + 1
                break
    return root


def _middle(near: Sequence[Box]) -> list[Box]:
    if not near:
        return []
    low, high = (len(near) - 1) // 2, len(near) // 2
    return [near[low]] if low == high else [near[low], near[high]]


def _pushed(after: dict[int, dict[int, float]], before: dict[int, dict[int, float]]) -> dict[int, float]:
    """Return the least place of each line, then moved to the right as far as its neighbours let it stay close."""
    waiting = {line: len(earlier) for line, earlier in before.items()}
    order = [line for line, count in waiting.items() if not count]
    x = dict.fromkeys(order, 0.0)
    for line in order:  # grows while it is read
        for other, distance in after[line].items():
            x[other] = max(x.get(other, 0.0), x[line] + distance)
            waiting[other] -= 1
            if not waiting[other]:
                order.append(other)
    for line in reversed(order):
        if after[line] and before[line]:
            continue
        if after[line]:
            x[line] = max(x[line], min(x[other] - distance for other, distance in after[line].items()))
    return x


def _balance(rows: Rows, found: list[dict[int, float]]) -> None:
    """Set each box to the mean of the two middle ones of its four places, the four layouts laid on one another."""
    boxes = [box for row in rows for box in row]
    ends = []
    for places in found:
        left = min((places[id(b)] - b.across / 2 for b in boxes), default=0.0)
        right = max((places[id(b)] + b.across / 2 for b in boxes), default=0.0)
        ends.append((left, right))
    narrowest = min(ends, key=lambda end: end[1] - end[0])
    shifts = [narrowest[0] - left if i % 2 == 0 else narrowest[1] - right for i, (left, right) in enumerate(ends)]
    for box in boxes:
        four = sorted(places[id(box)] + shift for places, shift in zip(found, shifts, strict=True))
        box.x = (four[1] + four[2]) / 2
