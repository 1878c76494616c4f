import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import config, losses, registry
from lamina.errors import InvalidArgumentError
from lamina.losses.base import Loss, LossFunctionWrapper, reduce_weighted_values, squeeze_or_expand_to_same_rank
from lamina.variables import Variable

CLASSES = {
    name: cls
    for name, cls in vars(losses).items()
    if isinstance(cls, type) and issubclass(cls, LossFunctionWrapper) and cls is not LossFunctionWrapper
}
OF_WHOLE_BATCH = {"Dice", "Tversky"}
SPARSE = {"SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"}
RNG = np.random.default_rng(3)


def batch(name, rows, steps=()):
    """Return targets and predictions that a loss takes."""
    y_pred = RNG.uniform(0.05, 0.95, (rows, *steps, 4)).astype("float32")
    if name in SPARSE:
        return RNG.integers(0, 4, (rows, *steps)), y_pred
    return np.eye(4, dtype="float32")[RNG.integers(0, 4, (rows, *steps))], y_pred


@pytest.fixture
def lenient():
    config.set_strict(False)
    yield
    config.set_strict(True)


# --- names and configs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("mse", "mean_squared_error"),
        ("MSE", "mean_squared_error"),
        ("mae", "mean_absolute_error"),
        ("mape", "mean_absolute_percentage_error"),
        ("msle", "mean_squared_logarithmic_error"),
        ("bce", "binary_crossentropy"),
        ("kld", "kl_divergence"),
        ("KLD", "kl_divergence"),
        ("kullback_leibler_divergence", "kl_divergence"),
        ("logcosh", "log_cosh"),
        ("huber", "huber"),
        ("mean_squared_error", "mean_squared_error"),
        ("sparse_categorical_crossentropy", "sparse_categorical_crossentropy"),
        ("cosine_similarity", "cosine_similarity"),
    ],
)
def test_a_name_finds_its_function(name, function):
    assert losses.get(name) is getattr(losses, function)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_found_by_name_and_class_and_survives_a_round_trip(name):
    loss = losses.get(name)
    assert type(loss) is CLASSES[name]
    assert type(losses.get(CLASSES[name])) is CLASSES[name]
    again = losses.deserialize(losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert pickle.loads(pickle.dumps(loss)).get_config() == loss.get_config()
    assert losses.get({"class_name": name, "config": {"name": "other"}}).name == "other"


def test_none_stays_none_and_objects_stay_themselves():
    loss = losses.Huber()
    assert losses.get(None) is None
    assert losses.get(loss) is loss


@pytest.mark.parametrize("typo", ["categorical_crosentropy", "typo", 3])
def test_a_typo_is_refused_with_the_nearest_names(typo):
    with pytest.raises(InvalidArgumentError, match="Could not interpret loss identifier") as info:
        losses.get(typo)
    assert typo != "categorical_crosentropy" or "'categorical_crossentropy'" in str(info.value)


def test_the_config_keeps_what_changes_the_loss_even_where_keras_forgets_it():
    assert losses.Huber().get_config() == {"name": "huber_loss", "reduction": "sum_over_batch_size"}
    for loss, name, value in [
        (losses.Huber(delta=0.3), "delta", 0.3),
        (losses.CosineSimilarity(axis=1), "axis", 1),
        (losses.MeanSquaredError(dtype="bfloat16"), "dtype", "bfloat16"),
    ]:
        assert loss.get_config()[name] == value
        assert getattr(type(loss).from_config(loss.get_config()), name) == value


@pytest.mark.usefixtures("lenient")
def test_the_config_is_exactly_that_of_keras_where_not_strict():
    assert set(losses.CosineSimilarity(axis=1, dtype="float16").get_config()) == {"name", "reduction"}


def test_a_loss_of_the_user_needs_no_get_config():
    @registry.register_keras_serializable()
    class Quantile(Loss):
        def __init__(self, q, **kwargs):
            super().__init__(**kwargs)
            self.q = q

        def call(self, y_true, y_pred):
            error = y_true - y_pred
            return jnp.mean(jnp.maximum(self.q * error, (self.q - 1) * error), axis=-1)

    @registry.register_keras_serializable()
    class Mine(Loss):
        def get_config(self):
            return {**super().get_config(), "extra": 1}

        @classmethod
        def from_config(cls, config):
            config.pop("extra")
            return cls(**config)

    try:
        loss = Quantile(0.9, reduction="sum")
        assert loss.get_config() == {"name": "quantile", "reduction": "sum", "q": 0.9}
        again = losses.deserialize(losses.serialize(loss))
        np.testing.assert_allclose(again([[1.0]], [[0.0]]), 0.9, rtol=1e-6)
        assert Mine().get_config() == {"name": "mine", "reduction": "sum_over_batch_size", "extra": 1}
        assert isinstance(losses.deserialize(losses.serialize(Mine())), Mine)
    finally:
        registry.get_custom_objects().clear()


def test_a_function_of_the_user_becomes_a_loss():
    def cubic(y_true, y_pred, scale=1.0):
        return scale * jnp.mean(jnp.abs(y_true - y_pred) ** 3, axis=-1)

    loss = LossFunctionWrapper(cubic, scale=2.0, name="cubic")
    np.testing.assert_allclose(loss([[0.0], [0.0]], [[1.0], [2.0]]), 9.0)
    assert "cubic" in repr(loss)


@pytest.mark.parametrize("name", CLASSES)
def test_every_constructor_has_keras_s_common_arguments(name):
    assert {"reduction", "name", "dtype"} <= set(inspect.signature(CLASSES[name]).parameters)


# --- what comes in -------------------------------------------------------------------------------------------------


def test_lists_variables_and_trees_are_taken():
    mse = losses.MeanSquaredError()
    y_true, y_pred = [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]
    assert float(mse(y_true, y_pred)) == 0.5
    assert float(mse(Variable(np.float32(y_true)), Variable(np.float32(y_pred)))) == 0.5
    total = Loss()
    total.call = lambda t, p: sum(jnp.mean((t[key] - p[key]) ** 2, axis=-1) for key in t)
    as_dict = [{"a": np.float32(y), "b": np.float32(y)} for y in (y_true, y_pred)]
    assert float(total(*as_dict)) == 1.0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((3,), (3, 1), (3, 1)), ((3, 1), (3,), (3, 1)), ((3, 2), (3, 2, 1), (3, 2)), ((3, 2, 1), (3, 2), (3, 2))],
)
def test_an_axis_of_1_too_many_is_evened_out(first, second, expected):
    shapes = [x.shape for x in squeeze_or_expand_to_same_rank(jnp.ones(first), jnp.ones(second))]
    assert shapes == [expected, expected]


