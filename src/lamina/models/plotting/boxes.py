"""Models as boxes and arrows: what a box says, and the whole picture."""

from collections import defaultdict
from collections.abc import Hashable
from itertools import pairwise
from typing import NamedTuple

from lamina.graph import FunctionOperation
from lamina.layers import InputLayer
from lamina.models.model import Model
from lamina.models.plotting import words
from lamina.models.plotting.graph import Drawing, Item, dtypes_of, kind_of, shapes_of
from lamina.models.plotting.layout import Layout, Place, arrange, stack
from lamina.models.plotting.scene import FAINT, INK, WHITE, Box, Path, Point, Scene, Shape, Text, text_width

_MARGIN, _PADDING, _HEADER, _ROW = 18.0, 11.0, 25.0, 18.0
_GAP, _BETWEEN, _FRAME, _HEAD = 26.0, 30.0, 14.0, 18.0
_TITLE, _SMALL = 12.0, 10.0
_SNAP = 6.0  # a jog smaller than this is made none
_INPUT, _DENSE, _OTHER, _MERGE, _INNER = "#b9770e", "#2e75a8", "#52606d", "#7d3c98", "#1f2933"
_NORM, _NOISE, _ACTIVATION = "#0e7c7b", "#909ba5", "#2f8f46"
_OPEN = "#f4f6f8"
_TRAINED, _FROZEN = "#2f8f46", "#c0392b"
_FAMILIES = {
    _DENSE: "Dense EinsumDense Embedding",
    _NORM: "BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization Normalization "
    "Rescaling SpectralNormalization",
    _NOISE: "Dropout AlphaDropout GaussianDropout GaussianNoise ActivityRegularization",
    _ACTIVATION: "Activation ReLU LeakyReLU PReLU ELU Softmax",
    _MERGE: "Add Subtract Multiply Average Maximum Minimum Concatenate Dot",
}
_COLORS = {name: color for color, names in _FAMILIES.items() for name in names.split()}


class Options(NamedTuple):
    """What a picture says of each layer, which way its arrows go, and how they look."""

    shapes: bool = False
    dtype: bool = False
    names: bool = False
    activations: bool = False
    trainable: bool = False
    rankdir: str = "TB"
    splines: str = "ortho"


class Content(NamedTuple):
    """A box: its title, its lines below it, and its color."""

    title: str
    lines: list[tuple[str, str, bool]]  # text, color, whether in bold
    color: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        widths = [text_width(self.title, _TITLE, bold=True)]
        widths += [text_width(text, _SMALL, bold) for text, _, bold in self.lines]
        lines = len(self.lines) * _ROW + (7 if self.lines else 0)
        return max(88.0, max(widths) + 2 * _PADDING), _HEADER + lines


def content_of(item: Item, options: Options) -> Content:
    """Return what the box of a use of a layer says."""
    layer, kind = item.layer, kind_of(item.layer)
    detail = "" if isinstance(layer, FunctionOperation) else words.detail_of(layer)
    kind = "Input" if kind == "InputLayer" else kind
    title = f"{kind} {detail}" if detail else kind
    lines: list[tuple[str, str, bool]] = []
    if options.names:
        lines.append((layer.name, INK, False))
    if item.uses > 1:
        lines.append((f"use {item.use} of {item.uses}: the same weights", FAINT, False))
    if options.activations:
        activation = None if isinstance(layer, FunctionOperation) else words.activation_of(layer)
        if activation or getattr(layer, "activation", None) is not None:
            lines.append((activation or "linear", INK, False))
    if options.shapes:
        given, made = shapes_of(item)
        text = words.shape_text(made) if made is not None else "?"
        lines.append((text if given is None else f"{words.shape_text(given)} → {text}", INK, False))
    if options.dtype:
        lines.append((dtypes_of(item), FAINT, False))
    if options.trainable and getattr(layer, "weights", None):
        lines.append(("trainable", _TRAINED, True) if layer.trainable else ("frozen", _FROZEN, True))
    return Content(title, lines, _color(layer, kind))


