"""What may be handed to fit, evaluate and predict: the same numbers in any form give the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from jax.experimental import sparse
from training_models import CLASSES, ONE_HOT, RNG, X, Y, model_of

import lamina
from lamina import layers, models
from lamina.errors import InvalidArgumentError
from lamina.utils import PyDataset

NAMES = list("abcd")


class Tensor:
    """Like a tensor of another framework: it must be detached and brought to the host first."""

    def __init__(self, array, where="device", grad=True):
        self.array, self.where, self.grad = array, where, grad
        self.shape, self.dtype = array.shape, array.dtype

    def detach(self):
        return Tensor(self.array, self.where, grad=False)

    def cpu(self):
        return Tensor(self.array, "host", self.grad)

    def __array__(self, dtype=None, copy=None):
        if self.grad or self.where != "host":
            raise TypeError("detach it and bring it to the host first")
        return np.asarray(self.array, dtype)


class Polars:
    """Like a data frame of another library: names, types and `to_numpy`, no index."""

    def __init__(self, array, columns):
        self.array, self.columns, self.dtypes = array, columns, ["Float32"] * len(columns)

    def to_numpy(self):
        return self.array

    def __getitem__(self, columns):
        return Polars(self.array[:, [self.columns.index(c) for c in columns]], columns)


class Numbered(PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(index * 16, (index + 1) * 16)
        return X[rows], Y[rows]


FORMS = [
    pytest.param(lambda a: a, id="NumPy"),
    pytest.param(jnp.asarray, id="JAX"),
    pytest.param(lambda a: a.astype("float64"), id="float64"),
    pytest.param(lambda a: a.tolist(), id="lists"),
    pytest.param(lambda a: tuple(map(tuple, a.tolist())), id="tuples"),
    pytest.param(lambda a: [list(map(np.float32, row)) for row in a], id="lists of NumPy's numbers"),
    pytest.param(lambda a: pd.DataFrame(a, columns=list("abcd")[: a.shape[1]]), id="pandas"),
    pytest.param(lambda a: pd.DataFrame(a).astype("Float32"), id="pandas, nullable"),
    pytest.param(lambda a: Polars(a, list("abcd")[: a.shape[1]]), id="another data frame"),
    pytest.param(Tensor, id="a tensor"),
    pytest.param(lambda a: lamina.Variable(a), id="a variable"),
    pytest.param(scipy.sparse.csr_matrix, id="SciPy's csr matrix"),
    pytest.param(scipy.sparse.coo_array, id="SciPy's coo array"),
    pytest.param(sparse.BCOO.fromdense, id="JAX's sparse array"),
    pytest.param(memoryview, id="a buffer"),
]


@pytest.fixture(scope="module")
def start():
    """A model, weights to start from, those after two epochs on NumPy arrays, and what evaluate and predict say."""
    model = model_of(optimizer="sgd")
    before = model.get_weights()
    model.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    return model, before, model.get_weights(), model.evaluate(X, Y, verbose=0), model.predict(X, verbose=0)


def same(model, weights):
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_arrays_does_not_show(form, start):
    if form is memoryview:
        form = np.asarray  # a buffer is no array by itself; what NumPy makes of it is
    model, before, after, loss, outputs = start
    model.set_weights(before)
    model.fit(form(X), form(Y), epochs=2, batch_size=16, shuffle=False, verbose=0)
    same(model, after)
    assert model.evaluate(form(X), form(Y), verbose=0) == loss
    np.testing.assert_array_equal(model.predict(form(X), verbose=0), outputs)
    np.testing.assert_array_equal(model.predict_on_batch(form(X)), outputs)


def batches():
    for start in range(0, 64, 16):
        yield X[start : start + 16], Y[start : start + 16]


class Loader:
    """Like a data loader: it can be read again and gives lists of tensors."""

    def __len__(self):
        return 4

    def __iter__(self):
        return ([Tensor(x), Tensor(y)] for x, y in batches())


class Endless:
    """A loader that knows no length and says so by an error, as some libraries' do."""

    def __len__(self):
        raise TypeError("the dataset is infinite")

    def __iter__(self):
        while True:
            yield from batches()


