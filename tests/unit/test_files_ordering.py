import pytest

from lamina.files.ordering import in_order


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({}, []),
        ({"a": [], "b": []}, ["a", "b"]),
        ({"c": ["b"], "b": ["a"], "a": []}, ["a", "b", "c"]),
        ({"d": {"b", "c"}, "b": {"a"}, "c": {"a"}, "a": set()}, ["a", "b", "c", "d"]),
        ({"a": ["b"], "b": ["a"], "c": []}, ["c"]),
        ({"a": ["nowhere"], "b": []}, ["b"]),
    ],
)
def test_each_comes_after_all_that_it_needs_and_the_rest_not_at_all(needs, order):
    assert list(in_order(needs)) == order


def test_a_chain_of_a_hundred_thousand_is_no_matter():
    needs = {i: [i - 1] if i else [] for i in range(100_000)}
    assert list(in_order(needs)) == list(range(100_000))
