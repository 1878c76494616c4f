"""Rescaling and Normalization: what `adapt` learns, from what, and when it is forgotten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import config
from lamina.errors import InvalidArgumentError, InvalidTypeError
from lamina.layers import Dense, Input, Normalization, Rescaling
from lamina.layers.moments import Moments
from lamina.variables import bound

DATA = np.random.default_rng(0).normal(loc=[5.0, -3.0, 1000.0], scale=[1.0, 2.0, 0.1], size=(300, 3)).astype("float32")


class Dataset:
    """What a data set of another library looks like from outside."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Slices:
    """A `tf.data.Dataset` of single samples, as far as `adapt` looks at it."""

    def __init__(self, rows):
        self.rows, self.element_spec = rows, rows[0]

    def batch(self, size):
        return Dataset([self.rows[i : i + size] for i in range(0, len(self.rows), size)])


def halves():
    return [DATA[:100], DATA[100:]]


@pytest.mark.parametrize(
    "data",
    [
        lambda: DATA,
        lambda: jnp.asarray(DATA),
        lambda: DATA.astype("float64"),
        halves,
        lambda: iter(halves()),
        lambda: ((x, np.ones(len(x))) for x in halves()),
        lambda: [(x, None, np.ones(len(x))) for x in halves()],
        lambda: map(jnp.asarray, halves()),
        lambda: Dataset(halves()),
        lambda: Slices(DATA),
    ],
)
def test_it_learns_the_same_from_arrays_and_from_anything_that_gives_batches(data):
    layer = Normalization()
    layer.adapt(data())
    np.testing.assert_allclose(layer.mean[0], DATA.astype("float64").mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.variance[0], DATA.astype("float64").var(0), rtol=1e-6)
    np.testing.assert_allclose(layer(DATA).mean(0), 0, atol=2e-3)
    np.testing.assert_allclose(layer(DATA).std(0), 1, rtol=2e-3)


def test_a_stream_is_read_one_batch_at_a_time():
    alive, most = [], 0

    def stream():
        nonlocal most
        for i in range(20):
            batch = np.full((10, 3), i, "float32")
            alive.append(batch)
            most = max(most, len(alive))
            yield batch
            alive.remove(alive[0])

    layer = Normalization()
    layer.adapt(stream())
    assert most <= 2
    np.testing.assert_allclose(layer.mean[0], 9.5)


def test_the_moments_do_not_cancel_where_the_mean_is_large():
    found = Moments((1,))
    x = np.random.default_rng(1).normal(loc=1e6, scale=1e-2, size=(3000, 2))
    for start in range(0, len(x), 7):
        found.add(x[start : start + 7])
    np.testing.assert_allclose(found.variance, x.var(0), rtol=1e-6)
    assert found.count == 3000


def test_moments_of_pieces_equal_those_of_the_whole_also_for_a_kept_first_axis():
    x = np.random.default_rng(2).normal(size=(6, 5, 4))
    for keep in ((), (0,), (1,), (2,), (1, 2), (0, 2)):
        whole, rest = Moments(keep), tuple(i for i in range(3) if i not in keep)
        whole.add(x)
        np.testing.assert_allclose(whole.mean, x.mean(rest))
        np.testing.assert_allclose(whole.variance, x.var(rest))


@pytest.mark.parametrize("axis", [None, -1, 1, (1, 2), (-1, 1)])
def test_the_axes_that_are_kept_have_their_own_mean(axis):
    x = np.random.default_rng(3).normal(size=(50, 2, 3)).astype("float32")
    layer = Normalization(axis=axis)
    layer.adapt(x)
    keep = {a % 3 for a in (() if axis is None else (axis,) if isinstance(axis, int) else axis)}
    rest = tuple(a for a in range(3) if a not in keep)
    np.testing.assert_allclose(layer.mean, x.mean(rest, keepdims=True), rtol=1e-4, atol=1e-6)


def test_inverting_gives_the_data_back():
    layer, back = Normalization(), Normalization(invert=True)
    layer.adapt(DATA)
    back.adapt(DATA)
    np.testing.assert_allclose(back(layer(DATA)), DATA, rtol=1e-5)


def test_a_feature_that_never_changes_gives_zero_not_nan():
    layer = Normalization()
    layer.adapt(np.ones((5, 2), "float32"))
    np.testing.assert_array_equal(layer(np.ones((3, 2), "float32")), 0)


