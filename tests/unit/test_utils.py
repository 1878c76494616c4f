"""Tools: classes as rows, vectors of length 1, sequences of one length, data in two parts, a clean slate."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import config, dtype_policies, layers, models, random, utils


def test_class_numbers_become_rows():
    found = utils.to_categorical([0, 2, 1])
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, np.eye(3)[[0, 2, 1]])


def test_a_jax_array_gives_a_jax_array():
    found = utils.to_categorical(jnp.array([1, 0]), 3)
    assert isinstance(found, jax.Array)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, np.eye(3)[[1, 0]])
    assert utils.to_categorical(jnp.array([1, 0])).shape == (2, 2)


@pytest.mark.parametrize(
    ("x", "classes", "words"),
    [
        ([0, 3], 3, r"in \[0, 3\).*\n.*num_classes=4"),
        ([0, -1], 3, "number the classes from 0"),
        ([0.5], None, "whole numbers"),
        ([np.nan], None, "whole numbers"),
        (["a"], None, "whole numbers"),
        ([], None, "num_classes"),
        ([0], 0, "positive integer"),
        ([0], 2.0, "positive integer"),
    ],
)
def test_numbers_that_are_no_classes_are_refused(x, classes, words):
    with pytest.raises(ValueError, match=words):
        utils.to_categorical(x, classes)


def test_whole_floats_are_classes_as_files_often_hold_them():
    np.testing.assert_array_equal(utils.to_categorical(np.array([[1.0], [0.0]])), [[0, 1], [1, 0]])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("make", [np.asarray, jnp.asarray])
def test_vectors_along_any_axis_get_length_1(axis, order, make):
    x = make(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"))
    found = utils.normalize(x, axis=axis, order=order)
    assert isinstance(found, type(x))
    np.testing.assert_allclose(np.linalg.norm(found, order, axis), 1, rtol=1e-5)


def test_a_vector_of_zeros_stays_zero():
    assert not utils.normalize(np.zeros((2, 3))).any()
    assert not utils.normalize(jnp.zeros((2, 3))).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sequences": 3}, "must be iterable"),
        ({"sequences": [1, [2]]}, "list of iterables"),
        ({"sequences": [[1]], "padding": "left"}, "not understood"),
        ({"sequences": [[1]], "truncating": "middle"}, "not understood"),
        ({"sequences": [["a"]], "value": "x"}, "`dtype` int32 is not compatible with "),
        ({"sequences": [[[1, 2]], [[1]]]}, "Shape of sample"),
    ],
)
def test_sequences_that_cannot_be_padded_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        utils.pad_sequences(**arguments)


def test_sequences_may_all_be_empty():
    assert utils.pad_sequences([[], []], maxlen=3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert utils.pad_sequences([[1], [2, 3]], maxlen=0).shape == (2, 0)


X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10)


@pytest.mark.parametrize(
    "data", [X, (X, Y), [X, Y], {"x": X, "y": Y}, ((X, X), Y), (jnp.asarray(X), Y)], ids=lambda d: type(d).__name__
)
def test_both_parts_have_the_structure_of_the_whole(data):
    left, right = utils.split_dataset(data, left_size=0.7)
    assert jax.tree.structure(left) == jax.tree.structure(right) == jax.tree.structure(data)
    for a, b, whole in zip(*map(jax.tree.leaves, (left, right, data)), strict=True):
        assert (len(a), len(b)) == (7, 3)
        np.testing.assert_array_equal(np.concatenate([a, b]), whole)


def test_shuffled_rows_stay_together_and_none_is_lost():
    (x1, y1), (x2, y2) = utils.split_dataset((X, Y), right_size=4, shuffle=True, seed=5)
    rows = np.concatenate([y1, y2])
    assert rows.tolist() != Y.tolist()
    assert sorted(rows) == Y.tolist()
    np.testing.assert_array_equal(np.concatenate([x1, x2]), X[rows])
    again, _ = utils.split_dataset((X, Y), right_size=4, shuffle=True, seed=5)
    np.testing.assert_array_equal(again[1], y1)


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ({"left_size": 3}, (3, 7)),
        ({"right_size": 0.2}, (8, 2)),
        ({"left_size": 2, "right_size": 0.3}, (2, 3)),
        ({"left_size": 0.25}, (2, 8)),
    ],
)
def test_sizes_are_shares_or_numbers(sizes, counts):
    left, right = utils.split_dataset(X, **sizes)
    assert (len(left), len(right)) == counts
    np.testing.assert_array_equal(right[-1], X[-1])


@pytest.mark.parametrize(
    ("sizes", "error", "words"),
    [
        ({}, ValueError, "At least one"),
        ({"left_size": 1.5}, ValueError, "left_size"),
        ({"left_size": 10}, ValueError, "smaller than 10"),
        ({"right_size": 0}, ValueError, "right_size"),
        ({"left_size": 0.6, "right_size": 0.5}, ValueError, "greater than 1"),
        ({"left_size": 6, "right_size": 5}, ValueError, "at most the 10"),
        ({"left_size": 0.01}, ValueError, "empty"),
        ({"left_size": "a"}, TypeError, "left_size"),
        ({"left_size": True}, TypeError, "left_size"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, error, words):
    with pytest.raises(error, match=words):
        utils.split_dataset(X, **sizes)


def test_data_that_cannot_be_split_are_refused():
    with pytest.raises(TypeError, match="must be an array"):
        utils.split_dataset([1, 2, 3], left_size=1)
    with pytest.raises(ValueError, match="cardinality"):
        utils.split_dataset((X, Y[:3]), left_size=1)


def test_batches_are_packed_and_unpacked():
    assert utils.unpack_x_y_sample_weight((1,)) == (1, None, None)
    assert utils.unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    assert utils.unpack_x_y_sample_weight(5) == (5, None, None)
    with pytest.raises(ValueError, match=r"`\(x, y, sample_weight\)`"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))
    assert utils.pack_x_y_sample_weight(1) == 1
    assert utils.pack_x_y_sample_weight([1, 2]) == ([1, 2],)
    assert utils.pack_x_y_sample_weight(1, 2) == (1, 2)
    assert utils.pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)


def test_a_clean_slate_counts_names_anew_and_forgets_settings():
    assert [layers.Dense(1).name, layers.Dense(1).name] == ["dense", "dense_1"]
    dtype_policies.set_dtype_policy("mixed_float16")
    config.disable_interactive_logging()
    utils.clear_session()
    assert layers.Dense(1).name == "dense"
    assert layers.Dense(1).compute_dtype == "float32"
    assert config.is_interactive_logging_enabled()


def test_a_clean_slate_draws_from_a_new_generator():
    random.set_random_seed(1)
    first = np.array(random.normal((3,)))
    utils.clear_session()
    random.set_random_seed(1)
    np.testing.assert_array_equal(random.normal((3,)), first)


def test_a_clean_slate_keeps_models_in_use_and_frees_the_others():
    kept = models.Sequential([layers.Input((2,)), layers.Dense(2)])
    lost = weakref.ref(models.Sequential([layers.Input((2,)), layers.Dense(2)]))
    utils.clear_session()
    gc.collect()
    assert lost() is None
    assert kept(np.ones((1, 2))).shape == (1, 2)


def test_stand_ins_are_known_and_lead_back_to_their_inputs():
    a, b = layers.Input((2,)), layers.Input((2,))
    out = layers.Add()([layers.Dense(2)(a), b]) + a
    assert utils.is_keras_tensor(out)
    assert not utils.is_keras_tensor(X)
    found = utils.get_source_inputs(out)
    assert {id(t) for t in found} == {id(a), id(b)}
    assert utils.get_source_inputs(a) == [a]
