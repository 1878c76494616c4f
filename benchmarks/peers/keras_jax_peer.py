"""Keras on JAX, through plain `model.fit` with the default verbosity."""

import os
from collections.abc import Callable
from typing import Any

from benchmarks.peers import keras_script
from benchmarks.workloads import Workload

NAME = "Keras on JAX"
REQUIRES = ("keras", "jax")


def fit(workload: Workload) -> Callable[[int], object]:
    return keras_script.fit(_keras(), workload)


def predict(workload: Workload) -> Callable[[], object]:
    return keras_script.predict(_keras(), workload)


def _keras() -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    return keras
