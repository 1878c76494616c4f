"""The numbers of the recipes."""

import math
from dataclasses import dataclass, replace

from lamina.errors import invalid

OBJECTIVES = ("log_loss", "accuracy", "auc")


@dataclass(frozen=True)
class Recipe:
    """All numbers of a way to train.

    Attributes:
        epochs: Passes over the rows of one network.
        batch: Rows in a step.
        width: Units of a hidden layer.
        depth: Hidden layers.
        members: Networks that are averaged. Each has a fold of its own to choose its epoch by.
        folds: Parts that the rows are dealt into.
        learning_rate: The highest, in units of the neural-tangent parametrization.
        cycles: Cycles of the learning rate, each twice as long as the one before.
        beta2: Memory of Adam's second moment.
        dropout: Part of the units that is left out, until the middle of the training; it ends at 0.
        decay: Weight decay as a part of the learning rate, on the same schedule.
        smoothing: Part of the target that is dealt over all classes.
        activation: "selu" or "mish".
        parametric: Whether each unit learns how much of the activation it wants.
        waves: Waves of each number, or 0 for numbers alone.
        wave_outputs: What is learned from the waves of a number, beside itself.
        sigma: Scale of the frequencies at the start.
        bins: Bins of each number, in which it is given beside itself; 0 for none.
        bin_outputs: What is learned from the bins of a number, beside itself; 0: the bins as they are.
        category_size: Length of the embedding of a category.
        patience: Whether a network stops after a cycle that ended no better than the one before.
        tempered: Whether probabilities are sharpened or softened by the rows held back.
        data_init: Whether the layers are scaled to the data before the first step.
    """

    epochs: int = 30
    batch: int = 256
    width: int = 256
    depth: int = 3
    members: int = 5
    folds: int = 5
    learning_rate: float = 0.04
    cycles: int = 4
    beta2: float = 0.95
    dropout: float = 0.15
    decay: float = 0.02
    smoothing: float = 0.0
    activation: str = "selu"
    parametric: bool = True
    waves: int = 16
    wave_outputs: int = 3
    sigma: float = 0.1
    bins: int = 32
    bin_outputs: int = 4
    category_size: int = 8
    patience: bool = True
    tempered: bool = True
    data_init: bool = True


FEWEST_STEPS, MOST_STEPS = 400, 5000  # of a network, as far as epochs may change for it: fourfold, either way
STEPS_OF_EPOCH, SMALLEST = 12, 32  # batches are smaller where an epoch would have fewer, down to so many rows
LARGE = 50_000  # rows from which batches are twice as large
WIDE, WIDE_BATCH = 1000, 128  # columns of numbers: more are taken as they are, in batches of at least so many rows


def sized(recipe: Recipe, rows: int, numbers: int = 0) -> Recipe:
    """The recipe with batches and epochs for so many rows and columns of numbers.

    Few rows have smaller batches and more epochs, as 500 rows would have 30 steps of 256; many rows have fewer epochs.
    Very many columns have neither waves nor bins nor many steps.
    """
    trained = max(1, rows - rows // recipe.folds)
    batch = recipe.batch if trained < LARGE else 2 * recipe.batch
    smallest, fewest = SMALLEST, FEWEST_STEPS
    if numbers > WIDE:
        recipe, smallest, fewest = replace(recipe, waves=0, bins=0), WIDE_BATCH, 0
    while batch > smallest and trained < STEPS_OF_EPOCH * batch:
        batch //= 2
    steps = max(1, trained // batch)
    epochs = min(max(recipe.epochs, math.ceil(fewest / steps)), 4 * recipe.epochs)
    epochs = max(min(epochs, MOST_STEPS // steps), recipe.epochs // 4)
    return replace(recipe, batch=batch, epochs=epochs)


_PRESETS = {
    "default": Recipe(),
    "fast": Recipe(members=1, epochs=20, waves=0),
    "best": Recipe(epochs=60, members=10),
}


def _of(recipe: Recipe) -> dict[tuple[str, str], Recipe]:
    found = {("classification", objective): recipe for objective in OBJECTIVES}
    found["classification", "accuracy"] = replace(recipe, smoothing=0.1)
    regression = replace(recipe, learning_rate=0.2, activation="mish")
    return found | {("regression", objective): regression for objective in OBJECTIVES}


PRESETS = {name: _of(recipe) for name, recipe in _PRESETS.items()}


def recipe(preset: str, task: str, objective: str = "log_loss") -> Recipe:
    """The recipe of a preset for a task and what it is to be best at.

    Raises:
        InvalidArgumentError: If a name is none of these.
    """
    if preset not in PRESETS:
        raise invalid(f"`preset` must be one of {', '.join(PRESETS)}.", received=f"preset={preset!r}")
    if (task, objective) not in PRESETS[preset]:
        raise invalid(
            f"`task` must be classification or regression, `objective` one of {', '.join(OBJECTIVES)}.",
            received=f"task={task!r}, objective={objective!r}",
        )
    return PRESETS[preset][task, objective]
