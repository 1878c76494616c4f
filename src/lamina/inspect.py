"""What goes through a network: the activations and the gradients of every layer, as numbers and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Array, Tree
from lamina.errors import invalid, message
from lamina.layers import InputLayer
from lamina.layers.context import CallContext, calling
from lamina.training import steps
from lamina.variables import Variable, bound, isolated

_SHOWN = 40  # rows of a table before its middle is left out
_FAR = 1e3  # from this ratio of norms on a gradient counts as vanishing or exploding


class Layer(NamedTuple):
    """What went through a layer, over all rows and units.

    Attributes:
        name: Its name; a path where the name alone does not say which.
        kind: Its class.
        shape: Shape of its output.
        mean: Mean of the output.
        deviation: Standard deviation of the output.
        dead: Share of the units that gave 0 for every row.
        gradient_mean: Mean of the derivative of the loss by the output.
        gradient_deviation: Its standard deviation.
        gradient_norm: Its L2 norm.
        weight_norm: L2 norm of the trainable weights; None without any.
        weight_gradient_norm: L2 norm of the derivative by the trainable weights; None without any.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    deviation: float
    dead: float
    gradient_mean: float
    gradient_deviation: float
    gradient_norm: float
    weight_norm: float | None
    weight_gradient_norm: float | None


class Signal(NamedTuple):
    """What went through a model, from the first layer to the last.

    Attributes:
        model: Name of the model.
        rows: Number of rows of the data.
        loss: The loss that the gradients are those of.
        layers: The layers.
    """

    model: str
    rows: int
    loss: float
    layers: tuple[Layer, ...]

    @property
    def gradient_ratio(self) -> float:
        """The gradient norm at the first layer over that at the last: far below 1 it vanishes, above it explodes."""
        first, last = self.layers[0].gradient_norm, self.layers[-1].gradient_norm
        return first / last if last else float("nan")

    @property
    def verdict(self) -> str:
        """One sentence about the gradient on its way from the last layer to the first."""
        ratio = self.gradient_ratio
        if not np.isfinite(ratio):
            return "The gradient is not finite." if self.layers[-1].gradient_norm else "The gradient is zero."
        if ratio < 1 / _FAR:
            return f"The gradient vanishes: at the first layer its norm is {ratio:.1e} of that at the last."
        if ratio > _FAR:
            return f"The gradient explodes: at the first layer its norm is {ratio:.1e} times that at the last."
        return f"The gradient arrives: at the first layer its norm is {ratio:.2g} times that at the last."

    def to_pandas(self) -> Any:
        """Return a data frame with a row for each layer."""
        try:
            import pandas
        except ImportError:
            raise ImportError(message("`to_pandas` needs pandas.", fix="run `pip install pandas`.")) from None
        return pandas.DataFrame(self.layers, columns=Layer._fields)

    def table(self, limit: int | None = _SHOWN) -> Any:
        """Return a `rich` table; of more than `limit` layers the first and the last."""
        from rich.table import Table

        found = Table(title=f"{self.model}: {len(self.layers)} layers, {self.rows} rows, loss {self.loss:.4g}")
        for name in ("Layer (type)", "Output mean", "deviation", "dead", "Gradient mean", "deviation", "norm"):
            found.add_column(name, justify="left" if name.startswith("Layer") else "right")
        found.add_column("Weights: gradient / norm", justify="right")
        for row in _shortened(self.layers, limit):
            found.add_row(*_cells(row))
        found.caption = self.verdict
        return found

    def __rich__(self) -> Any:
        return self.table()

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=130, no_color=True)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def plot(self, to_file: str | Path) -> Path:
        """Draw deviations, gradient norms and dead units by layer into a PNG, and return its path."""
        return plot({self.model: self}, to_file)


