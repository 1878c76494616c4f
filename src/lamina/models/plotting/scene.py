"""A picture as a list of shapes, in points from its upper left corner. `svg` and `raster` write it."""

from typing import NamedTuple

Point = tuple[float, float]

INK = "#1f2933"
FAINT = "#6b7885"
WHITE = "#ffffff"


class Circle(NamedTuple):
    """A neuron, or a dot."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str | None = None
    width: float = 1.4


class Box(NamedTuple):
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    radius: float = 6
    fill: str | None = WHITE
    stroke: str | None = INK
    line: float = 1.2
    dashed: bool = False
    top_only: bool = False  # only the upper corners are round


class Lines(NamedTuple):
    """Many thin straight lines of one kind."""

    pairs: list[tuple[Point, Point]]
    stroke: str
    width: float = 0.7


class Path(NamedTuple):
    """A line through points: straight, with round corners, or smooth; with an arrow at its end."""

    points: list[Point]
    stroke: str = "#52606d"
    width: float = 1.4
    corners: str = "round"  # "sharp", "round" or "smooth"
    arrow: bool = True
    across: bool = False  # a smooth line leaves and arrives horizontally


class Text(NamedTuple):
    """A line of text; `anchor` says which part of it is at `x`. `y` is the middle of its height."""

    x: float
    y: float
    text: str
    size: float = 11
    color: str = INK
    bold: bool = False
    italic: bool = False
    anchor: str = "middle"  # "start", "middle" or "end"
    below: str = ""  # a subscript


Shape = Circle | Box | Lines | Path | Text


class Scene(NamedTuple):
    """A picture: its size, its shapes from the back to the front, and what it shows."""

    width: float
    height: float
    shapes: list[Shape]
    title: str


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return about how wide a text is, on the safe side: the widths are those of a wide font, DejaVu Sans."""
    width = sum(_share(character) for character in text)
    return width * size * (1.09 if bold else 1.0)


def _share(character: str) -> float:
    """Return the width of a character as a share of the font's size."""
    if ord(character) > 0x2E80:
        return 1.0  # Chinese, Japanese, Korean
    if character in "ijl|!.,:;'`":
        return 0.34
    if character in "ftrI()[]{}/\\- ":
        return 0.4
    if character in "mwMW@%→×":
        return 0.92
    if character.isupper() or character in "&":
        return 0.7
    return 0.63


def corner(before: Point, at: Point, after: Point, radius: float) -> tuple[Point, Point]:
    """Return where a round corner begins and ends."""

    def towards(other: Point) -> Point:
        dx, dy = other[0] - at[0], other[1] - at[1]
        length = (dx * dx + dy * dy) ** 0.5
        share = min(radius, length / 2) / length if length else 0.0
        return (at[0] + dx * share, at[1] + dy * share)

    return towards(before), towards(after)


def bends(path: Path) -> list[tuple[Point, Point, Point]]:
    """Return a smooth path as cubic curves: for each two control points and the end."""
    found = []
    for (x1, y1), (x2, y2) in zip(path.points, path.points[1:], strict=False):
        if path.across:
            middle = (x1 + x2) / 2
            found.append(((middle, y1), (middle, y2), (x2, y2)))
        else:
            middle = (y1 + y2) / 2
            found.append(((x1, middle), (x2, middle), (x2, y2)))
    return found


def arrow_head(path: Path, length: float = 7.5, width: float = 6.5) -> tuple[list[Point], Point]:
    """Return the triangle at the end of a path, and where its line has to stop."""
    (x, y) = path.points[-1]
    if path.corners == "smooth":
        dx, dy = (1.0 if x >= path.points[-2][0] else -1.0, 0.0) if path.across else (0.0, 1.0)
        if not path.across and y < path.points[-2][1]:
            dy = -1.0
    else:
        before = next((p for p in reversed(path.points[:-1]) if p != (x, y)), (x, y - 1))
        dx, dy = x - before[0], y - before[1]
        size = (dx * dx + dy * dy) ** 0.5
        dx, dy = dx / size, dy / size
    base = (x - dx * length, y - dy * length)
    side = (-dy * width / 2, dx * width / 2)
    return [(x, y), (base[0] + side[0], base[1] + side[1]), (base[0] - side[0], base[1] - side[1])], base
