"""A picture as PNG or PDF, drawn by matplotlib: the same shapes at the same places as in SVG."""

import io
import warnings
from itertools import groupby
from typing import Any

from lamina.errors import InvalidArgumentError, message
from lamina.models.plotting.scene import WHITE, Box, Circle, Lines, Path, Point, Scene, Text, arrow_head, bends, corner

_MOST_PIXELS = 2**16 - 1  # matplotlib's limit for a side
_CJK = ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC")


def to_bytes(scene: Scene, kind: str, dpi: float) -> bytes:
    """Return the picture as the contents of a file.

    Args:
        scene: The picture.
        kind: "png" or "pdf".
        dpi: Pixels in an inch; a point is 1/72 of one.

    Raises:
        ImportError: If matplotlib is not installed.
        InvalidArgumentError: If the picture would have too many pixels.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            message(
                f"To draw a {kind.upper()}, matplotlib is needed, and it is not installed.",
                fix="`pip install 'lamina[plot]'`, or write an `.svg`, which needs nothing: "
                "`plot_model(model, 'model.svg')`.",
            )
        ) from error
    longest = max(scene.width, scene.height) * dpi / 72
    if kind == "png" and longest > _MOST_PIXELS:
        raise InvalidArgumentError(
            message(
                f"The picture would be {longest:,.0f} pixels long, and a PNG may be {_MOST_PIXELS:,}.",
                received=f"dpi={dpi}",
                fix=f"write an `.svg`, or pass `dpi={int(dpi * _MOST_PIXELS / longest)}` or less.",
            )
        )
    figure = Figure(figsize=(scene.width / 72, scene.height / 72), dpi=dpi, facecolor=WHITE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    axes.axis("off")
    fonts = _fonts(scene)
    for order, (kind_of_shape, group) in enumerate(groupby(scene.shapes, _look)):
        shapes = list(group)
        if kind_of_shape is not None:
            _paths(axes, shapes, order)
        for shape in shapes if kind_of_shape is None else ():
            if isinstance(shape, Text):
                _label(axes, shape, fonts, order)
            elif isinstance(shape, Lines):
                _lines(axes, shape, order)
            elif isinstance(shape, Box | Circle):
                patch = _box(shape) if isinstance(shape, Box) else _circle(shape)
                patch.set_zorder(order)
                axes.add_artist(patch)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that no font has is drawn as a box
        metadata: dict[str, Any] = {"Title": scene.title} | ({"CreationDate": None} if kind == "pdf" else {})
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _fonts(scene: Scene) -> list[str]:
    from matplotlib import font_manager

    texts = "".join(shape.text for shape in scene.shapes if isinstance(shape, Text))
    if texts.isascii():
        return ["DejaVu Sans"]
    known = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _CJK if name in known)]


def _label(axes: Any, label: Text, fonts: list[str], order: int) -> None:
    text = label.text
    if label.below:
        text = f"${label.text}_{{{label.below}}}$"
    sides = {"start": "left", "middle": "center", "end": "right"}
    axes.text(
        label.x,
        label.y,
        text,
        fontsize=label.size * 0.93,  # as wide as the fonts of a browser
        color=label.color,
        weight="bold" if label.bold else "normal",
        style="italic" if label.italic else "normal",
        ha=sides[label.anchor],
        va="center_baseline",
        family=fonts,
        parse_math=bool(label.below),
        zorder=order,
    )


def _lines(axes: Any, lines: Lines, order: int) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(lines.pairs, colors=lines.stroke, linewidths=lines.width, zorder=order))


def _look(shape: Any) -> tuple[str, float] | None:
    """Return what paths that are drawn at once have in common; None for other shapes."""
    return (shape.stroke, shape.width) if isinstance(shape, Path) else None


def _circle(circle: Circle) -> Any:
    from matplotlib import patches

    line = {"edgecolor": circle.stroke, "linewidth": circle.width} if circle.stroke else {"linewidth": 0}
    return patches.Circle((circle.x, circle.y), circle.radius, facecolor=circle.fill, **line)


def _box(box: Box) -> Any:
    look: dict[str, Any] = {
        "facecolor": box.fill or "none",
        "edgecolor": box.stroke or "none",
        "linewidth": box.line if box.stroke else 0,
        "linestyle": (0, (4, 3)) if box.dashed else "-",
    }
    left, right, top, bottom = box.x, box.x + box.width, box.y, box.y + box.height
    points = [(left, bottom), (left, top), (right, top), (right, bottom)]
    return _outline(points, box.radius, look, sharp=(0, 3) if box.top_only else ())


def _outline(points: list[Point], radius: float, look: dict[str, Any], sharp: tuple[int, ...]) -> Any:
    """Return a closed shape with round corners."""
    from matplotlib import patches
    from matplotlib.path import Path as Outline

    codes: list[Any] = []
    places: list[Point] = []
    for i, at in enumerate(points):
        start, end = corner(points[i - 1], at, points[(i + 1) % len(points)], 0 if i in sharp else radius)
        codes += [Outline.LINETO if codes else Outline.MOVETO, Outline.CURVE3, Outline.CURVE3]
        places += [start, at, end]
    return patches.PathPatch(Outline([*places, places[0]], [*codes, Outline.CLOSEPOLY]), **look)


def _paths(axes: Any, paths: list[Any], order: int) -> None:
    """Draw paths of one look, and then their arrow heads."""
    from matplotlib.collections import PathCollection, PolyCollection

    heads = [arrow_head(path) for path in paths if path.arrow]
    first = paths[0]
    lines = PathCollection(
        [_line(path) for path in paths],
        facecolors="none",
        edgecolors=first.stroke,
        linewidths=first.width,
        zorder=order,
    )
    lines.set_capstyle("butt")
    axes.add_collection(lines)
    triangles = [triangle for triangle, _ in heads]
    axes.add_collection(PolyCollection(triangles, facecolors=first.stroke, linewidths=0, zorder=order + 0.5))


def _line(path: Path) -> Any:
    from matplotlib.path import Path as Outline

    points = list(path.points)
    if path.arrow:
        points[-1] = arrow_head(path)[1]
    places, codes = [points[0]], [Outline.MOVETO]
    if path.corners == "smooth":
        for curve in bends(path._replace(points=points)):
            places += curve
            codes += [Outline.CURVE4] * 3
        return Outline(places, codes)
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        start, end = corner(before, at, after, 7 if path.corners == "round" else 0)
        places += [start, at, end]
        codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
    return Outline([*places, points[-1]], [*codes, Outline.LINETO])
