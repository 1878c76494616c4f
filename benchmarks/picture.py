"""The measurements as a picture: for each row, how good each way is beside lamina, on one logarithmic axis."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import SUBJECT, rows
from benchmarks.table import Line

_COLOURS = {"lamina": "#c1121f", "keras_jax": "#3a86ff", "keras_tensorflow": "#ff9f1c", "torch_eager": "#2a9d8f",
            "torch_compiled": "#8ac926", "sklearn": "#8d6e63", "onnxruntime": "#6a4c93"}  # fmt: skip
_NAMES = {"lamina": "lamina", "keras_jax": "Keras on JAX", "keras_tensorflow": "Keras on TensorFlow",
          "torch_eager": "PyTorch eager", "torch_compiled": "PyTorch compiled", "sklearn": "scikit-learn",
          "onnxruntime": "ONNX Runtime"}  # fmt: skip
_OTHER = "#777777"


def draw(lines: Sequence[Line], path: Path, caption: str) -> Path:
    """Write the picture and return its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = rows()
    names = [n for n in known if any(one.row == n and one.way == SUBJECT and one.value for one in lines)]
    figure = Figure(figsize=(11, 1.2 + 0.62 * max(1, len(names))), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown: set[str] = set()
    for place, name in enumerate(reversed(names)):
        row = known[name]
        own = next(one.value for one in lines if one.row == name and one.way == SUBJECT)
        for one in (one for one in lines if one.row == name and one.value):
            share = one.value / own if row.more else own / one.value
            peer = "torch_eager" if one.way == "torch" else one.way
            colour = _COLOURS.get(peer, _OTHER)
            title = row.ways.get(one.way, one.way)
            label = _NAMES.get(peer) if peer not in shown else None
            shown.add(peer)
            axes.plot(share, place, "D" if one.way == SUBJECT else "o", color=colour, markersize=9, label=label,
                      alpha=0.9, zorder=3 if one.way == SUBJECT else 2)  # fmt: skip
            if colour == _OTHER:
                axes.annotate(title, (share, place), xytext=(0, 7), textcoords="offset points", fontsize=7, ha="center")
    axes.set_yticks(range(len(names)), [known[n].title for n in reversed(names)], fontsize=9)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set_xscale("log")
    axes.axvline(1.0, color=_COLOURS["lamina"], linewidth=0.8, alpha=0.5)
    axes.grid(axis="x", which="both", alpha=0.2)
    axes.set_xlabel("speed beside lamina's (right is faster)", fontsize=9)
    axes.set_title(caption, fontsize=9, loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    figure.savefig(path)
    return path
