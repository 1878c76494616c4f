"""`keras.tree`: nests of lists, tuples and dicts, in which None is a leaf and dicts go by sorted keys."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_NESTS = (list, tuple, dict)


def is_nested(structure: Any) -> bool:
    """Return whether a value is a list, tuple or dict."""
    return isinstance(structure, _NESTS)


def _keys(structure: dict[Any, Any]) -> list[Any]:
    return list(structure) if isinstance(structure, OrderedDict) else sorted(structure)


def _children(structure: Any) -> list[Any]:
    return [structure[key] for key in _keys(structure)] if isinstance(structure, dict) else list(structure)


def _like(structure: Any, children: list[Any]) -> Any:
    if isinstance(structure, dict):
        found = dict(zip(_keys(structure), children, strict=True))
        kept = {key: found[key] for key in structure}
        return OrderedDict(kept) if isinstance(structure, OrderedDict) else kept
    if hasattr(structure, "_fields"):
        return type(structure)(*children)
    return tuple(children) if isinstance(structure, tuple) else list(children)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves."""
    if not is_nested(structure):
        return [structure]
    return [leaf for child in _children(structure) for leaf in flatten(child)]


def flatten_with_path(structure: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Return `(path, leaf)` for each leaf."""
    if not is_nested(structure):
        return [(path, structure)]
    keys = _keys(structure) if isinstance(structure, dict) else range(len(structure))
    pairs = zip(keys, _children(structure), strict=True)
    return [found for key, child in pairs for found in flatten_with_path(child, (*path, key))]


def map_structure(function: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """Return the structure with `function(leaves...)` in the place of each leaf."""
    first = structures[0]
    if not is_nested(first):
        return None if first is None and not none_is_leaf else function(*structures)
    assert_same_structure(first, *structures[1:]) if len(structures) > 1 else None
    rows = zip(*[_children(structure) for structure in structures], strict=True)
    return _like(first, [map_structure(function, *row, none_is_leaf=none_is_leaf) for row in rows])


def map_structure_up_to(shallow: Any, function: Callable[..., Any], *structures: Any) -> Any:
    """Return `function` applied to the parts of `structures` at the leaves of `shallow`."""
    if not is_nested(shallow):
        return function(*structures)
    rows = zip(_children(shallow), *[_children(structure) for structure in structures], strict=True)
    return _like(shallow, [map_structure_up_to(part, function, *row) for part, *row in rows])


def assert_same_structure(first: Any, *others: Any) -> None:
    """Raise `ValueError` unless the structures agree."""
    for other in others:
        if is_nested(first) and not is_nested(other):
            raise ValueError(f"Expected an instance of {type(first).__name__}, got {other!r}")
        if is_nested(first) != is_nested(other):
            raise ValueError(f"The two structures don't have the same nested structure: {first!r} and {other!r}")
        if not is_nested(first):
            continue
        if type(first) is not type(other) and not (isinstance(first, dict) and isinstance(other, dict)):
            raise ValueError(f"The two structures don't have the same nested structure: {first!r} and {other!r}")
        if isinstance(first, dict) and set(first) != set(other):
            raise ValueError(f"The two structures don't have the same keys: {first!r} and {other!r}")
        if len(first) != len(other):
            raise ValueError(f"The two structures don't have the same number of elements: {first!r} and {other!r}")
        for one, two in zip(_children(first), _children(other), strict=True):
            assert_same_structure(one, two)


def pack_sequence_as(structure: Any, flat: Any) -> Any:
    """Return the values of `flat` in the form of `structure`."""
    values = iter(list(flat))
    if len(list(flat)) != len(flatten(structure)):
        raise ValueError(f"The target structure has {len(flatten(structure))} leaves, but got {len(list(flat))}.")
    return map_structure(lambda leaf: next(values), structure)


def _is_shape(structure: Any) -> bool:
    return isinstance(structure, list | tuple) and all(isinstance(size, int | None) for size in structure)


def map_shape_structure(function: Callable[..., Any], structure: Any) -> Any:
    """Return the structure with `function(shape)` in the place of each shape."""
    if _is_shape(structure):
        return function(tuple(structure))
    if not is_nested(structure):
        raise ValueError(f"Cannot map function to unknown object {structure}")
    return _like(structure, [map_shape_structure(function, child) for child in _children(structure)])


def lists_to_tuples(structure: Any) -> Any:
    """Return the structure with tuples for lists."""
    if not is_nested(structure):
        return structure
    children = [lists_to_tuples(child) for child in _children(structure)]
    return tuple(children) if isinstance(structure, list) else _like(structure, children)
