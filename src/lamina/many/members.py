"""The models behind the networks: made as for a fit alone, described, and made again when somebody wants one."""

import random as python_random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina import random
from lamina._types import Numpy, Tree
from lamina.errors import LaminaError, describe, invalid
from lamina.many import grid
from lamina.models import Model
from lamina.training import arrays, checks, likeness, steps


class Start(NamedTuple):
    """A network before its first step.

    Attributes:
        params: Arrays of its trainable variables.
        stats: Arrays of its other variables.
        slots: Arrays of its optimizer's.
        shuffles: State of NumPy's generator after the model was made.
        structure: What its program has built in, up to numbers.
        numbers: Those.
    """

    params: Any
    stats: Any
    slots: Any
    shuffles: Any
    structure: tuple[Any, ...]
    numbers: tuple[float, ...]


@contextmanager
def streams_kept() -> Iterator[None]:
    """Leave the global random streams as they were."""
    own, theirs = python_random.getstate(), np.random.get_state()  # noqa: NPY002 - Keras's stream
    generators = list(random._global)
    try:
        yield
    finally:
        python_random.setstate(own)
        np.random.set_state(theirs)  # noqa: NPY002
        random._global[:] = generators


class Maker:
    """Makes the model of a configuration: `set_random_seed(seed)`, then the factory, then the build.

    Args:
        factory: `factory()` or `factory(**config)`: returns a compiled model.
        configs: The configurations.
        seed: The seed of those that name none.
        x: Inputs; the first rows say how the models are built.
        batch_size: Rows in a batch, of those that name none.
        columns: Names of the columns of `x`, if it was a data frame.
    """

    def __init__(
        self,
        factory: Callable[..., Any],
        configs: list[dict[str, Any]],
        seed: int,
        x: Tree,
        batch_size: int,
        columns: list[str] | None = None,
    ) -> None:
        if not callable(factory):
            raise invalid(
                "`model_factory` must be a function that returns a compiled model.",
                received=describe(factory),
                fix="put what makes the model into a function: `def make(learning_rate=1e-3): ...; return model`.",
            )
        self.factory, self.configs, self.seed, self.x, self.batch_size = factory, configs, seed, x, batch_size
        self.columns = columns
        self.parts = []
        for i, config in enumerate(configs):
            try:
                self.parts.append(grid.take_apart(factory, config))
                self._check_seed(i)
            except LaminaError as error:
                raise grid.named(error, i, config) from error

    def _check_seed(self, index: int) -> None:
        seed = self.parts[index].fit.get("seed", self.seed)
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise invalid("A seed must be a whole number in [0, 2**32).", received=f"seed={seed!r}")

    def seed_of(self, index: int) -> int:
        """Return the seed of a configuration."""
        return int(self.parts[index].fit.get("seed", self.seed))

    def batch_of(self, index: int) -> int:
        """Return the rows in a batch of a configuration."""
        size = self.parts[index].fit.get("batch_size", self.batch_size)
        return checks.whole_number(size, "batch_size", 1) or 1

    def model(self, index: int) -> tuple[Any, Any]:
        """Return the built model of a configuration and the state of NumPy's generator after it was made.

        Raises:
            InvalidArgumentError: If the factory fails, or returns no compiled model; it names the configuration.
        """
        parts = self.parts[index]
        with streams_kept():
            random.set_random_seed(self.seed_of(index))
            try:
                model = self.factory(**parts.factory)
                self._check(model)
                grid.with_optimizer(model, parts.optimizer, self.factory)
                x = self.x_of(index)
                head = checks.inputs(model, jax.tree.map(lambda a: a[: self.batch_of(index)], x), "x")
                model.build_for(jax.tree.map(lambda a: arrays.spec(a, len(a)), head))
                model.build_optimizer()
            except Exception as error:
                raise self.named(error, index) from error
            model.column_names = self.columns
            return model, np.random.get_state()  # noqa: NPY002

    def x_of(self, index: int) -> Tree:
        """Return the inputs of a configuration."""
        return self.parts[index].fit.get("x", self.x)

    def named(self, error: Exception, index: int) -> Exception:
        """Return an error with the name of the configuration; of the user's own errors, the same type."""
        if isinstance(error, LaminaError):
            return grid.named(error, index, self.configs[index])
        error.add_note(f"In configuration {index} {grid.shown(self.configs[index])}.")
        return error

    def _check(self, model: Any) -> None:
        if not isinstance(model, Model):
            raise invalid("The factory must return a model.", received=describe(model), fix="add `return model`.")
        if not model.compiled or model.optimizer is None:
            raise invalid(
                "The factory must return a compiled model.",
                owner=f"Model `{model.name}`",
                fix="call `model.compile(optimizer, loss)` in the factory.",
            )
        for method in ("train_step", "test_step"):
            if model.has_own_step(method):
                raise invalid(
                    f"A model with a `{method}` of its own cannot be trained beside others.",
                    owner=f"Model `{model.name}`",
                    fix="write `compute_loss` instead, or train it with `fit`.",
                )

    def start(self, index: int) -> Start:
        """Return a network of a configuration before its first step."""
        model, shuffles = self.model(index)
        names = steps.variables_of(model)
        groups = [tuple(np.asarray(v._array) for v in group) for group in (names.params, names.stats, names.slots)]
        structure, places = likeness.describe(model)
        return Start(groups[0], groups[1], groups[2], shuffles, structure, tuple(p.value for p in places))

    def trained(self, index: int, network: Any, restore: bool) -> Any:
        """Return the real model of a configuration with what a network has learnt."""
        model, _ = self.model(index)
        names = steps.variables_of(model)
        for variables, held in zip(names[:3], (network.params, network.stats, network.slots), strict=True):
            for variable, array in zip(variables, held, strict=True):
                variable.assign(np.array(array))
        model.optimizer.finalize_variable_values(names.params)
        if restore and int(network.watch.best_epoch) >= 0:
            weights = {id(v) for v in model.weights}
            for variables, held in zip((names.params, names.stats), network.best, strict=True):
                for variable, array in zip(variables, held, strict=True):
                    if id(variable) in weights:
                        variable.assign(np.array(array))
        return model


def index_array(rows: Any, count: int) -> Numpy:
    """Return row numbers: from a mask of all rows, or from the numbers themselves.

    Raises:
        InvalidArgumentError: If there are none, or one is out of range or given twice.
    """
    found = np.asarray(rows)
    if found.dtype == bool and found.shape == (count,):
        found = np.flatnonzero(found)
    whole = found.ndim == 1 and found.dtype.kind in "iu"
    if not whole or not len(found) or found.min() < 0 or found.max() >= count or len(np.unique(found)) < len(found):
        raise invalid(
            f"`rows` must be a mask of {count} booleans, or different row numbers in [0, {count}).",
            received=describe(rows),
        )
    return found.astype(np.int64)
