"""`python -m benchmarks.scaling`: how time grows with samples, width, depth and batch, beside a model of the machine.

The model of a step or call: time = fixed + the sum over the layers of (each + max(products / (share · peak), bytes /
(share · stream))). Peak and stream are measured apart (`lamina.speed`); the four numbers that no data sheet has (fixed,
each, the two shares) are fitted on every other point and checked on the others, for each engine and for training and
prediction by themselves. Exponents are slopes of log time over log size, at both ends of a sweep.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.record import circumstances, warning, write

WITHIN = 0.25
_STYLES = {"training, native": "-", "training, XLA": ":", "predict": "--"}
LEAST = 8  # points of an engine, for a model of four numbers
_TURNS = 30


class Layer(NamedTuple):
    """What a layer must do: seconds of its products at the peak, seconds of its bytes at the rate of a stream."""

    compute: float
    memory: float


class Point(NamedTuple):
    """A measured network: what is swept and its size, what is done and by which engine, seconds, and its layers."""

    sweep: str
    size: int
    kind: str
    seconds: float
    layers: tuple[Layer, ...]
    times: float = 1.0  # how many steps or calls the seconds are for


class Fitted(NamedTuple):
    """Seconds of a step that does nothing, of a layer that does nothing, and how much slower than peak and stream."""

    fixed: float
    each: float
    compute: float
    memory: float

    def of(self, point: Point) -> float:
        """Return the seconds that the model gives."""
        layers = sum(self.each + max(self.compute * one.compute, self.memory * one.memory) for one in point.layers)
        return point.times * (self.fixed + layers)

    def regime(self, point: Point) -> str:
        """Return what most of the time goes to."""
        parts = {"dispatch": self.fixed + self.each * len(point.layers), "compute": 0.0, "memory": 0.0}
        for one in point.layers:
            compute, memory = self.compute * one.compute, self.memory * one.memory
            parts["compute" if compute >= memory else "memory"] += max(compute, memory)
        return max(parts, key=lambda name: parts[name])


def fit(points: Sequence[Point]) -> Fitted:
    """Return the model whose relative errors are least. Which of two terms counts is settled in turns."""
    from scipy.optimize import nnls

    seconds, weights = np.array([p.seconds for p in points]), np.ones(len(points))
    found = Fitted(0.0, 0.0, 1.0, 1.0)
    for _ in range(_TURNS):
        rows = []
        for p in points:
            bound = [one.compute * found.compute >= one.memory * found.memory for one in p.layers]
            compute = sum(one.compute for one, by in zip(p.layers, bound, strict=True) if by)
            memory = sum(one.memory for one, by in zip(p.layers, bound, strict=True) if not by)
            rows.append([p.times, p.times * len(p.layers), p.times * compute, p.times * memory])
        shares = np.array(rows) / seconds[:, None]
        solution, _ = nnls(shares * weights[:, None], weights)
        # Least absolute errors rather than squares: a point that something disturbed does not bend the rest.
        weights = 1.0 / np.sqrt(np.maximum(0.02, np.abs(shares @ solution - 1.0)))
        # A term that counts nowhere says nothing; it must not become free either.
        new = Fitted(*(float(v) for v in solution[:2]), *(float(v) or 1.0 for v in solution[2:]))
        if np.allclose(new, found, rtol=1e-6, atol=0.0):
            return new
        found = new
    return found


def exponents(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the slopes of log time over log size, over the lower and the upper half of the sizes."""
    order = np.argsort(sizes)
    x, y = np.log(np.asarray(sizes, float)[order]), np.log(np.asarray(seconds, float)[order])
    half = max(2, (len(x) + 1) // 2)
    return tuple(float(np.polyfit(x[part], y[part], 1)[0]) for part in (slice(None, half), slice(-half, None)))  # type: ignore[return-value]


def checked(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return each point with the model's time and regime; half of them has not been seen by the model.

    An engine that ran only a few is left out: a model would fit them whatever they are.
    """
    found: list[dict[str, Any]] = []
    for kind in dict.fromkeys(p.kind for p in points):
        here = [p for p in points if p.kind == kind]
        if len(here) < LEAST:
            continue
        # Every other size of every sweep: the model must fill in those between.
        sweeps = [[p for p in here if p.sweep == sweep] for sweep in dict.fromkeys(p.sweep for p in here)]
        seen = [p for sweep in sweeps for p in sorted(sweep, key=lambda p: p.size)[::2]]
        model = fit(seen)
        for p in here:
            expected = model.of(p)
            row = {**p._asdict(), "layers": len(p.layers), "expected": expected, "off": p.seconds / expected - 1.0}
            found.append({**row, "regime": model.regime(p), "seen": p in seen, "model": model._asdict()})
    return found


# Measuring


def _network(widths: Sequence[int], engine: str = "auto") -> Any:
    from lamina import keras

    hidden = [keras.layers.Dense(units, activation="relu") for units in widths[1:-1]]
    model = keras.Sequential([keras.Input((widths[0],)), *hidden, keras.layers.Dense(widths[-1])])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), engine=engine)
    return model


def _layers(widths: Sequence[int], batch: int, training: bool) -> tuple[Layer, ...]:
    """Return what each layer must do. The first needs no gradient by its inputs; weights and Adam's moments move."""
    from lamina import speed

    held = 4.0 * sum(a * b for a, b in pairwise(widths)) * (3 if training else 1)
    peak, stream = speed.rate(), speed.stream(held)
    found = []
    for i, (a, b) in enumerate(pairwise(widths)):
        products = 2.0 * batch * a * b * ((2 if i == 0 else 3) if training else 1)
        moved = 4.0 * (a * b * (7 if training else 1) + batch * (a + b) * (2 if training else 1))
        found.append(Layer(products / peak, moved / stream))
    return tuple(found)


def _trained(
    sweep: str, size: int, widths: Sequence[int], batch: int, steps: int, seconds: float, engine: str = "auto"
) -> Point:
    from lamina import speed

    random = np.random.default_rng(0)
    x = random.standard_normal((batch * steps, widths[0]), dtype=np.float32)
    y = random.integers(0, widths[-1], len(x)).astype(np.int32)
    model = _network(widths, engine)
    took = speed.slope(lambda epochs: model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0), seconds)
    engine = "native" if speed.engine(model).startswith("native") else "XLA"
    count = float(steps) if sweep == "samples" else 1.0
    return Point(sweep, size, f"training, {engine}", took * count / steps, _layers(widths, batch, True), count)


def _predicted(sweep: str, size: int, widths: Sequence[int], batch: int, calls: int, seconds: float) -> Point:
    from lamina import speed

    x = np.random.default_rng(0).standard_normal((batch * calls, widths[0]), dtype=np.float32)
    model = _network(widths)
    took = speed.median(lambda: model.predict(x, batch_size=batch, verbose=0), seconds)
    return Point(sweep, size, "predict", took, _layers(widths, batch * calls, False))


def plan(quick: bool) -> list[tuple[str, int, tuple[int, ...], int, int]]:
    """Return (sweep, size, widths, batch, steps) of every network."""
    few = slice(None, None, 2) if quick else slice(None)
    found: list[tuple[str, int, tuple[int, ...], int, int]] = []
    found += [("samples", 64 * n, (64, 128, 64, 10), 64, n) for n in (4, 8, 16, 32, 64, 128, 256, 512)[few]]
    widths = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)[few]
    found += [("width", w, (64, w, w, 10), 128, max(2, min(32, 4096 // w))) for w in widths]
    found += [("depth", d, (64, *[64] * d, 10), 64, 16) for d in (1, 2, 4, 8, 16, 32)[few]]
    batches = (4, 8, 16, 32, 64, 128, 256, 512, 1024)[few]
    found += [("batch", b, (64, 256, 256, 10), b, max(2, 1024 // b)) for b in batches]
    return found


def measured(quick: bool, seconds: float, tell: Callable[[Point], None]) -> list[Point]:
    """Return all points, in the order of the plan. Twice unless quick, the better time of each: noise only adds."""
    best: dict[tuple[str, int, str], Point] = {}
    for _ in range(1 if quick else 2):
        for sweep, size, widths, batch, steps in plan(quick):
            points = [_trained(sweep, size, widths, batch, steps, seconds)]
            if points[0].kind == "training, native":  # XLA by itself, on the same networks
                points.append(_trained(sweep, size, widths, batch, steps, seconds, "xla"))
            # A call of `predict` takes the rows of one batch, except where the number of samples is what is swept.
            points.append(_predicted(sweep, size, widths, batch, steps if sweep == "samples" else 1, seconds))
            for point in points:
                key = point.sweep, point.size, point.kind
                if key not in best or point.seconds < best[key].seconds:
                    best[key] = point
                tell(point)
    return list(best.values())


# Showing


def drawn(found: Sequence[dict[str, Any]]) -> Table:
    """Return the table of all points."""
    table = Table()
    for title in ("sweep", "what"):
        table.add_column(title)
    for title in ("size", "measured", "model", "off"):
        table.add_column(title, justify="right")
    table.add_column("most of it")
    previous = None
    for kind, sweep in dict.fromkeys((row["kind"], row["sweep"]) for row in found):
        for row in (row for row in found if (row["kind"], row["sweep"]) == (kind, sweep)):
            if previous not in (None, (kind, sweep)):
                table.add_section()
            first = previous != (kind, sweep)
            previous = (kind, sweep)
            off = (
                f"[{'green' if abs(row['off']) <= WITHIN else 'red'}]{row['off']:+.0%}[/]{'' if row['seen'] else ' *'}"
            )
            table.add_row(sweep if first else "", kind if first else "", f"{row['size']:,}",
                          _time(row["seconds"]), _time(row["expected"]), off, row["regime"])  # fmt: skip
    return table


def growth(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence for each sweep: the exponents."""
    lines = []
    for kind, sweep in dict.fromkeys((row["kind"], row["sweep"]) for row in found):
        here = [row for row in found if (row["kind"], row["sweep"]) == (kind, sweep)]
        low, high = exponents([row["size"] for row in here], [row["seconds"] for row in here])
        what = "an epoch" if kind != "predict" and sweep == "samples" else "a step" if kind != "predict" else "a call"
        lines.append(f"{kind}, {sweep}: the time of {what} grows as {sweep}^{low:.2f} below, ^{high:.2f} above")
    return lines


def verdicts(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each kind and regime: points, how many are within the limit, the worst, and the median error."""
    lines = []
    for kind, regime in dict.fromkeys((row["kind"], row["regime"]) for row in found):
        here = [row for row in found if (row["kind"], row["regime"]) == (kind, regime)]
        off = [abs(row["off"]) for row in here]
        worst = here[int(np.argmax(off))]
        within = sum(one <= WITHIN for one in off)
        lines.append({
            "kind": kind, "regime": regime, "points": len(here), "within": within, "median": float(np.median(off)),
            "worst": worst["off"], "where": f"{worst['sweep']} {worst['size']:,}",
        })  # fmt: skip
    return lines


def said(line: dict[str, Any]) -> str:
    """Return a verdict in words."""
    held = "holds" if line["within"] == line["points"] else "does not hold everywhere"
    return (
        f"{line['kind']}, {line['regime']}: the model {held}: {line['within']} of {line['points']} within {WITHIN:.0%},"
        f" median {line['median']:.0%}, worst {line['worst']:+.0%} at {line['where']}"
    )


def picture(found: Sequence[dict[str, Any]], path: Path, caption: str) -> Path:
    """Write the plot: a panel for each sweep, points measured, lines of the model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    sweeps = list(dict.fromkeys(row["sweep"] for row in found))
    shades = {"dispatch": "#8d99ae", "compute": "#c1121f", "memory": "#3a86ff"}
    for place, sweep in enumerate(sweeps):
        axes = figure.add_subplot(2, math.ceil(len(sweeps) / 2), place + 1)
        for kind, mark in (("training, native", "o"), ("training, XLA", "^"), ("predict", "s")):
            here = sorted((r for r in found if (r["sweep"], r["kind"]) == (sweep, kind)), key=lambda row: row["size"])
            axes.plot([r["size"] for r in here], [r["expected"] for r in here], _STYLES[kind],
                      color="#333333", linewidth=1, label=f"model, {kind}")  # fmt: skip
            for regime, colour in shades.items():
                some = [r for r in here if r["regime"] == regime]
                label = f"{kind}, {regime}"
                axes.plot([r["size"] for r in some], [r["seconds"] for r in some], mark, color=colour, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(f"over {sweep}", fontsize=10)
        axes.set_xlabel({"samples": "samples in an epoch or call"}.get(sweep, sweep), fontsize=9)
        axes.set_ylabel("seconds", fontsize=9)
        axes.grid(which="both", alpha=0.15)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(caption, fontsize=10)
    figure.savefig(path)
    return path


def _time(seconds: float) -> str:
    unit, scale = ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * scale:.3g} {unit}" if seconds < 1 else f"{seconds:.3g} s"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Of each measurement.")
@click.option("--quick", is_flag=True, help="Half of the points, a fifth of a second each.")
def main(seconds: float, quick: bool) -> None:
    """Measure how time grows with samples, width, depth and batch, and check the model of the machine."""
    from lamina import speed

    console = Console(width=None if Console().is_terminal else 120)
    record = circumstances()
    limits = {"gigaflops": speed.rate() / 1e9, "gigabytes": speed.stream(1 << 28) / 1e9,
              "step": speed.step_cost(), "call": speed.call_cost()}  # fmt: skip
    console.print(
        f"Measured limits: {limits['gigaflops']:,.0f} GFLOP/s (float32 products), {limits['gigabytes']:.1f} GB/s"
        f" (memory), a step that does nothing {_time(limits['step'])}, a predict {_time(limits['call'])}",
        highlight=False,
    )  # fmt: skip

    def tell(p: Point) -> None:
        console.print(f"{p.sweep} {p.size:,}, {p.kind}: {_time(p.seconds)}", highlight=False)

    found = checked(measured(quick, 0.2 * seconds if quick else seconds, tell))
    judged = verdicts(found)
    console.print(drawn(found))
    console.print("* not seen when the model was fitted", highlight=False)
    for line in (*growth(found), *map(said, judged)):
        console.print(line, highlight=False)
    for kind, model in {row["kind"]: row["model"] for row in found}.items():
        console.print(
            f"{kind}: {_time(model['fixed'])} fixed, {_time(model['each'])} a layer,"
            f" {1 / model['compute']:.0%} of the peak, {1 / model['memory']:.0%} of the stream", highlight=False,
        )  # fmt: skip
    record |= {"options": {"kind": "scaling", "seconds": seconds, "quick": quick}, "limits": limits}
    record |= {"points": found, "verdicts": judged, "growth": growth(found)}
    if warning(record):
        console.print(warning(record), style="yellow", highlight=False)
    path = write(record)
    where = record["machine"]
    caption = f"{where['processor']}, {where['cores']} cores, {record['date'][:10]}"
    console.print(f"Written to {path} and {picture(found, path.with_suffix('.png'), caption).name}", highlight=False)


if __name__ == "__main__":
    main()
