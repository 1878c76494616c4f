"""Names of Keras's that stand beside layers and models: backend, config, tree, and what says where to go instead."""

from collections import OrderedDict, namedtuple

import pytest

from lamina import keras
from lamina.errors import InvalidArgumentError
from lamina.keras import tree

Point = namedtuple("Point", "x y")
NEST = {"b": [1, (2, None)], "a": Point(3, {})}


def test_leaves_come_by_sorted_keys_and_go_back_to_their_places():
    assert tree.flatten(NEST) == [3, 1, 2, None]
    assert tree.flatten_with_path(NEST)[0] == (("a", 0), 3)
    assert tree.pack_sequence_as(NEST, [3, 1, 2, None]) == NEST
    assert tree.flatten(OrderedDict([("b", 1), ("a", 2)])) == [1, 2]


def test_maps_keep_the_form():
    assert tree.map_structure(lambda x: (x or 0) + 1, NEST) == {"b": [2, (3, 1)], "a": Point(4, {})}
    assert tree.map_structure(lambda x: x + 1, [None, 1], none_is_leaf=False) == [None, 2]
    assert tree.map_structure_up_to([0, 0], lambda x: len(x), [[1, 2], [3]]) == [2, 1]
    assert tree.map_shape_structure(sum, {"a": (2, 3)}) == {"a": 5}
    assert tree.lists_to_tuples([1, [2]]) == (1, (2,))


def test_a_walk_replaces_from_above_or_from_below():
    assert tree.traverse(lambda x: "list" if isinstance(x, list) else None, [1, [2]]) == "list"
    assert tree.traverse(lambda x: tuple(x) if isinstance(x, list) else None, [1, [2]], top_down=False) == (1, (2,))
    assert tree.traverse(lambda x: tree.MAP_TO_NONE if x == 1 else None, [1, 2]) == [None, 2]


@pytest.mark.parametrize(("one", "other"), [([1], (1,)), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (1, [1])])
def test_forms_that_differ_are_told(one, other):
    with pytest.raises(ValueError, match="same structure"):
        tree.assert_same_structure(one, other)
    if one != [1] or other != (1,):
        with pytest.raises(ValueError, match="same paths"):
            tree.assert_same_paths(one, other)


def test_a_class_of_the_users_may_be_a_nest():
    class Pair:
        def __init__(self, one, two):
            self.parts = one, two

        def tree_flatten(self):
            return self.parts, None

        @classmethod
        def tree_unflatten(cls, metadata, parts):
            return cls(*parts)

    tree.register_tree_node_class(Pair)
    assert tree.map_structure(lambda x: x * 2, Pair(1, [2])).parts == (2, [4])


def test_dtypes_are_told_apart():
    assert keras.backend.is_float_dtype("bfloat16")
    assert keras.backend.is_int_dtype("uint8")
    assert not keras.backend.is_int_dtype("bool")
    assert keras.backend.result_type("int32", "float16") == "float16"
    assert keras.backend.result_type("int8", int) == "int8"
    first = keras.backend.get_uid("a prefix")
    assert keras.backend.get_uid("a prefix") == first + 1


def test_what_is_not_here_names_what_to_use():
    with pytest.raises(AttributeError, match=r"jax\.sharding"):
        _ = keras.distribution
    with pytest.raises(InvalidArgumentError, match="'jax'"):
        keras.config.set_backend("torch")
    with pytest.raises(InvalidArgumentError, match="never runs code"):
        keras.config.enable_unsafe_deserialization()
    assert keras.config.is_nnx_enabled() is False
