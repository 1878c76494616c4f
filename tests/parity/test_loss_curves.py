"""The same script with the same seed gives the same loss curve in Keras and here: initial weights, dropout, shuffles."""

import keras
import numpy as np
import pytest

import lamina
from lamina import callbacks, layers, losses, metrics, models, optimizers

RNG = np.random.default_rng(3)
X = RNG.normal(size=(203, 12)).astype("float32")
LABELS = np.abs(X[:, :4]).argmax(1).astype("int32")
ONE_HOT = np.eye(4, dtype="float32")[LABELS]
BINARY = (X.sum(1) > 0).astype("float32")
REAL = (X[:, :2] ** 2 + 0.1).astype("float32")


class Keras:
    layers, models, optimizers, losses, metrics = (
        keras.layers,
        keras.models,
        keras.optimizers,
        keras.losses,
        keras.metrics,
    )
    callbacks = keras.callbacks
    seed = staticmethod(keras.utils.set_random_seed)


class Ours:
    layers, models, optimizers, losses, metrics = layers, models, optimizers, losses, metrics
    callbacks = callbacks
    seed = staticmethod(lamina.set_random_seed)


def chain(*make):
    return lambda k: k.models.Sequential([k.layers.Input((12,)), *[m(k) for m in make]])


def dense(units, **kwargs):
    return lambda k: k.layers.Dense(units, **kwargs)


def layer(name, *args, **kwargs):
    return lambda k: getattr(k.layers, name)(*args, **kwargs)


def residual(k):
    x = inputs = k.layers.Input((12,))
    for _ in range(2):
        y = k.layers.Dense(12, activation="relu")(x)
        y = k.layers.Dropout(0.1)(y)
        x = x + k.layers.Dense(12)(y)
    return k.models.Model(inputs, k.layers.Dense(4, activation="softmax")(x))


def two_outputs(k):
    inputs = k.layers.Input((12,))
    x = k.layers.Dense(16, activation="tanh")(inputs)
    return k.models.Model(
        inputs, [k.layers.Dense(4, activation="softmax", name="a")(x), k.layers.Dense(2, name="b")(x)]
    )


CLASSIFIER = chain(dense(16, activation="relu"), layer("Dropout", 0.3), dense(4, activation="softmax"))
SCRIPTS = {
    "sparse crossentropy, dropout, a short last batch": (
        CLASSIFIER, lambda k: dict(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"]),
        dict(y=LABELS, batch_size=32),
    ),
    "batch normalization with a short last batch": (
        chain(dense(16), layer("BatchNormalization"), layer("Activation", "relu"), dense(4, activation="softmax")),
        lambda k: dict(optimizer="sgd", loss="categorical_crossentropy", metrics=["acc", "top_k_categorical_accuracy"]),
        dict(y=ONE_HOT, batch_size=50),
    ),
    "layer normalization, lazy build, logits": (
        lambda k: k.models.Sequential([k.layers.Dense(8), k.layers.LayerNormalization(), k.layers.ReLU(), k.layers.Dense(4)]),
        lambda k: dict(
            optimizer=k.optimizers.RMSprop(0.01), loss=k.losses.SparseCategoricalCrossentropy(from_logits=True)
        ),
        dict(y=LABELS, batch_size=64),
    ),
    "binary crossentropy, class weights, AUC": (
        chain(dense(8, activation="gelu"), dense(1, activation="sigmoid")),
        lambda k: dict(optimizer="nadam", loss="binary_crossentropy", metrics=["accuracy", k.metrics.AUC(name="auc")]),
        dict(y=BINARY, batch_size=32, class_weight={0: 1.0, 1: 3.0}),
    ),
    "regression with penalties and weights": (
        chain(dense(8, activation="tanh", kernel_regularizer="l2", bias_constraint="non_neg"), dense(2)),
        lambda k: dict(
            optimizer=k.optimizers.AdamW(0.01, clipnorm=1.0), loss="mse", metrics=["mae"], weighted_metrics=["mse"]
        ),
        dict(y=REAL, batch_size=32, sample_weight=np.linspace(0.1, 2, 203).astype("float32")),
    ),
    "validation split, no shuffle, a schedule": (
        CLASSIFIER,
        lambda k: dict(
            optimizer=k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9), momentum=0.9, nesterov=True),
            loss="sparse_categorical_crossentropy",
        ),
        dict(y=LABELS, batch_size=16, validation_split=0.25, shuffle=False),
    ),
    "shuffle inside batches": (CLASSIFIER, lambda k: dict(optimizer="adamax", loss="crossentropy"), dict(y=LABELS, shuffle="batch")),
    "residual blocks": (residual, lambda k: dict(optimizer="adagrad", loss="ce", metrics=["acc"]), dict(y=LABELS)),
    "two outputs, weighted losses": (
        two_outputs,
        lambda k: dict(
            optimizer="lion", loss={"a": "sparse_categorical_crossentropy", "b": "huber"}, loss_weights={"a": 1.0, "b": 0.5},
            metrics={"a": ["accuracy"], "b": ["mae", "mse"]},
        ),
        dict(y={"a": LABELS, "b": REAL}, batch_size=32),
    ),
    "gradient accumulation": (
        chain(dense(8, activation="selu"), dense(2)),
        lambda k: dict(optimizer=k.optimizers.Adam(0.01, gradient_accumulation_steps=3), loss="log_cosh"),
        dict(y=REAL, batch_size=32),
    ),
    "steps_per_epoch goes on where it stopped": (
        CLASSIFIER, lambda k: dict(optimizer="adam", loss="sparse_categorical_crossentropy"),
        dict(y=LABELS, batch_size=29, steps_per_epoch=3),
    ),
}  # fmt: skip


def train(k, name):
    build, compiled, fit = SCRIPTS[name]
    fit = dict(fit)
    k.seed(11)
    model = build(k)
    model.compile(**compiled(k))
    y = fit.pop("y")
    first = model.fit(X, y, epochs=3, verbose=0, **fit)
    second = model.fit(X, y, epochs=2, verbose=0, **fit)
    logs = {key: first.history[key] + second.history[key] for key in first.history}
    return (
        logs,
        model.evaluate(X, y, batch_size=64, verbose=0, return_dict=True),
        model.get_weights(),
        model.predict(X, verbose=0),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_script_gives_the_same_loss_curve(name):
    theirs, their_test, their_weights, their_outputs = train(Keras, name)
    ours, our_test, our_weights, our_outputs = train(Ours, name)
    assert list(ours) == list(theirs)
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=2e-4, atol=2e-5, err_msg=key)
    assert set(our_test) == set(their_test)
    for key, value in their_test.items():
        np.testing.assert_allclose(our_test[key], value, rtol=2e-4, atol=2e-5, err_msg=key)
    for ours_, theirs_ in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-3, atol=1e-4)
    import jax

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), our_outputs, their_outputs)


@pytest.mark.filterwarnings("ignore")
def test_initial_weights_are_equal_bit_for_bit():
    weights = []
    for k in (Keras, Ours):
        k.seed(5)
        weights.append(CLASSIFIER(k).get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_stream_of_shuffles_after_a_fit_is_keras_own():
    draws = []
    for k in (Keras, Ours):
        k.seed(2)
        model = CLASSIFIER(k)
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(X, LABELS, epochs=2, verbose=0)
        draws.append(np.random.permutation(20))
    np.testing.assert_array_equal(*draws)
