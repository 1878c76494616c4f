"""`keras.tree`: nests of lists, tuples, named tuples and dicts. None is a leaf, and dicts go by sorted keys."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

_own: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {}  # classes of the user's


class MAP_TO_NONE:  # noqa: N801 - Keras's name
    """What a function given to `traverse` returns for None in the place of a part."""


def register_tree_node_class(cls: type) -> type:
    """Return the class after making its objects nests, by its methods `tree_flatten` and `tree_unflatten`."""
    _own[cls] = (lambda node: node.tree_flatten(), cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def is_nested(structure: Any) -> bool:
    """Return whether a value is a list, a tuple, a dict or an object of a registered class."""
    return isinstance(structure, list | tuple | Mapping) or type(structure) in _own


def _items(structure: Any) -> list[tuple[Any, Any]]:
    """Return the keys and parts of a nest, in order."""
    if type(structure) in _own:
        children, _, *keys = _own[type(structure)][0](structure)
        names = keys[0] if keys and keys[0] is not None else range(len(tuple(children)))
        return list(zip(names, children, strict=True))
    if isinstance(structure, Mapping):
        keys_ = list(structure) if isinstance(structure, OrderedDict) else sorted(structure)
        return [(key, structure[key]) for key in keys_]
    return list(enumerate(structure))


def _rebuilt(structure: Any, parts: list[Any]) -> Any:
    """Return a nest like `structure` with other parts."""
    kind = type(structure)
    if kind in _own:
        return _own[kind][1](_own[kind][0](structure)[1], parts)
    if isinstance(structure, Mapping):
        found = dict(zip([key for key, _ in _items(structure)], parts, strict=True))
        ordered = {key: found[key] for key in structure}
        if isinstance(structure, defaultdict):
            return defaultdict(structure.default_factory, ordered)
        return ordered if kind is dict else kind(ordered)
    if hasattr(structure, "_fields"):
        return kind(*parts)
    return kind(parts)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves."""
    return [leaf for _, leaf in flatten_with_path(structure)]


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return `(path, leaf)` for each leaf: the path holds the keys and places that lead to it."""

    def walk(node: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any]]:
        if not is_nested(node):
            return [(path, node)]
        return [found for key, part in _items(node) for found in walk(part, (*path, key))]

    return walk(structure, ())


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Return the structure with `func(part)` in the place of each part for which it returns something.

    Args:
        func: Called on each nest and each leaf. What it returns, if not None, takes the place of the part;
            `MAP_TO_NONE` puts None there.
        structure: The nest.
        top_down: Whether a nest is visited before its parts; a nest that is replaced is then not entered.

    Raises:
        TypeError: If `func` cannot be called.
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func!r}")

    def value(found: Any) -> Any:
        return None if found is MAP_TO_NONE else found

    def walk(node: Any) -> Any:
        if top_down:
            found = func(node)
            if found is not None:
                return value(found)
        if not is_nested(node):
            found = None if top_down else func(node)
            return node if found is None else value(found)
        rebuilt = _rebuilt(node, [walk(part) for _, part in _items(node)])
        if top_down:
            return rebuilt
        found = func(rebuilt)
        return rebuilt if found is None else value(found)

    return walk(structure)


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """Return the structure with `func(leaf, ...)` in the place of each leaf.

    Args:
        func: A function of one leaf of each structure.
        *structures: Nests of the same form.
        none_is_leaf: Whether `func` is called on None; otherwise None stays.

    Raises:
        TypeError: If `func` cannot be called.
        ValueError: If the forms differ or there is no structure.
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func!r}")
    if not structures:
        raise ValueError("Must provide at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)

    def walk(*nodes: Any) -> Any:
        if not is_nested(nodes[0]):
            skip = not none_is_leaf and all(node is None for node in nodes)
            return None if skip else func(*nodes)
        rows = zip(*[[part for _, part in _items(node)] for node in nodes], strict=True)
        return _rebuilt(nodes[0], [walk(*row) for row in rows])

    return walk(*structures)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """Return `shallow_structure` with `func(part, ...)` in the place of each leaf, of the parts at that place.

    Raises:
        TypeError: If `func` cannot be called, or a structure has not the type of the shallow one.
        ValueError: If a structure is not as long or has not the keys of the shallow one, or there is none.
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func!r}")
    if not structures:
        raise ValueError("Must provide at least one structure")

    def walk(shallow: Any, *nodes: Any) -> Any:
        if not is_nested(shallow):
            return func(*nodes)
        for node in nodes:
            _check_alike(shallow, node, types=True)
        rows = zip(_items(shallow), *[[part for _, part in _items(node)] for node in nodes], strict=True)
        return _rebuilt(shallow, [walk(part, *row) for (_, part), *row in rows])

    return walk(shallow_structure, *structures)


def _check_alike(one: Any, other: Any, types: bool) -> None:
    """Raise unless two nests have the same kind, length and keys."""
    if not is_nested(other):
        kind = type(one).__name__
        raise ValueError(f"`a` and `b` don't have the same structure. Expected an instance of {kind}, got {other!r}.")
    both_dicts = isinstance(one, Mapping) and isinstance(other, Mapping)
    if types and type(one) is not type(other) and not both_dicts:
        raise ValueError(f"`a` and `b` don't have the same structure: types {type(one)} and {type(other)} differ.")
    if len(_items(one)) != len(_items(other)) or (both_dicts and set(one) != set(other)):
        raise ValueError(f"`a` and `b` don't have the same structure: {one!r} and {other!r}.")


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raise `ValueError` unless two nests have the same form: types of nests, lengths and keys."""
    del check_types  # Keras's older argument
    if not is_nested(a):
        if is_nested(b):
            raise ValueError(f"`a` and `b` don't have the same structure: {a!r} and {b!r}.")
        return
    _check_alike(a, b, types=True)
    for (_, one), (_, other) in zip(_items(a), _items(b), strict=True):
        assert_same_structure(one, other)


def assert_same_paths(a: Any, b: Any) -> None:
    """Raise `ValueError` unless the leaves of two nests are at the same paths, whatever the types of the nests."""
    one, other = ({path for path, _ in flatten_with_path(nest)} for nest in (a, b))
    if one != other:
        missing, more = sorted(map(str, one - other)), sorted(map(str, other - one))
        raise ValueError(f"`a` and `b` don't have the same paths. Only in `a`: {missing}; only in `b`: {more}.")


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """Return the values of a sequence in the form of `structure`.

    Raises:
        TypeError: If it is no sequence.
        ValueError: If it has not as many values as the structure has leaves.
    """
    if not is_nested(flat_sequence):
        raise TypeError(f"flat_sequence must be a sequence. Received: {flat_sequence!r}")
    values, leaves = list(flat_sequence), len(flatten(structure))
    if len(values) != leaves:
        raise ValueError(
            f"Could not pack sequence. Structure had {leaves} atoms, but flat_sequence had {len(values)} items. "
            f"Structure: {structure}, flat_sequence: {flat_sequence}."
        )
    remaining = iter(values)
    return map_structure(lambda _: next(remaining), structure)


def lists_to_tuples(structure: Any) -> Any:
    """Return the structure with tuples in the place of lists."""
    return traverse(lambda node: tuple(node) if isinstance(node, list) else None, structure, top_down=False)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """Return the structure with `func(shape)` in the place of each shape: a list or tuple of sizes and None.

    Raises:
        TypeError: If `func` cannot be called.
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func!r}")
    is_shape = isinstance(structure, list | tuple) and all(isinstance(size, int | None) for size in structure)
    if is_shape or not is_nested(structure):
        return func(structure)
    return _rebuilt(structure, [map_shape_structure(func, part) for _, part in _items(structure)])
