"""lamina, through plain `model.fit` with the default verbosity."""

from collections.abc import Callable

from benchmarks.peers import keras_script
from benchmarks.workloads import Workload

NAME = "lamina"
REQUIRES = ("lamina", "jax")


def fit(workload: Workload) -> Callable[[int], object]:
    from lamina import keras

    return keras_script.fit(keras, workload)


def predict(workload: Workload) -> Callable[[], object]:
    from lamina import keras

    return keras_script.predict(keras, workload)
