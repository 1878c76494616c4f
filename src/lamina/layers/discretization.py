"""Numbers as the number of the range in which they lie."""

import math
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from lamina import config, registry
from lamina._types import Config, Numpy, Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor
from lamina.layers import encoding
from lamina.layers.host import DataLayer, batches_of

_MODES = ("int", "one_hot", "multi_hot", "count")


@registry.export("layers")
class Discretization(DataLayer):
    """For each number, which range it lies in: 0 below the first boundary, 1 from there on, and so forth.

    Give the boundaries, or a number of ranges and let `adapt` find boundaries between which lie about equally many
    values.

    Args:
        bin_boundaries: Boundaries in rising order; n of them make n + 1 ranges, the outer two without end.
        num_bins: Number of ranges that `adapt` makes.
        epsilon: How exactly `adapt` keeps count: it remembers about `1 / epsilon` values.
        output_mode: "int", "one_hot", "multi_hot" or "count": see `CategoryEncoding`.
        sparse: Kept for Keras scripts; the result is an array.
        dtype: Type of encoded results.
        name: Its name.

    Shapes:
        inputs: `(batch, ...)`
        result: as inputs for "int", as 32-bit numbers; for "one_hot" with an axis of ranges at the end

    Raises:
        InvalidArgumentError: If not exactly one of `bin_boundaries` and `num_bins` is given.
    """

    rowwise = True
    _reads_itself = True

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = f"Discretization layer `{self.name}`"
        encoding.one_of(output_mode, _MODES, "output_mode", owner)
        encoding.refuse_sparse(sparse, output_mode, owner, ("multi_hot", "count"))
        if num_bins is not None and num_bins < 0:
            raise invalid(
                "`num_bins` must be greater than or equal to 0.", owner=owner, received=f"`num_bins={num_bins}`"
            )
        if num_bins is not None and bin_boundaries is not None:
            raise invalid(
                "Both `num_bins` and `bin_boundaries` should not be set.",
                owner=owner,
                received=f"`num_bins={num_bins}` and `bin_boundaries={bin_boundaries}`",
            )
        if num_bins is None and bin_boundaries is None:
            raise invalid("You need to set either `num_bins` or `bin_boundaries`.", owner=owner)
        if not 0 < epsilon < 1:
            raise invalid("`epsilon` must be between 0 and 1.", owner=owner, received=f"epsilon={epsilon}")
        self.bin_boundaries: list[float] | None = None if bin_boundaries is None else _rising(bin_boundaries, owner)
        self.num_bins, self.epsilon, self.output_mode, self.sparse = num_bins, epsilon, output_mode, False
        self.summary: Numpy = np.zeros((2, 0), np.float32)
        self._build_at_init()

    @property
    def output_dtype(self) -> str:
        """Type of the result."""
        return "int32" if self.output_mode == "int" else self.compute_dtype

    # ---- learning the boundaries

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find boundaries between which lie about equally many of the values; earlier ones are forgotten.

        Args:
            data: An array, or what gives batches: a list of arrays, a generator, a data set.
            steps: At most so many batches.

        Raises:
            InvalidArgumentError: If the boundaries were given, or a value is NaN or infinite. Nothing has changed then.
        """
        owner = f"Discretization layer `{self.name}`"
        if self.num_bins is None:
            raise invalid(
                "Cannot adapt a Discretization layer that has been initialized with `bin_boundaries`, use `num_bins` "
                "instead.",
                owner=owner,
            )
        batches = [np.asarray(batch, np.float32) for batch in batches_of(data, steps, owner, lists=False)]
        if not sum(batch.size for batch in batches):
            raise invalid("adapt() received no values.", owner=owner, fix="pass an array, or batches of arrays.")
        if config.strict() and not all(np.isfinite(batch).all() for batch in batches):
            raise invalid(
                "The data hold NaN or infinite numbers.",
                owner=owner,
                fix="leave them out, e.g. `x[np.isfinite(x)]`. The layer is as it was.",
            )
        self.reset_state()
        for batch in batches:
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Add the values of one batch to what `finalize_state` makes boundaries of."""
        values = np.asarray(data, np.float32)
        if values.size:
            self.summary = _merged(_summary(values, self.epsilon), self.summary, self.epsilon)

    def finalize_state(self) -> None:
        """Make boundaries of the values seen."""
        if self.num_bins is not None:
            self.bin_boundaries = [float(b) for b in _compressed(self.summary, 1.0 / self.num_bins)[0, :-1]]
            self._learned()

    def reset_state(self) -> None:
        """Forget the values seen."""
        if self.num_bins is not None:
            self.summary = np.zeros((2, 0), np.float32)

    # ---- use

    def _known(self) -> list[float]:
        if self.bin_boundaries is None:
            raise invalid(
                "You need to either pass the `bin_boundaries` argument at construction time or call `adapt(dataset)` "
                "before you can start using the `Discretization` layer.",
                owner=f"Discretization layer `{self.name}`",
            )
        return self.bin_boundaries

    def call(self, inputs: Any) -> Any:
        boundaries = jnp.asarray(np.asarray(self._known(), np.float32))
        ranges = jnp.searchsorted(boundaries, inputs.astype(jnp.float32), side="right")
        axis = 1 if ranges.ndim > 1 else -1
        depth = len(boundaries) + 1
        return encoding.encode(ranges, self.output_mode, depth, self.output_dtype, axis=axis, xp=jnp)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        depth = self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1
        return encoding.shape_of(input_shape, self.output_mode, depth, 1 if len(input_shape) > 1 else -1)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        self.rowwise = self.output_mode in ("int", "one_hot") or len(inputs.shape) > 1
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.output_dtype)

    def load_own_variables(self, store: Any) -> None:
        """Take nothing: the boundaries are in the config. Old files of Keras have the values seen here."""
        if len(store.keys()) == 1:
            self.summary = np.asarray(store["0"], np.float32)

    def get_config(self) -> Config:
        return {
            "bin_boundaries": self.bin_boundaries,
            "num_bins": self.num_bins,
            "epsilon": self.epsilon,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "name": self.name,
            "dtype": self.dtype,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        config = dict(config)
        learned = config.pop("bin_boundaries") if config.get("num_bins") is not None else None
        layer = cls(**config)
        if learned is not None:
            layer.bin_boundaries = _rising(learned, f"Discretization layer `{layer.name}`")
        return layer


def _rising(boundaries: Any, owner: str) -> list[float]:
    try:
        found = [float(b) for b in boundaries]
    except (TypeError, ValueError) as error:
        raise invalid("`bin_boundaries` must be a list of numbers.", owner=owner, received=repr(boundaries)) from error
    if any(math.isnan(b) for b in found) or found != sorted(found):
        raise invalid(
            "`bin_boundaries` must be in rising order.",
            owner=owner,
            received=f"bin_boundaries={found}",
            fix="sort them: `sorted(bin_boundaries)`.",
        )
    return found


# A summary is a few values in rising order, and how many values each of them stands for. Shape: `(2, values)`.


def _summary(values: Numpy, epsilon: float) -> Numpy:
    """Return the summary of one batch: every so-many-th of its values in order, about `1 / epsilon` of them."""
    ordered = np.sort(values, axis=None)
    step = max(ordered.size * epsilon, 1)
    kept = ordered[int(step - 1) :: int(step)]
    return np.stack([kept, np.full_like(kept, step)])


def _merged(one: Numpy, other: Numpy, epsilon: float) -> Numpy:
    """Return the summary of two batches."""
    both = np.concatenate((one, other), axis=1)
    return _compressed(both[:, np.argsort(both[0])], epsilon)


def _compressed(summary: Numpy, epsilon: float) -> Numpy:
    """Return a summary of about `1 / epsilon` values, found by interpolation between those of a larger one."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    heights = summary[1].cumsum()
    found = heights / heights[-1]
    values = np.interp(shares, found, summary[0])
    reached = np.interp(shares, found, heights)
    return np.stack((values, np.diff(reached, prepend=0))).astype(np.float32)
