"""The figures of a report. Needs Matplotlib, of which no global setting is touched."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lamina._types import Numpy

P = ParamSpec("P")
INK, PALE, LINE, ACCENT, SECOND = "#1f2933", "#7b8794", "#e4e7eb", "#2f6fde", "#e8804c"
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": PALE,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "legend.frameon": False,
    "svg.hashsalt": "lamina",  # the same report, the same bytes
}


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Have a function draw in the style of the report."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def _commas(axis: Any, low: float, high: float) -> None:
    """Write large numbers as 12,000."""
    if 1000 <= max(abs(low), abs(high)) < 1e7:
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


@styled
def calibration(said: Numpy, true: Numpy, rows: Numpy, label: str) -> Figure:
    """What the model said beside what was true, with a dot as large as there are rows."""
    figure, axes = _figure(5.2, 4.4)
    axes.plot([0, 1], [0, 1], color=PALE, lw=1, ls=(0, (4, 4)), label="perfect")
    axes.plot(said, true, color=ACCENT, lw=1.6, zorder=2)
    axes.scatter(said, true, 18 + 320 * rows / rows.max(), color=ACCENT, alpha=0.75, lw=0, zorder=3, label="this model")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=f"probability said ({label})", ylabel="share that was true")
    axes.set_aspect("equal")
    legend = axes.legend(loc="upper left")
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([60])
    return figure


@styled
def confusion(counts: Numpy, classes: list[str]) -> Figure:
    """How many rows of each class were taken for which, shaded by their share of the true class."""
    size = min(9.5, max(4.2, 1.8 + 0.55 * len(classes)))
    figure, axes = _figure(size + 0.6, size)
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    names = [name if len(name) <= 14 else name[:13] + "…" for name in classes]
    turned = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 4 else {}
    axes.set_xticks(range(len(names)), names, **turned)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    if len(names) <= 30:
        for (row, place), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[row, place] > 0.55 else INK
                small = 10 if len(names) <= 8 else 6
                axes.text(place, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=small)
    return figure


@styled
def predictions(found: Numpy, wanted: Numpy, target: str) -> Figure:
    """Predicted beside true values."""
    figure, axes = _figure(5.2, 4.4)
    ends = [float(min(found.min(), wanted.min())), float(max(found.max(), wanted.max()))]
    axes.plot(ends, ends, color=PALE, lw=1, ls=(0, (4, 4)))
    alpha = float(np.clip(400 / len(found), 0.12, 0.6))
    axes.scatter(wanted, found, 12, color=ACCENT, alpha=alpha, lw=0, rasterized=len(found) > 2000)
    axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _commas(axes.xaxis, *ends)
    _commas(axes.yaxis, *ends)
    return figure


@styled
def residuals(found: Numpy, wanted: Numpy, target: str) -> Figure:
    """How many rows are how far off."""
    figure, axes = _figure(5.2, 4.4)
    wrong = found - wanted
    reach = float(np.quantile(np.abs(wrong), 0.995)) or 1.0
    axes.hist(np.clip(wrong, -reach, reach), 41, color=ACCENT, alpha=0.85, edgecolor="white", linewidth=0.5)
    axes.axvline(0, color=INK, lw=1)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel=f"predicted − true {target}", ylabel="rows")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _commas(axes.xaxis, -reach, reach)
    return figure


@styled
def importance(names: list[str], means: Numpy, spreads: Numpy, metric: str) -> Figure:
    """How much worse the model is with each column shuffled, the most important first."""
    figure, axes = _figure(7.6, 0.9 + 0.33 * len(names))
    places = np.arange(len(names))[::-1]
    colours = [ACCENT if mean > 0 else LINE for mean in means]
    axes.barh(places, means, 0.66, xerr=spreads, color=colours, error_kw={"ecolor": PALE, "lw": 1})
    axes.set_yticks(places, [name if len(name) <= 28 else name[:27] + "…" for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.spines.left.set_visible(False)
    axes.axvline(0, color=PALE, lw=0.8)
    axes.margins(y=0.01)
    axes.set(xlabel=f"increase of {metric} with the column shuffled")
    return figure


@styled
def curves(found: list[list[float]], kept: list[int], metric: str) -> Figure:
    """What was measured on the rows held back, epoch by epoch, with a dot where each network was kept."""
    figure, axes = _figure(7.6, 3.6)
    for place, curve in enumerate(found):
        colour = ACCENT if place % 2 == 0 else SECOND
        axes.plot(range(1, len(curve) + 1), curve, color=colour, lw=1.4, alpha=0.8 if len(found) <= 2 else 0.5)
        if place < len(kept) and 0 < kept[place] <= len(curve):
            axes.plot(kept[place], curve[kept[place] - 1], "o", color=colour, ms=6, mec="white")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set(xlabel="epoch", ylabel=metric)
    points = np.concatenate(found)
    low, high = float(points.min()), float(min(points.max(), np.quantile(points, 0.9) * 2 - points.min()))
    if high > low:
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    return figure


def svg(figure: Figure) -> str:
    """A figure as text to put into a page."""
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, dpi=160)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure, path: Path) -> None:
    """Write a figure as a picture."""
    with rc_context(_STYLE):
        figure.savefig(path, dpi=160)
