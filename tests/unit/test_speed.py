import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from lamina import cli, keras, layers, models, speed
from lamina.errors import InvalidArgumentError


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """The machine's rates, not measured: 1 GFLOP/s, 1 GB/s, a microsecond for a step, ten for a call."""
    monkeypatch.setattr(speed, "rate", lambda *_: 1e9)
    monkeypatch.setattr(speed, "stream", lambda *_: 1e9)
    monkeypatch.setattr(speed, "step_cost", lambda: 1e-6)
    monkeypatch.setattr(speed, "call_cost", lambda: 1e-5)


def chain(loss="sparse_categorical_crossentropy", last="softmax", dtype=None):
    model = models.Sequential([
        layers.Input((8,)), layers.Dense(16, "relu", dtype=dtype), layers.Dense(3, last, dtype=dtype),
    ])  # fmt: skip
    if loss:
        model.compile("adam", loss)
    return model


# What must be done


@pytest.mark.parametrize("rows", [1, 32])
def test_the_work_of_a_chain_is_that_of_its_products(rows):
    model = chain()
    x, y = np.ones((rows, 8), "float32"), np.zeros(rows, "int32")
    model.fit(x, y, verbose=0)
    forward = 2 * rows * (8 * 16 + 16 * 3)
    assert speed.predicting_work(model, x).flops == {"float32": forward}
    # Back again: both gradients of the second layer, and of the first that by the kernel alone.
    assert speed.training_work(model, x, y).flops == {"float32": forward + 2 * rows * (8 * 16 + 2 * 16 * 3)}
    weights = 4 * (8 * 16 + 16 + 16 * 3 + 3)
    assert speed.training_work(model, x, y).held == pytest.approx(3 * weights, abs=32)  # Adam's moments, its counter
    assert speed.predicting_work(model, x).moved == weights + x.nbytes + 4 * 3 * rows


def test_products_in_half_precision_are_counted_by_themselves():
    flops = speed.predicting_work(chain(dtype="mixed_bfloat16"), np.ones((4, 8), "float32")).flops
    assert set(flops) == {"bfloat16"}


def test_a_loop_counts_for_each_turn_and_a_branch_once():
    a = jnp.ones((4, 4))

    def work(x):
        x, _ = jax.lax.scan(lambda c, _: (c @ a, None), x, None, length=5)
        return jax.lax.cond(x[0, 0] > 0, lambda v: v @ a, lambda v: v @ a @ a, x)

    assert speed.products(jax.make_jaxpr(work)(a).jaxpr) == {"float32": (5 + 2) * 2 * 4**3}


# Times


def test_an_epoch_costs_what_one_more_adds():
    now = [0.0]

    def train(epochs):
        now[0] += 2.0 + 0.25 * epochs

    assert speed.slope(train, 1.0, lambda: now[0]) == pytest.approx(0.25)


def test_a_call_costs_the_median():
    now, costs = [0.0], iter([9.0, 9.0, 1.0, 2.0, 9.0, 2.0, 2.0])

    def work():
        now[0] += next(costs)

    assert speed.median(work, 5.0, lambda: now[0]) == 2.0


@pytest.mark.parametrize(
    ("parts", "holds", "reached"),
    [((8e-6, 1e-6, 1e-6), "compute", 0.9), ((1e-6, 4e-6, 2e-6), "memory", 0.5), ((1e-6, 2e-6, 9e-6), "dispatch", 0.3)],
)
def test_what_holds_back_is_the_largest_part(parts, holds, reached):
    one = speed.Share("training", 1, 1e-5, speed.Work({}, 0.0, 0.0), *parts, 1e-6)
    assert one.holds == holds
    assert one.reached == pytest.approx(reached)


# Models


def several():
    a, b = layers.Input((8,), name="a"), layers.Input((5,), dtype="int32", name="b")
    joined = layers.concatenate([layers.Dense(4)(a), layers.Flatten()(layers.Embedding(10, 4)(b))])
    return models.Model([a, b], [layers.Dense(3, "softmax", name="p")(joined), layers.Dense(1, name="q")(joined)])


def compiled_several(loss):
    model = several()
    model.compile("sgd", loss)
    return model


MODELS = {
    "a classifier": (chain, "adam, sparse_categorical_crossentropy"),
    "one-hot targets": (lambda: chain("categorical_crossentropy"), "adam, categorical_crossentropy"),
    "a loss object": (lambda: chain(keras.losses.MeanAbsoluteError()), "adam, mean_absolute_error"),
    "not compiled": (lambda: chain(None), "adam, sparse_categorical_crossentropy (the file does not say)"),
    "not compiled, no softmax": (lambda: chain(None, None), "adam, mse (the file does not say)"),
    "not compiled, several inputs and outputs": (several, "adam, mse (the file does not say)"),
    "losses by name": (lambda: compiled_several({"p": "sparse_categorical_crossentropy", "q": "mse"}), "SGD, mse, "),
    "losses in order": (lambda: compiled_several(["categorical_crossentropy", "mse"]), "SGD, categorical_"),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_of_known_shape_is_measured_and_left_as_it_was(name):
    build, words = MODELS[name]
    model = build()
    before = model.get_weights()
    found = speed.measure(model, 8, seconds=0.001)
    assert [one.rows for one in found.shares] == [8, *speed.ROWS, 8192]
    assert [one.name for one in found.shares] == ["training", *["predict"] * 4]
    assert all(one.seconds > 0 and 0 < one.reached <= 1 for one in found.shares)
    assert found.compiled.lower().startswith(words.lower())
    assert found.engine
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(None, 4), None])
def test_a_model_whose_rows_have_no_fixed_shape_is_refused(shape):
    model = models.Sequential([layers.Input(shape), layers.Dense(2)] if shape else [layers.Dense(2)])
    with pytest.raises(InvalidArgumentError, match="known shape"):
        speed.measure(model)


def test_the_command_shows_training_predictions_limits_and_what_holds_back(tmp_path):
    chain().save(tmp_path / "x.keras")
    result = CliRunner().invoke(cli.main, ["bench", str(tmp_path / "x.keras"), "--batch", "16", "--seconds", "0.05"])
    assert result.exit_code == 0, result.output
    for text in ("model: sequential", "batch 16", "engine: ", "1 GFLOP/s", "training", "8,192", "of the limit"):
        assert text in result.output
    assert any(word in result.output for word in ("compute", "memory", "dispatch"))


@pytest.mark.parametrize("arguments", [["--batch", "0"], ["--seconds", "0"]])
def test_the_command_refuses_wrong_options(arguments):
    assert CliRunner().invoke(cli.main, ["bench", "x.keras", *arguments]).exit_code == 2


def test_help_of_the_command_needs_no_jax():
    import subprocess

    code = "import sys; from lamina.cli import bench; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
