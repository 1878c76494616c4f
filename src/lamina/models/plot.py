"""`plot_model`: a picture of a model as SVG, PNG or PDF. No other program is needed, and for SVG no other package."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.errors import InvalidTypeError, NotBuiltError, did_you_mean, invalid, message
from lamina.files import atomic
from lamina.models.model import Model
from lamina.models.plotting import boxes, neurons
from lamina.models.plotting.graph import drawing_of
from lamina.models.plotting.raster import to_bytes
from lamina.models.plotting.scene import Scene
from lamina.models.plotting.svg import to_svg

_KINDS = (".svg", ".png", ".pdf")
DIRECTIONS = ("TB", "BT", "LR", "RL")
SPLINES = ("ortho", "curved", "spline", "polyline", "line")
_STYLES = ("auto", "neurons", "boxes")


class Picture(type(Path())):  # type: ignore[misc]
    """The path of a picture; a notebook shows the picture."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        if self.suffix.lower() == ".svg":
            return {"image/svg+xml": self.read_text(encoding="utf-8")}
        return {"image/png": self.read_bytes()} if self.suffix.lower() == ".png" else {"text/plain": repr(self)}


def plot_model(
    model: Model,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    style: str = "auto",
    **kwargs: Any,
) -> Path:
    """Draw a built model and return the path of the picture.

    A chain of fully connected layers is drawn as lectures do, as columns of neurons from left to right; a wide layer is
    shortened by dots. Any other model is drawn as boxes and arrows.

    Args:
        model: A model that is built.
        to_file: Where to write; the name ends in `.svg`, `.png` or `.pdf`. All but SVG need matplotlib.
        show_shapes: Whether to say the shapes of inputs and outputs, or those of the weights between neurons.
        show_dtype: Whether to say types.
        show_layer_names: Whether to say the names of layers.
        rankdir: Which way boxes go: "TB" (top to bottom), "BT", "LR" or "RL".
        expand_nested: Whether to draw what is in models inside.
        dpi: Pixels of a PNG in an inch.
        show_layer_activations: Whether boxes say activations. Neurons always do.
        show_trainable: Whether to say which layers are trained.
        splines: How arrows run: "ortho" (at right angles), "curved", "polyline" or "line".
        style: "neurons", "boxes", or "auto": neurons for a chain of at most eight columns.
        **kwargs: None.

    Raises:
        NotBuiltError: If the model is not built.
        InvalidArgumentError: If an argument cannot be used.
        ImportError: If matplotlib is needed and missing.
    """
    check_arguments(
        model, kwargs, plot_model, rankdir=(rankdir, DIRECTIONS), splines=(splines, SPLINES), style=(style, _STYLES)
    )
    path = _path(to_file)
    columns = neurons.columns_of(model) if style != "boxes" else "boxes were asked for"
    if style == "neurons" and isinstance(columns, str):
        raise neurons.refusal(columns, model)
    title = f"Model {model.name}"
    if isinstance(columns, list) and (style == "neurons" or len(columns) <= neurons.MOST_COLUMNS):
        notes = neurons.Options(show_shapes, show_dtype, show_layer_names, show_trainable)
        scene = neurons.draw(columns, title, notes)
    else:
        options = boxes.Options(
            show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable, rankdir, splines
        )
        scene = boxes.draw(drawing_of(model, expand_nested), title, options)
    atomic.write(str(path), [_contents(scene, path.suffix.lower(), dpi)])
    return path


def check_arguments(
    model: Any, unknown: dict[str, Any], function: Callable[..., Any], **choices: tuple[Any, tuple[str, ...]]
) -> None:
    """Raise an error unless there is a built model and every argument has a known name and value."""
    owner = f"`{function.__name__}`"
    if not isinstance(model, Model):
        raise InvalidTypeError(message("A model is needed.", owner=owner, received=f"model={model!r}"))
    if unknown.pop("layer_range", None) is not None:
        raise invalid("Argument `layer_range` is no longer supported.", owner=owner)
    if unknown:
        fix = did_you_mean(next(iter(unknown)), inspect.signature(function).parameters)
        raise invalid(f"Unrecognized keyword arguments: {unknown}", owner=owner, fix=fix)
    for name, (value, known) in choices.items():
        if value not in known:
            raise invalid(
                f"`{name}` must be one of {known}.",
                owner=owner,
                received=f"{name}={value!r}",
                fix=did_you_mean(str(value), known),
            )
    if not model.built:
        raise NotBuiltError(
            message(
                "This model has not yet been built, so its layers have no sizes to draw.",
                owner=f"{owner}, model `{model.name}`",
                fix="build the model first by calling `build()`, e.g. `model.build((None, 784))`, or by calling the "
                "model on a batch of data.",
            )
        )


def _path(to_file: str | os.PathLike[str]) -> Path:
    path: Path = Picture(os.fspath(to_file)).expanduser()
    if path.suffix.lower() not in _KINDS:
        raise invalid(
            f"The name of a picture must end in one of {_KINDS}.",
            owner="`plot_model`",
            received=f"to_file={os.fspath(to_file)!r}",
            fix=f"pass e.g. {(path.stem or 'model') + '.svg'!r}.",
        )
    return path


def _contents(scene: Scene, kind: str, dpi: Any) -> bytes:
    if kind == ".svg":
        return to_svg(scene).encode("utf-8")
    if not isinstance(dpi, int | float) or isinstance(dpi, bool) or not dpi > 0:
        raise invalid("`dpi` must be a positive number.", owner="`plot_model`", received=f"dpi={dpi!r}")
    return to_bytes(scene, kind[1:], dpi)
