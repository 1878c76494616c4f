"""`layers.Repeat`: copies of a block, with weights, names, files and descriptions of their own."""

import numpy as np
import pytest

import lamina
from lamina import layers, models, saving
from lamina.stacks import Stack
from lamina.training import repeats

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")


def residual():
    x = layers.Input((4,))
    return models.Model(x, layers.add([x, layers.Dense(4, activation="tanh")(x)]))


BLOCKS = {
    "a layer": lambda: layers.Dense(4, activation="tanh"),
    "a model": residual,
    "a function": lambda: lambda: layers.Dense(4),
    "a function of the number": lambda: lambda i: layers.Dense(4, name=f"own_{i}"),
    "a function that makes models": lambda: residual,
    "a list": lambda: [layers.Dense(4) for _ in range(9)],
}


def model_of(block, n=9):
    model = models.Sequential([layers.Input((4,)), layers.Repeat(block, n), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", BLOCKS)
def test_copies_are_layers_of_their_own_which_files_and_configs_keep(kind, tmp_path):
    model = model_of(BLOCKS[kind]())
    repeat = model.layers[0]
    assert len({layer.name for layer in repeat.layers}) == len(repeat.repeated) == repeat.n == 9
    assert len(repeat.trainable_weights) == 18
    kernels = [layer.weights[0].numpy() for layer in repeat.layers]
    assert len({kernel.tobytes() for kernel in kernels}) == 9
    model.fit(X, X[:, :1], verbose=0)
    wanted = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), wanted)
    assert [layer.name for layer in loaded.layers[0].layers] == [layer.name for layer in repeat.layers]
    clone = models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X, verbose=0), wanted)
    assert any(isinstance(unit, Stack) for unit in repeats.variables_of(loaded, "predict").params)


def test_the_config_of_equal_copies_holds_the_block_once():
    config = layers.Repeat(layers.Dense(4), 1000).get_config()
    assert config["n"] == 1000
    assert config["block"]["class_name"] == "Dense"


def test_a_summary_shows_the_copies_if_asked(capsys):
    model = model_of(layers.Dense(4, name="block"), 3)
    model.summary(expand_nested=True)
    shown = capsys.readouterr().out
    assert "repeat (Repeat)" in shown
    assert all(name in shown for name in ("block (Dense)", "block_1", "block_2"))
    assert "Total params: 65" in shown


def test_a_first_copy_of_another_shape_runs_before_the_loop_over_the_rest():
    model = models.Sequential([layers.Input((3,)), layers.Repeat(layers.Dense(4), 10)])
    stacks = [unit for unit in repeats.variables_of(model, "predict").params if isinstance(unit, Stack)]
    assert {len(stack.members) for stack in stacks} == {9}
    assert model.predict(X[:, :3], verbose=0).shape == (12, 4)


def test_it_loops_inside_a_model_with_a_call_of_its_own():
    class Own(models.Model):
        def __init__(self):
            super().__init__()
            self.many, self.last = layers.Repeat(layers.Dense(4), 8), layers.Dense(1)

        def call(self, inputs):
            return self.last(self.many(inputs))

    found = []
    for unrolled in (True, False):
        lamina.set_random_seed(0)
        model = Own()
        model.compile("adam", "mse")
        if unrolled:
            with repeats.unrolled():
                model.fit(X, X[:, :1], verbose=0, epochs=2)
        else:
            model.fit(X, X[:, :1], verbose=0, epochs=2)
            assert any(isinstance(unit, Stack) for unit in repeats.variables_of(model, "train").params)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("block", "n", "text"),
    [
        (lambda: layers.Dense(2), 0, "`n` must be a whole number"),
        (lambda: layers.Dense(2), 2.5, "n=2.5"),
        (lambda: layers.Dense(2), True, "n=True"),
        (lambda: layers.Dense, 3, "call it: `Repeat(Dense(...), 3)`"),
        (lambda: lambda: 5, 3, "return a layer or a model"),
        (lambda: 5, 3, "pass a layer, a model, or a function"),
        (lambda: [layers.Dense(2)], 3, "1 layers and n=3"),
        (lambda: [layers.Dense(2)] * 3, 3, "make a new layer at each call"),
    ],
)
def test_what_makes_no_layers_is_refused(block, n, text):
    with pytest.raises(lamina.errors.InvalidArgumentError, match=None) as caught:
        layers.Repeat(block(), n)
    assert text in str(caught.value)


def test_reading_and_assigning_weights_between_fits_sees_and_changes_what_is_trained():
    model = model_of(layers.Dense(4), 8)
    model.fit(X, X[:, :1], verbose=0)
    kernel = model.layers[0].repeated[3].kernel
    before = kernel.numpy()
    model.fit(X, X[:, :1], verbose=0)
    assert not np.array_equal(kernel.numpy(), before)
    kernel.assign(np.zeros((4, 4)))
    changed = model.predict(X, verbose=0)
    with repeats.unrolled():
        np.testing.assert_allclose(model.predict(X, verbose=0), changed, atol=1e-6)
    assert not kernel.numpy().any()


@pytest.mark.parametrize("remat", ["yes", 0, -5, 1.5, None])
def test_a_remat_that_is_neither_a_boolean_nor_bytes_is_refused(remat):
    with pytest.raises(ValueError, match="`remat` must be True, False or a number of bytes"):
        model_of(layers.Dense(4)).compile("sgd", "mse", remat=remat)
