"""Many networks at once: `fit_many` trains a list of configurations, `tune` searches a space for the best."""

from lamina.many.fit import fit_many
from lamina.many.result import Many, Models
from lamina.many.space import Choice, Integers, LogUniform, Uniform
from lamina.many.tune import tune

__all__ = ["Choice", "Integers", "LogUniform", "Many", "Models", "Uniform", "fit_many", "tune"]
