"""What a search draws from: ranges of numbers and choices."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina.errors import describe, invalid


class Uniform:
    """Numbers from `low` to `high`, each as likely as any other.

    Args:
        low: The least.
        high: The largest.

    Raises:
        InvalidArgumentError: If the range is empty or not finite.
    """

    def __init__(self, low: float, high: float) -> None:
        _check(self, low, high)
        self.low, self.high = float(low), float(high)

    def draw(self, random: np.random.Generator) -> float:
        """Return a number."""
        return float(random.uniform(self.low, self.high))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low:g}, {self.high:g})"


class LogUniform(Uniform):
    """Numbers from `low` to `high`, each order of magnitude as likely as any other: for learning rates and decays.

    Args:
        low: The least, above 0.
        high: The largest.

    Raises:
        InvalidArgumentError: If the range is empty, not finite, or does not begin above 0.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        if not self.low > 0:
            raise invalid(
                "The least number must be above 0.",
                owner=repr(self),
                fix="use `Uniform`, or a small number such as 1e-6.",
            )

    def draw(self, random: np.random.Generator) -> float:
        """Return a number."""
        return float(math.exp(random.uniform(math.log(self.low), math.log(self.high))))


class Integers:
    """Whole numbers from `low` to `high`, both included.

    Args:
        low: The least.
        high: The largest.
        log: Whether each order of magnitude is as likely as any other.

    Raises:
        InvalidArgumentError: If the range is empty or its ends are no whole numbers.
    """

    def __init__(self, low: int, high: int, *, log: bool = False) -> None:
        _check(self, low, high)
        if int(low) != low or int(high) != high or (log and low < 1):
            raise invalid(
                "The ends must be whole numbers" + (" of at least 1." if log else "."),
                owner="`Integers`",
                received=f"low={low!r}, high={high!r}",
            )
        self.low, self.high, self.log = int(low), int(high), log

    def draw(self, random: np.random.Generator) -> int:
        """Return a number."""
        if self.log:
            return min(self.high, int(math.exp(random.uniform(math.log(self.low), math.log(self.high + 1)))))
        return int(random.integers(self.low, self.high + 1))

    def __repr__(self) -> str:
        return f"Integers({self.low}, {self.high}{', log=True' if self.log else ''})"


class Choice:
    """One of some values.

    Args:
        values: The values.

    Raises:
        InvalidArgumentError: If there are none.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = list(values)
        if not self.values:
            raise invalid("There is nothing to choose from.", owner="`Choice`", received=describe(values))

    def draw(self, random: np.random.Generator) -> Any:
        """Return a value."""
        return self.values[int(random.integers(len(self.values)))]

    def __repr__(self) -> str:
        return f"Choice({self.values!r})"


def _check(owner: Any, low: Any, high: Any) -> None:
    numbers = all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in (low, high))
    if not numbers or not -math.inf < low <= high < math.inf:
        raise invalid(
            "The ends of a range must be finite numbers, the least first.",
            owner=f"`{type(owner).__name__}`",
            received=f"low={low!r}, high={high!r}",
        )


class _Drawn:
    """What has SciPy's `rvs(random_state=...)`."""

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution

    def draw(self, random: np.random.Generator) -> Any:
        value = self.distribution.rvs(random_state=random)
        return value.item() if hasattr(value, "item") else value


class _Constant:
    def __init__(self, value: Any) -> None:
        self.value = value

    def draw(self, random: np.random.Generator) -> Any:
        return self.value


def standardized(space: Any) -> dict[str, Any]:
    """Return a search space whose entries all have `draw`.

    Lists and ranges are choices; what has `rvs` is a distribution of SciPy's; anything else is the same for all.

    Raises:
        InvalidArgumentError: If it is no dict, empty, or has an empty list.
    """
    if not isinstance(space, Mapping) or not space:
        raise invalid(
            "It must be a dict: the name of an argument to what is drawn for it.",
            owner="`space`",
            received=describe(space),
            fix="pass e.g. {'learning_rate': LogUniform(1e-4, 1e-1), 'units': [32, 64, 128]}.",
        )
    return {name: _one(value) for name, value in space.items()}


def _one(value: Any) -> Any:
    if hasattr(value, "draw"):
        return value
    if hasattr(value, "rvs"):
        return _Drawn(value)
    if isinstance(value, list | range | np.ndarray):
        return Choice([v.item() if isinstance(v, np.generic) else v for v in value])
    return _Constant(value)