@pytest.mark.parametrize(
    ("data", "error", "problem"),
    [
        ([], InvalidArgumentError, "empty iterable"),
        (iter(()), InvalidArgumentError, "empty iterable"),
        ([[1.0, 2.0], [3.0, 4.0]], InvalidTypeError, "(?s)yields arrays or tensors.*element of type list"),
        (3.0, InvalidTypeError, "Unsupported data type"),
        (None, InvalidTypeError, "Unsupported data type"),
        ([np.ones((2, 3)), np.ones((2, 4))], InvalidArgumentError, "incompatible shape"),
        ([np.ones((2, 3)), np.ones(3)], InvalidArgumentError, "incompatible shape"),
        (np.array([[1.0, np.nan, 2.0]]), InvalidArgumentError, "NaN or infinite"),
        ([np.ones((2, 3)), np.full((2, 3), np.inf)], InvalidArgumentError, "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_data_leave_what_was_learned_before(data, error, problem):
    layer = Normalization()
    layer.adapt(DATA)
    before = layer.get_weights()
    with pytest.raises(error, match=problem):
        layer.adapt(data)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_generator_that_raises_leaves_what_was_learned_before():
    def broken():
        yield DATA
        raise KeyError("gone")

    layer = Normalization()
    layer.adapt(DATA[:10])
    before = layer.get_weights()
    with pytest.raises(KeyError):
        layer.adapt(broken())
    np.testing.assert_array_equal(before[0], layer.get_weights()[0])


def test_nan_is_taken_as_it_comes_where_checks_are_off():
    config.set_strict(False)
    try:
        layer = Normalization()
        layer.adapt(np.array([[1.0, np.nan]]))
        assert np.isnan(layer.mean[0, 1])
    finally:
        config.set_strict(True)


def test_building_it_again_keeps_what_was_learned_unless_the_features_are_others():
    layer = Normalization()
    layer.adapt(DATA)
    learned = np.asarray(layer.mean)
    for shape in ((None, 3), (7, 3)):
        layer.build(shape)
        np.testing.assert_array_equal(layer.mean, learned)
    layer.build((None, 5))
    np.testing.assert_array_equal(layer.mean, np.zeros((1, 5)))
    assert [v.shape for v in layer.weights] == [(5,), (5,), ()]


def test_adapting_again_reaches_a_program_that_is_already_compiled():
    layer = Normalization()
    layer.adapt(DATA)

    @jax.jit
    def run(state, x):
        with bound(layer.variables, state):
            return layer(x)

    for data in (DATA, DATA * 2 + 1):
        layer.adapt(data)
        np.testing.assert_allclose(run([v.value for v in layer.variables], data).mean(0), 0, atol=2e-3)
    assert run._cache_size() == 1


def test_given_values_are_spread_over_the_kept_axes():
    layer = Normalization(axis=(1, 2), mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0])
    x = np.zeros((1, 2, 3), "float32")
    np.testing.assert_allclose(layer(x), np.broadcast_to([-0.5, -1.0, -1.5], (1, 2, 3)))
    assert layer.weights == []
    assert layer.get_config()["mean"] == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="broadcast"):
        Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0])(np.ones((2, 3), "float32"))


def test_it_knows_nothing_before_it_is_built():
    layer = Normalization()
    assert layer.mean is None
    assert layer.variance is None
    layer.build(None)
    with pytest.raises(InvalidArgumentError, match="You must call"):
        layer.call(np.ones((2, 3)))


def test_whole_numbers_are_computed_with_as_floats():
    assert Rescaling(1 / 255)(np.array([[255, 0]], "uint8")).dtype == "float32"
    np.testing.assert_allclose(Rescaling(1 / 255)(np.array([[255, 0]], "uint8")), [[1.0, 0.0]])
    layer = Normalization()
    layer.adapt(np.array([[1], [3]]))
    np.testing.assert_allclose(layer(np.array([[1], [3]])), [[-1.0], [1.0]])


def test_arrays_in_a_config_cross_a_file():
    layer = Rescaling(np.array([1.0, 2.0], "float32"), offset=[0.5, 0.5])
    config_ = layer.get_config()
    assert config_["scale"]["class_name"] == "__numpy__"
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(Rescaling.from_config(config_)(x), layer(x))


def test_with_the_channels_first_a_scale_runs_along_them():
    config.set_image_data_format("channels_first")
    try:
        output = Rescaling([1.0, 2.0])(np.ones((1, 2, 3, 3), "float32"))
    finally:
        config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(output[0, :, 0, 0], [1.0, 2.0])


def test_it_stands_at_the_head_of_a_graph():
    layer = Normalization()
    layer.adapt(DATA)
    assert Dense(2)(layer(Input((3,)))).shape == (None, 2)