def test_shapes_that_do_not_fit_are_left_alone_by_the_evening_out():
    first, second = squeeze_or_expand_to_same_rank(jnp.ones((3, 2)), jnp.ones((3,)))
    assert (first.shape, second.shape) == ((3, 2), (3,))


def test_a_column_of_predictions_and_a_vector_of_targets_belong_together():
    y_true, y_pred = np.arange(3.0), np.arange(3.0)[:, None] + 1
    assert losses.mean_squared_error(y_true, y_pred).shape == (3,)
    assert float(losses.MeanSquaredError()(y_true, y_pred)) == 1.0


@pytest.mark.parametrize(
    ("name", "target", "output"),
    [
        ("mean_squared_error", (4, 1), (4, 3)),
        ("mean_absolute_error", (4, 3), (4, 1)),
        ("huber", (3,), (4, 3)),
        ("poisson", (1, 3), (4, 3)),
        ("log_cosh", (4, 2), (4, 3)),
        ("binary_crossentropy", (4, 1), (4, 3)),
        ("categorical_crossentropy", (4,), (4, 3)),
        ("categorical_crossentropy", (4, 5), (4, 3)),
        ("categorical_focal_crossentropy", (4, 1), (4, 3)),
        ("sparse_categorical_crossentropy", (4, 3), (4, 3)),
        ("sparse_categorical_crossentropy", (5,), (4, 3)),
    ],
)
def test_shapes_that_numpy_would_stretch_are_refused(name, target, output):
    with pytest.raises(InvalidArgumentError, match="must have the same shape") as info:
        getattr(losses, name)(np.zeros(target), np.ones(output))
    assert str(output) in str(info.value)
    assert "To fix it" in str(info.value)


@pytest.mark.usefixtures("lenient")
def test_stretching_is_allowed_where_not_strict():
    assert losses.mean_squared_error(np.zeros((4, 1)), np.ones((4, 3))).shape == (4,)


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda: losses.MeanSquaredError(reduction="abc"), "Invalid value for argument `reduction`"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), r"q must be in the interval \(0, 1\)"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), "`label_smoothing` must be a number from 0 to 1"),
        (lambda: losses.MeanSquaredError(dtype="float33"), "Invalid dtype"),
        (lambda: losses.categorical_crossentropy([[1, 0]], [[1.0, 0]], axis=True), "`axis` must be of type `int`"),
        (lambda: reduce_weighted_values([1.0], reduction="all"), "Invalid value for argument `reduction`"),
        (lambda: LossFunctionWrapper("mseee"), "Could not interpret loss identifier"),
    ],
)
def test_bad_arguments_are_refused(make, phrase):
    with pytest.raises(InvalidArgumentError, match=phrase):
        make()


