"""Data that cannot be meant: refused before any work, or done as anybody would expect and said; never silently wrong."""

import warnings

import numpy as np
import pandas as pd
import pytest
from training_models import CLASSES, KINDS, ONE_HOT, RNG, SIGNS, X, Y, model_of, replaced, snapshot, unchanged

import lamina
from lamina import config, layers, models
from lamina.errors import InvalidArgumentError

FRAME = pd.DataFrame(X, columns=list("abcd"))


def fit(model, x=X, y=Y, **kwargs):
    return model.fit(x, y, **{"epochs": 1, "verbose": 0, **kwargs})


def ragged():
    array = np.empty(64, object)
    array[:] = [[1.0] * (1 + i % 3) for i in range(64)]
    return array


@pytest.fixture(scope="module")
def trained():
    """One model of each kind, made when it is asked for and used by every case: none may change it."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = model_of(kind)
            made[kind].build_optimizer()
        return made[kind]

    return get


@pytest.fixture
def lax():
    config.set_strict(False)
    yield
    config.set_strict(True)


def refused(name, kind, call, *words):
    return pytest.param(kind, call, words, id=name)


REFUSED = [
    # shapes of inputs
    refused("predict 5 features, the model has 4", "regression", lambda m: m.predict(np.zeros((3, 5)), verbose=0),
            r"In\[0\]: \[3,5\], In\[1\]: \[4,8\]", r"`x` has shape \(3, 5\)", r"expects \(samples, 4\)", "layer `dense",
            "expected axis -1 of input shape to have value 4"),
    refused("fit on 5 features", "regression", lambda m: fit(m, np.zeros((64, 5))), r"`x` has shape \(64, 5\)", "`dense"),
    refused("evaluate on 5 features", "regression", lambda m: m.evaluate(np.zeros((9, 5)), np.zeros(9)), "`x` has shape"),
    refused("train_on_batch of 5 features", "regression", lambda m: m.train_on_batch(np.zeros((9, 5)), np.zeros(9)),
            "`x` has shape"),
    refused("predict one sample without its axis", "regression", lambda m: m.predict(np.zeros(4), verbose=0),
            "looks like one sample", r"x\[None\]"),
    refused("call on one sample without its axis", "regression", lambda m: m(np.zeros(4)), r"inputs\[None\]"),
    refused("fit on rank 3", "regression", lambda m: fit(m, np.zeros((64, 2, 4))), r"\(64, 2, 4\)", "To fix it"),
    refused("two arrays for one input", "regression", lambda m: m.fit((X, Y)), "has 1 input", "2 arrays",
            r"fit\(x, y\)"),
    # lengths
    refused("64 rows of x, 63 of y", "regression", lambda m: fit(m, X, Y[:63]), "cardinality is ambiguous", "`x` has 64",
            "`y` has 63"),
    refused("fit on no rows", "regression", lambda m: fit(m, X[:0], Y[:0]), "no samples", r"x.shape=\(0, 4\)"),
    refused("predict on no rows", "regression", lambda m: m.predict(X[:0], verbose=0), "no samples"),
    refused("evaluate on no rows", "regression", lambda m: m.evaluate(X[:0], Y[:0], verbose=0), "no samples"),
    refused("no data at all", "regression", lambda m: m.fit(epochs=1), "no data", "x=None"),
    refused("a single number", "regression", lambda m: m.predict(np.float32(3)), "axis of samples"),
    # shapes of targets
    refused("mse: (n,1) against outputs (n,3)", "three outputs", lambda m: fit(m), "same shape", r"\(samples, 3\)",
            r"\(64, 1\)", "1 unit"),
    refused("mse: (n,) against outputs (n,3)", "three outputs", lambda m: fit(m, X, Y[:, 0]), "same shape", r"\(64,\)"),
    refused("mse: (n,2) against outputs (n,3)", "three outputs", lambda m: fit(m, X, X[:, :2]), "same shape", "2 units"),
    refused("mse: (n,3) against outputs (n,1)", "regression", lambda m: fit(m, X, ONE_HOT), "same shape", "3 units"),
    refused("categorical: (n,5) against outputs (n,3)", "one-hot", lambda m: fit(m, X, np.eye(5)[CLASSES]),
            "`target` and `output` must have the same shape", "5 units"),
    refused("categorical: class numbers", "one-hot", lambda m: fit(m, X, CLASSES), "sparse_categorical_crossentropy"),
    refused("sparse: one-hot rows", "classes", lambda m: fit(m, X, ONE_HOT), "`categorical_crossentropy`"),
    refused("binary: (n,1) against outputs (n,3)", "three binary", lambda m: fit(m, X, SIGNS), "same shape"),
    refused("sparse with one output", "one class", lambda m: fit(m, X, CLASSES * 0), "at least two outputs",
            "binary_crossentropy"),
    refused("categorical with one output", "one class one-hot", lambda m: fit(m, X, Y * 0), "at least two outputs"),
    # values of inputs and targets
    refused("NaN in x", "regression", lambda m: fit(m, replaced(X, (5, 2), np.nan)), "`x`", "finite", "nan in row 5",
            "column 2", "1 of 64 rows"),
    refused("infinity in x", "regression", lambda m: fit(m, replaced(X, (5, 2), -np.inf)), "-inf in row 5, column 2"),
    refused("NaN in y", "regression", lambda m: fit(m, X, replaced(Y, 7, np.nan)), "`y`", "nan in row 7"),
    refused("predict a row with NaN", "regression", lambda m: m.predict(replaced(X, (1, 0), np.nan)), "row 1, column 0"),
    refused("evaluate a row with NaN", "regression", lambda m: m.evaluate(replaced(X, 1, np.nan), Y), "row 1, column 0"),
    refused("float64 beyond float32", "regression", lambda m: m.predict(np.full((2, 4), 1e300)), "3.4e38", r"1e\+300"),
    refused("int64 beyond int32", "regression", lambda m: m.predict(np.array([[2**40] * 4])), "32 bits", str(2**40)),
    refused("label equal to the number of classes", "classes", lambda m: fit(m, X, replaced(CLASSES, 3, 3)),
            "from 0 to 2", "labels from 0 to 3", "4 units"),
    refused("all labels 7 of 3", "classes", lambda m: fit(m, X, np.full(64, 7)), "from 0 to 2", "8 units"),
    refused("evaluate on label 7 of 3", "classes", lambda m: m.evaluate(X, np.full(64, 7)), "from 0 to 2"),
    refused("label -1", "classes", lambda m: fit(m, X, replaced(CLASSES, 3, -1)), "labels from -1 to 2", "from 0"),
    refused("label 0.5", "classes", lambda m: fit(m, X, replaced(CLASSES * 1.0, 3, 0.5)), "whole numbers", "0.5"),
    refused("label 2**32 + 1", "classes", lambda m: fit(m, X, replaced(CLASSES, 3, 2**32 + 1)), "32 bits", "4294967297"),
    refused("binary target 5", "binary", lambda m: fit(m, X, np.full((64, 1), 5)), r"in \[0, 1\]", "from 5 to 5"),
    refused("binary targets -1 and 1", "binary", lambda m: fit(m, X, np.sign(Y)), r"in \[0, 1\]", r"\(y \+ 1\) / 2"),
    # types
    refused("strings", "regression", lambda m: fit(m, X.astype(str)), "Invalid dtype", "`x`", "strings, e.g. '"),
    refused("a list of strings", "regression", lambda m: fit(m, [["a"] * 4] * 64), "Invalid dtype", "strings, e.g. 'a'"),
    refused("objects that are numbers", "regression", lambda m: fit(m, X.astype(object)), "Invalid dtype",
            r"astype\('float32'\)"),
    refused("objects that are lists", "regression", lambda m: fit(m, ragged()), "Invalid dtype", "list", "every row"),
    refused("lists of different lengths", "regression", lambda m: fit(m, [[1.0] * 4] * 63 + [[1.0]]), "every row"),
    refused("complex numbers", "regression", lambda m: fit(m, X + 1j), "Invalid dtype", "complex", "imaginary"),
    refused("dates", "regression", lambda m: fit(m, X.astype("datetime64[s]")), "Invalid dtype", "dates", "days since"),
    refused("a masked array", "regression", lambda m: m.predict(np.ma.masked_array(X, X > 1)), "mask", "filled"),
    refused("string labels", "classes", lambda m: fit(m, X, np.array(list("abc"))[CLASSES]), "`y`", "strings",
            "return_inverse"),
    refused("None for y with a loss", "regression", lambda m: fit(m, X, None), "no target", "y=None"),
    refused("something else", "regression", lambda m: fit(m, object()), "Unrecognized data type", "type object"),
    refused("a path", "regression", lambda m: m.predict("digits.npz"), "Unrecognized data type", "digits.npz"),
    refused("an empty list", "regression", lambda m: m.predict([]), "no samples"),
    # data frames
    refused("a column of strings", "regression", lambda m: fit(m, FRAME.assign(s="x")), "column 's'", "dtype str"),
    refused("a column of objects", "regression", lambda m: fit(m, FRAME.assign(a=FRAME.a.astype(object))), "column 'a'",
            "to_numeric"),
    refused("a column of categories", "regression", lambda m: fit(m, FRAME.assign(a=pd.Categorical(["u", "v"] * 32))),
            "column 'a'", "category", "get_dummies"),
    refused("a column of dates", "regression", lambda m: fit(m, FRAME.assign(a=pd.Timestamp("2026-01-01"))), "column 'a'",
            "datetime"),
    refused("a missing value", "regression", lambda m: fit(m, FRAME.mask(FRAME > 2)), "finite", "nan in row"),
    refused("a nullable integer that is missing", "regression",
            lambda m: fit(m, FRAME.assign(a=pd.array([1, None] * 32, dtype="Int64"))), "finite", "nan in row 1, column 0"),
    refused("categories as targets", "classes", lambda m: fit(m, X, pd.Series(list("ab") * 32, dtype="category")),
            "categories", "codes"),
    # sample weights and class weights
    refused("63 weights for 64 rows", "regression", lambda m: fit(m, sample_weight=np.ones(63)), "`sample_weight` has 63"),
    refused("a weight that is NaN", "regression", lambda m: fit(m, sample_weight=replaced(np.ones(64), 3, np.nan)),
            "`sample_weight`", "nan in row 3"),
    refused("weights of shape (64, 5)", "regression", lambda m: fit(m, sample_weight=np.ones((64, 5))), "one number a row",
            r"\(64, 5\)"),
    refused("class_weight with strings as keys", "classes", lambda m: fit(m, X, CLASSES, class_weight={"0": 1.0}),
            "class numbers", "'0'", "integers"),
    refused("class_weight as a list", "classes", lambda m: fit(m, X, CLASSES, class_weight=[1, 2, 3]), "dict", "enumerate"),
    refused("class_weight of NaN", "classes", lambda m: fit(m, X, CLASSES, class_weight={0: np.nan}), "finite numbers"),
    refused("class_weight of strings", "classes", lambda m: fit(m, X, CLASSES, class_weight={0: "a"}), "finite numbers"),
    refused("class_weight on a regression", "regression", lambda m: fit(m, class_weight={0: 2.0}), "class numbers",
            "sample_weight"),
    refused("class_weight beside sample_weight", "classes",
            lambda m: fit(m, X, CLASSES, class_weight={0: 1.0}, sample_weight=np.ones(64)), "at the same time", "one of"),
    # validation
    refused("validation on 5 features", "regression", lambda m: fit(m, validation_data=(np.zeros((8, 5)), Y[:8])),
            r"`x of validation_data` has shape \(8, 5\)"),
    refused("validation on no rows", "regression", lambda m: fit(m, validation_data=(X[:0], Y[:0])), "no samples",
            "x of validation_data"),
    refused("validation without targets", "regression", lambda m: fit(m, validation_data=X), "y of validation_data=None"),
    refused("validation labels out of range", "classes",
            lambda m: fit(m, X, CLASSES, validation_data=(X, CLASSES + 1)), "y of validation_data", "from 1 to 3"),
    refused("validation with other columns", "regression", lambda m: fit(m, FRAME, Y, validation_data=(FRAME[list("dcba")], Y)),
            "x of validation_data", "another order", "'d', 'c'"),
    refused("a 4-tuple for validation", "regression", lambda m: fit(m, validation_data=(X, Y, Y, Y)), r"\(x, y\)",
            "length 4"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "words"), REFUSED)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(kind, call, words, trained):
    model = trained(kind)
    before = snapshot(model)
    with pytest.raises(InvalidArgumentError) as caught:
        call(model)
    for word in words:
        caught.match(word)
    assert "To fix it: " in str(caught.value)
    assert unchanged(model, before)


def test_the_models_of_the_refused_cases_still_learn(trained):
    model = trained("regression")
    losses = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def said(name, kind, call, words):
    return pytest.param(kind, call, words, id=name)


SAID = [
    said("x with a last axis of 1", "regression", lambda m: fit(m, X[..., None]), r"\(64, 4, 1\).*dropped"),
    said("negative sample weights", "regression", lambda m: fit(m, sample_weight=-np.ones(64)), "negative weights"),
    said("sample weights of 0 only", "regression", lambda m: fit(m, sample_weight=np.zeros(64)), "nothing is learnt"),
    said("a class without a weight", "classes", lambda m: fit(m, X, CLASSES, class_weight={0: 1.0, 1: 5.0}),
         "no weight for class 2: it counts 1"),
    said("a weight for a class that is not there", "classes",
         lambda m: fit(m, X, CLASSES, class_weight={0: 1.0, 1: 5.0, 2: 1.0, 9: 3.0}), "class 9.*not among the targets"),
    said("negative class weights", "classes", lambda m: fit(m, X, CLASSES, class_weight={0: 1, 1: -1, 2: 1}),
         "`class_weight` has negative weights"),
    said("whole numbers that float32 cannot tell apart", "regression",
         lambda m: m.predict(np.array([[2**24] * 4, [2**24 + 1] * 4]), verbose=0), "exactly up to 16777216"),
    said("targets with the index of x in another order", "regression",
         lambda m: fit(m, FRAME, pd.Series(Y[:, 0], index=range(63, -1, -1))), "by position, not by index"),
    said("more batches asked for than there are", "regression",
         lambda m: fit(m, batch_size=32, steps_per_epoch=10), "gave 2 of 10 batches"),
    said("x so large that the loss is infinite", "regression", lambda m: fit(m, X * 1e37), "The loss is not finite"),
    said("a learning rate so large that all explodes", "regression",
         lambda m: setattr(m.optimizer, "learning_rate", 1e30) or fit(m, epochs=2, batch_size=8), "The loss is not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "words"), SAID)
def test_what_has_an_honest_use_works_and_is_said_once_with_the_line_of_the_user(kind, call, words):
    model = model_of(kind)
    with pytest.warns(match=words) as caught:
        call(model)
    assert [w.filename for w in caught] == [__file__]
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("fed", [FRAME, pd.DataFrame(X, columns=list("abce"))], ids=["same names", "one other name"])
def test_columns_in_another_order_are_refused_and_other_names_are_said(fed):
    model = model_of()
    fit(model, FRAME, Y)
    assert model.column_names == list("abcd")
    with pytest.raises(InvalidArgumentError, match=r"another order.*\['d', 'c', 'b', 'a'\].*\['a', 'b', 'c', 'd'\]"):
        model.predict(FRAME[list("dcba")], verbose=0)
    expected = model.predict(X, verbose=0)
    if list(fed.columns) == model.column_names:
        np.testing.assert_array_equal(model.predict(fed[model.column_names], verbose=0), expected)
    else:
        with pytest.warns(
            UserWarning, match=r"has columns \['e'\] where `fit` had \['d'\]; they are taken by position"
        ):
            np.testing.assert_array_equal(model.predict(fed, verbose=0), expected)


RIGHT = [
    pytest.param(lambda big: big[::2, ::2], id="a strided view"),
    pytest.param(lambda big: np.asfortranarray(X), id="Fortran order"),
    pytest.param(lambda big: X[::-1].copy()[::-1], id="a negative stride"),
    pytest.param(lambda big: X.astype(">f4"), id="big-endian"),
    pytest.param(lambda big: X.astype("float64"), id="float64"),
    pytest.param(lambda big: X.astype(np.longdouble), id="long double"),
    pytest.param(lambda big: X.tolist(), id="lists"),
]


@pytest.mark.parametrize("view", RIGHT)
def test_the_layout_of_an_array_does_not_show_in_the_result(view, trained):
    big = np.zeros((128, 8), "float32")
    big[::2, ::2] = X
    model = trained("regression")
    found = model.predict(view(big), verbose=0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, model.predict(X, verbose=0))


def test_a_read_only_and_a_broadcast_array_are_trained_on_and_not_written():
    x = X.copy()
    x.flags.writeable = False
    fit(model_of(), x, np.broadcast_to(np.float32(1), (64, 1)))
    np.testing.assert_array_equal(x, X)


def test_booleans_are_numbers():
    one, other = model_of(), model_of()
    other.set_weights(one.get_weights())
    fit(one, X > 0, SIGNS > 0, shuffle=False)
    fit(other, (X > 0).astype("float32"), SIGNS, shuffle=False)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # another engine may have done it


def test_targets_without_their_axis_of_one_give_the_same_training():
    one, other = model_of(), model_of()
    other.set_weights(one.get_weights())
    fit(one, X, Y, shuffle=False)
    fit(other, X, Y[:, 0], shuffle=False)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ignored_labels_may_be_out_of_range():
    loss = lamina.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    fit(model_of("classes", loss=loss), X, replaced(CLASSES, slice(0, 9), -1))


def test_a_label_for_each_step_of_a_sequence_is_checked_too():
    model = models.Sequential([layers.Input((5, 4)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = RNG.normal(size=(8, 5, 4)), RNG.integers(0, 3, (8, 5))
    with pytest.raises(InvalidArgumentError, match="from 0 to 2"):
        fit(model, x, y + 1)
    with pytest.raises(InvalidArgumentError, match=r"Labels must have shape \(samples, 5\)"):
        fit(model, x, y[:, 0])
    fit(model, x, y)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        pytest.param("regression", lambda m: fit(m, replaced(X, (5, 2), np.nan)), id="NaN in x"),
        pytest.param("classes", lambda m: fit(m, X, np.full(64, 7)), id="labels out of range"),
        pytest.param("classes", lambda m: fit(m, X, replaced(CLASSES, 3, 2**32 + 1)), id="labels that wrap"),
        pytest.param("three outputs", lambda m: fit(m), id="targets that broadcast"),
        pytest.param("binary", lambda m: fit(m, X, np.sign(Y)), id="binary targets of -1"),
        pytest.param("classes", lambda m: fit(m, X, CLASSES, class_weight={"0": 9.0}), id="keys that are strings"),
        pytest.param("regression", lambda m: fit(m, batch_size=0), id="batch_size of 0"),
        pytest.param("regression", lambda m: fit(m, validation_split=1.5), id="validation_split of 1.5"),
        pytest.param("regression", lambda m: fit(m, validation_split=-0.1), id="negative validation_split"),
    ],
)
def test_where_strict_is_off_keras_behaviour_comes_back(kind, call, lax):
    model = model_of(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the loss may be NaN
        assert call(model).history is not None


def test_where_strict_is_off_columns_are_taken_by_position(lax):
    model = model_of()
    fit(model, FRAME, Y)
    found = model.predict(FRAME[list("dcba")], verbose=0)
    np.testing.assert_array_equal(found, model.predict(X[:, ::-1], verbose=0))


def test_every_kind_of_the_table_can_be_trained_on_good_data():
    good = {"regression": Y, "three outputs": ONE_HOT, "classes": CLASSES, "one-hot": ONE_HOT, "binary": SIGNS,
            "three binary": ONE_HOT}  # fmt: skip
    for kind in KINDS:
        if kind in good:
            fit(model_of(kind), X, good[kind])
