"""The names that make Keras and lecture code run: each is the library's own thing, under each way to import it."""

import importlib
import inspect
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
import lamina.tf as tf
from lamina import keras

LETTERS = (
    "activations callbacks constraints dtype_policies initializers layers losses metrics random regularizers saving"
)


@pytest.mark.parametrize("name", LETTERS.split())
def test_a_room_under_keras_s_name_holds_the_library_s_own_things(name):
    ours, theirs = importlib.import_module(f"lamina.{name}"), importlib.import_module(f"lamina.keras.{name}")
    public = getattr(ours, "__all__", None) or [
        n for n in dir(ours) if not n.startswith("_") and not inspect.ismodule(getattr(ours, n))
    ]
    assert public
    for one in public:
        assert getattr(theirs, one) is getattr(ours, one)


@pytest.mark.parametrize(
    "line",
    [
        "from lamina import keras; keras.layers.Dense",
        "import lamina.keras as keras; keras.layers.Dense",
        "import lamina.keras.layers; lamina.keras.layers.Dense",
        "from lamina.keras import layers; layers.Dense",
        "from lamina.keras.layers import Dense",
        "from lamina.keras.models import Sequential, load_model, clone_model",
        "from lamina.keras.optimizers import Adam, schedules; schedules.ExponentialDecay",
        "from lamina.keras.optimizers.schedules import ExponentialDecay",
        "from lamina.keras.datasets import mnist; mnist.load_data",
        "from lamina.keras.datasets.mnist import load_data",
        "from lamina.keras.utils import to_categorical, plot_model, PyDataset",
        "from lamina.keras.preprocessing.sequence import pad_sequences",
        "from lamina.keras import backend as K; K.clear_session(); K.floatx(); K.epsilon()",
        "from lamina.keras import ops; ops.matmul",
        "from lamina.keras.mixed_precision import set_global_policy",
        "from lamina.keras import Sequential, Input, Model, Variable, KerasTensor, DTypePolicy, Layer, Loss, Metric",
        "import lamina.tf as tf; tf.keras.layers.Dense",
        "from lamina.tf import keras; keras.Sequential",
        "from lamina.tf.keras import layers, models; layers.Dense, models.Sequential",
        "from lamina.tf.keras.layers import Dense",
        "from lamina.tf.keras.optimizers.schedules import CosineDecay",
        "import lamina.tf.keras as keras; keras.layers.Dense",
        "import lamina; lamina.keras.layers.Dense, lamina.tf.nn.relu, lamina.utils.to_categorical, lamina.Dense",
    ],
)
def test_every_way_to_import_works_in_a_fresh_interpreter(line):
    exec(line, {})