def _color(layer: object, kind: str) -> str:
    if isinstance(layer, InputLayer):
        return _INPUT
    if isinstance(layer, Model):
        return _INNER
    return _MERGE if isinstance(layer, FunctionOperation) and kind in _COLORS else _COLORS.get(kind, _OTHER)


# ---- the picture


class _Block:
    """A drawing laid out: its places, and how big it is along and across its arrows."""

    def __init__(self, drawing: Drawing, options: Options, inner: bool = False) -> None:
        self.options = options
        self.sideways = options.rankdir in ("LR", "RL")
        self.places: dict[int, Place] = {}
        self.inner: dict[int, _Block] = {}
        self.contents: dict[int, Content] = {}
        for item in drawing.items:
            width, height = self._size(item)
            across, along = (height, width) if self.sideways else (width, height)
            self.places[id(item)] = Place(across, along, item, item.order)
        links: dict[tuple[int, int, int, int], tuple[Place, Place, Hashable]] = {}
        for source, target, output, number in drawing.arrows:
            key = (id(source), id(target), output if source.inside else 0, number if target.inside else 0)
            links[key] = (self.places[id(source)], self.places[id(target)], (id(source), key[2]))
        first = [self.places[id(item)] for item in drawing.inputs] if inner else []
        last = [self.places[id(item)] for item, _ in drawing.outputs] if inner else []
        self.layout: Layout = arrange(list(self.places.values()), list(links.values()), _GAP, first, last)
        self.numbers = [(output, number) for _, _, output, number in links]
        self._stack()

    def _stack(self) -> None:
        """Choose where arrows leave, cross over and arrive, and leave room for that between the layers."""
        layout = self.layout
        self.starts, self.ends = _ports(self)
        self.lanes: dict[tuple[int, int], tuple[int, int]] = {}
        if self.options.splines == "ortho":
            self.lanes = _lanes(layout, self.starts, self.ends)
        counts = [0] * len(layout.layers)
        for (number, i), (_, count) in self.lanes.items():
            layer = layout.arrows[number].stops[i].layer
            counts[layer] = max(counts[layer], count)
        stack(layout, [max(_BETWEEN + (12 if self.sideways else 0), 20 + 8 * count) for count in counts[:-1]])

    def _size(self, item: Item) -> tuple[float, float]:
        if item.inside is None:
            content = self.contents[id(item)] = content_of(item, self.options)
            return content.size
        block = self.inner[id(item)] = _Block(item.inside, self.options, inner=True)
        width, height = block.size
        title = text_width(heading_of(item), _SMALL, bold=True) + 2 * _FRAME
        return max(width + 2 * _FRAME, title), height + 2 * _FRAME + _HEAD * (2 if self.sideways else 1)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        across, along = self.layout.across, self.layout.along
        return (along, across) if self.sideways else (across, along)

    def port(self, item: Item, number: int, entering: bool) -> Point:
        """Return where an arrow meets an item: how far from its edge across, and how deep inside it along."""
        place = self.places[id(item)]
        if item.inside is None:
            return (place.across / 2, 0.0)
        block = self.inner[id(item)]
        inner, output = (item.inside.inputs[number], 0) if entering else item.inside.outputs[number]
        across, deep = block.port(inner, output, entering)
        spot = block.places[id(inner)]
        across += spot.x - spot.across / 2
        deep += spot.y if entering else block.layout.along - _bottom(spot)
        if self.sideways:
            return (across + _FRAME + _HEAD, deep + (place.along - block.layout.along) / 2)
        headed = entering == (self.options.rankdir == "TB")
        return (across + (place.across - block.layout.across) / 2, deep + _FRAME + (_HEAD if headed else 0))


def heading_of(item: Item) -> str:
    """Return the heading of a model that is shown open."""
    return f"{item.layer.name} ({kind_of(item.layer)})"


