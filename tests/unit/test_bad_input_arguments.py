"""Arguments that cannot be meant: of fit, of layers, of compile, of set_weights."""

import numpy as np
import pytest
from training_models import CLASSES, RNG, X, Y, model_of, snapshot, unchanged

import lamina
from lamina import callbacks, layers, machine, models, optimizers, regularizers
from lamina.errors import InvalidArgumentError, InvalidTypeError, NotCompiledError


def fit(model, x=X, y=Y, **kwargs):
    return model.fit(x, y, **{"epochs": 1, "verbose": 0, **kwargs})


@pytest.fixture(scope="module")
def model():
    """One model for all refused calls: none may change it."""
    made = model_of()
    made.build_optimizer()
    return made


FIT = [
    *[({"batch_size": size}, ["`batch_size` must be a whole number of at least 1", repr(size), "e.g. batch_size=32"])
      for size in (0, -1, 2.5, "32", True)],
    *[({"epochs": epochs}, ["`epochs` must be a whole number of at least 0", repr(epochs)])
      for epochs in (-1, 1.5, "3", None)],
    *[({"validation_split": share}, [r"`validation_split` must be in \(0, 1\)", repr(share)])
      for share in (1.0, 1.5, -0.1, "x", float("nan"))],
    ({"validation_split": 0.999}, ["64 samples, which is not sufficient to split", "0.999"]),
    ({"initial_epoch": -1}, ["`initial_epoch`"]),
    ({"steps_per_epoch": 0}, ["`steps_per_epoch` must be a whole number of at least 1"]),
    ({"validation_data": (X, Y), "validation_steps": 0}, ["`validation_steps`"]),
    ({"validation_data": (X, Y), "validation_batch_size": 0}, ["`validation_batch_size`"]),
    ({"validation_data": (X, Y), "validation_freq": 0}, ["`validation_freq`"]),
    ({"shuffle": "rows"}, ["`shuffle` must be True", "'rows'"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), FIT, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_arguments_of_fit_that_cannot_be_meant_are_refused(arguments, words, model):
    before = snapshot(model)
    with pytest.raises(InvalidArgumentError) as caught:
        fit(model, **arguments)
    for word in words:
        caught.match(word)
    assert unchanged(model, before)


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_steps_and_batch_size_are_named_as_the_verb_names_them(verb, model):
    with pytest.raises(InvalidArgumentError, match="`steps` must be a whole number"):
        getattr(model, verb)(X, steps=0)
    with pytest.raises(InvalidArgumentError, match="`batch_size` must be a whole number"):
        getattr(model, verb)(X, batch_size=0)


@pytest.mark.parametrize(
    ("arguments", "batches"),
    [
        pytest.param({"batch_size": 10**9}, 1, id="a batch larger than the data"),
        pytest.param({"batch_size": np.int64(8)}, 8, id="a size of NumPy's"),
        pytest.param({"epochs": 0}, 0, id="no epochs"),
        pytest.param({"validation_split": 0.001}, 2, id="a share that leaves one row"),
        pytest.param({"steps_per_epoch": 10}, 10, id="steps without a batch size"),
    ],
)
def test_arguments_with_a_meaning_mean_it(arguments, batches):
    model = model_of()
    history = fit(model, **arguments).history
    assert int(model.optimizer.iterations) == batches
    assert len(history.get("loss", ())) == (1 if batches else 0)


def test_an_argument_that_fit_does_not_take_is_named(model):
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'epoch'"):
        fit(model, epoch=3)


@pytest.mark.parametrize("units", [0, -5, 3.7, 3.0, "10", True, None, float("nan"), np.float32(3.0)])
def test_units_must_be_a_positive_whole_number(units):
    with pytest.raises(InvalidArgumentError, match=r"invalid value for `units`, expected a positive integer.*units="):
        layers.Dense(units)


def test_units_may_be_an_integer_of_numpys():
    assert layers.Dense(np.int64(3)).units == 3


def dropout(rate):
    return lambda: layers.Dropout(rate)(np.ones((2, 4)), training=True)


REFUSED = [
    pytest.param(lambda: layers.Dense(3, activation="rleu"), "rleu.*(?s:.)*'relu'", id="activation"),
    pytest.param(lambda: layers.Dense(3, kernel_initializer="glorott"), "glorott(?s:.)*'glorot_normal'", id="initializer"),
    pytest.param(lambda: layers.Dense(3, activatoin="relu"), "'activatoin'(?s:.)*'activation'", id="argument of a layer"),
    pytest.param(lambda: model_of(loss="categorical_crosentropy"), "(?s)crosentropy.*'categorical_crossentropy'",
                 id="loss"),
    pytest.param(lambda: model_of(optimizer="adamm"), "(?s)adamm.*'adam'", id="optimizer"),
    pytest.param(lambda: model_of(metrics=["acuracy"]), "(?s)acuracy.*'accuracy'", id="metric"),
    pytest.param(lambda: model_of(metrics="accuracy"), r"(?s)to be a list, tuple, or dict.*\['accuracy'\]", id="metric alone"),
    pytest.param(lambda: model_of(loss=3), "(?s)Could not interpret loss identifier: 3", id="loss that is a number"),
    pytest.param(dropout(1.5), "(?s)`rate`.*between 0 and 1.*rate=1.5", id="rate above 1"),
    pytest.param(dropout(-0.1), "(?s)`rate`.*between 0 and 1.*rate=-0.1", id="negative rate"),
    pytest.param(dropout("x"), "(?s)`rate`.*between 0 and 1.*rate='x'", id="rate that is a string"),
    pytest.param(dropout(float("nan")), "(?s)`rate`.*between 0 and 1.*rate=nan", id="rate that is NaN"),
    pytest.param(lambda: optimizers.SGD(learning_rate=-0.1), "(?s)`learning_rate`.*-0.1", id="negative learning rate"),
    pytest.param(lambda: optimizers.SGD(learning_rate=float("nan")), "(?s)`learning_rate`.*nan", id="learning rate NaN"),
    pytest.param(lambda: optimizers.SGD(learning_rate="0.1"), "(?s)`learning_rate` should be float.*'0.1'",
                 id="learning rate as a string"),
    pytest.param(lambda: optimizers.SGD(clipnorm=-1), "(?s)`clipnorm`.*-1", id="negative clipnorm"),
    pytest.param(lambda: layers.Dense(3, kernel_regularizer=regularizers.L2(-1)), "argument l2.*non-negative.*-1",
                 id="negative penalty"),
    pytest.param(lambda: layers.Input((-4,)), r"\(-4,\).*Negative dimensions", id="negative size"),
    pytest.param(lambda: layers.Input((4.0,)), r"\(4.0,\).*invalid dimension '4.0'", id="size that is a float"),
    pytest.param(lambda: models.Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="a")]),
                 "should have unique names. Name 'a'", id="two layers of one name"),
    pytest.param(lambda: models.Sequential([layers.Dense]), "(?s)Only instances.*call the class", id="a class as a layer"),
    pytest.param(lambda: fit(compiled(models.Sequential([]))), "(?s)because it has no layers.*model.add", id="no layers"),
    pytest.param(lambda: lamina.utils.set_random_seed(-1), r"between 0 and 2\*\*32 - 1.*-1", id="negative seed"),
    pytest.param(lambda: models.Sequential([layers.Input((10**6,)), layers.Dense(10**6)]),
                 r"(?s)`kernel` of shape \(1000000, 1000000\) needs 4,000.0 GB.*fewer", id="4 TB of weights"),
    pytest.param(lambda: models.Sequential([layers.Input((1,)), layers.Dense(10**12)]), "needs 4,000.0 GB", id="10**12 units"),
    pytest.param(lambda: fit(compiled(models.Sequential([layers.Dense(3)]), loss=None)), "(?s)No loss to compute.*loss='mse'",
                 id="no loss"),
    pytest.param(lambda: fit(model_of(loss=lambda t, p: None)), "(?s)must return one value for each row.*None.*return",
                 id="a loss that returns nothing"),
    pytest.param(lambda: fit(model_of(loss=lambda t, p: np.zeros(7))), r"(?s)one value for each row.*\(7,\).*axis=-1",
                 id="a loss whose values belong to no row"),
]  # fmt: skip


