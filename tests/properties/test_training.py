"""What must not show in the numbers: the batch size of evaluate and predict, the number of batches in a dispatch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina import layers, metrics, models
from lamina.callbacks import Callback
from lamina.training.pace import Pace

ROWS = 23
RNG = np.random.default_rng(5)
X = RNG.normal(size=(ROWS, 6)).astype("float32")
CLASSES = RNG.integers(0, 4, ROWS)
LABELS = (RNG.random((ROWS, 1)) > 0.6).astype("float32")
TARGETS = RNG.normal(size=(ROWS, 2)).astype("float32")
SIZES = st.sampled_from([1, 3, 7, 22, 24, 100])


def network(units, activation=None, normalization=False):
    body = [layers.Dense(8, activation="relu", kernel_regularizer="l2")]
    body += [layers.BatchNormalization(), layers.Dropout(0.3)] if normalization else []
    return models.Sequential([layers.Input((6,)), *body, layers.Dense(units, activation=activation)])


def classifier():
    model = network(4, "softmax")
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy", metrics.SparseTopKCategoricalAccuracy(2)],
        weighted_metrics=["accuracy", "sparse_categorical_crossentropy"],
    )  # fmt: skip
    return model, CLASSES


def binary():
    model = network(1, "sigmoid")
    model.compile(
        "adam", "binary_crossentropy", metrics=[metrics.AUC(num_thresholds=50), metrics.Precision(), metrics.Recall()],
        weighted_metrics=[metrics.BinaryAccuracy(), metrics.F1Score(threshold=0.5)],
    )  # fmt: skip
    return model, LABELS


def regression():
    model = network(2)
    model.compile(
        "adam", "huber", metrics=["mae", metrics.R2Score(), metrics.RootMeanSquaredError()],
        weighted_metrics=["mse", metrics.CosineSimilarity()],
    )  # fmt: skip
    return model, TARGETS


@pytest.mark.parametrize("make", [classifier, binary, regression])
def test_evaluate_does_not_depend_on_the_batch_size(make):
    model, y = make()
    whole = {
        weighted: model.evaluate(X, y, ROWS, 0, weights, return_dict=True)
        for weighted, weights in ((False, None), (True, np.linspace(0, 3, ROWS)))
    }
    assert whole[True]["loss"] != whole[False]["loss"]

    @settings(max_examples=10)
    @given(size=SIZES, weighted=st.booleans())
    def check(size, weighted):
        found = model.evaluate(X, y, size, 0, np.linspace(0, 3, ROWS) if weighted else None, return_dict=True)
        assert found.keys() == whole[weighted].keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, whole[weighted][name], rtol=2e-6, atol=1e-7, err_msg=name)

    check()


class ByBatch(Callback):
    """Makes evaluate and predict go one batch of the given size at a time."""

    def on_test_batch_end(self, batch, logs=None):
        pass

    def on_predict_batch_end(self, batch, logs=None):
        pass


@pytest.mark.parametrize("normalization", [False, True])
def test_predict_does_not_depend_on_the_batch_size(normalization):
    model = network(3, "softmax", normalization)
    whole = model.predict(X, batch_size=ROWS, verbose=0)
    assert whole.shape == (ROWS, 3)
    for size in (1, 2, 7, 22, 23, 24, 100):
        np.testing.assert_array_equal(model.predict(X, batch_size=size, verbose=0), whole)
    for size in (5, 23):
        found = model.predict(X, batch_size=size, verbose=0, callbacks=[ByBatch()])
        np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.concatenate([model.predict_on_batch(X[i : i + 1]) for i in range(3)]), whole[:3],
                               rtol=1e-5, atol=1e-7)  # fmt: skip


def test_evaluate_one_batch_at_a_time_gives_the_same_bits():
    model, y = classifier()
    together = model.evaluate(X, y, batch_size=4, verbose=0)
    assert model.evaluate(X, y, batch_size=4, verbose=0, callbacks=[ByBatch()]) == together


def test_training_does_not_depend_on_how_many_batches_go_into_a_dispatch(monkeypatch):
    lamina.set_random_seed(3)
    model = network(4, "softmax", normalization=True)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, CLASSES, batch_size=4, epochs=1, verbose=0)
    start = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]

    def train(counts):
        waiting = list(counts)
        monkeypatch.setattr(Pace, "count", lambda self: waiting.pop(0) if waiting else counts[-1])
        for variable, value in zip((*model.variables, *model.optimizer.variables), start, strict=True):
            variable.assign(value)
        np.random.seed(0)
        history = model.fit(X, CLASSES, batch_size=4, epochs=3, verbose=0, validation_data=(X, CLASSES))
        return history.history, [v.numpy() for v in (*model.variables, *model.optimizer.variables)]

    logs, wanted = train([1])
    assert not all(np.array_equal(a, b) for a, b in zip(wanted, start, strict=True))

    @settings(max_examples=15)
    @given(counts=st.lists(st.integers(1, 8), min_size=1, max_size=6))
    def check(counts):
        found_logs, found = train(counts)
        assert found_logs == logs
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)

    check()


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_training_does_not_depend_on_how_often_a_callback_looks_in(looks):
    class Looking(Callback):
        def __init__(self):
            super().__init__()
            self.batches = []

        def on_train_batch_end(self, batch, logs=None):
            self.batches.append(batch)

    model, other = network(4, "softmax"), network(4, "softmax")
    other.set_weights(model.get_weights())
    for one, steps in ((model, 1), (other, looks)):
        one.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=steps)
    looking = Looking()
    model.fit(X, CLASSES, batch_size=4, epochs=2, shuffle=False, verbose=0)
    other.fit(X, CLASSES, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[looking])
    assert looking.batches == [b for _ in range(2) for b in sorted({min(s + looks, 6) - 1 for s in range(0, 6, looks)})]
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
