"""The contract of `rowwise`: rows that only fill up a batch change nothing in the others, nor in the state."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import layers as L
from lamina import ops
from lamina.layers.context import CallContext, calling

REAL = 3
ROWS = jnp.arange(5) < REAL

# (layer, shape of a sample or shapes of the samples)
ROWWISE = [
    (lambda: L.Dense(3, "gelu"), (6,)),
    (lambda: L.Dense(3, jax.nn.relu), (6,)),
    (lambda: L.Activation("softmax"), (6,)),
    (lambda: L.Activation(jnp.tanh), (6,)),
    (lambda: L.Activation(ops.sin), (6,)),
    (L.ReLU, (6,)),
    (L.LeakyReLU, (6,)),
    (L.PReLU, (6,)),
    (L.ELU, (6,)),
    (lambda: L.Softmax(axis=(1, 2)), (2, 3)),
    (lambda: L.Dropout(0.5), (2, 3)),
    (lambda: L.Dropout(0.5, noise_shape=(None, 1, 3)), (2, 3)),
    (lambda: L.AlphaDropout(0.5), (6,)),
    (lambda: L.GaussianDropout(0.5), (6,)),
    (lambda: L.GaussianNoise(0.5), (6,)),
    (lambda: L.BatchNormalization(momentum=0.5), (6,)),
    (lambda: L.BatchNormalization(momentum=0.5), (2, 3)),
    (lambda: L.BatchNormalization(axis=1, renorm=True), (2, 3)),
    (L.LayerNormalization, (6,)),
    (lambda: L.LayerNormalization(axis=[1, 2]), (2, 3)),
    (L.RMSNormalization, (6,)),
    (lambda: L.GroupNormalization(2), (4, 6)),
    (L.UnitNormalization, (6,)),
    (lambda: L.SpectralNormalization(L.Dense(3)), (6,)),
    (L.Flatten, (2, 3)),
    (lambda: L.Reshape((-1, 2)), (6,)),
    (lambda: L.Permute((2, 1)), (2, 3)),
    (lambda: L.RepeatVector(2), (6,)),
    (lambda: L.Rescaling(0.5), (6,)),
    (L.Normalization, (6,)),
    (lambda: L.Normalization(axis=(1, 2)), (2, 3)),
    (L.Identity, (6,)),
    (L.Masking, (2, 3)),
    (L.Add, [(6,), (6,)]),
    (L.Subtract, [(2, 3), (3,)]),
    (L.Multiply, [(6,), (6,)]),
    (L.Average, [(6,), (6,)]),
    (L.Maximum, [(6,), (6,)]),
    (L.Minimum, [(6,), (6,)]),
    (L.Concatenate, [(6,), (2,)]),
    (lambda: L.Dot(1), [(6,), (6,)]),
    (lambda: L.EinsumDense("ab,bc->ac", 3, "relu", "c"), (6,)),
    (lambda: L.EinsumDense("...b,bc->...c", 3), (2, 6)),
    (lambda: L.TimeDistributed(L.Dense(3)), (2, 6)),
    (lambda: L.TimeDistributed(L.BatchNormalization(momentum=0.5)), (2, 6)),
    (lambda: L.TimeDistributed(L.Dropout(0.5)), (2, 6)),
]


def sample_shapes(shapes):
    return shapes if isinstance(shapes, list) else [shapes]


@pytest.mark.parametrize(("make", "shapes"), ROWWISE)
def test_filling_rows_change_nothing_in_training(make, shapes):
    generator = np.random.default_rng(0)
    whole = [generator.normal(size=(5, *shape)).astype("float32") for shape in sample_shapes(shapes)]
    for x in whole:
        x[REAL:] = x[:1]
    given = whole if isinstance(shapes, list) else whole[0]
    short = jax.tree.map(lambda x: x[:REAL], given)
    found = []
    for x, rows in ((short, None), (given, ROWS)):
        random.seed(3)
        layer = make()
        assert layer.rowwise
        with calling(CallContext(training=True, rows=rows)):
            output = layer(x)
        found.append((output[:REAL], [v.value for v in layer.variables]))
    for a, b in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Mixed(L.Layer):
    def call(self, x):
        return x - jnp.mean(x, 0)


NOT_ROWWISE = [
    lambda: L.Activation(lambda x: x - x.mean(0)),
    lambda: L.Activation(jnp.flip),
    lambda: L.Dense(2, activation=lambda x: x),
    lambda: L.Dense(2, activity_regularizer="l2"),
    lambda: L.EinsumDense("ab,bc->ac", 3, activity_regularizer="l2"),
    lambda: L.EinsumDense("ab,ac->cb", 3),
    lambda: L.ActivityRegularization(0.1),
    lambda: L.Dropout(0.5, noise_shape=(4, 1)),
    lambda: L.AlphaDropout(0.5, noise_shape=(4, 1)),
    lambda: L.Softmax(axis=0),
    lambda: L.Softmax(axis=-2),
    lambda: L.LayerNormalization(axis=[0, 1]),
    lambda: L.Concatenate(axis=0),
    lambda: L.Normalization(axis=0),
    lambda: L.Lambda(lambda x: x),
    lambda: L.TimeDistributed(Mixed()),
    lambda: L.Wrapper(L.Dense(2)),
    lambda: L.TimeDistributed(L.Dense(2), activity_regularizer="l2"),
    Mixed,
]


@pytest.mark.parametrize("make", NOT_ROWWISE)
def test_a_layer_that_may_mix_rows_says_so(make):
    assert not make().rowwise


def test_a_batch_without_filling_gives_the_bits_that_it_gives_without_a_row_mask():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    layer, twin = L.BatchNormalization(), L.BatchNormalization()
    plain = layer(x, training=True)
    with calling(CallContext(training=True, rows=jnp.ones(8, bool))):
        masked = twin(x)
    np.testing.assert_allclose(plain, masked, rtol=1e-6, atol=1e-6)


def test_a_frozen_batch_normalization_acts_as_in_inference():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    layer = L.BatchNormalization()
    layer(x, training=True)
    layer.trainable = False
    before = [np.asarray(v) for v in layer.variables]
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    for old, variable in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
