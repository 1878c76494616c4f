import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import activations, registry
from lamina.errors import InvalidArgumentError
from lamina.variables import Variable

NAMES = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]
ELEMENTWISE = sorted(set(NAMES) - {"glu", "softmax", "log_softmax", "sparsemax", "threshold"})


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_keras_finds_its_function(name):
    assert activations.get(name) is getattr(activations, name)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"swish", "hard_swish"}))
def test_a_function_is_serialized_by_name_and_found_again_and_can_be_pickled(name):
    function = getattr(activations, name)
    assert activations.serialize(function) == name
    assert activations.deserialize(name) is function
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", ["swish", "hard_swish"])
def test_an_alias_is_serialized_under_the_one_name(name):
    assert activations.serialize(activations.get(name)) == {"swish": "silu", "hard_swish": "hard_silu"}[name]


def test_the_dict_form_of_a_function_in_a_file_is_found():
    config = {"module": "builtins", "class_name": "function", "config": "gelu", "registered_name": "function"}
    assert activations.get(config) is activations.gelu


def test_none_is_linear_and_a_callable_stays_itself():
    assert activations.get(None) is activations.linear
    assert activations.get(np.sign) is np.sign


@pytest.mark.parametrize(("wrong", "hint"), [("rleu", "'relu'"), ("sigmod", "'sigmoid'"), (3, "pass a name")])
def test_a_typo_is_refused_with_the_nearest_name(wrong, hint):
    with pytest.raises(InvalidArgumentError, match="Could not interpret activation function identifier") as info:
        activations.get(wrong)
    assert hint in str(info.value)


def test_a_function_of_the_user_is_saved_under_its_registered_name():
    @registry.register_keras_serializable("mine")
    def cube(x):
        return x**3

    try:
        assert activations.serialize(cube) == "mine>cube"
        assert activations.get("mine>cube") is cube
    finally:
        registry.get_custom_objects().clear()


def test_a_lambda_cannot_be_serialized():
    with pytest.raises(InvalidArgumentError, match="lambda"):
        activations.serialize(lambda x: x)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("given", [[1, -2, 3], np.float64([1.0, -1.0, 0.5]), np.int32([4, -4, 0])])
def test_lists_integers_and_float64_are_taken(name, given):
    result = getattr(activations, name)(given)
    assert np.shape(result) == np.shape(given)
    assert np.all(np.isfinite(result))
    if name != "linear":
        assert isinstance(result, jax.Array)
        assert result.dtype in (jnp.float32, jnp.int32)


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) - {"linear"}))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_float_type_is_kept(name, dtype):
    assert getattr(activations, name)(jnp.ones((2, 3), dtype)).dtype == dtype


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"linear", "threshold"}))
def test_a_variable_and_its_array_give_the_same(name):
    variable = Variable(np.linspace(-2, 2, 8, dtype="float32").reshape(2, 4))
    function = getattr(activations, name)
    np.testing.assert_array_equal(function(variable), function(variable.value))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"linear", "threshold", "exponential"}))
def test_values_and_gradients_are_finite_far_out(name):
    x = jnp.array([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0], jnp.float32)
    function = getattr(activations, name)

    @jax.jit
    def total(x):
        return jax.value_and_grad(lambda x: jnp.sum(function(x)))(x)

    value, gradient = total(x)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(("name", "axis"), [("softmax", -1), ("softmax", 0), ("softmax", (-2, -1)), ("sparsemax", 1)])
def test_shares_are_at_least_0_and_add_up_to_1(name, axis):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32") * 3
    shares = np.asarray(getattr(activations, name)(x, axis=axis))
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=axis), 1, rtol=1e-5)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    x = np.random.default_rng(2).normal(size=(20, 7)).astype("float32")
    low, high = x.min(axis=1) - 1, x.max(axis=1)
    for _ in range(60):  # the shift that makes max(x - shift, 0) add up to 1, by bisection
        middle = (low + high) / 2
        much = np.maximum(x - middle[:, None], 0).sum(axis=1) > 1
        low, high = np.where(much, middle, low), np.where(much, high, middle)
    shares = np.asarray(activations.sparsemax(x))
    np.testing.assert_allclose(shares, np.maximum(x - low[:, None], 0), atol=2e-6)
    assert (shares == 0).sum() > 20


def test_softmax_over_an_axis_of_size_1_warns():
    with pytest.warns(UserWarning, match="softmax over axis -1"):
        activations.softmax(np.ones((3, 1), "float32"))


def test_glu_refuses_an_odd_axis():
    with pytest.raises(InvalidArgumentError, match="even size"):
        activations.glu(np.ones((2, 3), "float32"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [0, 0, 0, 5, 10]),
        ({"negative_slope": 0.5}, [-5, -2.5, 0, 5, 10]),
        ({"max_value": 6.0}, [0, 0, 0, 5, 6]),
        ({"max_value": 7.0}, [0, 0, 0, 5, 7]),
        ({"threshold": 5.0}, [0, 0, 0, 0, 10]),
        ({"threshold": 5.0, "max_value": 5.0}, [0, 0, 0, 0, 5]),
        ({"negative_slope": 0.5, "max_value": 6.0}, [-5, -2.5, 0, 5, 6]),
        ({"negative_slope": 0.5, "max_value": 5.0, "threshold": 5.0}, [-7.5, -5, -2.5, 0, 5]),
    ],
)
def test_relu_takes_slope_cap_and_threshold(arguments, expected):
    result = activations.relu(np.array([-10.0, -5.0, 0.0, 5.0, 10.0]), **arguments)
    np.testing.assert_array_equal(result, np.float32(expected))


@pytest.mark.parametrize("arguments", [{}, {"max_value": 6}, {"max_value": 2.0}])
def test_the_gradient_of_relu_at_0_is_0(arguments):
    assert jax.grad(lambda x: activations.relu(x, **arguments))(0.0) == 0.0
