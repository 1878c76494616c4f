"""The script that Keras and lamina both run, word for word: only the module `keras` differs."""

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import Workload


def model(keras: Any, workload: Workload) -> Any:
    keras.utils.set_random_seed(0)
    policy = workload.policy
    hidden = [keras.layers.Dense(units, activation="relu", dtype=policy) for units in workload.widths[1:-1]]
    last = keras.layers.Dense(workload.widths[-1], dtype=policy)
    network = keras.Sequential([keras.Input((workload.widths[0],)), *hidden, last])
    network.compile(
        optimizer=keras.optimizers.Adam(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return network


def fit(keras: Any, workload: Workload) -> Callable[[int], object]:
    network = model(keras, workload)
    (x, y), validation = workload.data()
    return lambda epochs: network.fit(x, y, batch_size=workload.batch, epochs=epochs, validation_data=validation)


def predict(keras: Any, workload: Workload) -> Callable[[], object]:
    network = model(keras, workload)
    (x, _), _ = workload.data()
    return lambda: network.predict(x, batch_size=workload.batch)
