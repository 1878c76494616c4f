"""Whole models in `.h5` files: written here and read by Keras, written by Keras from what it read and read here."""

import keras
import numpy as np
import pytest

import lamina.keras as ours

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(8, 4)).astype("float32"), RNG.normal(size=(8, 2)).astype("float32")
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras and NumPy 2
]


def graph():
    inputs = ours.Input((4,))
    x = ours.layers.Dense(4, activation="relu", name="hidden")(inputs)
    x = ours.layers.Add()([x, ours.layers.BatchNormalization()(x)])
    x = ours.layers.Dropout(0.5)(ours.ops.tanh(x) * 2 + inputs[:, ::-1])
    return ours.Model(inputs, ours.layers.Dense(2)(x))


def nested():
    inputs = ours.Input((4,))
    inner = ours.Sequential([ours.Input((4,)), ours.layers.Dense(4), ours.layers.BatchNormalization()])
    return ours.Model(inputs, ours.layers.Dense(2)(inner(inner(inputs))))


def chain():
    layers = [ours.layers.Dense(5, kernel_regularizer="l2", activation=ours.layers.ReLU()), ours.layers.Dense(2)]
    return ours.Sequential([ours.Input((4,)), *layers])


COMPILED = {
    "not": None,
    "names": lambda: {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"]},
    "objects": lambda: {
        "optimizer": ours.optimizers.Adam(ours.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
        "loss": ours.losses.MeanSquaredError(),
        "weighted_metrics": [ours.metrics.MeanAbsoluteError()],
    },
    "functions": lambda: {"optimizer": ours.optimizers.RMSprop(momentum=0.9), "loss": ours.losses.mean_squared_error},
}


@pytest.mark.parametrize(
    ("make", "compiled"), [(graph, "objects"), (nested, "functions"), (chain, "names"), (chain, "not")]
)
def test_keras_reads_the_model_and_what_keras_writes_is_read(make, compiled, tmp_path):
    model = make()
    if COMPILED[compiled] is not None:
        model.compile(**COMPILED[compiled]())
        model.fit(X, Y, verbose=0)
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "ours.h5")
    theirs = keras.models.load_model(tmp_path / "ours.h5")
    np.testing.assert_allclose(theirs.predict(X, verbose=0), expected, atol=1e-5)
    if COMPILED[compiled] is not None:
        assert type(theirs.optimizer).__name__ == type(model.optimizer).__name__
        got, wanted = np.ravel(theirs.evaluate(X, Y, verbose=0))[0], np.ravel(model.evaluate(X, Y, verbose=0))[0]
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
    theirs.save(tmp_path / "theirs.h5")
    again = ours.models.load_model(tmp_path / "theirs.h5", compile=False)
    np.testing.assert_allclose(again.predict(X, verbose=0), expected, atol=1e-5)
    by_order = make()
    by_order.load_weights(tmp_path / "ours.h5")
    np.testing.assert_array_equal(by_order.get_weights()[0], model.get_weights()[0])
