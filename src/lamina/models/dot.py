"""A model as a text in the language of Graphviz, which is not needed to write it."""

import os
import shutil
import subprocess
from typing import Any

from lamina.errors import message
from lamina.files import atomic
from lamina.models.model import Model
from lamina.models.plot import DIRECTIONS, SPLINES, check_arguments
from lamina.models.plotting import boxes
from lamina.models.plotting.graph import Drawing, Item, drawing_of


class Dot(str):
    """A text in the language of Graphviz, with the methods of pydot's graphs that scripts use."""

    __slots__ = ()

    def to_string(self) -> str:
        """Return the text."""
        return str(self)

    def create(self, prog: str | None = None, format: str = "svg") -> bytes:
        """Return the picture that Graphviz makes of it, e.g. as 'svg' or 'png'.

        Raises:
            ImportError: If Graphviz is not installed.
        """
        program = shutil.which(prog or "dot")
        if program is None:
            raise ImportError(
                message(
                    "Graphviz is not installed.",
                    owner="model_to_dot",
                    fix="install the program Graphviz from graphviz.org, or draw the model without it: "
                    "`lamina.utils.plot_model`.",
                )
            )
        done = subprocess.run([program, f"-T{format}"], input=self.encode(), capture_output=True, check=True)
        return done.stdout

    def write(self, path: str | os.PathLike[str], prog: str | None = None, format: str = "raw") -> bool:
        """Write the text ('raw'), or the picture that Graphviz makes of it, to a file."""
        atomic.write(os.fspath(path), [self.encode() if format in ("raw", "dot") else self.create(prog, format)])
        return True


def model_to_dot(
    model: Model,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Dot:
    """Return a built model as a graph in the language of Graphviz: boxes for uses of layers, arrows between them.

    Args:
        model: A model that is built.
        show_shapes: Whether boxes say the shapes of inputs and outputs.
        show_dtype: Whether they say types.
        show_layer_names: Whether they say the names of layers.
        rankdir: Which way the arrows go: "TB" (top to bottom), "BT", "LR" or "RL".
        expand_nested: Whether to show what is in models inside, as clusters.
        dpi: Pixels in an inch, where a picture of pixels is made.
        subgraph: Whether to return a cluster, to be put into another graph.
        show_layer_activations: Whether boxes say activations.
        show_trainable: Whether they say which layers are trained.
        splines: How arrows run: "ortho" (at right angles), "curved", "polyline" or "line".
        **kwargs: None.

    Raises:
        NotBuiltError: If the model is not built.
        InvalidArgumentError: If an argument cannot be used.
    """
    check_arguments(model, kwargs, model_to_dot, rankdir=(rankdir, DIRECTIONS), splines=(splines, SPLINES))
    options = boxes.Options(
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable, rankdir, splines
    )
    writer = _Writer(options)
    body = writer.drawing(drawing_of(model, expand_nested), "  ")
    head = [
        f"  graph [rankdir={rankdir}, splines={splines}, dpi={int(dpi)}, fontname=Helvetica];",
        '  node [shape=box, style="rounded", fontname=Helvetica, fontsize=11, margin="0.15,0.08"];',
    ]
    if subgraph:
        lines = [f"subgraph {_quoted('cluster_' + model.name)} {{", f"  label={_quoted(model.name)};", *head[1:], *body]
    else:
        lines = [f"digraph {_quoted(model.name)} {{", *head, *body]
    return Dot("\n".join([*lines, "}"]) + "\n")


class _Writer:
    """Gives every box a number and writes boxes and arrows. An open model is a cluster of boxes."""

    def __init__(self, options: boxes.Options) -> None:
        self._options = options
        self._names: dict[int, str] = {}

    def drawing(self, drawing: Drawing, indent: str) -> list[str]:
        lines = [line for item in drawing.items for line in self._item(item, indent)]
        for source, target, output, number in drawing.arrows:
            lines.append(f"{indent}{self._out(source, output)} -> {self._into(target, number)};")
        return lines

    def _item(self, item: Item, indent: str) -> list[str]:
        if item.inside is not None:
            name = f"cluster_{len(self._names)}_{item.layer.name}"
            self._names[id(item)] = name
            head = [f"{indent}subgraph {_quoted(name)} {{", f"{indent}  label={_quoted(item.layer.name)};"]
            return [*head, *self.drawing(item.inside, indent + "  "), f"{indent}}}"]
        name = f"n{len(self._names)}"
        self._names[id(item)] = name
        content = boxes.content_of(item, self._options)
        label = "\n".join([content.title, *(text for text, _, _ in content.lines)])
        return [f"{indent}{name} [label={_quoted(label)}, color={_quoted(content.color)}];"]

    def _out(self, item: Item, output: int) -> str:
        if item.inside is None or not item.inside.outputs:
            return self._names[id(item)]
        inner, number = item.inside.outputs[min(output, len(item.inside.outputs) - 1)]
        return self._out(inner, number)

    def _into(self, item: Item, number: int) -> str:
        if item.inside is None or not item.inside.inputs:
            return self._names[id(item)]
        return self._into(item.inside.inputs[min(number, len(item.inside.inputs) - 1)], 0)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
