"""Sizes of an input that nobody said may vary; what was said holds."""

import numpy as np
import pytest

from lamina.errors import InvalidArgumentError
from lamina.keras import Input, Model, Sequential, layers
from lamina.models import Functional


def test_a_chain_built_by_its_data_takes_other_lengths_with_the_same_weights():
    model = Sequential([layers.Dense(2)])
    first = model(np.ones((2, 3, 4), "float32"))
    kernel = model.layers[0].kernel
    assert model(np.ones((2, 5, 4), "float32")).shape == (2, 5, 2)
    assert model.layers[0].kernel is kernel
    assert model.input_shape == (None, None, 4)
    np.testing.assert_array_equal(model(np.ones((2, 3, 4), "float32")), first)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 4), (2, 3, 4, 4)])
def test_what_its_weights_cannot_take_is_still_refused(shape):
    model = Sequential([layers.Dense(2)])
    model(np.ones((2, 3, 4), "float32"))
    with pytest.raises(InvalidArgumentError, match="shape"):
        model(np.ones(shape, "float32"))


def test_a_size_that_an_input_says_holds():
    model = Sequential([Input((3, 4)), layers.Dense(2)])
    with pytest.raises(InvalidArgumentError, match="expected shape"):
        model(np.ones((2, 5, 4), "float32"))


def test_fit_and_predict_take_batches_of_several_lengths():
    def batches():
        for length in (3, 5, 3, 7):
            yield np.ones((4, length, 6), "float32"), np.ones((4, length, 1), "float32")

    model = Sequential([layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    losses = model.fit(batches(), verbose=0).history["loss"]
    assert np.isfinite(losses[0])
    assert model.predict(np.ones((2, 9, 6)), verbose=0).shape == (2, 9, 1)


def test_a_model_made_of_stand_ins_is_functional_whatever_its_class():
    class Mine(Model):
        pass

    x = Input((3,))
    y = layers.Dense(1)(x)
    assert isinstance(Model(x, y), Functional)
    assert isinstance(Mine(x, y), Functional)
    assert not isinstance(Mine(), Functional)
    assert not isinstance(Sequential([Input((3,)), layers.Dense(1)]), Functional)


@pytest.mark.parametrize(("together", "wanted"), [(1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6])])
def test_predict_tells_callbacks_of_every_execution(together, wanted):
    from lamina.keras.callbacks import Callback

    class Begins(Callback):
        def __init__(self):
            super().__init__()
            self.begun, self.rows = [], 0

        def on_predict_batch_begin(self, batch, logs=None):
            self.begun.append(batch)

        def on_predict_batch_end(self, batch, logs=None):
            self.rows += len(logs["outputs"])

    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=together)
    told = Begins()
    assert model.predict(np.ones((100, 4)), batch_size=16, callbacks=[told], verbose=0).shape == (100, 1)
    assert told.begun == wanted
    assert told.rows == 100
