"""`PyDataset` against Keras's: the same batches in the same order, the same hooks, the same losses."""

import keras
import numpy as np
import pytest

from lamina import keras as ours

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def numbers(library, shuffles):
    class Numbers(library.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.order, self.log = np.arange(len(X)), []

        def __len__(self):
            return 6

        def __getitem__(self, i):
            self.log.append(i)
            rows = self.order[4 * i : 4 * i + 4]
            return X[rows], Y[rows]

        def on_epoch_begin(self):
            self.log.append("begin")

        def on_epoch_end(self):
            self.log.append("end")
            if shuffles:
                np.random.shuffle(self.order)

    return Numbers()


def run(library, **arguments):
    library.utils.clear_session()
    library.utils.set_random_seed(7)
    data, validation = numbers(library, True), numbers(library, False)
    model = library.Sequential([library.layers.Dense(4, activation="tanh"), library.layers.Dense(1)])
    model.compile(library.optimizers.SGD(0.05), "mse")
    losses = [
        model.fit(data, validation_data=validation, verbose=0, **arguments).history["loss"],
        model.fit(data, verbose=0, **arguments).history["loss"],
        [model.evaluate(validation, verbose=0)],
    ]
    return data.log, validation.log, losses


@pytest.mark.parametrize(
    "arguments",
    [{"epochs": 3}, {"epochs": 2, "shuffle": False}, {"epochs": 4, "steps_per_epoch": 3, "shuffle": False}],
)
def test_batches_hooks_and_losses_are_keras_s(arguments):
    theirs, mine = run(keras, **arguments), run(ours, **arguments)
    assert mine[0] == theirs[0]
    assert mine[1] == theirs[1]
    for one, other in zip(mine[2], theirs[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
