"""A picture as SVG, written by hand: no dependency, the same bytes each time."""

import re
from html import escape

from lamina.models.plotting.scene import (
    WHITE,
    Box,
    Circle,
    Lines,
    Path,
    Point,
    Scene,
    Shape,
    Text,
    arrow_head,
    bends,
    corner,
)

_FONTS = "Helvetica, Arial, 'DejaVu Sans', 'Noto Sans CJK SC', 'Microsoft YaHei', 'PingFang SC', sans-serif"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_POINT = 4 / 3  # pixels of CSS in a point


def to_svg(scene: Scene) -> str:
    """Return the picture as the text of an SVG file."""
    width, height = _number(scene.width * _POINT), _number(scene.height * _POINT)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {_number(scene.width)} {_number(scene.height)}" role="img" font-family="{_FONTS}">'
    )
    lines = [head, f"<title>{_text(scene.title)}</title>", f'<rect width="100%" height="100%" fill="{WHITE}"/>']
    lines += [_shape(shape) for shape in scene.shapes]
    return "\n".join([*lines, "</svg>", ""])


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _at(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text), quote=True)


def _shape(shape: Shape) -> str:
    if isinstance(shape, Circle):
        stroke = f' stroke="{shape.stroke}" stroke-width="{_number(shape.width)}"' if shape.stroke else ""
        place = f'cx="{_number(shape.x)}" cy="{_number(shape.y)}" r="{_number(shape.radius)}"'
        return f'<circle {place} fill="{shape.fill}"{stroke}/>'
    if isinstance(shape, Box):
        return _box(shape)
    if isinstance(shape, Lines):
        path = "".join(f"M{_at(start)}L{_at(end)}" for start, end in shape.pairs)
        return f'<path d="{path}" fill="none" stroke="{shape.stroke}" stroke-width="{_number(shape.width)}"/>'
    if isinstance(shape, Path):
        return _path(shape)
    return _label(shape)


def _box(box: Box) -> str:
    look = f'fill="{box.fill or "none"}"'
    if box.stroke:
        look += f' stroke="{box.stroke}" stroke-width="{_number(box.line)}"'
    if box.dashed:
        look += ' stroke-dasharray="5 4"'
    x, y, width, height = (_number(value) for value in box[:4])
    if not box.top_only:
        return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{_number(box.radius)}" {look}/>'
    r = box.radius
    left, right, top, bottom = box.x, box.x + box.width, box.y, box.y + box.height
    outline = (
        f"M{_at((left, bottom))}V{_number(top + r)}Q{_at((left, top))} {_at((left + r, top))}"
        f"H{_number(right - r)}Q{_at((right, top))} {_at((right, top + r))}V{_number(bottom)}Z"
    )
    return f'<path d="{outline}" {look}/>'


def _path(path: Path) -> str:
    points, head = list(path.points), ""
    if path.arrow:
        triangle, points[-1] = arrow_head(path)
        head = f'<path d="M{"L".join(map(_at, triangle))}Z" fill="{path.stroke}"/>'
    text = f"M{_at(points[0])}"
    if path.corners == "smooth":
        text += "".join(f"C{_at(a)} {_at(b)} {_at(c)}" for a, b, c in bends(path._replace(points=points)))
    elif path.corners == "sharp":
        text += "".join(f"L{_at(point)}" for point in points[1:])
    else:
        for before, at, after in zip(points, points[1:], points[2:], strict=False):
            start, end = corner(before, at, after, 7)
            text += f"L{_at(start)}Q{_at(at)} {_at(end)}"
        text += f"L{_at(points[-1])}"
    return f'<path d="{text}" fill="none" stroke="{path.stroke}" stroke-width="{_number(path.width)}"/>{head}'


def _label(label: Text) -> str:
    look = f'font-size="{_number(label.size)}" fill="{label.color}" text-anchor="{label.anchor}"'
    look += ' font-weight="bold"' if label.bold else ""
    look += ' font-style="italic"' if label.italic else ""
    below = ""
    if label.below:
        size = label.size * 0.72
        below = f'<tspan dy="{_number(label.size * 0.22)}" font-size="{_number(size)}">{_text(label.below)}</tspan>'
    place = f'x="{_number(label.x)}" y="{_number(label.y + label.size * 0.36)}"'
    return f"<text {place} {look}>{_text(label.text)}{below}</text>"
