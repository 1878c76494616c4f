"""Initializers against Keras itself: the same bits for the same seed, configs in both directions."""

import keras
import numpy as np
import pytest

from lamina import initializers, random

SHAPES = [(5,), (64, 10), (3, 2, 5)]
CASES = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 0.3}),
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 1.0, "stddev": 2.0}),
    ("RandomUniform", {}),
    ("RandomUniform", {"minval": -3.0, "maxval": 1.0}),
    ("TruncatedNormal", {}),
    ("TruncatedNormal", {"mean": -1.0, "stddev": 0.3}),
    ("VarianceScaling", {}),
    ("VarianceScaling", {"scale": 2.5, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
]
OF_MATRICES = [("Orthogonal", {}), ("Orthogonal", {"gain": 1.7}), ("Identity", {}), ("Identity", {"gain": 0.5})]
EVERY = CASES + OF_MATRICES
AXES = {"input_axes": [0], "output_axes": [1, 2]}


def shapes_for(name):
    if name == "Identity":
        return [shape for shape in SHAPES if len(shape) == 2]
    return [shape for shape in SHAPES if len(shape) > 1] if name == "Orthogonal" else SHAPES


@pytest.mark.parametrize(("name", "arguments"), EVERY, ids=[f"{n}-{a}" for n, a in EVERY])
def test_after_set_random_seed_the_bits_are_those_of_keras(name, arguments):
    keras.utils.set_random_seed(1337)
    his = [getattr(keras.initializers, name)(**arguments)(shape) for shape in shapes_for(name)]
    random.set_random_seed(1337)
    mine = [getattr(initializers, name)(**arguments)(shape) for shape in shapes_for(name)]
    for ours, theirs in zip(mine, his, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "orthogonal", "zeros", "uniform", "normal"])
def test_a_name_draws_the_same_seed_as_in_keras(name):
    keras.utils.set_random_seed(5)
    his = [keras.initializers.get(name)((4, 3)) for _ in range(3)]
    random.set_random_seed(5)
    mine = [initializers.get(name)((4, 3)) for _ in range(3)]
    np.testing.assert_array_equal(mine, his)


@pytest.mark.parametrize("name", [n for n, a in EVERY if not a and n not in ("Zeros", "Ones", "Identity")])
def test_a_seed_and_a_seed_generator_give_the_bits_of_keras(name):
    for seed in (0, 42, 2**31 + 5):
        ours, theirs = (getattr(m, name)(seed=seed) for m in (initializers, keras.initializers))
        np.testing.assert_array_equal(ours((6, 5)), theirs((6, 5)))
    ours = getattr(initializers, name)(seed=random.SeedGenerator(9))
    theirs = getattr(keras.initializers, name)(seed=keras.random.SeedGenerator(9))
    for _ in range(3):
        np.testing.assert_array_equal(ours((6, 5)), theirs((6, 5)))


@pytest.mark.parametrize("name", ["VarianceScaling", "GlorotUniform", "HeNormal"])
def test_axes_of_inputs_and_outputs_count_as_in_keras(name):
    ours, theirs = (getattr(m, name)(seed=1, **AXES) for m in (initializers, keras.initializers))
    np.testing.assert_array_equal(ours((16, 2, 4)), theirs((16, 2, 4)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["RandomNormal", "GlorotUniform", "TruncatedNormal", "Constant"])
def test_low_precision_gives_the_bits_of_keras(name, dtype):
    arguments = {"value": 0.3} if name == "Constant" else {"seed": 4}
    ours, theirs = (getattr(m, name)(**arguments)((5, 3), dtype) for m in (initializers, keras.initializers))
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(np.float32(ours), np.float32(theirs))


@pytest.mark.parametrize(("name", "arguments"), EVERY, ids=[f"{n}-{a}" for n, a in EVERY])
def test_configs_go_to_keras_and_back(name, arguments):
    if name not in ("Zeros", "Ones", "Constant", "Identity"):
        arguments = {**arguments, "seed": 3}
    ours, theirs = (getattr(m, name)(**arguments) for m in (initializers, keras.initializers))
    if name != "Identity":  # Keras forgets its gain
        assert ours.get_config() == theirs.get_config()
        assert initializers.serialize(ours) == keras.saving.serialize_keras_object(theirs)
    there = keras.saving.deserialize_keras_object(initializers.serialize(ours))
    here = initializers.deserialize(keras.saving.serialize_keras_object(theirs))
    np.testing.assert_array_equal(there((3, 3)), ours((3, 3)))
    np.testing.assert_array_equal(here((3, 3)), there((3, 3)) if name != "Identity" else np.eye(3))


def test_a_seed_generator_and_an_array_go_to_keras_and_back():
    ours = initializers.RandomNormal(seed=random.SeedGenerator(2, name="g"))
    theirs = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(2, name="g"))
    assert initializers.serialize(ours) == keras.saving.serialize_keras_object(theirs)
    array = np.float32([[1.0, 2.0], [3.0, 4.0]])
    ours, theirs = (m.Constant(array) for m in (initializers, keras.initializers))
    assert initializers.serialize(ours) == keras.saving.serialize_keras_object(theirs)


def test_there_is_no_initializer_in_keras_that_is_missing_here_but_stft():
    public = {name for name in dir(keras.initializers) if not name.startswith("_")}
    assert public - set(dir(initializers)) == {"STFT", "STFTInitializer", "stft"}
