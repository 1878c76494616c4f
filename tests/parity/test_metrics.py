"""Metrics against Keras itself: values over batches, configs both ways, names, what `compile` makes of them."""

import keras
import numpy as np
import pytest
from keras.src.trainers import compile_utils
from metric_cases import CASES, DATA, IDS, RNG, ROWS

from lamina import metrics, registry, serialization
from lamina.metrics.resolve import resolve

COUNTING = ("AUC", "Precision", "Recall", "TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
BY_ELEMENT = ("R2Score", "RootMeanSquaredError", "Accuracy", "BinaryAccuracy")


def _both(name, arguments):
    return [getattr(library, name)(**arguments, name="mine") for library in (metrics, keras.metrics)]


def _counts(name):
    return name in COUNTING or "At" in name


def _weights(name, arguments, true, pred):
    """The kinds of weights that Keras takes for a metric and its data; test_metrics_rows.py has the others."""
    n = len(pred)
    yield None
    if pred.ndim == 1 and not _counts(name) and name not in BY_ELEMENT:
        return  # the loss functions make one number of rank 1
    masked = arguments.get("ignore_class") is not None and true.ndim > 1
    if not (_counts(name) and pred.ndim == 3) and not masked:
        yield RNG.integers(0, 4, n) / 2
    if name in ("FBetaScore", "F1Score"):
        return
    if not (_counts(name) and pred.ndim == 1):
        yield RNG.integers(0, 4, (n, 1)) / 2
    if arguments.get("class_id") is None:
        shape = pred.shape
        if not _counts(name) and name not in BY_ELEMENT and pred.ndim > 1:
            axis = arguments.get("axis", -1) % pred.ndim
            shape = pred.shape[:axis] + pred.shape[axis + 1 :]
        yield RNG.integers(0, 4, shape) / 2


@pytest.mark.parametrize(("name", "arguments", "data"), ROWS, ids=IDS)
def test_a_metric_gives_what_keras_gives_for_all_kinds_of_weights(name, arguments, data):
    kinds = len(list(_weights(name, arguments, *DATA[data](2))))
    for kind in range(min(kinds, 2) if arguments else kinds):
        ours, theirs = _both(name, arguments)
        for size in (4,) if arguments or kind > 1 else (4, 1):  # a batch of one is where axes get lost
            true, pred = DATA[data](size)
            weight = list(_weights(name, arguments, true, pred))[kind]
            theirs.update_state(true, pred, weight)
            ours.update_state(true, pred, weight)
        np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5, atol=1e-5)
        assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]
        assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
        assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]


@pytest.mark.parametrize(("name", "arguments"), [case[:2] for case in CASES], ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_configs_go_both_ways(name, arguments):
    ours, theirs = _both(name, arguments)
    mine = serialization.serialize(ours)
    assert (mine["module"], mine["class_name"]) == ("keras.metrics", name)
    there = keras.saving.deserialize_keras_object(mine)
    back = serialization.deserialize(keras.saving.serialize_keras_object(theirs))
    assert type(there) is type(theirs)
    assert type(back) is type(ours)
    expected = theirs.get_config()
    if expected.get("label_weights") is not None:
        expected["label_weights"] = np.asarray(expected["label_weights"]).tolist()
    if name == "CosineSimilarity":  # whose axis Keras forgets
        assert ours.get_config() == {**expected, "axis": arguments.get("axis", -1)}
        assert back.get_config() == {**expected, "axis": -1}
    else:
        assert ours.get_config() == back.get_config() == expected
    assert getattr(ours, "_direction", None) == getattr(theirs, "_direction", None)


FUNCTIONS = [
    name for name in dir(keras.metrics) if name[0].islower() and name not in ("get", "serialize", "deserialize")
]


def test_every_name_of_keras_is_here():
    left_out = {"BinaryIoU", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"}
    theirs = {name for name in dir(keras.metrics) if not name.startswith("_")}
    assert theirs - left_out == set(metrics.__all__)


def test_every_string_that_keras_knows_means_the_same_class():
    for name, cls in keras.src.metrics.ALL_OBJECTS_DICT.items():
        if "IoU" not in cls.__name__:
            assert registry.find("metrics", name).__name__ == cls.__name__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_what_keras_gives(name):
    data = "classes (n, 2, 4)" if "categorical" in name else "positive"
    data = "sparse (n, 2)" if "sparse" in name else data
    true, pred = DATA[data](5)
    expected = getattr(keras.metrics, name)(true, pred)
    np.testing.assert_allclose(getattr(metrics, name)(true, pred), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrapped_function_is_read_there_and_back(name):
    ours = metrics.MeanMetricWrapper(getattr(metrics, name), name="mine")
    there = keras.saving.deserialize_keras_object(serialization.serialize(ours))
    assert there._fn is getattr(keras.metrics, name)
    back = serialization.deserialize(keras.saving.serialize_keras_object(there))
    assert back._fn is getattr(metrics, name)


SHAPES = [((8,), (8, 1)), ((8, 1), (8, 1)), ((8,), (8, 4)), ((8, 1), (8, 4)), ((8, 4), (8, 4)), ((8, 2), (8, 2, 4))]
SHAPES += [((8, 2, 4), (8, 2, 4)), ((8,), (8,)), ((8, 1), (8,)), ((8, 3), (8, 1))]


@pytest.mark.parametrize(("true", "pred"), SHAPES)
@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy", "ACC", "mse", "AUC", "auc", "binary_accuracy"])
def test_a_name_in_compile_means_what_it_means_to_keras(name, true, pred):
    theirs = compile_utils.get_metric(name, np.zeros(true), np.zeros(pred))
    ours = resolve(name, true, pred, "float32")
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)


def test_a_function_in_compile_is_wrapped_and_named_as_in_keras():
    theirs = compile_utils.get_metric(keras.metrics.mean_squared_error, np.zeros((4, 1)), np.zeros((4, 1)))
    ours = resolve(metrics.mean_squared_error, (4, 1), (4, 1))
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)


def test_a_mask_on_predictions_leaves_steps_out_as_in_keras():
    import jax.numpy as jnp

    true, pred = RNG.random((4, 3, 1)), RNG.random((4, 3, 1))
    mask = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]], bool)
    results = []
    for library in (metrics, keras.metrics):
        metric, masked = library.MeanSquaredError(), jnp.asarray(pred, "float32")
        masked._keras_mask = jnp.asarray(mask)
        metric.update_state(true, masked)
        results.append(metric.result())
    np.testing.assert_allclose(*results, rtol=1e-6)
