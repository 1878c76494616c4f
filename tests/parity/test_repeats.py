"""Repeated layers run as one loop against the same layers run one by one: same numbers, live."""

import jax
import numpy as np
import pytest

import lamina
from lamina import constraints, initializers, layers, models, ops, optimizers, regularizers
from lamina.stacks import Stack
from lamina.training import repeats

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 8)).astype("float32")  # batches of 16: the last is short
Y = (X @ RNG.normal(size=(8, 3)) / 3).astype("float32")
N = 3  # blocks: fewer than what makes a run elsewhere, since unrolled programs take long to compile


@pytest.fixture(autouse=True)
def little_to_compile(monkeypatch):
    monkeypatch.setattr(repeats, "LEAST", N)
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def chain(make, n=N, head=()):
    """`make(i)` gives a list of layers."""
    inside = [layer for i in range(n) for layer in make(i)]
    return models.Sequential([layers.Input((8,)), *head, *inside, layers.Dense(3)])


def residual(make, n=N, stem=True):
    inputs = layers.Input((8,))
    x = layers.Dense(8)(inputs) if stem else inputs
    for i in range(n):
        h = x
        for layer in make(i):
            h = layer(h)
        x = layers.add([x, h])
    return models.Model(inputs, layers.Dense(3)(x))


def dense(**kwargs):
    return layers.Dense(8, activation="tanh", **kwargs)


def block(i, **kwargs):
    return [layers.BatchNormalization(), layers.Activation("relu"), layers.Dense(8, **kwargs), layers.Dropout(0.3)]


def by_operators():
    x = inputs = layers.Input((8,))
    for _ in range(N):
        x = x + 0.3 * ops.tanh(layers.Dense(8)(x))
    return models.Model(inputs, layers.Dense(3)(x))


def conditioned():
    inputs = layers.Input((8,))
    x = stem = layers.Dense(8)(inputs)
    for _ in range(N):
        x = layers.Dense(8, activation="tanh")(layers.concatenate([x, stem]))
    return models.Model(inputs, layers.Dense(3)(x))


def towers():
    inputs = layers.Input((8,))
    a, b = layers.Dense(8)(inputs), layers.Dense(8)(inputs)
    for _ in range(N + 1):
        a, b = layers.Dense(8, activation="tanh")(a), layers.Dense(8, activation="relu")(b)
    return models.Model(inputs, layers.Dense(3)(layers.concatenate([a, b])))


def nested(kind):
    def make(i):
        if kind == "sequential":
            return [models.Sequential([layers.Input((8,)), dense(), layers.LayerNormalization()])]
        x = layers.Input((8,))
        return [models.Model(x, layers.add([x, layers.Dropout(0.2)(dense()(x))]))]

    return chain(make)


def frozen(which, n=2 * N):
    model = chain(lambda i: [dense()], n=n)
    for layer in model.layers[which]:
        layer.trainable = False
    return model


def taps():
    """Outputs in the middle: what a loop goes through cannot be seen."""
    x = inputs = layers.Input((8,))
    middle = []
    for i in range(2 * N):
        x = layers.Dense(8, activation="tanh")(x)
        if i == N - 1:
            middle.append(layers.Dense(3)(x))
    return models.Model(inputs, layers.add([layers.Dense(3)(x), *middle]))


