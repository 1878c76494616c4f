"""Networks as lectures draw them: a column of neurons for each fully connected layer, every pair of them connected."""

from itertools import pairwise
from typing import Any, NamedTuple

from lamina.errors import InvalidArgumentError, invalid
from lamina.graph import FunctionOperation
from lamina.layers import Dense, Flatten, InputLayer
from lamina.models.costs import is_graph
from lamina.models.plotting import words
from lamina.models.plotting.scene import FAINT, INK, Circle, Lines, Scene, Shape, Text, text_width

MOST_COLUMNS = 8  # more do not fit on a slide
_SHOWN = 9  # neurons of a column that are drawn one by one
_ENDS = 3  # neurons drawn above and below the dots of a wider one
_RADIUS, _STEP, _GAP, _MARGIN = 13.0, 34.0, 130.0, 26.0
_COLORS = {"input": ("#fdebd0", "#d68910"), "hidden": ("#d6e6f5", "#2e75a8"), "output": ("#d8efdb", "#2f8f46")}
_EXTRAS = frozenset(
    {
        "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "GaussianDropout", "GaussianNoise",
        "GroupNormalization", "Identity", "LayerNormalization", "Masking", "Normalization", "RMSNormalization",
        "Rescaling", "UnitNormalization",
    }
)  # fmt: skip
_ACTIVATIONS = frozenset({"Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"})


class Column(NamedTuple):
    """A column of neurons.

    Attributes:
        size: Number of neurons.
        layer: The layer that computes them, or the input.
        activation: Name of their activation, or None.
        extras: What else is done to them, in short words.
        shape: Shape of a sample where it is more than one axis, e.g. `28×28`.
    """

    size: int
    layer: Any
    activation: str | None = None
    extras: tuple[str, ...] = ()
    shape: str = ""


def columns_of(model: Any) -> list[Column] | str:
    """Return the columns of a model, or why it cannot be drawn so."""
    if not is_graph(model):
        return "its layers are not a chain"
    graph = model._graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or any(len(n.input_tensors) > 1 for n in graph.nodes):
        return "it is more than a chain of layers"
    if len({id(t) for n in graph.nodes for t in n.input_tensors}) < sum(not n.is_input for n in graph.nodes):
        return "it has branches"
    columns: list[Column] = []
    for node in graph.nodes:
        problem = _take(node, columns)
        if problem:
            return problem
    return columns if len(columns) > 1 else "it has no fully connected layer"


def _take(node: Any, columns: list[Column]) -> str | None:
    """Add what a layer does to the columns; return why it cannot be drawn, or None."""
    layer, shape = node.operation, node.output_tensors[0].shape
    kind = type(layer).__name__
    if isinstance(layer, InputLayer) or not columns:
        size = words.size_of(shape)
        if size is None:
            return "the size of its input is not known"
        axes = "×".join(str(n) for n in shape[1:]) if len(shape) > 2 else ""
        columns.append(Column(size, layer, shape=axes))
        return None
    last = columns[-1]
    if isinstance(layer, Dense) and len(shape) == 2:
        columns.append(Column(layer.units, layer, words.activation_of(layer)))
    elif isinstance(layer, Flatten) and len(columns) == 1:
        pass
    elif kind in _ACTIVATIONS and last.activation is None and not last.extras and len(columns) > 1:
        columns[-1] = last._replace(activation=words.activation_of(layer))
    elif kind in _ACTIVATIONS:
        columns[-1] = last._replace(extras=(*last.extras, words.activation_of(layer) or "linear"))
    elif kind in _EXTRAS:
        columns[-1] = last._replace(extras=(*last.extras, words.short(layer)))
    else:
        name = layer.keras_place[1] if isinstance(layer, FunctionOperation) else kind
        return f"its layer `{layer.name}` ({name}) is not fully connected"
    return None


class Options(NamedTuple):
    """What a picture says beside the sizes."""

    shapes: bool = False
    dtype: bool = False
    names: bool = False
    trainable: bool = False


def draw(columns: list[Column], title: str, options: Options) -> Scene:
    """Return the picture of a network."""
    below = [_notes(column, i, len(columns), options) for i, column in enumerate(columns)]
    halves = [max(text_width(t.text, t.size, t.bold) for t in notes) / 2 for notes in below]
    places, x = [], _MARGIN + max(halves[0], _RADIUS)
    for i, half in enumerate(halves):
        if i:
            x += max(_GAP, halves[i - 1] + half + 22, _weights_width(columns, i, options) + 40)
        places.append(x)
    tallest = max(_height(column.size) for column in columns)
    middle = _MARGIN + (26 if options.shapes else 0) + tallest / 2
    neurons = [_neurons(column.size, place, middle) for column, place in zip(columns, places, strict=True)]
    shapes: list[Shape] = []
    for left, right in pairwise(neurons):
        pairs = [((a, b), (c, d)) for a, b, _ in left for c, d, _ in right]
        shapes.append(Lines(pairs, "#b3bec8" if len(pairs) > 40 else "#9fadb9", 0.6 if len(pairs) > 40 else 0.8))
    for i, column in enumerate(columns):
        shapes += _column(column, i, len(columns), neurons[i], places[i], middle)
    under = middle + tallest / 2 + 20
    for place, notes in zip(places, below, strict=True):
        y = under
        for note in notes:
            shapes.append(note._replace(x=place, y=y + note.size * 0.6))
            y += note.size * 1.42
    if options.shapes:
        shapes += _weights(columns, places, middle - tallest / 2 - 2)
    bottom = under + max(sum(note.size * 1.42 for note in notes) for notes in below)
    return Scene(places[-1] + max(halves[-1], _RADIUS) + _MARGIN, bottom + _MARGIN * 0.6, shapes, title)


