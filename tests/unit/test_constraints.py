import jax
import numpy as np
import pytest

from lamina import constraints
from lamina.errors import InvalidArgumentError
from lamina.variables import Variable

W = np.float32([[3.0, 0.1, 0.0], [4.0, -0.1, 0.0]])
CASES = [
    (constraints.Constraint(), W),
    (constraints.NonNeg(), [[3, 0.1, 0], [4, 0, 0]]),
    (constraints.MaxNorm(1.0), [[0.6, 0.1, 0], [0.8, -0.1, 0]]),
    (constraints.MaxNorm(1.0, axis=[0, 1]), W / np.sqrt(25.02)),
    (constraints.UnitNorm(), [[0.6, 0.5**0.5, 0], [0.8, -(0.5**0.5), 0]]),
    (constraints.UnitNorm(axis=1), W / np.linalg.norm(W, axis=1, keepdims=True)),
    (constraints.MinMaxNorm(1.0, 2.0), [[1.2, 0.5**0.5, 0], [1.6, -(0.5**0.5), 0]]),
    (constraints.MinMaxNorm(1.0, 2.0, rate=0.5), [[2.1, (0.1 + 0.5**0.5) / 2, 0], [2.8, -(0.1 + 0.5**0.5) / 2, 0]]),
]


@pytest.mark.parametrize(("constraint", "expected"), CASES, ids=lambda c: type(c).__name__)
def test_what_is_not_allowed_is_mapped_back(constraint, expected):
    for w in (W, Variable(W), W.tolist(), W.astype("float64")):
        np.testing.assert_allclose(constraint(w), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(constraint)(W), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("constraint", "expected"), CASES[1:6], ids=lambda c: type(c).__name__)
def test_what_is_allowed_stays_as_it_is(constraint, expected):
    once = constraint(W)
    np.testing.assert_allclose(constraint(once), once, rtol=1e-5, atol=1e-6)
    assert once.dtype == "float32"


@pytest.mark.parametrize("name", ["max_norm", "non_neg", "unit_norm", "min_max_norm"])
def test_names_classes_and_configs_find_a_constraint(name):
    constraint = constraints.get(name)
    cls = type(constraint)
    assert getattr(constraints, name) is cls
    assert type(constraints.get(cls.__name__)) is cls
    assert type(constraints.get(cls)) is cls
    again = constraints.deserialize(constraints.serialize(constraint))
    assert type(again) is cls
    assert again.get_config() == constraint.get_config()


def test_none_and_callables_stay_themselves_and_a_typo_is_refused():
    assert constraints.get(None) is None
    assert constraints.get(np.abs) is np.abs
    with pytest.raises(InvalidArgumentError, match="Could not interpret constraint identifier") as info:
        constraints.get("max_nrom")
    assert "'max_norm'" in str(info.value)