def masked():
    return models.Sequential(
        [
            layers.Input((4, 2)),
            layers.Masking(0.0),
            *[layer for _ in range(N) for layer in (layers.Dense(2, activation="tanh"), layers.BatchNormalization())],
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


class Scaled(layers.Layer):
    """A layer of a user's with a weight, a penalty of its own, and a number that differs or not."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs):
        self.add_loss(0.01 * ops.mean(ops.square(inputs)))
        return inputs * self.scale * self.factor


MODELS = {  # name: (how it is made, lengths of the runs)
    "a chain": (lambda: chain(lambda i: [dense()]), [N]),
    "dropout": (lambda: chain(lambda i: [dense(), layers.Dropout(0.4)]), [N]),
    "batch normalization and dropout": (lambda: chain(block), [N]),
    "residual": (lambda: residual(lambda i: [dense(), layers.Dense(8)]), [N]),
    "residual from the input": (lambda: residual(lambda i: [dense(), layers.Dense(8)], stem=False), [N]),
    "residual, normalized, dropped": (lambda: residual(block), [N]),
    "operators": (by_operators, [N]),
    "an input that every block takes": (conditioned, [N]),
    "two towers": (towers, [N]),
    "nested chains": (lambda: nested("sequential"), [N]),
    "nested residual models": (lambda: nested("functional"), [N]),
    "wrapped layers": (lambda: chain(lambda i: [layers.SpectralNormalization(dense())]), [N]),
    "other initializers": (lambda: chain(lambda i: [dense(kernel_initializer=initializers.HeNormal(i))]), [N]),
    "regularizers": (
        lambda: chain(lambda i: [dense(kernel_regularizer="l2", bias_regularizer=regularizers.L1(0.01))]),
        [N],
    ),
    "regularizers that differ": (
        lambda: chain(lambda i: [dense(kernel_regularizer=regularizers.L2(0.01 * (i // N)))], n=2 * N),
        [N, N],
    ),
    "activity regularizers": (lambda: chain(lambda i: [dense(activity_regularizer="l2")]), [N]),
    "constraints": (lambda: chain(lambda i: [dense(kernel_constraint=constraints.MaxNorm(0.9))]), [N]),
    "layers of a user's": (lambda: chain(lambda i: [dense(), Scaled(0.9)]), [N]),
    "layers of a user's that differ": (lambda: chain(lambda i: [Scaled(1 - i / 100)]), []),
    "activations that differ": (
        lambda: chain(lambda i: [layers.Dense(8, activation=["tanh", "relu"][i // N])], 2 * N),
        [N, N],
    ),
    "frozen at the end": (lambda: frozen(slice(N, 2 * N)), [N, N]),
    "frozen all": (lambda: frozen(slice(0, 2 * N)), [2 * N]),
    "frozen in the middle": (lambda: frozen(slice(N, N + 2), 2 * N + 2), [N, N]),
    "tapped": (taps, [N, N]),
    "too few": (lambda: chain(lambda i: [dense()], n=N - 1), []),
    "masks": (masked, [N]),
    "repeated by hand": (
        lambda: models.Sequential([layers.Input((8,)), layers.Repeat(dense(), N), layers.Dense(3)]),
        [N],
    ),
}


ASKED = ("residual, normalized, dropped", "nested residual models", "wrapped layers", "masks", "repeated by hand")


def made(name, optimizer=None, **kwargs):
    lamina.utils.set_random_seed(3)
    model = MODELS[name][0]()
    model.compile(optimizer() if optimizer else optimizers.Adam(0.01), "mse", metrics=["mae"], **kwargs)
    return model


def trained(model, x=X, epochs=2, asked=False):
    np.random.seed(0)
    history = model.fit(x, Y, batch_size=16, epochs=epochs, verbose=0).history
    state = [*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]]
    return history, state, *((model.predict(x, verbose=0), model.evaluate(x, Y, verbose=0)) if asked else ())


def assert_close(found, wanted, tolerance=2e-5):
    for one, other in zip(found[0].values(), wanted[0].values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2 * tolerance)
    for one, other in zip(found[2:], wanted[2:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=tolerance)


def data_for(model):
    return X.reshape(-1, 4, 2) * (RNG.random((50, 4, 1)) > 0.3) if model.input_shape == (None, 4, 2) else X


@pytest.mark.filterwarnings("ignore:Layer 'flatten")
@pytest.mark.parametrize("name", MODELS)
def test_a_loop_gives_what_single_layers_give(name):
    looped, single = made(name), made(name)
    x, asked = data_for(looped), name in ASKED
    with repeats.unrolled():
        wanted = trained(single, x, asked=asked)
    found = trained(looped, x, asked=asked)
    stacks = [unit for unit in repeats.variables_of(looped, "train").params if isinstance(unit, Stack)]
    stacks += [unit for unit in repeats.variables_of(looped, "train").stats if isinstance(unit, Stack)]
    lengths = {id(stack.members[0]): len(stack.members) for stack in stacks}
    assert sorted(set(lengths.values())) == sorted(set(MODELS[name][1]))
    assert not any(isinstance(u, Stack) for group in _unrolled_names(single) for u in group)
    assert_close(found, wanted)


def _unrolled_names(model):
    with repeats.unrolled():
        return repeats.variables_of(model, "train")


OPTIMIZERS = {
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "clipped by norm": lambda: optimizers.Adam(0.01, clipnorm=0.05),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "averaged": lambda: optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "of a user's": lambda: Signed(0.01),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01)),
}


class Signed(optimizers.Optimizer):
    def update_step(self, gradient, variable, learning_rate):
        variable.assign(variable - learning_rate * ops.sign(gradient) * ops.minimum(1.0, ops.abs(gradient) * 1e3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_treats_stacked_weights_as_single_ones(name):
    looped, single = (made("a chain", OPTIMIZERS[name]) for _ in range(2))
    with repeats.unrolled():
        wanted = trained(single)
    assert_close(trained(looped), wanted, 1e-4)


def test_weight_decay_that_spares_one_of_many_still_spares_it():
    found = []
    for context in (repeats.unrolled, None):
        model = made("a chain", lambda: optimizers.AdamW(0.01, weight_decay=0.5))
        model.optimizer.exclude_from_weight_decay(var_list=[model.layers[2].kernel])
        if context:
            with context():
                found.append(trained(model))
        else:
            found.append(trained(model))
    assert_close(*found)


@pytest.mark.parametrize("remat", [True, 1, 10**9])
@pytest.mark.parametrize("name", ["residual, normalized, dropped"])
def test_rematerialization_changes_no_number(name, remat):
    looped, plain = made(name, remat=remat), made(name)
    assert_close(trained(looped), trained(plain))


@pytest.mark.parametrize("policy", ["mixed_bfloat16"])
def test_half_precision_loops_too(policy):
    before = lamina.keras.config.dtype_policy()
    lamina.keras.config.set_dtype_policy(policy)
    try:
        looped, single = made("residual from the input"), made("residual from the input")
        with repeats.unrolled():
            wanted = trained(single, epochs=1, asked=True)
        found = trained(looped, epochs=1, asked=True)
        assert any(isinstance(unit, Stack) for unit in repeats.variables_of(looped, "train").params)
        np.testing.assert_allclose(found[2].astype("float32"), wanted[2].astype("float32"), atol=0.1)
    finally:
        lamina.keras.config.set_dtype_policy(before)