class _Canvas:
    """Shapes, drawn at places of blocks that lie in one another."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.frames: list[Shape] = []
        self.arrows: list[Shape] = []
        self.boxes: list[Shape] = []

    def draw(self, block: _Block, left: float, top: float) -> None:
        """Draw a block with its upper left corner at a point."""
        for item_id, place in block.places.items():
            x, y, width, height = self._rectangle(block, place, left, top)
            if item_id not in block.inner:
                self._box(block.contents[item_id], x, y, width, height)
                continue
            self.frames.append(Box(x, y, width, height, 9, _OPEN, "#9aa7b3", 1.1, dashed=True))
            heading = heading_of(place.thing)
            backing = text_width(heading, _SMALL, bold=True) * 0.95 + 6
            self.boxes.append(Box(x + _FRAME - 3, y + 6, backing, 14, 3, _OPEN, None))  # an arrow passes behind it
            self.boxes.append(Text(x + _FRAME, y + 13, heading, _SMALL, FAINT, bold=True, anchor="start"))
            inner = block.inner[item_id]
            self.draw(inner, x + (width - inner.size[0]) / 2, y + _FRAME + _HEAD)
        for points in routes(block):
            self._arrow([self._point(block, point, left, top) for point in points])

    def _point(self, block: _Block, point: Point, left: float, top: float) -> Point:
        """Return a place across and along as x and y of the picture."""
        across, along = point
        if self.options.rankdir in ("BT", "RL"):
            along = block.layout.along - along
        return (left + along, top + across) if block.sideways else (left + across, top + along)

    def _rectangle(self, block: _Block, place: Place, left: float, top: float) -> tuple[float, float, float, float]:
        first = self._point(block, (place.x - place.across / 2, place.y), left, top)
        last = self._point(block, (place.x + place.across / 2, _bottom(place)), left, top)
        return min(first[0], last[0]), min(first[1], last[1]), abs(last[0] - first[0]), abs(last[1] - first[1])

    def _box(self, content: Content, x: float, y: float, width: float, height: float) -> None:
        middle = x + width / 2
        if content.lines:
            self.boxes.append(Box(x, y, width, height, 6, WHITE, content.color, 1.3))
            self.boxes.append(Box(x, y, width, _HEADER, 6, content.color, content.color, 1.3, top_only=True))
        else:
            self.boxes.append(Box(x, y, width, height, 6, content.color, content.color, 1.3))
        self.boxes.append(Text(middle, y + _HEADER / 2, content.title, _TITLE, WHITE, bold=True))
        for row, (text, color, bold) in enumerate(content.lines):
            self.boxes.append(Text(middle, y + _HEADER + 4 + _ROW * (row + 0.5), text, _SMALL, color, bold=bold))

    def _arrow(self, points: list[Point]) -> None:
        corners = {"ortho": "round", "polyline": "sharp", "line": "sharp"}.get(self.options.splines, "smooth")
        if corners != "smooth":
            points = _without_needless(points)
        self.arrows.append(Path(points, corners=corners, across=self.options.rankdir in ("LR", "RL")))


# ---- arrows


def _bottom(place: Place) -> float:
    return place.y + place.along


def routes(block: _Block) -> list[list[Point]]:
    """Return the points of each arrow, across and along."""
    found = []
    for number, arrow in enumerate(block.layout.arrows):
        (start, out), (end, deep) = block.starts[number], block.ends[number]
        places = [start, *(bend.x for bend in arrow.bends), end]
        points = [(start, _bottom(arrow.source) - out)]
        for i, (upper, lower) in enumerate(pairwise(arrow.stops)):
            if block.options.splines == "ortho":
                points += _across(block, (number, i), upper.layer, places[i], places[i + 1])
            elif i:
                points += [(places[i], upper.y), (places[i], _bottom(upper))]
            if i == len(places) - 2:
                points.append((end, lower.y + deep))
        found.append([points[0], points[-1]] if block.options.splines == "line" else points)
    return found


def _across(block: _Block, key: tuple[int, int], layer: int, start: float, end: float) -> list[Point]:
    """Return the two corners at which an arrow changes its place between two layers, or nothing if it need not."""
    if key not in block.lanes:
        return []
    lane, count = block.lanes[key]
    (_, top), (bottom, _) = block.layout.edges[layer : layer + 2]
    y = top + 7 + (bottom - top - 20) * (lane + 0.5) / count
    return [(start, y), (end, y)]


def _ports(block: _Block) -> tuple[list[Point], list[Point]]:
    """Return where each arrow leaves and arrives: across, and how deep inside a model that is shown open.

    Arrows that arrive at one box do so side by side, in the order of where they come from.
    """
    arrows = block.layout.arrows
    starts: list[Point] = []
    ends: list[Point] = []
    arriving: dict[int, list[int]] = defaultdict(list)
    for i, (arrow, (output, number)) in enumerate(zip(arrows, block.numbers, strict=True)):
        for place, index, entering, found in (
            (arrow.source, output, False, starts),
            (arrow.target, number, True, ends),
        ):
            across, deep = block.port(place.thing, index, entering)
            found.append((place.x - place.across / 2 + across, deep))
        if arrow.target.thing.inside is None:
            arriving[id(arrow.target)].append(i)
    for group in arriving.values():
        group.sort(key=lambda i: arrows[i].bends[-1].x if arrows[i].bends else starts[i][0])
        place = arrows[group[0]].target
        step = min(22.0, place.across / (len(group) + 1))
        for rank, i in enumerate(group):
            before = arrows[i].bends[-1].x if arrows[i].bends else starts[i][0]
            end = place.x + (rank - (len(group) - 1) / 2) * step
            ends[i] = (before if abs(before - end) < _SNAP else end, 0.0)
    return starts, ends


def _lanes(layout: Layout, starts: list[Point], ends: list[Point]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return in which lane between two layers each arrow crosses over, and how many lanes there are.

    Lanes are numbered away from the earlier layer. Two arrows share one only where they do not touch, or where they
    come from the same box.
    """
    spans: dict[int, list[tuple[float, float, int, int]]] = defaultdict(list)
    for number, arrow in enumerate(layout.arrows):
        places = [starts[number][0], *(bend.x for bend in arrow.bends), ends[number][0]]
        for i, (a, b) in enumerate(pairwise(places)):
            if abs(a - b) > 1:
                spans[arrow.stops[i].layer].append((a, b, number, i))
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for group in spans.values():
        # To the right: the rightmost start comes first, so that no arrow crosses another that starts beside it.
        group.sort(key=lambda span: (span[1] < span[0], -span[0] if span[1] > span[0] else span[0]))
        lanes: list[list[tuple[float, float, float]]] = []
        chosen: dict[tuple[int, int], int] = {}
        for a, b, number, i in group:
            low, high = min(a, b), max(a, b)
            lane = next((n for n, taken in enumerate(lanes) if _is_free(taken, low, high, a)), len(lanes))
            if lane == len(lanes):
                lanes.append([])
            lanes[lane].append((low, high, a))
            chosen[number, i] = lane
        found.update((key, (lane, len(lanes))) for key, lane in chosen.items())
    return found


def _is_free(taken: list[tuple[float, float, float]], low: float, high: float, start: float) -> bool:
    return all(high + 5 < other[0] or other[1] + 5 < low or abs(start - other[2]) < 0.5 for other in taken)


def _without_needless(points: list[Point]) -> list[Point]:
    """Return the points of a line without those that lie on the way between their neighbours."""
    kept = points[:1]
    for at, after in pairwise(points[1:]):
        (ax, ay), (bx, by), (cx, cy) = kept[-1], at, after
        if abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) > 1e-6 * (abs(cx - ax) + abs(cy - ay) + 1):
            kept.append(at)
    return [*kept, points[-1]]


def draw(drawing: Drawing, title: str, options: Options) -> Scene:
    """Return the picture of a model."""
    block = _Block(drawing, options)
    canvas = _Canvas(options)
    canvas.draw(block, _MARGIN, _MARGIN)
    width, height = block.size
    shapes = [*canvas.frames, *canvas.arrows, *canvas.boxes]
    return Scene(width + 2 * _MARGIN, height + 2 * _MARGIN, shapes, title)
