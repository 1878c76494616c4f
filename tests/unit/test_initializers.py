import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import initializers, random, registry
from lamina.errors import InvalidArgumentError
from lamina.variables import Variable

RANDOM = {
    "RandomNormal": ("random_normal", "normal"),
    "RandomUniform": ("random_uniform", "uniform"),
    "TruncatedNormal": ("truncated_normal",),
    "VarianceScaling": ("variance_scaling",),
    "GlorotUniform": ("glorot_uniform", "xavier_uniform"),
    "GlorotNormal": ("glorot_normal", "xavier_normal"),
    "LecunUniform": ("lecun_uniform",),
    "LecunNormal": ("lecun_normal",),
    "HeUniform": ("he_uniform", "kaiming_uniform"),
    "HeNormal": ("he_normal", "kaiming_normal"),
    "Orthogonal": ("orthogonal", "OrthogonalInitializer"),
}
CONSTANT = {
    "Zeros": ("zeros", "zero"),
    "Ones": ("ones", "one"),
    "Constant": ("constant",),
    "Identity": ("identity", "IdentityInitializer"),
}
EVERY = {**RANDOM, **CONSTANT}


@pytest.mark.parametrize("name", EVERY)
def test_every_name_finds_the_initializer(name):
    cls = getattr(initializers, name)
    for alias in (name, *EVERY[name]):
        assert type(initializers.get(alias)) is cls
    assert getattr(initializers, EVERY[name][0]) is cls
    assert type(initializers.get(cls)) is cls
    assert type(initializers.get({"class_name": name, "config": {}})) is cls


@pytest.mark.parametrize("name", EVERY)
def test_the_config_makes_an_equal_initializer(name):
    initializer = initializers.get(name)
    again = initializers.deserialize(initializers.serialize(initializer))
    assert type(again) is type(initializer)
    assert again.get_config() == initializer.get_config() == initializer.clone().get_config()
    assert pickle.loads(pickle.dumps(initializer)).get_config() == initializer.get_config()


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_gives_the_same_array_each_time_and_is_in_the_config(name):
    cls = getattr(initializers, name)
    initializer = cls(seed=7)
    assert initializer.get_config()["seed"] == 7
    np.testing.assert_array_equal(initializer((3, 4)), initializer((3, 4)))
    np.testing.assert_array_equal(initializer((3, 4)), initializer.clone()((3, 4)))
    assert not np.array_equal(initializer((3, 4)), cls(seed=8)((3, 4)))


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_seed_one_is_drawn_at_construction_and_is_not_in_the_config(name):
    cls = getattr(initializers, name)
    random.set_random_seed(1)
    first, second = cls(), cls()
    assert first.seed != second.seed
    assert first.get_config()["seed"] is None
    np.testing.assert_array_equal(first((3, 4)), first((3, 4)))
    assert not np.array_equal(first((3, 4)), second((3, 4)))
    random.set_random_seed(1)
    np.testing.assert_array_equal(first((3, 4)), cls()((3, 4)))


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_generator_gives_another_array_each_time_and_survives_the_config(name):
    initializer = getattr(initializers, name)(seed=random.SeedGenerator(5))
    assert not np.array_equal(initializer((3, 4)), initializer((3, 4)))
    again = initializers.deserialize(initializers.serialize(initializer))
    assert isinstance(again.seed, random.SeedGenerator)
    assert again.get_config() == initializer.get_config()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", ["bfloat16", np.dtype("float32"), None])
def test_arrays_have_the_shape_and_type_that_is_asked_for(name, dtype):
    array = initializers.get(name)([2, 3], dtype=dtype)
    assert isinstance(array, jax.Array)
    assert array.shape == (2, 3)
    assert array.dtype == (dtype or "float32")


@pytest.mark.parametrize(
    ("initializer", "shape", "expected"),
    [
        (initializers.Zeros(), (2,), [0, 0]),
        (initializers.Ones(), (), 1),
        (initializers.Constant(3), (2,), [3, 3]),
        (initializers.Constant([1.0, 2.0]), (2, 2), [[1, 2], [1, 2]]),
        (initializers.Constant(np.arange(2.0)), (2,), [0, 1]),
        (initializers.Identity(2), (2, 3), [[2, 0, 0], [0, 2, 0]]),
    ],
)
def test_constant_initializers_give_what_they_say_and_their_configs_too(initializer, shape, expected):
    np.testing.assert_array_equal(initializer(shape), np.float32(expected))
    again = initializers.deserialize(initializers.serialize(initializer))
    np.testing.assert_array_equal(again(shape), np.float32(expected))
    np.testing.assert_array_equal(type(initializer).from_config(initializer.get_config())(shape), expected)


