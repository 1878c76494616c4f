"""The lecture's transcript, line by line, with what it prints: the script runs as it stands but for its imports."""

import re

import numpy as np
import pytest

import lamina.tf as tf
from lamina import keras
from lamina.errors import InvalidArgumentError


def test_a_layer_is_built_by_its_first_call():
    x = tf.random.normal([4, 784])
    net = tf.keras.layers.Dense(512)
    out = net(x)
    assert out.shape == (4, 512)
    assert (net.kernel.shape, net.bias.shape) == ((784, 512), (512,))


def test_before_it_is_built_a_layer_has_no_weights():
    net = tf.keras.layers.Dense(10)
    with pytest.raises(AttributeError, match=r"^'Dense' object has no attribute 'bias'$"):
        net.bias  # noqa: B018
    assert net.get_weights() == []
    assert net.weights == []


def test_build_makes_the_weights_and_build_again_makes_new_ones():
    net = tf.keras.layers.Dense(10)
    net.build(input_shape=(None, 4))
    assert (net.kernel.shape, net.bias.shape) == ((4, 10), (10,))
    net.build(input_shape=(None, 20))
    assert (net.kernel.shape, net.bias.shape) == ((20, 10), (10,))
    net.build(input_shape=(2, 4))
    assert len(net.weights) == 2
    text = repr(net.kernel)
    assert re.match(r"<Variable path=\S*kernel, shape=\(4, 10\), dtype=float32, value=\[\[ ?-?\d", text)
    first = float(re.search(r"\[\[ *([-+.e\d]+)", text)[1])
    assert first == pytest.approx(net.kernel.numpy()[0, 0])


def test_an_input_of_the_wrong_width_is_named_and_costs_nothing():
    net = tf.keras.layers.Dense(10)
    net.build(input_shape=(None, 20))
    assert (net.kernel.shape, net.bias.shape) == ((20, 10), (10,))
    before = net.get_weights()
    with pytest.raises(InvalidArgumentError) as caught:
        net(tf.random.normal((4, 12)))
    text = str(caught.value)
    assert text.startswith("Matrix size-incompatible: In[0]: [4,12], In[1]: [20,10]")
    assert "`dense`" in text
    assert "build((None, 12))" in text
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    out = net(tf.random.normal((4, 20)))
    assert out.shape == (4, 10)


def test_the_error_is_the_one_that_a_script_catches():
    net = tf.keras.layers.Dense(10)
    net.build(input_shape=(None, 20))
    with pytest.raises(tf.errors.InvalidArgumentError):
        net(tf.random.normal((4, 12)))


def test_the_network_of_three_layers(capsys):
    x = tf.random.normal([2, 3])
    assert x.shape == (2, 3)
    model = keras.Sequential([
        keras.layers.Dense(2, activation='relu'),
        keras.layers.Dense(2, activation='relu'),
        keras.layers.Dense(2)
    ])  # fmt: skip
    model.build(input_shape=[None, 4])
    model.summary()
    for p in model.trainable_variables:
        print(p.name, p.shape)
    out = capsys.readouterr().out
    for line in ("dense (Dense)", "dense_1 (Dense)", "dense_2 (Dense)", "(None, 2)", "Total params: 22 (88.00 B)"):
        assert line in out
    assert out.endswith("kernel (4, 2)\nbias (2,)\nkernel (2, 2)\nbias (2,)\nkernel (2, 2)\nbias (2,)\n")


def test_the_network_may_be_built_again_for_another_width():
    model = keras.Sequential([keras.layers.Dense(2, activation="relu"), keras.layers.Dense(2)])
    model.build(input_shape=[None, 4])
    assert model.layers[0].kernel.shape == (4, 2)
    model.build(input_shape=[None, 3])
    assert model.layers[0].kernel.shape == (3, 2)
    assert model(tf.random.normal([2, 3])).shape == (2, 2)


def test_the_formulas():
    tf.random.set_seed(1)
    X, W1, W2, W3 = (tf.random.normal(shape) for shape in ([5, 4], [4, 3], [3, 3], [3, 2]))
    b1, b2, b3 = tf.zeros([3]), tf.zeros([3]), tf.ones([2])
    h0 = tf.nn.relu(X @ W1 + b1)
    h1 = tf.nn.relu(h0 @ W2 + b2)
    out = tf.nn.relu(h1 @ W3 + b3)
    model = keras.Sequential([keras.layers.Dense(n, activation=tf.nn.relu) for n in (3, 3, 2)])
    model.build(input_shape=[None, 4])
    model.set_weights([W1, b1, W2, b2, W3, b3])
    np.testing.assert_allclose(model(X), out, rtol=1e-6)


def test_a_script_with_a_seed_gives_the_same_numbers_again():
    def script():
        tf.random.set_seed(2)
        x = tf.random.normal([4, 8])
        return keras.layers.Dense(3)(x)

    np.testing.assert_array_equal(script(), script())
