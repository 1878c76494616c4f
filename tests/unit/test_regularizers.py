import jax
import numpy as np
import pytest

from lamina import registry, regularizers
from lamina.errors import InvalidArgumentError
from lamina.variables import Variable

X = np.float32([[1.0, -2.0], [0.0, 3.0]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(0.5), 3.0),
        (regularizers.L2(0.5), 7.0),
        (regularizers.L1L2(0.5, 0.1), 4.4),
        (regularizers.L1L2(), 0.0),
        (regularizers.L1(None), 0.06),
        (regularizers.L1L2(None, 1), 14.0),
        (regularizers.Regularizer(), 0.0),
        (regularizers.OrthogonalRegularizer(1.0), 0.5 * 2 * 2 / np.sqrt(5)),
        (regularizers.OrthogonalRegularizer(1.0, mode="columns"), 0.5 * 2 * 2 / np.sqrt(13)),
    ],
)
def test_the_penalty_is_that_of_the_formula_for_arrays_variables_and_lists(regularizer, expected):
    for x in (X, Variable(X), X.tolist()):
        np.testing.assert_allclose(regularizer(x), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l2", "l1l2", "l1_l2", "L1", "L1L2", "orthogonal_regularizer"])
def test_a_name_a_class_and_a_config_find_a_regularizer(name):
    regularizer = regularizers.get(name)
    cls = type(regularizer)
    assert type(regularizers.get(cls)) is cls
    again = regularizers.deserialize(regularizers.serialize(regularizer))
    assert again.get_config() == regularizer.get_config()
    assert type(regularizers.get({"class_name": cls.__name__, "config": {}})) is cls


def test_the_short_names_are_the_classes():
    assert regularizers.l1 is regularizers.L1
    assert regularizers.l1_l2 is regularizers.L1L2
    assert regularizers.orthogonal_regularizer is regularizers.OrthogonalRegularizer


def test_none_and_callables_stay_themselves_and_a_typo_is_refused():
    assert regularizers.get(None) is None
    assert regularizers.get(np.sum) is np.sum
    with pytest.raises(InvalidArgumentError, match="Could not interpret regularizer identifier"):
        regularizers.get("typo")


@pytest.mark.parametrize("value", [-1, -0.1, float("nan"), float("inf"), "0.1", [0.1], True])
@pytest.mark.parametrize("make", [regularizers.L1, regularizers.L2, lambda v: regularizers.L1L2(l2=v)])
def test_a_factor_must_be_a_finite_number_of_at_least_0(make, value):
    with pytest.raises(InvalidArgumentError, match="expected a non-negative float"):
        make(value)


def test_numpy_numbers_are_factors_and_configs_hold_plain_floats():
    assert regularizers.L2(np.float32(0.5)).get_config() == {"l2": 0.5}
    assert type(regularizers.L1(np.int64(2)).get_config()["l1"]) is float


def test_an_orthogonal_regularizer_checks_its_mode_and_the_rank():
    with pytest.raises(InvalidArgumentError, match=r'Expected one of {"rows", "columns"}\. Received: mode=diagonal'):
        regularizers.OrthogonalRegularizer(mode="diagonal")
    with pytest.raises(InvalidArgumentError, match=r"must have rank 2. Received: inputs.shape=\(2, 2, 2\)"):
        regularizers.OrthogonalRegularizer()(np.ones((2, 2, 2)))


def test_orthogonal_rows_a_single_row_and_rows_of_zeros_cost_nothing_and_have_finite_gradients():
    regularizer = regularizers.OrthogonalRegularizer(1.0)
    for x in (np.eye(3, dtype="float32"), np.ones((1, 3), "float32"), np.zeros((2, 3), "float32")):
        value, gradient = jax.value_and_grad(regularizer)(x)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["l1", "l2", "l1l2"])
def test_the_penalty_has_the_type_of_the_weight(name, dtype):
    assert regularizers.get(name)(jax.numpy.ones((2, 2), dtype)).dtype == dtype


def test_a_regularizer_of_the_user_needs_no_get_config():
    @registry.register_keras_serializable()
    class Power(regularizers.Regularizer):
        def __init__(self, factor, power=3):
            self.factor, self.power = factor, power

        def __call__(self, x):
            return self.factor * jax.numpy.sum(jax.numpy.abs(x) ** self.power)

    try:
        again = regularizers.deserialize(regularizers.serialize(Power(2.0)))
        assert again.get_config() == {"factor": 2.0, "power": 3}
        assert float(again(X)) == 72.0
    finally:
        registry.get_custom_objects().clear()
