"""The numbers of the recipes."""

from dataclasses import dataclass, replace

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
        category_size: Length of the embedding of a category.
        patience: Whether a network stops after a cycle that ended no better than the one before.
        tempered: Whether probabilities are sharpened or softened by the rows held back.
        data_init: Whether the layers are scaled to the data before the first step.
    """

    epochs: int = 32
    batch: int = 256
    width: int = 256
    depth: int = 3
    members: int = 1
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
    category_size: int = 8
    patience: bool = True
    tempered: bool = True
    data_init: bool = True


_DEFAULT = Recipe()
_REGRESSION = {"learning_rate": 0.2, "activation": "mish"}
_PLAIN = {"waves": 0, "parametric": False, "dropout": 0.0, "decay": 0.0, "data_init": False}
_RECIPES = {
    ("default", "classification"): _DEFAULT,
    ("default", "regression"): replace(_DEFAULT, **_REGRESSION),  # type: ignore[arg-type]
}


def recipe(preset: str, task: str, objective: str = "log_loss") -> Recipe:
    """The recipe of a preset for a task and what it is to be best at."""
    found = _RECIPES[preset, task]
    return replace(found, smoothing=0.1) if objective == "accuracy" and task == "classification" else found