def compiled(model, loss="mse"):
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_what_a_layer_or_compile_cannot_mean_is_refused_with_what_is_near(make, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make()


def test_a_rate_of_one_drops_everything():
    np.testing.assert_array_equal(dropout(1.0)(), np.zeros((2, 4)))


def test_a_learning_rate_of_zero_changes_no_weight():
    model = model_of(optimizer=optimizers.SGD(learning_rate=0.0))
    before = model.get_weights()
    fit(model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_input_without_features_leaves_the_bias():
    model = models.Sequential([layers.Input((0,)), layers.Dense(1)])
    np.testing.assert_array_equal(model.predict(np.zeros((3, 0)), verbose=0), np.zeros((3, 1)))


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda t, p: lamina.ops.mean((t - p) ** 2), id="one number"),
        pytest.param(lambda t, p: lamina.ops.mean((t - p) ** 2, axis=0), id="the mean over the batch"),
        pytest.param(lambda t, p: (t - p) ** 2, id="a value for each output"),
        pytest.param(lambda t, p: lamina.ops.mean((t - p) ** 2, axis=-1), id="a value for each row"),
    ],
)
def test_losses_of_other_shapes_that_have_a_meaning_are_the_same_loss(loss):
    found = model_of(loss=loss)
    wanted = model_of()
    found.set_weights(wanted.get_weights())
    assert found.evaluate(X, Y, verbose=0, batch_size=64) == pytest.approx(
        wanted.evaluate(X, Y, verbose=0, batch_size=64), rel=1e-6
    )


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_before_compile_the_method_is_named(method):
    model = models.Sequential([layers.Dense(3)])
    with pytest.raises(NotCompiledError, match=rf"(?s)must call `compile\(\)` before calling `{method}\(\)`.*compile"):
        getattr(model, method)(X, Y)