def signal(model: Any, x: Tree, y: Tree = None, *, sample_weight: Tree = None, training: bool = True) -> Signal:
    """Return what goes through a model for these rows: activations forwards, gradients backwards. Nothing is changed.

    All activations are held at once, so give a batch, not a data set. Layers run one by one, however many are alike.

    Args:
        model: Any model. With `y` it must be compiled with a loss.
        x: Inputs, as those of `fit`.
        y: Targets. Without them the gradients are those of half the mean squared norm of the outputs.
        sample_weight: Weights of the rows.
        training: Whether layers act as in training: dropout drops, batch normalization uses the batch.

    Raises:
        InvalidArgumentError: If the data do not fit the model, or `y` is given and there is no loss.
    """
    x, y, weight, rows = _batch(model, x, y, sample_weight)
    variables = model.trainable_variables
    watch = _Watch()
    with isolated():
        _, loss_of = _losses(model, x, y, weight, training, watch)
        loss_of([], [v.value for v in variables])  # finds the layers and their shapes
        seen, shifts = watch.seen, [jnp.zeros(o.shape, o.dtype) for o in watch.outputs]
        values = watch.outputs
        loss, (by_output, by_weight) = jax.value_and_grad(loss_of, argnums=(0, 1))(shifts, [v.value for v in variables])
    gradients = dict(zip(variables, by_weight, strict=True))
    names = _names(seen)
    with np.errstate(all="ignore"):  # what is not finite is to be seen
        found = [
            _layer(layer, name, value, gradient, gradients)
            for layer, name, value, gradient in zip(seen, names, values, by_output, strict=True)
        ]
    if not found:
        raise invalid("The model has no layers to look at.", owner=f"Model `{model.name}`")
    return Signal(model.name, rows, float(loss), tuple(found))


class _Watch:
    """Looks at the output of each layer that has no layers inside, and adds a shift by which to differentiate."""

    def __init__(self) -> None:
        self.start([])

    def start(self, shifts: list[Array]) -> None:
        self.shifts = iter(shifts)
        self.shifting = bool(shifts)
        self.seen: list[Any] = []
        self.outputs: list[Array] = []
        self._met: set[int] = set()

    def __call__(self, layer: Any, outputs: Any) -> Any:
        inside = any(id(part) in self._met for part in layer._sublayers())
        self._met.add(id(layer))
        leaves, structure = jax.tree.flatten(outputs)
        if inside or isinstance(layer, InputLayer) or not all(jnp.issubdtype(x.dtype, jnp.inexact) for x in leaves):
            return outputs
        kept = []
        for leaf in leaves:
            self.seen.append(layer)
            self.outputs.append(leaf)
            shifted = leaf + next(self.shifts) if self.shifting else leaf
            mask = getattr(leaf, "_keras_mask", None)
            if mask is not None and shifted is not leaf:
                shifted._keras_mask = mask
            kept.append(shifted)
        return jax.tree.unflatten(structure, kept)


def _losses(model: Any, x: Tree, y: Tree, weight: Tree, training: bool, watch: _Watch) -> Any:
    """Return the trainable variables and the loss as a function of shifts of the outputs and of their arrays."""
    variables = model.trainable_variables
    everything = steps.variables_of(model)
    rest = [v for group in everything for v in group if v not in set(variables)]
    kept = [v.value for v in rest]

    def loss_of(shifts: list[Array], arrays: list[Array]) -> Array:
        watch.start(shifts)
        context = CallContext(training=training, collecting=True, observer=watch)
        with bound([*variables, *rest], [*arrays, *kept]), calling(context):
            outputs = model.call_in_step(x, training=training)
            context.observer = None
            if y is not None:
                return jnp.asarray(model.loss_in_step(x, y, outputs, weight, None, training))
            leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(outputs)]
            total = sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), start=jnp.zeros(()))
            return 0.5 * total / max(1, len(jax.tree.leaves(x)[0]))

    return variables, loss_of


def _batch(model: Any, x: Tree, y: Tree, sample_weight: Tree) -> tuple[Tree, Tree, Tree, int]:
    """Return the data as one batch, checked as `fit` and `predict` do."""
    rows = len(jax.tree.leaves(x)[0]) if jax.tree.leaves(x) else 0
    if y is None:
        data = model._data(x, None, None, rows, False, None, None, predicting=True)
        data.build()
        return jax.tree.map(jnp.asarray, data.x), None, None, rows
    if not model.compiled:
        raise invalid(
            "`y` needs a loss, and the model is not compiled.",
            owner="`signal`",
            fix="call `model.compile(..., loss=...)`, or leave `y` out.",
        )
    feed, _ = model._data(x, y, sample_weight, rows, False).ready("evaluate")
    feed.start_epoch()
    block = feed.block(1)
    x, y, weight = jax.tree.map(lambda a: jnp.asarray(a[0]), block.data)
    return x, y, weight, rows