@pytest.mark.parametrize("name", ["categorical_crossentropy", "categorical_focal_crossentropy"])
def test_one_class_warns_and_names_the_right_loss(name):
    with pytest.warns(SyntaxWarning, match="binary_crossentropy"):
        getattr(losses, name)(np.ones((3, 1)), np.ones((3, 1)))


def test_a_loss_without_call_says_so():
    with pytest.raises(NotImplementedError, match="call"):
        Loss()([1.0], [1.0])


# --- types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_bfloat16"])
def test_the_loss_is_computed_in_its_type(dtype):
    loss = losses.MeanSquaredError(dtype=dtype)
    expected = dtype.removeprefix("mixed_")
    assert loss.dtype == expected
    assert loss(np.ones((2, 2)), np.zeros((2, 2))).dtype == expected


def test_the_type_of_a_loss_cannot_be_changed():
    with pytest.raises(AttributeError):
        losses.MeanSquaredError().dtype = "bfloat16"


def test_float64_and_integers_become_float32():
    loss = losses.MeanSquaredError()
    assert loss(np.ones((2, 2)), np.zeros((2, 2), int), sample_weight=np.ones(2)).dtype == "float32"
    assert losses.mean_absolute_percentage_error(np.int32([[0]]), np.int32([[1]])).dtype == "float32"


@pytest.mark.parametrize("name", sorted(SPARSE))
def test_labels_are_not_rounded_by_a_loss_of_low_precision(name):
    labels = np.array([257, 301, 999])  # bfloat16 knows no odd number above 256
    y_pred = np.full((3, 1000), 1e-4, "float32")
    y_pred[np.arange(3), labels] = 0.9
    assert float(CLASSES[name](dtype="bfloat16")(labels, y_pred)) < 0.2


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float32"])
def test_labels_of_every_type_name_the_same_classes(dtype):
    y_pred = RNG.uniform(0.1, 0.9, (4, 3))
    loss = losses.SparseCategoricalCrossentropy(ignore_class=2)
    labels = np.array([0, 1, 2, 1])
    assert float(loss(labels.astype(dtype), y_pred)) == float(loss(labels, y_pred))
    losses.sparse_categorical_crossentropy(labels.astype(dtype), y_pred, ignore_class=-1)


# --- weights, masks, reductions ------------------------------------------------------------------------------------

VALUES = np.float32([1.0, 2.0, 3.0, 4.0])
MASK = np.array([True, False, True, True])


@pytest.mark.parametrize(
    ("reduction", "weight", "mask", "expected"),
    [
        ("sum_over_batch_size", None, None, 2.5),
        ("mean", None, None, 2.5),
        ("sum", None, None, 10.0),
        ("none", None, None, VALUES),
        (None, None, None, VALUES),
        ("sum_over_batch_size", None, MASK, 8 / 3),
        ("sum", None, MASK, 8.0),
        ("mean_with_sample_weight", None, MASK, 8 / 3),
        ("none", None, MASK, VALUES * MASK),
        ("sum_over_batch_size", [1, 1, 0, 2], None, 11 / 4),
        ("mean_with_sample_weight", [1, 1, 0, 2], None, 11 / 4),
        ("sum", [1, 1, 0, 2], None, 11.0),
        ("sum_over_batch_size", [1, 1, 0, 2], MASK, 9 / 3),
        ("mean_with_sample_weight", [1, 1, 0, 2], MASK, 9 / 3),
        ("sum_over_batch_size", 0.5, None, 1.25),
        ("sum_over_batch_size", [[1], [1], [0], [2]], None, 11 / 4),
        ("sum_over_batch_size", None, MASK[:, None], 8 / 3),
        ("sum_over_batch_size", None, np.zeros(4, bool), 0.0),
        ("mean_with_sample_weight", np.zeros(4), None, 0.0),
    ],
)
def test_a_batch_is_reduced_to_one_number(reduction, weight, mask, expected):
    result = reduce_weighted_values(VALUES, weight, mask, reduction)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_an_empty_batch_costs_nothing():
    assert float(reduce_weighted_values(np.zeros((0,), "float32"))) == 0.0
    assert float(reduce_weighted_values(np.zeros((0, 3), "float32"))) == 0.0