def test_before_build_there_are_no_weights():
    assert models.Sequential([layers.Dense(3)]).get_weights() == []


WEIGHTS = [
    pytest.param(lambda w: [np.zeros((5, 8)), *w[1:]], r"(?s)shape \(4, 8\) is not compatible.*\(5, 8\)", id="another shape"),
    pytest.param(lambda w: w[:1], "weight list of length 1, but the layer was expecting 4", id="too few"),
    pytest.param(lambda w: [*w, w[0]], "weight list of length 5", id="too many"),
    pytest.param(lambda w: [w[0], w[1], w[2].T, w[3]], "(?s)looks transposed: pass `weight.T`", id="transposed"),
    pytest.param(lambda w: [np.float32(0), *w[1:]], r"weight shape \(\)", id="a number for a matrix"),
    pytest.param(lambda w: [a.astype(str) for a in w], "must be numbers.*dtype <U", id="strings"),
    pytest.param(lambda w: [a + 1j for a in w], "must be numbers.*complex", id="complex"),
    pytest.param(lambda w: [a * 0 + np.float64(1e300) for a in w], r"(?s)must fit into float32.*1e\+300", id="too large"),
    pytest.param(lambda w: [w[0] * 0, w[1] + 1, np.zeros((9, 1)), w[3]], r"\(9, 1\)", id="the third is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WEIGHTS)
def test_set_weights_takes_all_or_nothing(change, words, model):
    before = snapshot(model)
    with pytest.raises(InvalidArgumentError, match=words):
        model.set_weights(change(model.get_weights()))
    assert unchanged(model, before)


def test_set_weights_says_when_it_gets_nan():
    model = model_of()
    weights = model.get_weights()
    weights[2][:] = np.nan
    with pytest.warns(UserWarning, match="NaN or infinity for sequential/dense_1/kernel") as caught:
        model.set_weights(weights)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(["EarlyStopping"], r"(?s)list of Callback objects.*`EarlyStopping\(", id="a name"),
        pytest.param([callbacks.EarlyStopping], "(?s)list of Callback objects.*add parentheses", id="a class"),
        pytest.param([print], "(?s)list of Callback objects.*LambdaCallback", id="a function"),
    ],
)
def test_callbacks_that_are_none_are_refused_before_the_first_step(given, words, model):
    before = snapshot(model)
    with pytest.raises(InvalidTypeError, match=words):
        fit(model, callbacks=given)
    assert unchanged(model, before)


def test_a_callback_that_watches_what_is_not_there_says_so():
    with pytest.warns(UserWarning, match="`val_loss` which is not available"):
        fit(model_of(), callbacks=[callbacks.EarlyStopping("val_loss")])


def test_the_free_memory_is_that_of_the_machine_or_of_its_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:   8 kB\n")
    assert machine.free_memory(tmp_path, meminfo) == 8192
    (tmp_path / "memory.max").write_text("4096\n")
    assert machine.free_memory(tmp_path, meminfo) == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory(tmp_path, meminfo) == 8192
    assert (machine.free_memory(tmp_path, tmp_path / "none") or 1) > 0


def test_a_weight_that_just_does_not_fit_is_refused_and_one_that_does_is_made(monkeypatch):
    from lamina.layers import parts

    monkeypatch.setattr(parts, "_LARGE", 0)
    monkeypatch.setattr(machine, "free_memory", lambda: 100 * 4)
    assert layers.Dense(5, use_bias=False)(np.ones((1, 20))).shape == (1, 5)
    with pytest.raises(InvalidArgumentError, match=r"`kernel` of shape \(21, 5\)"):
        layers.Dense(5)(np.ones((1, 21)))


def test_a_mistake_in_the_validation_comes_before_the_first_step():
    model = model_of("classes")
    with pytest.raises(InvalidArgumentError, match="y of validation_data"):
        model.fit(X, CLASSES, validation_data=(X, RNG.integers(3, 5, 64)), verbose=0)
    assert int(model.optimizer.iterations) == 0
