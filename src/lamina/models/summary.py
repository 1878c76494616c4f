"""`summary`: a table of the layers, then what the model weighs and what a sample costs."""

import io
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import config
from lamina._types import Tree
from lamina.callbacks import console
from lamina.errors import invalid
from lamina.models import description
from lamina.models.costs import Cost
from lamina.models.description import Description, Row, describe

_RELATIVE = {3: (0.46, 0.80, 1.0), 4: (0.37, 0.62, 0.81, 1.0), 5: (0.26, 0.46, 0.60, 0.75, 1.0)}
_TRAINABLE_WIDTH = 13


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print the layers of a model, their output shapes, weights and work, and the totals. It need not be built.

    Args:
        model: The model.
        line_length: Characters in a line. Default: what the screen has, at most 100, or 120 with connections.
        positions: Where columns end, as shares of the line or as characters. With one fewer than there are columns,
            the one with FLOPs is left out.
        print_fn: Called once with the whole text. Default: standard output.
        expand_nested: Whether the layers of models inside have rows of their own.
        show_trainable: Whether to say which layers are trained.
        layer_range: Names, or patterns of names, of the first and the last layer.

    Raises:
        InvalidArgumentError: If the line is too short, or `layer_range` names no layers.
    """
    from rich.console import Console, Group

    found = describe(model, expand_nested, layer_range)
    if print_fn is None and not config.is_interactive_logging_enabled():
        print_fn = _log
    longest = (120 if found.branched else 100) + (_TRAINABLE_WIDTH if show_trainable else 0)
    length = int(line_length or min(longest, shutil.get_terminal_size().columns - 4))
    buffer = io.StringIO() if print_fn is not None else None
    width = max(length, 40) if buffer is not None else max(length, 40, shutil.get_terminal_size().columns - 1)
    screen = Console(file=buffer, width=width, highlight=False, color_system="auto" if buffer is None else None)
    branch = "+-" if screen.options.ascii_only else "└"
    table = _table(found, length, positions, show_trainable, branch)
    if print_fn is None:
        console.screen.flush()
        console.screen.clear()
    screen.print(Group(bold_text(f'Model: "{_plain(found.name)}"'), table, *_totals(found)))
    if print_fn is not None and buffer is not None:
        print_fn(buffer.getvalue())


def _log(text: str) -> None:
    console.say(text, line_break=False)


# ---- the table


def _table(found: Description, length: int, positions: Any, show_trainable: bool, branch: str) -> Any:
    from rich.table import Column, Table

    header = ["Layer (type)", "Output Shape", "Param #", "FLOPs"]
    header += ["Connected to"] if found.branched else []
    widths, with_work = _widths(length, positions, len(header), show_trainable)
    if not with_work:
        header.remove("FLOPs")
    header += ["Trainable"] if show_trainable else []
    sides = {"Param #": "right", "FLOPs": "right", "Trainable": "center"}
    columns: list[Any] = [
        Column(name, justify=sides.get(name, "left"), width=width, overflow="fold")  # type: ignore[arg-type]
        for name, width in zip(header, widths, strict=True)
    ]
    table = Table(*columns, width=length, show_lines=True)
    for row in found.rows:
        fields = _fields(row, header, branch, widths)
        table.add_row(*fields)
    return table


def _widths(length: int, positions: Any, columns: int, show_trainable: bool) -> tuple[list[int], bool]:
    """Return the width of each column without its frame, and whether one of them is for FLOPs."""
    given = len(positions) if positions else columns
    if given not in (columns, columns - 1):
        raise invalid(
            "`positions` must say where each column ends.",
            received=f"positions={positions!r}",
            fix=f"pass {columns - 1} or {columns} numbers, the last of them 1.0.",
        )
    room = length - (_TRAINABLE_WIDTH if show_trainable else 0)
    ends = positions or _RELATIVE[columns]
    ends = [int(end * room) if ends[-1] <= 1 else int(end) for end in ends]
    ends += [ends[-1] + _TRAINABLE_WIDTH] if show_trainable else []
    widths = [end - start - 3 for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    widths[-1] -= 1  # the right edge of the frame
    if min(widths) < 1:
        raise invalid(
            "Insufficient console width to print summary.",
            received=f"line_length={length}",
            fix="pass a larger `line_length`, e.g. 80.",
        )
    return widths, given == columns


def _fields(row: Row, header: list[str], branch: str, widths: list[int]) -> list[str]:
    prefix = "   " * row.depth + f"{branch} " if row.depth else ""
    params = highlight_number(0) + " (unbuilt)" if row.params is None else highlight_number(f"{row.params:,}")
    fields = {
        "Layer (type)": f"{_plain(prefix + row.name)} ({highlight_symbol(_plain(row.kind))})",
        "Output Shape": format_shapes(row.shapes),
        "Param #": params,
        "FLOPs": highlight_number(_work(row.cost.forward, widths[3] if "FLOPs" in header else 0)),
        "Connected to": ", ".join(
            f"{_plain(name)}[{highlight_number(use)}][{highlight_number(index)}]" for name, use, index in row.sources
        )
        or "-",
        "Trainable": {True: bold_text("Y", color=34), False: bold_text("N", color=9), None: bold_text("-")}[
            row.trainable
        ],
    }
    return [fields[name] for name in header]


def format_shapes(shapes: Tree) -> str:
    """Return an output shape, or a list or dict of shapes, with markup; "?" for what is not known."""
    if shapes is None:
        return "?"

    def one(shape: Any) -> str:
        return f"({', '.join(highlight_number(size) for size in shape)})"

    found = jax.tree.map(one, shapes, is_leaf=description.is_shape)
    flat = jax.tree.leaves(found)
    return str(flat[0]) if len(flat) == 1 else str(found).replace("'", "")


def format_layer_shape(layer: Any) -> str:
    """Return the output shape of a layer, with markup; "?" if it is not known."""
    return format_shapes(description.output_shapes(layer))


def _work(value: int, width: int = 99) -> str:
    """Return a number of operations: in full where there is room, else with three digits and a letter."""
    if value < 0:
        return "?"
    full = f"{value:,}"
    return full if len(full) <= width else readable_number(value)


# ---- the totals


def _totals(found: Description) -> list[str]:
    optimizer = found.optimizer or (0, 0)
    lines = [
        _line("Total params", *(sum(pair) for pair in zip(found.trainable, found.fixed, optimizer, strict=True))),
        _line("Trainable params", *found.trainable),
        _line("Non-trainable params", *found.fixed),
    ]
    if found.optimizer is not None:
        lines.append(_line("Optimizer params", *found.optimizer))
    return [*lines, *_costs(found)]


def _line(name: str, count: int, size: int) -> str:
    return f"{bold_text(f' {name}: ')}{highlight_number(f'{count:,}')} ({readable_memory_size(size)})"


def _costs(found: Description) -> list[str]:
    cost: Cost = found.cost
    forward, training = (highlight_number("?" if n < 0 else readable_number(n)) for n in (cost.forward, cost.training))
    memory = [f"{readable_memory_size(found.trainable[1] + found.fixed[1])} weights"]
    if cost.activations >= 0:
        memory.append(f"{readable_memory_size(cost.activations)} activations per sample")
    if found.planned is not None:
        memory.append(f"{readable_memory_size(found.planned)} optimizer")
    if any(row.params is None for row in found.rows) and cost.forward < 0:
        return [bold_text(" FLOPs per sample: ") + "known once the model is built"]
    return [
        bold_text(" FLOPs per sample: ") + f"{forward} forward, {training} in a training step",
        bold_text(" Memory: ") + ", ".join(memory),
    ]


# ---- Keras's helpers


def count_params(weights: Iterable[Any]) -> int:
    """Return the number of elements of variables."""
    return sum(math.prod(weight.shape) for weight in weights)


def weight_memory_size(weights: Iterable[Any]) -> float:
    """Return the bytes of variables, each counted once."""
    unique = {id(weight): weight for weight in weights}.values()
    return float(sum(math.prod(weight.shape) * jnp.dtype(weight.dtype).itemsize for weight in unique))


def readable_memory_size(weight_memory_size: float) -> str:
    """Return bytes as `4.82 KB`; 1 KB is 1024 bytes."""
    size = float(weight_memory_size)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def readable_number(value: float) -> str:
    """Return a number as `803,328`, `1.86 M` or `12.4 G`."""
    if value < 1e6:
        return f"{value:,.0f}"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G")):
        if value >= 0.9995 * size:
            return f"{_three(value / size)} {letter}"
    return f"{_three(value / 1e6)} M"


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def highlight_number(x: Any) -> str:
    """Return a number in green, None in blue, as markup of rich."""
    return f"[color(45)]{x}[/]" if x is None else f"[color(34)]{x}[/]"


def highlight_symbol(x: Any) -> str:
    """Return the name of a class in blue, as markup of rich."""
    return f"[color(33)]{x}[/]"


def bold_text(x: Any, color: int | None = None) -> str:
    """Return text in bold, as markup of rich."""
    return f"[bold][color({color})]{x}[/][/]" if color else f"[bold]{x}[/]"


def get_layer_index_bound_by_layer_name(layers: Sequence[Any], layer_range: Any = None) -> list[int]:
    """Return where the layers from the first to the last of two names begin and end."""
    return list(description.bounds(layers, layer_range))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