STREAMS = [
    pytest.param(lambda: (b for _ in range(2) for b in batches()), {"steps_per_epoch": 4}, id="a generator"),
    pytest.param(Numbered, {"shuffle": False}, id="a PyDataset"),
    pytest.param(Loader, {}, id="a loader of lists"),
    pytest.param(Endless, {"steps_per_epoch": 4}, id="an endless loader"),
    pytest.param(lambda: iter([(pd.DataFrame(x), jnp.asarray(y)) for x, y in batches()] * 2), {"steps_per_epoch": 4},
                 id="an iterator of data frames"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments"), STREAMS)
def test_batches_one_by_one_give_the_same_as_arrays(make, arguments, start):
    model, before, after, loss, outputs = start
    model.set_weights(before)
    model.fit(make(), epochs=2, verbose=0, **arguments)
    same(model, after)
    if "steps_per_epoch" not in arguments:
        assert model.evaluate(make(), verbose=0) == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(model.predict(make(), verbose=0), outputs, rtol=1e-6)
    else:
        assert model.evaluate(make(), steps=4, verbose=0) == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(model.predict(make(), steps=4, verbose=0), outputs, rtol=1e-6)


def test_validation_may_come_batch_by_batch_each_epoch_anew(start):
    model = start[0]
    model.set_weights(start[1])
    history = model.fit(X, Y, epochs=3, batch_size=16, verbose=0, validation_data=Numbered()).history
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-6)
    assert len(history["val_loss"]) == 3


@pytest.fixture(scope="module")
def classifier():
    """A model for classes, weights to start from, and those after an epoch."""
    model = model_of("classes", optimizer="sgd")
    before = model.get_weights()
    model.fit(X, CLASSES, shuffle=False, verbose=0)
    return model, before, model.get_weights()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda y: y.astype("uint8"), id="uint8"),
        pytest.param(lambda y: y.astype("float64"), id="float64"),
        pytest.param(lambda y: y.tolist(), id="a list"),
        pytest.param(pd.Series, id="a series"),
        pytest.param(lambda y: pd.Series(y, index=range(100, 164), dtype="Int32"), id="a nullable series"),
        pytest.param(lambda y: y[:, None], id="a column"),
        pytest.param(lambda y: pd.DataFrame({"label": y}), id="a data frame"),
    ],
)
def test_the_form_of_labels_does_not_show(form, classifier):
    model, before, after = classifier
    model.set_weights(before)
    model.fit(X, form(CLASSES), shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)  # labels of another type are another program


def test_the_columns_of_a_data_frame_are_remembered_until_something_else_is_fitted():
    model = model_of()
    model.fit(pd.DataFrame(X, columns=NAMES), Y, verbose=0)
    assert model.column_names == NAMES
    frame = pd.DataFrame(X[:, ::-1], columns=NAMES[::-1])
    with pytest.raises(InvalidArgumentError, match="another order"):
        model.evaluate(frame, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(frame[model.column_names], verbose=0), model.predict(X, verbose=0))
    model.fit(X, Y, verbose=0)
    assert model.column_names is None
    model.predict(frame, verbose=0)


def test_one_feature_may_be_a_column_or_a_series():
    model = models.Sequential([layers.Input((1,)), layers.Dense(1)])
    one = model.predict(X[:, :1], verbose=0)
    np.testing.assert_array_equal(model.predict(X[:, 0], verbose=0), one)
    np.testing.assert_array_equal(model.predict(pd.Series(X[:, 0]), verbose=0), one)
    np.testing.assert_array_equal(model.predict(range(3), verbose=0), model.predict([0, 1, 2], verbose=0))


# ---- several inputs and outputs

LEFT, RIGHT = RNG.normal(size=(40, 3)).astype("float32"), RNG.normal(size=(40, 2)).astype("float32")
TOTAL, SIGN = LEFT.sum(axis=1, keepdims=True), (RIGHT.sum(axis=1, keepdims=True) > 0).astype("float32")


@pytest.fixture(scope="module")
def two():
    """A model of two inputs and outputs, weights to start from, those after an epoch, what evaluate and predict say."""
    model = two_in_two_out()
    before = model.get_weights()
    model.fit([LEFT, RIGHT], [TOTAL, SIGN], shuffle=False, verbose=0)
    wanted = model.evaluate([LEFT, RIGHT], [TOTAL, SIGN], verbose=0, return_dict=True)
    return model, before, model.get_weights(), wanted, model.predict([LEFT, RIGHT], verbose=0)


def two_in_two_out():
    left, right = layers.Input((3,), name="left"), layers.Input((2,), name="right")
    hidden = layers.Dense(6, activation="relu")(layers.Concatenate()([left, right]))
    outputs = [layers.Dense(1, name="total")(hidden), layers.Dense(1, activation="sigmoid", name="sign")(hidden)]
    model = models.Model([left, right], outputs)
    model.compile("sgd", ["mse", "binary_crossentropy"], metrics={"sign": ["accuracy"]})
    return model


IN = [
    pytest.param([LEFT, RIGHT], id="a list"),
    pytest.param((LEFT, RIGHT), id="a tuple"),
    pytest.param({"left": LEFT, "right": RIGHT}, id="a dict"),
    pytest.param({"right": RIGHT, "left": pd.DataFrame(LEFT), "more": LEFT}, id="a dict in another order, with more"),
]
OUT = [
    pytest.param([TOTAL, SIGN], id="a list"),
    pytest.param({"total": TOTAL, "sign": SIGN}, id="a dict"),
    pytest.param({"sign": SIGN[:, 0], "total": TOTAL.tolist()}, id="a dict in another order"),
]


