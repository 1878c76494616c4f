"""Tools against Keras's."""

import keras
import numpy as np
import pytest

from lamina import utils

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 3), (5, 4, 3), (3, 1), (3, 2, 1)])
@pytest.mark.parametrize("classes", [None, 7])
def test_to_categorical(shape, classes):
    x = RNG.integers(0, 5, shape)
    mine, theirs = utils.to_categorical(x, classes), keras.utils.to_categorical(x, classes)
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_normalize(order):
    x = RNG.normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(utils.normalize(x, order=order), keras.utils.normalize(x, order=order), rtol=1e-6)
    tensor = keras.ops.convert_to_tensor(x)
    np.testing.assert_allclose(
        np.asarray(utils.normalize(tensor, order=order)),
        np.asarray(keras.utils.normalize(tensor, order=order)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 2, 5])
@pytest.mark.parametrize(
    ("sequences", "more"),
    [
        ([[1], [1, 2], [1, 2, 3], []], {}),
        ([[1.5], [], [2.5, 3.5, 4.5]], {"dtype": "float32", "value": -1.0}),
        ([[[1, 1]], [[2, 1], [2, 2]], [[3, 1], [3, 2], [3, 3]]], {}),
        ([["a"], ["b", "c"]], {"dtype": object, "value": "pad"}),
    ],
)
def test_pad_sequences(padding, truncating, maxlen, sequences, more):
    arguments = {"padding": padding, "truncating": truncating, "maxlen": maxlen, **more}
    mine, theirs = utils.pad_sequences(sequences, **arguments), keras.utils.pad_sequences(sequences, **arguments)
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine, theirs)
