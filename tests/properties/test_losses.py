"""Gradients of losses and activations against central differences in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamina import activations, losses

STEP = 1e-6
SHAPE = (2, 3)
NUMBERS = arrays(np.float64, SHAPE, elements=st.floats(-3, 3, width=32))
SHARES = arrays(np.float64, SHAPE, elements=st.floats(0.0625, 0.9375, width=32))
LABELS = arrays(np.int64, SHAPE[:1], elements=st.integers(0, SHAPE[1] - 1))

SMOOTH = [
    "celu", "elu", "exponential", "gelu", "log_sigmoid", "log_softmax", "mish", "sigmoid", "silu", "softmax",
    "softplus", "softsign", "squareplus", "tanh", "tanh_shrink",
]  # fmt: skip
KINKED = {  # where the derivative jumps
    "relu": (0,), "leaky_relu": (0,), "relu6": (0, 6), "selu": (0,), "hard_sigmoid": (-3, 3), "hard_silu": (-3, 3),
    "hard_tanh": (-1, 1), "hard_shrink": (-0.5, 0.5), "soft_shrink": (-0.5, 0.5), "sparse_plus": (-1, 1),
    "sparse_sigmoid": (-1, 1),
}  # fmt: skip
REGRESSION = ["mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "cosine_similarity"]
PROBABILITIES = [
    "binary_crossentropy", "categorical_crossentropy", "kl_divergence", "poisson", "binary_focal_crossentropy",
    "categorical_focal_crossentropy", "mean_squared_logarithmic_error", "dice", "tversky",
]  # fmt: skip
LOGITS = ["binary_crossentropy", "categorical_crossentropy", "binary_focal_crossentropy"]

_compiled = {}


def check(key, function, x, *others, tolerance=1e-5):
    """Compare the gradient of the sum of `function` with central differences, entry by entry."""

    def compare(x, *others):
        def total(x):
            return jnp.sum(function(x, *others))

        steps = STEP * jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        difference = jax.vmap(lambda s: (total(x + s) - total(x - s)) / (2 * STEP))(steps)
        return jax.grad(total)(x).ravel(), difference

    with jax.enable_x64(True):
        compiled = _compiled.setdefault(key, jax.jit(compare))
        gradient, difference = compiled(jnp.asarray(x), *(jnp.asarray(other) for other in others))
        assert gradient.dtype == jnp.float64
    scale = 1 + np.abs(difference)
    assert np.all(np.abs(gradient - difference) <= tolerance * scale), (key, x, gradient, difference)


def away_from(x, points, distance=1e-3):
    for point in points:
        x = np.where(np.abs(x - point) < distance, point + distance, x)
    return x


@pytest.mark.parametrize("name", SMOOTH)
@given(x=NUMBERS)
def test_gradients_of_smooth_activations_are_those_of_finite_differences(name, x):
    weights = np.arange(1.0, 7).reshape(SHAPE)  # the sum of a softmax alone does not change
    check(name, lambda x: getattr(activations, name)(x) * weights, away_from(x, (0,)))


@pytest.mark.parametrize("name", KINKED)
@given(x=NUMBERS)
def test_gradients_of_kinked_activations_are_those_of_finite_differences(name, x):
    check(name, getattr(activations, name), away_from(x, KINKED[name]))


@pytest.mark.parametrize("name", REGRESSION)
@given(y_true=NUMBERS, y_pred=NUMBERS)
def test_gradients_of_losses_for_numbers_are_those_of_finite_differences(name, y_true, y_pred):
    error = away_from(y_pred - y_true, (0, 1, -1))
    y_pred = y_true + error
    if name == "cosine_similarity":  # close to 0 the direction turns faster than a finite difference can follow
        y_true, y_pred = y_true + 4, y_pred + 8
    check(name, lambda p, t: getattr(losses, name)(t, p), y_pred, y_true)


@pytest.mark.parametrize("name", PROBABILITIES)
@given(y_true=SHARES, y_pred=SHARES)
def test_gradients_of_losses_for_probabilities_are_those_of_finite_differences(name, y_true, y_pred):
    check(name, lambda p, t: getattr(losses, name)(t, p), y_pred, y_true)


@pytest.mark.parametrize("name", LOGITS)
@given(y_true=SHARES, logits=NUMBERS)
def test_gradients_of_losses_for_logits_are_those_of_finite_differences(name, y_true, logits):
    check((name, "logits"), lambda p, t: getattr(losses, name)(t, p, from_logits=True), logits, y_true)


@given(labels=LABELS, logits=NUMBERS)
def test_the_gradient_of_sparse_crossentropy_is_that_of_finite_differences(labels, logits):
    function = losses.sparse_categorical_crossentropy
    check("sparse", lambda p, t: function(t, p, from_logits=True), logits, labels)
    check("sparse shares", lambda p, t: function(t, p), np.exp(logits), labels)


@given(labels=LABELS, logits=NUMBERS)
def test_sparse_and_one_hot_crossentropy_from_logits_and_from_softmax_agree(labels, logits):
    one_hot = np.eye(SHAPE[1])[labels]
    shares = activations.softmax(logits)
    expected = losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    for value in (
        losses.categorical_crossentropy(one_hot, logits, from_logits=True),
        losses.categorical_crossentropy(one_hot, shares),
        losses.sparse_categorical_crossentropy(labels, shares),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@given(values=NUMBERS, weights=arrays(np.float64, SHAPE[:1], elements=st.floats(0, 4, width=32)))
def test_weights_are_linear_and_a_mask_is_a_weight_of_0_or_1(values, weights):
    def total(weight, mask=None, reduction="sum"):
        return losses.reduce_weighted_values(values, weight, mask, reduction, "float32")

    np.testing.assert_allclose(total(2 * weights), 2 * total(weights), rtol=1e-5, atol=1e-4)
    mask = weights > 1
    np.testing.assert_allclose(total(weights, mask), total(weights * mask), rtol=1e-5, atol=1e-4)
    kept = values[mask].mean() if mask.any() else 0.0
    np.testing.assert_allclose(total(None, mask, "mean"), kept, rtol=1e-4, atol=1e-5)
