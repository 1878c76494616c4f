"""The demo's pictures, drawn to be shown in a lecture: few words, readable from the back, for colour-blind eyes too."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

Numbers: TypeAlias = np.ndarray[Any, Any]

_TRAIN, _VALIDATION = "#0072B2", "#D55E00"  # blue and vermilion of Okabe and Ito's palette
_INK = "#222222"
_GREY = "#666666"
_DOTS = 160


def curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw loss and accuracy of the training and the validation digits over the epochs.

    Args:
        history: Lists by the names `loss`, `accuracy`, `val_loss`, `val_accuracy`, one number an epoch.
        path: The PNG file to write.
    """
    figure = Figure(figsize=(11, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        for key, colour, label in ((name, _TRAIN, "training"), (f"val_{name}", _VALIDATION, "validation")):
            values = history[key]
            last = f"{values[-1]:.1%}" if name == "accuracy" else f"{values[-1]:.3f}"
            axes.plot(epochs, values, color=colour, linewidth=2.4, marker="o", markersize=4, label=f"{label}: {last}")
        axes.set_title(title, fontsize=17, loc="left", color=_INK)
        axes.set_xlabel("epoch", fontsize=13, color=_INK)
        axes.set_xticks(_ticks(len(epochs)))
        axes.tick_params(labelsize=12, colors=_INK)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        where = "lower right" if name == "accuracy" else "upper right"
        axes.legend(fontsize=13, frameon=False, loc=where, labelcolor="linecolor")
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        else:
            axes.set_ylim(bottom=0)
    note = (
        "Training: the mean over an epoch, with dropout. Validation: after it, without. In the legend: the last epoch."
    )
    figure.supxlabel(note, fontsize=11, color=_GREY)
    figure.savefig(path, dpi=_DOTS)


def _ticks(epochs: int) -> list[int]:
    """Return 1 and multiples of one step up to `epochs`: at most about ten."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if epochs / step <= 10)
    return [1, *range(step if step > 1 else 2, epochs + 1, step)]


def mistakes(images: Numbers, labels: Numbers, probabilities: Numbers, path: Path, *, columns: int = 8) -> None:
    """Draw the digits that were guessed wrong, those first of which the network was surest.

    Shapes:
        images: (rows, 28, 28). labels: (rows,). probabilities: (rows, 10).
    """
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    certainty = probabilities[wrong, guesses[wrong]]
    shown = wrong[np.argsort(-certainty, kind="stable")][: 5 * columns]
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(1.6 * columns, 1.85 * rows + 1.1), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, row in zip(grid, shown, strict=False):
        axes.imshow(images[row], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        guess = guesses[row]
        axes.set_title(f"{labels[row]} \N{RIGHTWARDS ARROW} {guess}", loc="left", fontsize=15, color=_INK)
        axes.set_title(f"{probabilities[row, guess]:.0%}", loc="right", fontsize=13, color=_VALIDATION)
    which = "" if len(shown) == len(wrong) else f": the {len(shown)} of which it was surest"
    _heading(figure, f"{len(wrong):,} of {len(labels):,} test digits guessed wrong{which}")
    note = "True digit \N{RIGHTWARDS ARROW} guess, and the probability that the network gave to its guess."
    figure.supxlabel(note, fontsize=13, color=_GREY)
    figure.savefig(path, dpi=_DOTS)


def weights(kernel: Numbers, path: Path, *, side: int = 8) -> None:
    """Draw the weights of the units with the largest norm as pictures of the input, on one scale around 0.

    Shapes:
        kernel: (784, units).
    """
    norms = np.linalg.norm(kernel, axis=0)
    units = np.argsort(-norms, kind="stable")[: side * side]
    limit = float(np.quantile(np.abs(kernel[:, units]), 0.995)) or 1.0
    figure = Figure(figsize=(10, 10.6), layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    grid = figure.subplots(side, side)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, unit in zip(grid.ravel(), units, strict=False):
        drawn = axes.imshow(kernel[:, unit].reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    bar = figure.colorbar(drawn, ax=grid, orientation="horizontal", shrink=0.5, aspect=40, pad=0.02)
    bar.ax.tick_params(labelsize=12)
    bar.set_label("weight of a pixel: red for ink, blue against it", fontsize=13)
    _heading(
        figure,
        f"What the first layer looks for: the {len(units)} of its {kernel.shape[1]} units with the largest weights",
    )
    figure.savefig(path, dpi=_DOTS)


def _heading(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=17, color=_INK, x=0.012, ha="left")