def test_a_weight_for_each_row_goes_to_the_whole_row_also_where_rows_and_steps_are_equally_many():
    values = np.float32([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(reduce_weighted_values(values, [1.0, 0.0], reduction="none"), [[1, 2], [0, 0]])
    assert float(reduce_weighted_values(values, mask=[True, False])) == 1.5


def test_what_a_mask_leaves_out_may_be_nan():
    values = jnp.array([1.0, jnp.nan, 3.0])
    mask = jnp.array([True, False, True])
    assert float(reduce_weighted_values(values, mask=mask)) == 2.0
    assert float(reduce_weighted_values(values, sample_weight=[1.0, 1.0, 2.0], mask=mask, reduction="sum")) == 7.0


ALL_WAYS = [
    ("MeanSquaredError", steps, weight, reduction)
    for steps in ((), (3,))
    for weight in ("none", "rows", "column")
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight")
]
ALL_CLASSES = [(n, steps, "rows", "mean") for n in sorted(set(CLASSES) - OF_WHOLE_BATCH) for steps in ((), (3,))]


@pytest.mark.parametrize(("name", "steps", "weight", "reduction"), ALL_WAYS + ALL_CLASSES)
def test_a_padded_batch_costs_what_the_real_rows_cost_and_padding_gets_no_gradient(name, steps, weight, reduction):
    y_true, y_pred = batch(name, 5, steps)
    weights = None if weight == "none" else np.linspace(0.5, 2, 5).astype("float32")
    if weight == "column":
        weights = weights.reshape(5, *[1] * max(len(steps), 1))
    loss = CLASSES[name](reduction=reduction)
    padded = [None if x is None else np.concatenate([x, x[:3]]) for x in (y_true, y_pred, weights)]
    mask = np.arange(8) < 5

    @jax.jit
    def both(y_pred, long_pred):
        plain = jax.value_and_grad(lambda p: loss(y_true, p, sample_weight=weights))(y_pred)
        long = jax.value_and_grad(lambda p: loss(padded[0], p, sample_weight=padded[2], mask=mask))(long_pred)
        return plain, long

    (value, gradient), (long_value, long_gradient) = both(y_pred, padded[1])
    np.testing.assert_allclose(long_value, value, rtol=2e-6)
    np.testing.assert_allclose(long_gradient[:5], gradient, rtol=2e-5, atol=1e-7)
    assert np.all(long_gradient[5:] == 0)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_loss_knows_whether_rows_can_be_left_out_of_it(name):
    assert CLASSES[name]().per_sample(*batch(name, 5)) is (name not in OF_WHOLE_BATCH)


def test_dice_along_an_axis_knows_its_rows():
    assert losses.Dice(axis=-1).per_sample(*batch("Dice", 5)) is True


def test_the_mask_of_the_predictions_and_that_of_the_rows_act_together():
    y_pred = jnp.float32([[[0.0], [1.0]], [[2.0], [3.0]]])
    y_pred._keras_mask = jnp.array([[True, False], [True, True]])
    loss = losses.MeanSquaredError()
    assert float(loss(jnp.zeros((2, 2, 1)), y_pred)) == pytest.approx(13 / 3)
    assert float(loss(jnp.zeros((2, 2, 1)), y_pred, mask=jnp.array([False, True]))) == pytest.approx(13 / 2)


@pytest.mark.parametrize("column", [False, True])
def test_an_ignored_class_counts_for_nothing_also_in_the_denominator_and_inside_a_compiled_step(column):
    labels = np.array([1, -1, 0, 2])
    y_pred = RNG.uniform(0.1, 0.9, (4, 3)).astype("float32")
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    kept = losses.SparseCategoricalCrossentropy()(labels[labels >= 0], y_pred[labels >= 0])
    given = labels[:, None] if column else labels
    np.testing.assert_allclose(loss(given, y_pred), kept, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(loss)(given, y_pred), kept, rtol=1e-6)
    bad = y_pred.copy()
    bad[1] = np.nan
    gradient = jax.grad(lambda p: loss(given, p))(jnp.asarray(bad))
    assert np.all(np.isfinite(gradient))


def test_masked_logits_of_minus_infinity_do_not_spoil_the_loss():
    logits = jnp.array([[0.0, 1.0, -jnp.inf]])
    loss = losses.sparse_categorical_crossentropy(np.array([1]), logits, from_logits=True)
    np.testing.assert_allclose(loss, np.log(1 + np.exp(-1)), rtol=1e-6)


def test_the_gradient_of_cosine_similarity_is_finite_for_a_vector_of_zeros():
    gradient = jax.grad(lambda p: jnp.sum(losses.cosine_similarity(np.ones((1, 3)), p)))(jnp.zeros((1, 3)))
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("targets", "expected"), [([[0.0, 1.0], [0.0, 0.0]], [1.1, 1.5]), ([[-1.0, 1.0], [-1.0, -1.0]], [1.1, 1.5])]
)
def test_hinge_takes_bits_and_signs(targets, expected):
    np.testing.assert_allclose(losses.hinge(targets, [[0.6, 0.4], [0.4, 0.6]]), expected, rtol=1e-6)
