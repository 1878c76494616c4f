"""ReversibleEmbedding compared live with Keras: both ways, its own matrix or not, quantized, and through files."""

import keras
import numpy as np
import pytest

import lamina.keras as ours
from lamina.errors import InvalidArgumentError

RNG = np.random.default_rng(5)
NUMBERS = RNG.integers(0, 7, (3, 5))
ROWS = RNG.normal(size=(3, 5, 6)).astype("float32")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras and NumPy 2


def pair(**arguments):
    layers = [library.layers.ReversibleEmbedding(7, 6, **arguments) for library in (ours, keras)]
    for layer in layers:
        layer.build()
    weights = [RNG.normal(size=w.shape).astype("float32") for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_rows_and_scores_are_those_of_keras(mode, tied, cap):
    mine, theirs = pair(tie_weights=tied, logit_soft_cap=cap)
    if mode is not None:
        mine.quantize(mode)
        theirs.quantize(mode)
    np.testing.assert_allclose(np.asarray(mine(NUMBERS)), np.asarray(theirs(NUMBERS)), atol=1e-5)
    found, expected = mine(ROWS, reverse=True), theirs(ROWS, reverse=True)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-4)
    store, other = {}, {}
    mine.save_own_variables(store)
    theirs.save_own_variables(other)
    shapes = {key: np.shape(value) for key, value in store.items()}
    assert shapes == {key: np.shape(value) for key, value in other.items()}


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_that_reads_and_writes_numbers_goes_to_keras(tied, tmp_path):
    inputs = ours.Input((5,), dtype="int32")
    table = ours.layers.ReversibleEmbedding(7, 6, tie_weights=tied, mask_zero=True)
    scores = table(ours.layers.Dense(6)(table(inputs)), reverse=True)
    assert scores.shape == (None, 5, 7)
    model = ours.Model(inputs, scores)
    model.save(tmp_path / "m.keras")
    expected = model.predict(NUMBERS, verbose=0)
    for library in (ours, keras):
        again = library.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(again.predict(NUMBERS, verbose=0), expected, atol=1e-5)


def test_the_type_of_the_scores_may_be_another():
    layer = ours.layers.ReversibleEmbedding(7, 6, reverse_dtype="float16")
    assert layer(ROWS, reverse=True).dtype == "float16"


def test_a_cap_that_is_none_is_refused():
    with pytest.raises(InvalidArgumentError, match="logit_soft_cap"):
        ours.layers.ReversibleEmbedding(7, 6, logit_soft_cap=0)
