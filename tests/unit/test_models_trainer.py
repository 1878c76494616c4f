"""What a Keras user sees around fit: metrics counted once, logs at the end, loops that a callback ends."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.callbacks import Callback

X, Y = np.ones((8, 4), np.float32), np.zeros((8, 3), np.float32)


def compiled(**kwargs):
    model = lamina.Sequential([layers.Dense(3, kernel_initializer="ones")])
    model.compile("sgd", "mse", **kwargs)
    return model


@pytest.mark.parametrize("metrics", [["mse"], [lamina.metrics.MeanSquaredError()]])
def test_a_metric_counts_once_whether_it_is_named_or_made(metrics):
    model = compiled(metrics=metrics)
    model.fit(X, Y, verbose=0)
    assert len(model.metrics) == 2
    assert len(model.evaluate(X, Y, verbose=0)) == 2


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_callback_ends_an_evaluation_or_prediction_that_would_never_end(verb):
    class Stop(Callback):
        seen = 0

        def _end(self, batch, logs=None):
            Stop.seen += 1
            if Stop.seen == 3:
                self.model.stop_evaluating = self.model.stop_predicting = True

        on_test_batch_end = on_predict_batch_end = _end

    def forever():
        while True:
            yield (X, Y) if verb == "evaluate" else (X,)

    getattr(compiled(), verb)(forever(), callbacks=[Stop()], verbose=0)
    assert Stop.seen == 3


def test_the_end_of_training_gets_the_logs_of_the_last_epoch():
    class Last(Callback):
        logs = None

        def on_train_end(self, logs=None):
            Last.logs = logs

    history = compiled().fit(X, Y, validation_data=(X, Y), epochs=2, verbose=0, callbacks=[Last()]).history
    assert Last.logs == {name: values[-1] for name, values in history.items()}


def test_predict_builds_a_model_for_the_first_batch_of_a_stream():
    class Product(lamina.Model):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], 3), name="kernel")

        def call(self, x):
            return x @ self.kernel

    assert Product().predict((batch for batch in [(X,), (X[:5],)]), verbose=0).shape == (13, 3)


def test_a_batch_alone_gives_its_own_loss():
    model = compiled()
    for _ in range(2):
        loss = model.evaluate(X, Y, verbose=0)
        assert model.test_on_batch(X, Y) == pytest.approx(loss)
        assert model.train_on_batch(X, Y) == pytest.approx(loss)
    assert loss < 16.0


def test_a_metric_of_the_users_says_itself_how_it_starts_anew():
    class Seen(lamina.metrics.Sum):
        def reset_state(self):
            """Go on for ever."""

        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(lamina.ops.ones((1,)))

    history = compiled(metrics=[Seen(name="seen")]).fit(X, Y, batch_size=4, epochs=3, verbose=0).history
    assert history["seen"] == [2.0, 4.0, 6.0]


def test_the_state_tree_has_every_variable_and_is_taken_back_whole_or_not_at_all():
    model, other = compiled(metrics=["mae"]), compiled(metrics=["mae"])
    for one in (model, other):
        one.build((None, 4))
    other.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=0)
    tree = model.get_state_tree(value_format="numpy_array")
    assert set(tree["trainable_variables"]["sequential"]["dense"]) == {"kernel", "bias"}
    renamed = {"trainable_variables": {"sequential_1": {"dense_1": tree["trainable_variables"]["sequential"]["dense"]}}}
    other.set_state_tree(renamed)
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    before = other.get_weights()
    renamed["optimizer_variables"] = {"adam": {"iteration": 3}}
    with pytest.raises(lamina.errors.InvalidArgumentError, match="no variable 'adam/iteration'"):
        other.set_state_tree(renamed)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
