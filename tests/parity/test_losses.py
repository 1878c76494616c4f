"""Losses against Keras itself: values and gradients, weights, masks and reductions, configs in both directions."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras.src import backend
from keras.src.losses.losses import LossFunctionWrapper as KerasWrapper

from lamina import losses
from lamina.losses.base import LossFunctionWrapper

RNG = np.random.default_rng(11)
SHAPES = [(7, 3), (2, 3, 4)]


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


def data(kind, shape):
    """Return targets and predictions of one kind, of one shape."""
    x = (RNG.normal(size=shape) * 2).astype("float32")
    labels = RNG.integers(0, shape[-1], shape[:-1])
    one_hot = np.eye(shape[-1], dtype="float32")[labels]
    return {
        "numbers": lambda: (RNG.normal(size=shape).astype("float32"), x),
        "counts": lambda: (RNG.poisson(2.0, shape).astype("float32"), np.abs(x)),
        "signs": lambda: (np.sign(RNG.normal(size=shape)).astype("float32"), x),
        "bits": lambda: (RNG.integers(0, 2, shape).astype("float32"), x),
        "bit probabilities": lambda: (RNG.integers(0, 2, shape), (1 / (1 + np.exp(-x))).astype("float32")),
        "one-hot logits": lambda: (one_hot, x),
        "one-hot probabilities": lambda: (one_hot, softmax(x)),
        "labels logits": lambda: (labels, x),
        "labels column": lambda: (labels[..., None], softmax(x)),
        "labels unnormalised": lambda: (labels.astype("int64"), np.abs(x) + 0.1),
        "probabilities": lambda: (softmax(RNG.normal(size=shape)), softmax(x)),
    }[kind]()


FUNCTIONS = [
    ("mean_squared_error", "numbers", {}),
    ("mean_absolute_error", "numbers", {}),
    ("mean_absolute_percentage_error", "numbers", {}),
    ("mean_squared_logarithmic_error", "counts", {}),
    ("mean_squared_logarithmic_error", "numbers", {}),
    ("cosine_similarity", "numbers", {}),
    ("cosine_similarity", "numbers", {"axis": 0}),
    ("huber", "numbers", {}),
    ("huber", "numbers", {"delta": 0.3}),
    ("log_cosh", "numbers", {}),
    ("poisson", "counts", {}),
    ("hinge", "signs", {}),
    ("hinge", "bits", {}),
    ("squared_hinge", "signs", {}),
    ("squared_hinge", "bits", {}),
    ("categorical_hinge", "one-hot logits", {}),
    ("kl_divergence", "probabilities", {}),
    ("categorical_crossentropy", "one-hot probabilities", {}),
    ("categorical_crossentropy", "one-hot logits", {"from_logits": True}),
    ("categorical_crossentropy", "one-hot logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("categorical_crossentropy", "probabilities", {"label_smoothing": 0.2}),
    ("sparse_categorical_crossentropy", "labels column", {}),
    ("sparse_categorical_crossentropy", "labels unnormalised", {}),
    ("sparse_categorical_crossentropy", "labels logits", {"from_logits": True}),
    ("sparse_categorical_crossentropy", "labels logits", {"from_logits": True, "ignore_class": 0}),
    ("binary_crossentropy", "bit probabilities", {}),
    ("binary_crossentropy", "bit probabilities", {"label_smoothing": 0.1}),
    ("binary_crossentropy", "bits", {"from_logits": True}),
    ("binary_crossentropy", "bits", {"from_logits": True, "label_smoothing": 0.3}),
    ("categorical_focal_crossentropy", "one-hot probabilities", {}),
    ("categorical_focal_crossentropy", "one-hot logits", {"from_logits": True, "alpha": 0.4, "gamma": 3.0}),
    ("categorical_focal_crossentropy", "one-hot logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("binary_focal_crossentropy", "bit probabilities", {}),
    ("binary_focal_crossentropy", "bits", {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3}),
    ("binary_focal_crossentropy", "bit probabilities", {"gamma": 1.5, "label_smoothing": 0.1}),
    ("categorical_generalized_cross_entropy", "labels logits", {"q": 0.5}),
    ("dice", "bit probabilities", {}),
    ("dice", "bit probabilities", {"axis": -1}),
    ("tversky", "bit probabilities", {}),
    ("tversky", "bit probabilities", {"alpha": 0.3, "beta": 0.7, "axis": (0,)}),
]


def value_and_gradient(y_pred, *functions):
    """Return values and the gradient of their weighted sum for each function, all of one compiled program."""

    def of(function):
        def total(y_pred):
            values = function(y_pred)
            return jnp.sum(values * (1 + jnp.arange(values.size).reshape(values.shape))), values

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(y_pred)
        return values, gradient

    return jax.jit(lambda y_pred: [of(function) for function in functions])(jnp.asarray(y_pred))


def both(name, y_true, y_pred, arguments):
    return value_and_gradient(
        y_pred, *(lambda p, m=m: getattr(m, name)(y_true, p, **arguments) for m in (losses, keras.losses))
    )


def agree(mine, his, rtol=2e-6, atol=1e-6):
    assert mine[0].shape == his[0].shape
    assert mine[0].dtype == his[0].dtype
    np.testing.assert_allclose(mine[0], his[0], rtol=rtol, atol=atol)
    np.testing.assert_allclose(mine[1], his[1], rtol=rtol, atol=atol)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "kind", "arguments"), FUNCTIONS, ids=[f"{n}-{k}-{a}" for n, k, a in FUNCTIONS])
def test_values_and_gradients_of_a_function_are_those_of_keras(name, kind, arguments, shape):
    y_true, y_pred = data(kind, shape)
    if name == "categorical_generalized_cross_entropy":
        y_pred = softmax(y_pred)
    agree(*both(name, y_true, y_pred, arguments))


@pytest.mark.filterwarnings("ignore:.*(num_classes > 1|over axis -1)")
@pytest.mark.parametrize(("name", "kind", "arguments"), [f for f in FUNCTIONS if f[0][:4] in ("mean", "bina", "spar")])
def test_one_output_gives_what_keras_gives(name, kind, arguments):
    y_true, y_pred = data(kind, (5, 1))
    agree(*both(name, y_true, y_pred, arguments))


FAR = np.float32([[100.0, -100.0, 0.0], [-100.0, 100.0, -100.0], [0.0, 0.0, 100.0], [-1e4, 1e4, 3.0]])
CERTAIN = np.float32([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1e-8, 1.0, 1e-7]])
ONE_HOT = np.eye(3, dtype="float32")[[0, 1, 1, 0]]
EXTREMES = [
    ("categorical_crossentropy", ONE_HOT, FAR, {"from_logits": True}),
    ("categorical_crossentropy", ONE_HOT, CERTAIN, {}),
    ("categorical_crossentropy", ONE_HOT, CERTAIN, {"label_smoothing": 0.1}),
    ("sparse_categorical_crossentropy", np.array([0, 1, 1, 0]), FAR, {"from_logits": True}),
    ("sparse_categorical_crossentropy", np.array([0, 1, 1, 0]), CERTAIN, {}),
    ("binary_crossentropy", ONE_HOT, FAR, {"from_logits": True}),
    ("binary_crossentropy", ONE_HOT, CERTAIN, {}),
    ("binary_focal_crossentropy", ONE_HOT, CERTAIN, {}),
    ("binary_focal_crossentropy", ONE_HOT, FAR, {"from_logits": True}),
    ("categorical_focal_crossentropy", ONE_HOT, CERTAIN, {}),
    ("categorical_focal_crossentropy", ONE_HOT, FAR, {"from_logits": True}),
    ("kl_divergence", ONE_HOT, CERTAIN, {}),
    ("poisson", ONE_HOT, CERTAIN, {}),
    ("mean_absolute_percentage_error", np.zeros((4, 3), "float32"), FAR, {}),
    ("mean_squared_logarithmic_error", ONE_HOT, FAR, {}),
    ("log_cosh", ONE_HOT, FAR, {}),
    ("huber", ONE_HOT, FAR, {}),
]


@pytest.mark.parametrize(("name", "y_true", "y_pred", "arguments"), EXTREMES, ids=[f"{e[0]}-{e[3]}" for e in EXTREMES])
def test_logits_of_100_and_probabilities_of_0_and_1_give_what_keras_gives(name, y_true, y_pred, arguments):
    mine, his = both(name, y_true, y_pred, arguments)
    agree(mine, his)
    assert np.all(np.isfinite(mine[0]))


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"])
def test_the_hot_losses_give_the_bits_of_keras(name, from_logits):
    kinds = {"s": "labels logits", "c": "one-hot logits", "b": "bits"}
    y_true, y_pred = data(kinds[name[0]], (64, 10))
    if not from_logits:
        y_pred = softmax(y_pred) if name[0] != "b" else (1 / (1 + np.exp(-y_pred))).astype("float32")
    mine, his = (getattr(m, name)(y_true, y_pred, from_logits=from_logits) for m in (losses, keras.losses))
    np.testing.assert_array_equal(mine, his)
    mine, his = (
        jax.grad(lambda p, m=m: jnp.mean(getattr(m, name)(y_true, p, from_logits=from_logits)))(y_pred)
        for m in (losses, keras.losses)
    )
    np.testing.assert_allclose(mine, his, rtol=1e-6, atol=1e-9)


CLASSES = [
    ("MeanSquaredError", "numbers", {}),
    ("MeanAbsoluteError", "numbers", {}),
    ("MeanAbsolutePercentageError", "numbers", {}),
    ("MeanSquaredLogarithmicError", "counts", {}),
    ("CosineSimilarity", "numbers", {}),
    ("Huber", "numbers", {"delta": 0.7}),
    ("LogCosh", "numbers", {}),
    ("Poisson", "counts", {}),
    ("Hinge", "signs", {}),
    ("SquaredHinge", "bits", {}),
    ("CategoricalHinge", "one-hot logits", {}),
    ("KLDivergence", "probabilities", {}),
    ("CategoricalCrossentropy", "one-hot logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("SparseCategoricalCrossentropy", "labels column", {}),
    ("SparseCategoricalCrossentropy", "labels logits", {"from_logits": True, "ignore_class": 1}),
    ("BinaryCrossentropy", "bit probabilities", {"label_smoothing": 0.1}),
    ("BinaryFocalCrossentropy", "bit probabilities", {"gamma": 1.0, "apply_class_balancing": True, "alpha": 0.4}),
    ("CategoricalFocalCrossentropy", "one-hot probabilities", {"alpha": 0.3}),
    ("CategoricalGeneralizedCrossEntropy", "labels unnormalised", {"q": 0.3}),
    ("Dice", "bit probabilities", {"axis": -1}),
    ("Tversky", "bit probabilities", {"axis": -1, "alpha": 0.3}),
]
WEIGHTS = {
    "none": lambda rows, steps: None,
    "scalar": lambda rows, steps: 2.3,
    "column": lambda rows, steps: np.linspace(0, 2, rows).reshape(rows, *([1] * max(1, len(steps)))),
    "full": lambda rows, steps: np.linspace(0, 2, rows * int(np.prod(steps))).reshape(rows, *steps),
}
MASKS = {
    "none": lambda rows, steps: None,
    "full": lambda rows, steps: (np.arange(rows * int(np.prod(steps))) % 3 != 1).reshape(rows, *steps),
    "empty": lambda rows, steps: np.zeros((rows, *steps), bool),
}


def reduced(ours, theirs, y_true, y_pred, weight, mask):
    def of_keras(y_pred):
        backend.set_keras_mask(y_pred, None if mask is None else jnp.asarray(mask))
        return theirs(y_true, y_pred, sample_weight=weight)

    return value_and_gradient(y_pred, lambda p: ours(y_true, p, sample_weight=weight, mask=mask), of_keras)


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_masks_and_reductions_are_those_of_keras(weight, mask, reduction):
    y_true, y_pred = data("numbers", (5, 3, 4))
    weight, mask = (table[key](5, (3,)) for table, key in ((WEIGHTS, weight), (MASKS, mask)))
    pair = (m.MeanSquaredError(reduction=reduction) for m in (losses, keras.losses))
    agree(*reduced(*pair, y_true, y_pred, weight, mask))


@pytest.mark.parametrize("shape", [(6, 4), (2, 5, 4)], ids=str)
@pytest.mark.parametrize(("name", "kind", "arguments"), CLASSES, ids=[f"{n}-{k}" for n, k, _ in CLASSES])
def test_every_class_with_weights_and_a_mask_gives_what_keras_gives(name, kind, arguments, shape):
    y_true, y_pred = data(kind, shape)
    weight, mask = (table["full"](shape[0], shape[1:-1]) for table in (WEIGHTS, MASKS))
    pair = (getattr(m, name)(**arguments) for m in (losses, keras.losses))
    agree(*reduced(*pair, y_true, y_pred, weight, mask))


@pytest.mark.parametrize(
    ("name", "arguments"), [(n, a) for n, _, a in CLASSES], ids=[f"{n}-{k}" for n, k, _ in CLASSES]
)
def test_configs_go_to_keras_and_back(name, arguments):
    arguments = {**arguments, "name": "mine", "reduction": "sum"}
    ours, theirs = getattr(losses, name)(**arguments), getattr(keras.losses, name)(**arguments)
    assert set(theirs.get_config()) <= set(ours.get_config())
    there = keras.saving.deserialize_keras_object(losses.serialize(ours))
    assert type(there) is type(theirs)
    assert there.get_config() == theirs.get_config()
    here = losses.deserialize(keras.saving.serialize_keras_object(theirs))
    assert type(here) is type(ours)
    assert {**ours.get_config(), **theirs.get_config()} == ours.get_config()
    kept = set(theirs.get_config())
    assert {k: v for k, v in here.get_config().items() if k in kept} == theirs.get_config()


@pytest.mark.parametrize("name", sorted({n for n, _, _ in FUNCTIONS}))
def test_functions_are_found_by_what_keras_writes_for_them(name):
    config = keras.saving.serialize_keras_object(getattr(keras.losses, name))
    assert losses.get(config) is getattr(losses, name)
    assert losses.get(name) is getattr(losses, name)


@pytest.mark.parametrize(
    "alias", ["mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "bce", "BCE", "kld", "KLD"]
)
def test_short_names_are_those_of_keras(alias):
    assert losses.get(alias).__name__ == keras.losses.get(alias).__name__


def test_a_wrapped_function_goes_to_keras_and_back():
    ours = LossFunctionWrapper(losses.huber, delta=2.0, name="mine")
    there = keras.saving.deserialize_keras_object(losses.serialize(ours))
    assert isinstance(there, KerasWrapper)
    assert there.get_config() == ours.get_config()
    here = losses.deserialize(keras.saving.serialize_keras_object(there))
    assert here.get_config() == ours.get_config()
    assert here.fn is losses.huber


def test_there_is_no_loss_in_keras_that_is_missing_here_but_ctc_and_circle():
    public = {name for name in dir(keras.losses) if not name.startswith("_")}
    assert public - set(dir(losses)) == {"CTC", "ctc", "Circle", "circle"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["MeanSquaredError", "SparseCategoricalCrossentropy"])
def test_low_precision_gives_what_keras_gives(name, dtype):
    y_true, y_pred = data("labels column" if name[0] == "S" else "numbers", (7, 3))
    mine, his = (getattr(m, name)(dtype=dtype)(y_true, y_pred) for m in (losses, keras.losses))
    assert mine.dtype == his.dtype == dtype
    np.testing.assert_allclose(np.float32(mine), np.float32(his), rtol=1e-2)