@pytest.mark.parametrize(
    ("name", "shape", "variance"),
    [
        ("glorot_uniform", (300, 100), 2 / 400),
        ("glorot_normal", (300, 100), 2 / 400),
        ("he_uniform", (300, 100), 2 / 300),
        ("he_normal", (300, 100), 2 / 300),
        ("lecun_uniform", (300, 100), 1 / 300),
        ("lecun_normal", (300, 100), 1 / 300),
        ("lecun_normal", (3, 3, 32, 64), 1 / 288),
        ("random_normal", (300, 100), 0.05**2),
        ("random_uniform", (300, 100), 0.1**2 / 12),
    ],
)
def test_draws_have_the_mean_and_variance_of_their_formula(name, shape, variance):
    random.set_random_seed(3)
    array = np.asarray(initializers.get(name)(shape))
    assert abs(array.mean()) < 4 * np.sqrt(variance / array.size)
    np.testing.assert_allclose(array.var(), variance, rtol=0.03)


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal", "Normal"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 200), ("fan_out", 100), ("fan_avg", 150)])
def test_variance_scaling_takes_every_mode_and_distribution(mode, fan, distribution):
    initializer = initializers.VarianceScaling(3.0, mode, distribution, seed=1)
    np.testing.assert_allclose(np.var(initializer((200, 100))), 3 / fan, rtol=0.05)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 3, 4)])
def test_orthogonal_rows_or_columns_have_the_length_of_the_gain(shape):
    matrix = np.asarray(initializers.Orthogonal(gain=2.0, seed=1)(shape)).reshape(-1, shape[-1])
    product = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((), {}, (1, 1)),
        ((4,), {}, (4, 4)),
        ((3, 4), {}, (3, 4)),
        ((2, 3, 4), {}, (6, 8)),
        ((512, 8, 64), {"input_axes": [0], "output_axes": [1, 2]}, (512, 512)),
        ((512, 8, 64), {"input_axes": [0, 1], "output_axes": [2]}, (4096, 64)),
    ],
)
def test_fans_are_counted(shape, axes, expected):
    assert initializers.compute_fans(shape, **axes) == expected


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda: initializers.VarianceScaling(scale=-1.0), "Argument `scale` must be positive float."),
        (lambda: initializers.VarianceScaling(scale=float("nan")), "Argument `scale` must be positive float."),
        (lambda: initializers.VarianceScaling(mode="fan"), "Invalid `mode` argument: fan"),
        (lambda: initializers.VarianceScaling(distribution="gauss"), "Invalid `distribution` argument: gauss"),
        (lambda: initializers.RandomNormal(seed="1"), "`seed` argument should be an instance of"),
        (lambda: initializers.GlorotUniform(seed=1.5), "`seed` argument should be an instance of"),
        (lambda: initializers.Identity()((3,)), "can only be used for 2D matrices"),
        (lambda: initializers.Orthogonal()((3,)), "must be at least two-dimensional"),
        (lambda: initializers.get("glorott"), "Could not interpret initializer identifier"),
        (lambda: initializers.get(np.ones((2, 2)))((3, 2)), r"Expected `shape` to be \(2, 2\)"),
    ],
)
def test_bad_arguments_are_refused(make, phrase):
    with pytest.raises(InvalidArgumentError, match=phrase):
        make()


def test_a_typo_names_the_nearest():
    with pytest.raises(InvalidArgumentError, match="'glorot_"):
        initializers.get("glorot_unifrom")


def test_a_numpy_integer_is_a_seed():
    initializer = initializers.RandomNormal(seed=np.int64(3))
    assert type(initializer.get_config()["seed"]) is int
    np.testing.assert_array_equal(initializer((2,)), initializers.RandomNormal(seed=3)((2,)))


@pytest.mark.parametrize("given", [np.arange(4.0).reshape(2, 2), jnp.eye(2), Variable(np.ones((2, 2), "float32"))])
def test_an_array_is_its_own_initializer(given):
    made = initializers.get(given)((2, 2), dtype="float32")
    assert made.dtype == "float32"
    np.testing.assert_array_equal(made, given)


def test_none_and_callables_stay_themselves_and_a_variable_takes_a_name():
    assert initializers.get(None) is None
    assert initializers.get(jnp.zeros) is jnp.zeros
    np.testing.assert_array_equal(Variable("ones", (2,)).value, [1, 1])


def test_the_base_says_what_a_subclass_must_do():
    with pytest.raises(NotImplementedError, match="must implement the `__call__"):
        initializers.Initializer()((2,))


def test_an_initializer_of_the_user_needs_no_get_config():
    @registry.register_keras_serializable()
    class Ramp(initializers.Initializer):
        def __init__(self, step=1.0):
            self.step = step

        def __call__(self, shape, dtype=None):
            return jnp.arange(np.prod(shape), dtype=dtype).reshape(shape) * self.step

    try:
        again = initializers.deserialize(initializers.serialize(Ramp(2.0)))
        np.testing.assert_array_equal(again((3,)), [0, 2, 4])
    finally:
        registry.get_custom_objects().clear()
