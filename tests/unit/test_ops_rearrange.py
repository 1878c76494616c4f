"""`rearrange`: axes by name."""

import numpy as np
import pytest

from lamina import ops
from lamina.errors import InvalidArgumentError
from lamina.graph import KerasTensor

X = np.arange(2 * 6 * 4, dtype="float32").reshape(2, 6, 4)


@pytest.mark.parametrize(
    ("pattern", "sizes", "wanted"),
    [
        ("b c h -> b h c", {}, X.transpose(0, 2, 1)),
        ("b c h -> (b c) h", {}, X.reshape(12, 4)),
        ("b (c d) h -> b c d h", {"c": 3}, X.reshape(2, 3, 2, 4)),
        ("b (c d) h -> d b (h c)", {"d": 2}, X.reshape(2, 3, 2, 4).transpose(2, 0, 3, 1).reshape(2, 2, 12)),
        ("b ... -> ... b", {}, X.transpose(1, 2, 0)),
        ("b c h -> b 1 c h", {}, X[:, None]),
        ("b c h -> (b c h)", {}, X.reshape(-1)),
    ],
)
def test_axes_are_turned_joined_and_taken_apart(pattern, sizes, wanted):
    np.testing.assert_array_equal(ops.rearrange(X, pattern, **sizes), wanted)


def test_a_stand_in_takes_the_shape_that_an_array_would():
    assert ops.rearrange(KerasTensor((None, 6, 4)), "b (c d) h -> b c (d h)", c=3).shape == (None, 3, 8)


@pytest.mark.parametrize(
    ("pattern", "sizes", "text"),
    [
        ("b c h", {}, "two sides"),
        ("b c -> c b", {}, "the same axes"),
        ("b c h -> b c", {}, "the same axes"),
        ("b b h -> b h", {}, "once on each side"),
        ("b (c d) h -> b c d h", {}, "cannot be taken apart"),
        ("b (c d) h -> b c d h", {"c": 4}, "cannot be taken apart"),
        ("b c h -> b [c] h", {}, "A side of a pattern"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(pattern, sizes, text):
    with pytest.raises(InvalidArgumentError, match=text):
        ops.rearrange(X, pattern, **sizes)