PAIRS = [pytest.param(*pair.values, OUT[0].values[0], id=f"x: {pair.id}") for pair in IN[1:]]
PAIRS += [pytest.param(IN[0].values[0], *pair.values, id=f"y: {pair.id}") for pair in OUT[1:]]


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_inputs_and_targets_of_several_come_in_any_structure(x, y, two):
    model, before, after, wanted, outputs = two
    model.set_weights(before)
    model.fit(x, y, shuffle=False, verbose=0)
    same(model, after)
    assert set(wanted) == {"loss", "total_loss", "sign_loss", "sign_accuracy"}
    assert model.evaluate(x, y, verbose=0, return_dict=True) == wanted
    for a, b in zip(model.predict(x, verbose=0), outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_several_inputs_may_be_dicts(two):
    model, before, after, *_ = two
    model.set_weights(before)
    parts = [slice(0, 32), slice(32, 40)]
    model.fit(iter([({"left": LEFT[p], "right": RIGHT[p]}, (TOTAL[p], SIGN[p])) for p in parts]), verbose=0)
    same(model, after)


@pytest.mark.parametrize("weights", [[None, np.arange(40.0)], {"sign": np.arange(40.0)}], ids=["a list", "a dict"])
def test_weights_may_be_given_for_one_of_the_outputs(weights, two):
    model = two[0]
    plain = model.evaluate([LEFT, RIGHT], [TOTAL, SIGN], verbose=0, return_dict=True)
    found = model.evaluate([LEFT, RIGHT], [TOTAL, SIGN], sample_weight=weights, verbose=0, return_dict=True)
    assert found["total_loss"] == plain["total_loss"]
    assert found["sign_loss"] > 2 * plain["sign_loss"]


WRONG = [
    pytest.param(LEFT, [TOTAL, SIGN], r"has 2 inputs \(left, right\), but `x` has 1 array", id="one input of two"),
    pytest.param([LEFT, RIGHT, LEFT], [TOTAL, SIGN], "but `x` has 3 arrays", id="three inputs of two"),
    pytest.param({"left": LEFT, "rihgt": RIGHT}, [TOTAL, SIGN], "(?s)add 'right'. Did you mean 'rihgt'", id="a slip in a name"),
    pytest.param([RIGHT, LEFT], [TOTAL, SIGN], r"`x for input `left`` has shape \(40, 2\)", id="in the other order"),
    pytest.param([LEFT, RIGHT[:39]], [TOTAL, SIGN], r"`x\[0\]` has 40, `x\[1\]` has 39", id="other lengths"),
    pytest.param([LEFT, RIGHT], [TOTAL], "one entry for each of the model's 2 outputs", id="one target of two"),
    pytest.param([LEFT, RIGHT], {"total": TOTAL, "sing": SIGN}, "(?s)no output of that name.*'sign'", id="a slip in a target"),
    pytest.param([LEFT, RIGHT], {"total": TOTAL}, "There is a loss for output `sign`, but no target", id="a target missing"),
    pytest.param([LEFT, RIGHT], [TOTAL, SIGN * 3], r"(?s)`y of output `sign``.*in \[0, 1\]", id="a target out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "y", "words"), WRONG)
def test_what_does_not_belong_to_an_input_or_output_is_named(x, y, words, two):
    model = two[0]
    before = model.get_weights()
    with pytest.raises(InvalidArgumentError, match=words):
        model.fit(x, y, verbose=0)
    same(model, before)


def test_a_single_input_may_come_in_a_list_or_a_dict():
    model = models.Sequential([layers.Input((4,), name="pixels"), layers.Dense(3, activation="softmax")])
    wanted = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict([X], verbose=0), wanted)
    np.testing.assert_array_equal(model.predict({"pixels": X}, verbose=0), wanted)
    model.compile("sgd", "categorical_crossentropy")
    model.fit([X], [ONE_HOT], verbose=0)


def test_outputs_that_are_a_dict_take_targets_by_key():
    inputs = layers.Input((4,))
    model = models.Model(inputs, {"b": layers.Dense(1)(inputs), "a": layers.Dense(3)(inputs)})
    model.compile("sgd", {"a": "mse", "b": "mae"})
    model.fit(X, {"b": Y, "a": ONE_HOT}, verbose=0)
    assert {key: value.shape for key, value in model.predict(X, verbose=0).items()} == {"a": (64, 3), "b": (64, 1)}


@pytest.mark.parametrize(
    ("losses", "y"),
    [
        pytest.param(["mse", None, None], ONE_HOT, id="the array of the only one"),
        pytest.param([None, "mse", "mse"], [ONE_HOT, ONE_HOT], id="a list of two"),
        pytest.param([None, "mse", "mse"], [None, ONE_HOT, ONE_HOT], id="None in its place"),
        pytest.param([None, "mse", "mse"], {"second": ONE_HOT, "third": ONE_HOT}, id="a dict"),
    ],
)
def test_outputs_without_a_loss_need_no_target(losses, y):
    inputs = layers.Input((4,))
    model = models.Model(inputs, [layers.Dense(3, name=name)(inputs) for name in ("first", "second", "third")])
    model.compile("sgd", losses)
    before = model.get_weights()
    model.fit(X, y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [loss is not None for loss in losses for _ in range(2)]


NESTED = {"a": {"c": ONE_HOT, "d": Y}, "b": (ONE_HOT, Y)}


def nested(loss):
    inputs = layers.Input((4,))
    outputs = {
        "a": {"c": layers.Dense(3, name="c")(inputs), "d": layers.Dense(1, name="d")(inputs)},
        "b": (layers.Dense(3, name="e")(inputs), layers.Dense(1, name="f")(inputs)),
    }
    model = models.Model(inputs, outputs)
    model.compile("sgd", loss)
    return model


def test_losses_and_targets_may_be_nested_as_the_outputs_are():
    model = nested({"a": {"d": "mse"}, "b": ["mae", None]})
    before = model.get_weights()
    logs = model.fit(X, NESTED, verbose=0).history
    assert set(logs) == {"loss", "a/d_loss", "b/e_loss"}
    changed = [not np.array_equal(a, b) for a, b in zip(before[::2], model.get_weights()[::2], strict=True)]
    assert dict(zip([v.path.split("/")[-2] for v in model.weights[::2]], changed, strict=True)) == {
        "c": False, "d": True, "e": True, "f": False,
    }  # fmt: skip
    assert model.predict(X, verbose=0)["a"]["c"].shape == (64, 3)


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        pytest.param({"a": {"x": "mse"}}, NESTED, r"\('a', 'x'\) in the `loss` argument(?s:.)*Known names: 'c', 'd'", id="a slip"),
        pytest.param({"b": {"e": "mse"}}, NESTED, r"\('b', 'e'\) in the `loss` argument(?s:.)*build it like the model's outputs",
                     id="another structure"),
        pytest.param("mse", {**NESTED, "b": (ONE_HOT,)}, r"`y`\['b'\] can't be found", id="a target too few"),
        pytest.param("mse", [ONE_HOT, Y], "different structures(?s:.)*2 entries", id="a list of two for four"),
    ],
)  # fmt: skip
def test_what_is_not_built_like_the_outputs_is_named(loss, y, words):
    with pytest.raises(InvalidArgumentError, match=words):
        nested(loss).fit(X, y, verbose=0)


def test_a_metric_is_no_loss():
    with pytest.raises(InvalidArgumentError, match=r"(?s)A metric goes on.*`losses`"):
        model_of(loss=lamina.metrics.MeanSquaredError()).fit(X, Y, verbose=0)


def test_a_subclassed_model_takes_the_structure_that_its_call_takes():
    class Summing(models.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = layers.Dense(1), layers.Dense(1)

        def call(self, inputs):
            return self.left(inputs["left"]) + self.right(inputs["right"])

    model = Summing()
    model.compile("sgd", "mse")
    model.fit({"left": LEFT, "right": RIGHT}, TOTAL, batch_size=16, epochs=2, verbose=0)
    assert model.predict({"left": LEFT, "right": RIGHT}, verbose=0).shape == (40, 1)
    with pytest.raises(ValueError, match="incompatible"):
        model.predict({"left": RIGHT, "right": LEFT}, verbose=0)


class Auto(models.Model):
    """An autoencoder whose steps make the targets out of the inputs."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)

    def train_step(self, state, data):
        return super().train_step(state, (data[0], data[0]))

    def test_step(self, state, data):
        return super().test_step(state, (data[0], data[0]))


def test_a_step_of_the_users_may_make_its_targets_but_metrics_must_know_them_before():
    model = Auto()
    model.compile("sgd", "mse")
    losses = model.fit(X, epochs=3, verbose=0).history["loss"]
    assert model.evaluate(X, verbose=0) < losses[-1] < losses[0]
    model.compile("sgd", "mse", metrics=["mae"])
    with pytest.raises(InvalidArgumentError, match="There is a metric for output"):
        model.fit(X, verbose=0)
    model.fit(X, X * np.float32(0), verbose=0)  # never looked at


def test_data_on_the_device_are_not_copied_to_the_host_as_lists():
    x = jax.device_put(X)
    assert isinstance(x, jax.Array)
    assert np.shares_memory(np.asarray(x), lamina.training.arrays.to_host(x, "x"))
