"""The losses of `compile` as terms: which loss is asked of which outputs, how much it counts and what it is called."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from lamina._types import Tree
from lamina.errors import UnknownKeyError, did_you_mean, invalid, message
from lamina.training.outputs import Outputs, is_nested, leaves

_WEIGHTS = "`loss_weights` must match the number of losses, got {} losses and {} weights."


class Part(NamedTuple):
    """One entry of `loss`, at its place.

    Attributes:
        places: The number of an output, or a structure of them for a loss that takes several outputs at once.
        identifier: What was given for it.
        weight: By how much it counts; None: as it is.
        path: Keys and positions that led to it.
    """

    places: Tree
    identifier: Any
    weight: float | None
    path: tuple[Any, ...]

    def name(self, outputs: Outputs, own: str) -> str:
        """Return the name in the logs, `own` being that of the loss, which stands in for an output without name."""
        names = outputs.names
        if is_nested(self.places):
            return "/".join(map(str, self.path)) or "_".join(names or [own])
        path = self.path or (0,)
        last = (names[self.places] if names else own) if isinstance(path[-1], int) else path[-1]
        return "/".join(str(part) for part in (*path[:-1], last))


class _Given(NamedTuple):
    """A leaf of `loss` with its weight."""

    identifier: Any
    weight: Any


class _Leaf:
    """Keeps a `_Given` from being taken for a tuple."""

    def __init__(self, given: _Given) -> None:
        self.given = given


def parts_of(loss: Any, loss_weights: Any, outputs: Outputs) -> list[Part]:
    """Return the parts of `loss`, in the order in which they add up.

    A list or tuple of as many losses as there are outputs gives each its own. A list of another kind than the
    outputs (a list for a tuple or dict) asks each of its entries of all of them. Otherwise `loss` is built like the
    outputs, or a dict by their names.

    Raises:
        InvalidArgumentError: If it is not, or weights and losses differ in number.
        UnknownKeyError: If it names an output that does not exist.
    """
    if not is_nested(loss):
        weights = outputs.align(loss_weights, "`loss_weights`") if is_nested(loss_weights) else None
        return [
            Part(index, loss, loss_weights if weights is None else weights[index], (index,))
            for index in range(outputs.count)
        ]
    given = _paired(loss, loss_weights, outputs)
    if isinstance(given, dict) and not _fits(given, outputs):
        return list(_by_name(given, outputs))
    return list(_walk(given, outputs.places, ()))


def _fits(given: dict[str, Any], outputs: Outputs) -> bool:
    """Return whether a dict is built like the outputs, rather than one by the names of outputs."""
    places = outputs.places
    return isinstance(places, dict) and (bool(set(given) & set(places)) or outputs.names is None)


def _paired(loss: Any, weights: Any, outputs: Outputs) -> Any:
    """Return `loss` with `_Leaf`s, each with its weight."""
    if is_nested(weights) and not _same(loss, weights):
        flat = outputs.align(weights, "`loss_weights`") if isinstance(weights, dict) else leaves(weights)
        count = len(leaves(loss))
        if len(flat) != count:
            raise invalid(_WEIGHTS.format(count, len(flat)), received=f"loss_weights={weights!r}")
        if isinstance(loss, dict) and not any(is_nested(entry) for entry in loss.values()) and outputs.names:
            weights = dict(zip(sorted(loss, key=_order(outputs)), flat, strict=True))
        else:
            structure = jax.tree.structure(loss, is_leaf=lambda x: x is None)
            weights = jax.tree.unflatten(structure, flat)
    return _zipped(loss, weights)


def _order(outputs: Outputs) -> Any:
    names = outputs.names or []
    return lambda key: names.index(key) if key in names else len(names)


def _same(loss: Any, weights: Any) -> bool:
    """Return whether weights are built like the losses; a dict may leave some out, a number stand for many."""
    if not is_nested(weights):
        return True
    if isinstance(loss, dict) and isinstance(weights, dict):
        unknown = set(weights) - set(loss)
        return not unknown and all(_same(loss[key], weight) for key, weight in weights.items())
    if isinstance(loss, list | tuple) and isinstance(weights, list | tuple):
        return len(loss) == len(weights) and all(map(_same, loss, weights))
    return False


def _zipped(loss: Any, weights: Any) -> Any:
    if not is_nested(loss):
        return None if loss is None else _Leaf(_Given(loss, weights))
    if isinstance(loss, dict):
        return {key: _zipped(one, weights.get(key) if is_nested(weights) else weights) for key, one in loss.items()}
    several = weights if is_nested(weights) else [weights] * len(loss)
    found = [_zipped(one, weight) for one, weight in zip(loss, several, strict=True)]
    return tuple(found) if isinstance(loss, tuple) else found


def _by_name(given: dict[str, Any], outputs: Outputs) -> Iterator[Part]:
    names = outputs.names
    if names is None:
        if len(given) == outputs.count == 1:
            yield from _walk(next(iter(given.values())), 0, (0,))
            return
        raise invalid("`loss` is a dict, but the outputs of the model have no names.", fix="pass a list.")
    for key in given:
        if key not in names:
            raise _unknown(key, given, outputs)
    for index, name in enumerate(names):
        yield from _walk(given.get(name), index, (index,))


def _unknown(key: Any, given: dict[str, Any], outputs: Outputs) -> Exception:
    names = outputs.names or []
    if isinstance(outputs.places, dict):
        return _lost((key,), given, outputs.places)
    return invalid(
        f"`loss` has the key {key!r}, but the model has no output of that name. Expected keys {names} in loss dict.",
        received=f"keys {list(given)}",
        fix=did_you_mean(str(key), names),
    )


def _lost(path: tuple[Any, ...], given: Any, places: Any) -> UnknownKeyError:
    keys = list(places) if isinstance(places, dict) else []
    where = "either the model's output (`y_pred`) or in the labels (`y_true`)" if keys else "the model's output"
    return UnknownKeyError(
        message(
            f"The path: {path} in the `loss` argument, can't be found in {where}.",
            received=f"keys {list(given)}" if isinstance(given, dict) else f"a {type(given).__name__}",
            fix=did_you_mean(str(path[-1]), map(str, keys)) if keys and path else "build it like the model's outputs.",
        )
    )


def _walk(given: Any, places: Tree, path: tuple[Any, ...]) -> Iterator[Part]:
    if given is None:
        return
    if isinstance(given, _Leaf):
        yield Part(places, given.given.identifier, given.given.weight, path)
    elif isinstance(given, dict):
        for key, entry in given.items():
            if entry is not None and not (isinstance(places, dict) and key in places):
                raise _lost((*path, key), given, places)
        for key in sorted(given):
            yield from _walk(given[key], places[key] if given[key] is not None else None, (*path, key))
    else:
        yield from _walk_list(given, places, path)


def _walk_list(given: Sequence[Any], places: Tree, path: tuple[Any, ...]) -> Iterator[Part]:
    flat = leaves(places)
    if is_nested(places) and len(given) == len(flat) and not any(is_nested(entry) for entry in given):
        for entry, (where, place) in zip(given, _paths(places), strict=True):
            yield from _walk(entry, place, (*path, *where))
    elif isinstance(places, list if isinstance(given, list) else tuple):
        if len(given) > len(places):
            raise invalid(
                f"`loss` and y_pred have different structures. There must be one entry for each of {len(places)} "
                "outputs.",
                received=f"{len(given)} entries",
                fix=f"pass a list of {len(places)}, or a dict by output name.",
            )
        for number, entry in enumerate(given):
            yield from _walk(entry, places[number], (*path, number))
    else:
        for entry in given:
            yield from _walk(entry, places, path)


def _paths(places: Tree) -> list[tuple[tuple[Any, ...], int]]:
    found = jax.tree_util.tree_flatten_with_path(places)[0]
    return [(tuple(getattr(k, "key", getattr(k, "idx", getattr(k, "name", None))) for k in p), i) for p, i in found]