def _names(layers: list[Any]) -> list[str]:
    """Return a name for each use of a layer: a path where two layers have one name, a number from the second use on."""
    owners: dict[str, set[int]] = {}
    for layer in layers:
        owners.setdefault(layer.name, set()).add(id(layer))
    uses: dict[str, int] = {}
    found = []
    for layer in layers:
        name = layer.name if len(owners[layer.name]) == 1 else layer.path or layer.name
        uses[name] = uses.get(name, 0) + 1
        found.append(name if uses[name] == 1 else f"{name} ({uses[name]})")
    return found


def _layer(layer: Any, name: str, value: Array, gradient: Array, gradients: dict[Variable, Array]) -> Layer:
    output, slope = (np.asarray(a, np.float64) for a in (value, gradient))
    weights = [v for v in layer.trainable_variables if v in gradients]
    return Layer(
        name=name,
        kind=type(layer).__name__,
        shape=tuple(output.shape),
        mean=float(output.mean()),
        deviation=float(output.std()),
        dead=float(np.mean(np.all(output.reshape(-1, output.shape[-1]) == 0, axis=0))) if output.ndim > 1 else 0.0,
        gradient_mean=float(slope.mean()),
        gradient_deviation=float(slope.std()),
        gradient_norm=float(np.linalg.norm(slope)),
        weight_norm=_norm([v.value for v in weights]),
        weight_gradient_norm=_norm([gradients[v] for v in weights]),
    )


def _norm(arrays: list[Array]) -> float | None:
    if not arrays:
        return None
    return float(np.sqrt(sum(float(np.sum(np.square(np.asarray(a, np.float64)))) for a in arrays)))


def _shortened(layers: tuple[Layer, ...], limit: int | None) -> list[Layer | None]:
    if limit is None or len(layers) <= limit:
        return list(layers)
    half = max(1, limit // 2)
    return [*layers[:half], None, *layers[-half:]]


def _cells(row: Layer | None) -> list[str]:
    if row is None:
        return ["..."] * 8
    weights = "-"
    if row.weight_norm is not None:
        weights = f"{row.weight_gradient_norm:.2e} / {row.weight_norm:.2e}"
    numbers = (row.gradient_mean, row.gradient_deviation, row.gradient_norm)
    return [
        f"{row.name} ({row.kind})", f"{row.mean:.3g}", f"{row.deviation:.3g}", f"{row.dead:.0%}",
        *(f"{number:.2e}" for number in numbers), weights,
    ]  # fmt: skip


_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_TICKS = 24  # layers that can be named on an axis


def plot(signals: Mapping[str, Signal], to_file: str | Path) -> Path:
    """Draw one or several signals, by layer, into a PNG and return its path.

    From above: the deviation of the outputs, the norm of the gradient by them, the share of dead units.

    Args:
        signals: Signals by what the legend calls them.
        to_file: The file.

    Raises:
        ImportError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter
    except ImportError:
        raise ImportError(message("`plot` needs matplotlib.", fix="run `pip install 'lamina[plot]'`.")) from None
    figure = Figure(figsize=(10, 9.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.4))
    fields = ("deviation", "gradient_norm", "dead")
    titles = ("Deviation of the outputs", "Norm of the gradient", "Dead units")
    for axes, field, title in zip(panels, fields, titles, strict=True):
        for (label, one), colour in zip(signals.items(), _COLOURS * len(signals), strict=False):
            values = np.array([getattr(layer, field) for layer in one.layers], float)
            if field == "dead":
                values[~np.isfinite([layer.deviation for layer in one.layers])] = np.nan  # neither dead nor alive
            else:
                values[~((values > 0) & np.isfinite(values))] = np.nan  # a logarithm has no place for them
            few = len(values) <= _TICKS
            places = np.arange(1, len(values) + 1)
            axes.plot(places, values, color=colour, linewidth=1.6, marker="o" if few else None, label=label)
        if field == "dead":
            axes.set_ylim(-0.03, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        else:
            axes.set_yscale("log")
        axes.set_title(title, loc="left", fontsize=13)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=11, labelcolor="linecolor")
    longest = max(signals.values(), key=lambda one: len(one.layers))
    if len(longest.layers) <= _TICKS:
        panels[-1].set_xticks(
            range(1, len(longest.layers) + 1), [layer.name for layer in longest.layers], rotation=60, ha="right"
        )
    else:
        panels[-1].set_xlabel("layer, from the input to the output")
    path = Path(to_file)
    figure.savefig(path, dpi=120)
    return path