def _height(size: int) -> float:
    rows = size if size <= _SHOWN else 2 * _ENDS + 1.5
    return (rows - 1) * _STEP + 2 * _RADIUS


def _neurons(size: int, x: float, middle: float) -> list[tuple[float, float, int]]:
    """Return place and number of each neuron that is drawn."""
    if size <= _SHOWN:
        top = middle - (size - 1) * _STEP / 2
        return [(x, top + i * _STEP, i + 1) for i in range(size)]
    half = (_ENDS + 0.25) * _STEP
    above = [(x, middle - half + i * _STEP, i + 1) for i in range(_ENDS)]
    return above + [(x, 2 * middle - y, size + 1 - number) for _, y, number in reversed(above)]


def _role(index: int, count: int) -> str:
    return "input" if index == 0 else "output" if index == count - 1 else "hidden"


def _column(
    column: Column, index: int, count: int, neurons: list[tuple[float, float, int]], x: float, middle: float
) -> list[Shape]:
    fill, stroke = _COLORS[_role(index, count)]
    shapes: list[Shape] = [Circle(a, b, _RADIUS, fill, stroke) for a, b, _ in neurons]
    letter = {"input": "x", "output": "y"}.get(_role(index, count))
    if letter:
        for a, b, number in neurons:
            size = 11.5 if number < 100 else 10.0 if number < 10_000 else 8.0
            below = str(number) if column.size > 1 else ""
            shapes.append(Text(a, b - 0.5, letter, size, INK, italic=True, below=below))
    if column.size > _SHOWN:
        shapes += [Circle(x, middle + step * 9, 1.9, stroke) for step in (-1, 0, 1)]
    return shapes


def _notes(column: Column, index: int, count: int, options: Options) -> list[Text]:
    """Return the lines of text under a column."""
    role = _role(index, count)
    name = {"input": "Input", "output": "Output"}.get(role) or (f"Hidden {index}" if count > 3 else "Hidden")
    notes = [Text(0, 0, name, 12.5, _COLORS[role][1], bold=True)]
    if options.names:
        notes.append(Text(0, 0, column.layer.name, 9.5, FAINT, italic=True))
    size = f"{column.size:,}" + (f" = {column.shape}" if column.shape else "")
    notes.append(Text(0, 0, size, 12.5, INK))
    if index:
        notes.append(Text(0, 0, column.activation or "linear", 11, INK))
    notes += [Text(0, 0, extra, 9.5, FAINT) for extra in column.extras]
    if options.dtype:
        notes.append(Text(0, 0, column.layer.dtype if not index else column.layer.compute_dtype, 9.5, FAINT))
    if options.trainable and index:
        trained = column.layer.trainable
        notes.append(
            Text(0, 0, "trainable" if trained else "frozen", 9.5, "#2f8f46" if trained else "#c0392b", bold=True)
        )
    return notes


def _weights_text(columns: list[Column], index: int) -> list[str]:
    layer = columns[index].layer
    lines = [f"W: {layer.kernel.shape[0]:,} × {layer.kernel.shape[1]:,}"]
    return lines + ([f"b: {layer.units:,}"] if layer.bias is not None else [])


def _weights_width(columns: list[Column], index: int, options: Options) -> float:
    return max(text_width(text, 9.5) for text in _weights_text(columns, index)) if options.shapes else 0.0


def _weights(columns: list[Column], places: list[float], y: float) -> list[Shape]:
    """Return the shapes of the weights, between the columns that they connect."""
    found: list[Shape] = []
    for i in range(1, len(columns)):
        x = (places[i - 1] + places[i]) / 2
        for row, text in enumerate(_weights_text(columns, i)):
            found.append(Text(x, y - 18 + 12 * row, text, 9.5, FAINT, italic=True))
    return found


def refusal(reason: str, model: Any) -> InvalidArgumentError:
    """Return the error for a model that cannot be drawn as neurons."""
    return invalid(
        f"The model cannot be drawn as columns of neurons: {reason}.",
        owner=f"`plot_model`, model `{model.name}`",
        received="style='neurons'",
        fix="pass `style='boxes'`, or 'auto'.",
    )