def test_the_ways_to_import_lead_to_one_class():
    script = textwrap.dedent("""
        from lamina.tf.keras.layers import Dense as a
        from lamina.keras.layers import Dense as b
        import lamina.tf as tf
        from lamina import keras, layers, Dense
        assert a is b is tf.keras.layers.Dense is keras.layers.Dense is layers.Dense is Dense
        assert tf.keras is keras
    """)
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_names_loads_nothing_before_it_is_used():
    script = textwrap.dedent("""
        import sys
        import lamina, lamina.keras, lamina.tf, lamina.utils
        print(sorted(m for m in sys.modules if m in ("jax", "optax", "h5py", "rich", "matplotlib", "lamina.layers")))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [lamina, keras, tf, lamina.utils, lamina.ops])
def test_every_name_that_a_room_lists_is_there(module):
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("module", [lamina, keras, tf, lamina.utils])
def test_a_name_that_is_not_there_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = module.nothing_like_it


def test_what_tensorflow_has_and_this_has_not_is_said():
    with pytest.raises(AttributeError, match=r"jax\.grad"):
        _ = tf.GradientTape
    with pytest.raises(AttributeError, match=r"`tf\.reduce_mean`"):
        _ = tf.reduce_means


X = np.arange(12, dtype="float32").reshape(3, 4) - 5


@pytest.mark.parametrize(
    ("computed", "expected"),
    [
        (lambda: tf.matmul(X, X, transpose_b=True), X @ X.T),
        (lambda: tf.matmul(X, X, transpose_a=True), X.T @ X),
        (lambda: tf.reduce_mean(X, axis=1, keepdims=True), X.mean(1, keepdims=True)),
        (lambda: tf.reduce_sum(X), X.sum()),
        (lambda: tf.reduce_max(X, axis=[0, 1]), X.max()),
        (lambda: tf.reduce_min(X, axis=0), X.min(0)),
        (lambda: tf.math.reduce_std(X, axis=0), X.std(0)),
        (lambda: tf.math.reduce_variance(X), X.var()),
        (lambda: tf.reduce_any(X > 0, axis=1), (X > 0).any(1)),
        (lambda: tf.argmax(X), X.argmax(0)),
        (lambda: tf.argmax(X, axis=1), X.argmax(1)),
        (lambda: tf.argmin(X, axis=-1), X.argmin(1)),
        (lambda: tf.cast(X, tf.int32), X.astype("int32")),
        (lambda: tf.cast(X, tf.float64), X),
        (lambda: tf.reshape(X, [2, -1]), X.reshape(2, -1)),
        (lambda: tf.transpose(X), X.T),
        (lambda: tf.transpose(X, perm=[0, 1]), X),
        (lambda: tf.expand_dims(X, axis=1), X[:, None]),
        (lambda: tf.squeeze(X[None], axis=[0]), X),
        (lambda: tf.concat([X, X], axis=1), np.concatenate([X, X], 1)),
        (lambda: tf.stack([X, X], axis=0), np.stack([X, X])),
        (lambda: tf.tile(X, [1, 2]), np.tile(X, [1, 2])),
        (lambda: tf.gather(X, [2, 0]), X[[2, 0]]),
        (lambda: tf.where(X > 0, X, 0.0), np.where(X > 0, X, 0)),
        (lambda: tf.clip_by_value(X, -1, 1), X.clip(-1, 1)),
        (lambda: tf.norm(X), np.linalg.norm(X)),
        (lambda: tf.norm(X, ord=1, axis=1), np.abs(X).sum(1)),
        (lambda: tf.one_hot([0, 2], depth=3), np.eye(3)[[0, 2]]),
        (lambda: tf.one_hot([0, 2], 3, on_value=5.0, off_value=1.0), np.where(np.eye(3)[[0, 2]], 5, 1)),
        (lambda: tf.constant([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
        (lambda: tf.constant(3.0, shape=[2, 2]), np.full((2, 2), 3)),
        (lambda: tf.constant([1, 2, 3, 4], shape=(2, 2)), np.array([[1, 2], [3, 4]])),
        (lambda: tf.zeros([2, 3]), np.zeros((2, 3))),
        (lambda: tf.ones((2,), dtype=tf.int32), np.ones(2)),
        (lambda: tf.fill([2, 2], 7), np.full((2, 2), 7)),
        (lambda: tf.eye(2, 3), np.eye(2, 3)),
        (lambda: tf.range(5), np.arange(5)),
        (lambda: tf.range(1, 9, delta=2), np.arange(1, 9, 2)),
        (lambda: tf.linspace(0.0, 1.0, 3), np.linspace(0, 1, 3)),
        (lambda: tf.zeros_like(X), np.zeros_like(X)),
        (lambda: tf.ones_like(X, dtype=tf.int32), np.ones((3, 4))),
        (lambda: tf.pow(X, 2), X**2),
        (lambda: tf.abs(X) + tf.square(X) - tf.maximum(X, 0.0), np.abs(X) + X**2 - np.maximum(X, 0)),
        (lambda: tf.equal(X, 0.0), X == 0),
        (lambda: tf.nn.relu(X), np.maximum(X, 0)),
        (lambda: tf.nn.leaky_relu(X), np.where(X > 0, X, 0.2 * X)),
        (lambda: tf.nn.leaky_relu(X, alpha=0.5), np.where(X > 0, X, 0.5 * X)),
        (lambda: tf.nn.sigmoid(X), 1 / (1 + np.exp(-X))),
        (lambda: tf.nn.tanh(X), np.tanh(X)),
        (lambda: tf.nn.softmax(X), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
        (lambda: tf.nn.softmax(X, axis=0), np.exp(X) / np.exp(X).sum(0)),
        (lambda: tf.nn.log_softmax(X), X - np.log(np.exp(X).sum(1, keepdims=True))),
        (lambda: tf.nn.silu(X, beta=2.0), X / (1 + np.exp(-2 * X))),
        (lambda: tf.nn.softplus(X), np.log1p(np.exp(X))),
        (lambda: tf.nn.elu(X), np.where(X > 0, X, np.expm1(X))),
        (lambda: tf.nn.l2_normalize(X, axis=1), X / np.linalg.norm(X, axis=1, keepdims=True)),
        (lambda: tf.nn.bias_add(X, X[0]), X + X[0]),
        (lambda: tf.nn.moments(X, axes=[0])[1], X.var(0)),
        (lambda: tf.nn.dropout(X, rate=0.0), X),
        (
            lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 1, 3], logits=X),
            -(X - np.log(np.exp(X).sum(1, keepdims=True)))[[0, 1, 2], [0, 1, 3]],
        ),
        (
            lambda: tf.nn.softmax_cross_entropy_with_logits(labels=np.eye(4)[[0, 1, 3]], logits=X),
            -(X - np.log(np.exp(X).sum(1, keepdims=True)))[[0, 1, 2], [0, 1, 3]],
        ),
        (lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=np.zeros_like(X), logits=X), np.log1p(np.exp(X))),
    ],
)  # fmt: skip
def test_functions_of_tensorflow_take_its_arguments_and_give_its_numbers(computed, expected):
    found = computed()
    assert isinstance(found, jax.Array)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_types_have_tensorflow_s_names():
    assert tf.zeros([2]).dtype == tf.float32
    assert tf.constant(1.5).dtype == tf.float32
    assert tf.constant([1, 2]).dtype == tf.int32
    assert tf.cast([1.0], tf.int64).dtype == tf.int32  # JAX counts in 32 bits
    assert tf.zeros([1], tf.bfloat16).dtype == jnp.bfloat16
    assert keras.layers.Dense(2, dtype=tf.float16).compute_dtype == "float16"
    assert isinstance(tf.zeros([1]), tf.Tensor)


def test_a_variable_is_the_library_s():
    variable = tf.Variable([[1.0, 2.0]], name="v")
    variable.assign_add([[1.0, 1.0]])
    np.testing.assert_array_equal(variable, [[2, 3]])
    np.testing.assert_array_equal(tf.matmul(variable, [[1.0], [1.0]]), [[5]])


def test_shapes_are_plain():
    assert tf.shape(X) == (3, 4)
    assert tf.size(X) == 12
    assert tf.rank(X) == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda: tf.random.normal([5, 3]),
        lambda: tf.random.uniform((5, 3), -1, 1),
        lambda: tf.random.uniform([40], maxval=10, dtype=tf.int32),
        lambda: tf.random.truncated_normal([5], stddev=2.0),
        lambda: tf.random.shuffle(tf.range(50)),
        lambda: tf.random.categorical(tf.zeros([2, 5]), 20),
    ],
)
def test_set_seed_makes_draws_repeatable_and_draws_differ(draw):
    tf.random.set_seed(3)
    first, second = np.array(draw()), np.array(draw())
    tf.random.set_seed(3)
    np.testing.assert_array_equal(first, draw())
    assert not np.array_equal(first, second)


def test_random_arguments_are_heeded():
    assert tf.random.normal([20_000], mean=3.0, stddev=0.1).mean() == pytest.approx(3, abs=0.01)
    drawn = tf.random.uniform([1000], minval=2, maxval=5, dtype=tf.int64)
    assert set(np.unique(drawn)) == {2, 3, 4}
    rows = tf.random.shuffle(tf.constant([[1, 1], [2, 2], [3, 3]]))
    assert sorted(map(tuple, np.array(rows).tolist())) == [(1, 1), (2, 2), (3, 3)]


def test_functions_of_tensorflow_work_on_stand_ins():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3)(inputs)
    model = keras.Model(inputs, tf.nn.relu(tf.concat([x, tf.reduce_mean(x, axis=1, keepdims=True)], axis=1)))
    assert model.output_shape == (None, 4)
    assert model(X).shape == (3, 4)


def test_the_version_is_the_library_s():
    assert keras.__version__ == keras.version() == tf.__version__ == lamina.__version__
