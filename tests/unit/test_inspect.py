"""`lamina.inspect.signal`: the activations and gradients of every layer, compared with what they are by hand."""

import numpy as np
import pytest

from lamina import inspect, layers, models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 5)).astype("float32")
Y = RNG.normal(size=(32, 2)).astype("float32")


def model_of(activation="relu"):
    model = models.Sequential([layers.Input((5,)), layers.Dense(7, activation=activation), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def test_numbers_are_those_of_a_chain_rule_by_hand():
    model = model_of()
    found = inspect.signal(model, X, Y)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in model.layers)
    hidden = np.maximum(X @ w1 + b1, 0)
    output = hidden @ w2 + b2
    by_output = 2 * (output - Y) / output.size
    by_hidden = by_output @ w2.T
    first, last = found.layers
    assert found.loss == pytest.approx(np.mean((output - Y) ** 2), rel=1e-5)
    assert (first.mean, first.deviation) == pytest.approx((hidden.mean(), hidden.std()), rel=1e-4)
    assert (last.mean, last.deviation) == pytest.approx((output.mean(), output.std()), rel=1e-4)
    assert last.gradient_norm == pytest.approx(np.linalg.norm(by_output), rel=1e-4)
    assert (first.gradient_mean, first.gradient_norm) == pytest.approx(
        (by_hidden.mean(), np.linalg.norm(by_hidden)), rel=1e-3
    )
    inside = by_hidden * (hidden > 0)
    weights = np.sqrt(np.sum((X.T @ inside) ** 2) + np.sum(inside.sum(0) ** 2))
    assert first.weight_gradient_norm == pytest.approx(weights, rel=1e-3)
    assert first.weight_norm == pytest.approx(np.sqrt(np.sum(w1**2) + np.sum(b1**2)), rel=1e-4)
    assert (first.name, first.kind, first.shape) == (model.layers[0].name, "Dense", (32, 7))


def test_dead_units_are_counted():
    model = model_of()
    kernel, bias = model.layers[0].get_weights()
    bias[:3] = -1e3
    model.layers[0].set_weights([kernel, bias])
    assert inspect.signal(model, X).layers[0].dead == pytest.approx(3 / 7)


def test_without_targets_the_gradient_is_that_of_half_the_squared_outputs():
    model = model_of()
    output = model.predict(X, verbose=0)
    last = inspect.signal(model, X).layers[-1]
    assert last.gradient_norm == pytest.approx(np.linalg.norm(output) / 32, rel=1e-4)


def nested():
    x = layers.Input((5,))
    block = models.Sequential([layers.Input((5,)), layers.Dense(5), layers.Dropout(0.5)])
    twice = block(block(x))
    return models.Model(x, layers.Dense(2)(layers.BatchNormalization()(layers.add([x, twice]))))


def own():
    class Own(models.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Dense(5, name="same"), layers.Dense(2)

        def call(self, inputs):
            return self.last(self.first(self.first(inputs)))

    return Own()


@pytest.mark.parametrize(
    ("build", "kinds"),
    [
        (nested, ["Dense", "Dropout", "Dense", "Dropout", "Add", "BatchNormalization", "Dense"]),
        (own, ["Dense", "Dense", "Dense"]),
        (lambda: models.Sequential([layers.Repeat(layers.Dense(5), 9), layers.Dense(2)]), ["Dense"] * 10),
    ],
)
def test_every_use_of_every_layer_of_any_model_has_a_row_and_nothing_is_changed(build, kinds):
    model = build()
    model.compile("sgd", "mse")
    model.predict(X, verbose=0)
    before = [v.numpy() for v in model.variables]
    found = inspect.signal(model, X, Y)
    assert [row.kind for row in found.layers] == kinds
    assert len({row.name for row in found.layers}) == len(kinds)
    assert all(np.array_equal(v.numpy(), old) for v, old in zip(model.variables, before, strict=True))
    frame = found.to_pandas()
    assert list(frame["name"]) == [row.name for row in found.layers]


def deep(gain):
    x = inputs = layers.Input((5,))
    for _ in range(60):
        x = layers.Dense(5, use_bias=False, kernel_initializer=lambda shape, dtype=None: gain * np.eye(5))(x)
    return models.Model(inputs, x)


@pytest.mark.parametrize(("gain", "word"), [(0.5, "vanishes"), (2.0, "explodes"), (1.0, "arrives"), (0.0, "zero")])
def test_the_verdict_says_what_becomes_of_the_gradient(gain, word):
    found = inspect.signal(deep(gain), X)
    assert word in found.verdict
    text = str(found)
    assert word in text
    assert "..." in text
    assert text.count("Dense") == 40


def test_a_picture_is_written(tmp_path):
    found = inspect.signal(model_of(), X)
    for path in (found.plot(tmp_path / "one.png"), inspect.plot({"a": found, "b": found}, tmp_path / "two.png")):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_targets_without_a_loss_are_refused():
    model = models.Sequential([layers.Input((5,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="`y` needs a loss, and the model is not compiled"):
        inspect.signal(model, X, Y)
