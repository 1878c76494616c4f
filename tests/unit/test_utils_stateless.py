"""`StatelessScope`: variables with other values for a while."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.errors import InvalidArgumentError
from lamina.keras import Input, Sequential, StatelessScope, Variable, layers


def test_values_hold_inside_and_what_is_assigned_stays_in_the_scope():
    one, two, out = (Variable(np.zeros(2)) for _ in range(3))
    with StatelessScope([(one, np.ones(2)), (two, Variable(np.full(2, 3.0)))]) as scope:
        out.assign(one + two)
        np.testing.assert_array_equal(out.value, [4, 4])
    np.testing.assert_array_equal(out.value, [0, 0])
    np.testing.assert_array_equal(scope.get_current_value(out), [4, 4])
    assert scope.get_current_value(Variable(1.0)) is None


def test_a_model_is_differentiated_by_the_values_of_a_scope():
    model = Sequential([Input((3,)), layers.Dense(1)])
    x = np.ones((2, 3), "float32")

    @jax.jit
    def loss(kernel):
        with StatelessScope([(model.layers[0].kernel, kernel)]):
            return jnp.sum(model(x))

    np.testing.assert_allclose(jax.grad(loss)(jnp.zeros((3, 1))), np.full((3, 1), 2.0))


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("kernel", np.ones(2)), "all keys in argument `mapping` must be Variable"),
        (None, "must be tensors with a shape"),
    ],
)
def test_what_is_no_variable_or_has_another_shape_is_refused(pair, text):
    with pytest.raises(InvalidArgumentError, match=text):
        StatelessScope([pair or (Variable(np.zeros(2)), np.ones(3))])
