"""The outputs of a model by position and by name: what belongs to which in targets, weights, losses and metrics."""

from collections.abc import Sequence
from typing import Any

import jax

from lamina._types import Tree
from lamina.errors import did_you_mean, invalid


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of a tree; None is a leaf."""
    return jax.tree.leaves(tree, is_leaf=lambda x: x is None)


def is_nested(tree: Tree) -> bool:
    """Return whether a value is a list, tuple or dict."""
    return isinstance(tree, list | tuple | dict)


class Outputs:
    """The outputs of a model.

    Args:
        y_pred: What the model gives, or specs of it.
        names: Names of the outputs in the order of the leaves, if the model knows them.
    """

    def __init__(self, y_pred: Tree, names: Sequence[str] | None = None) -> None:
        self.specs = leaves(y_pred)
        self.count = len(self.specs)
        self.single = self.count == 1
        self.names: list[str] | None = list(names) if names and len(names) == self.count else None
        structure = jax.tree.structure(y_pred, is_leaf=lambda x: x is None)
        self.places: Tree = jax.tree.unflatten(structure, range(self.count))  # each output's number in its place
        if isinstance(y_pred, dict) and len(y_pred) == self.count:
            self.names = sorted(y_pred)  # the order of the leaves

    def label(self, index: int) -> str:
        """Return the name of an output, for messages."""
        return f"output `{self.names[index]}`" if self.names else f"output {index}"

    def align(self, tree: Any, what: str, wanted: Sequence[int] | None = None) -> list[Any]:
        """Return one entry of `tree` for each output; None where it has none.

        Args:
            tree: The structure of the outputs, or a list in their order, or a dict by name; for one output, the entry.
            what: What to call it in an error, e.g. "`y`".
            wanted: Outputs that may be the only ones with an entry, in their order.

        Raises:
            InvalidArgumentError: If entries are missing, too many, or for outputs that do not exist.
        """
        if tree is None:
            return [None] * self.count
        if isinstance(tree, dict):
            places = self.places
            nested = isinstance(places, dict) and any(is_nested(place) for place in places.values())
            return self._by_place(tree, what) if nested and set(tree) & set(places) else self._by_name(tree, what)
        found = leaves(tree)
        if len(found) == self.count:
            return found
        if isinstance(tree, list | tuple) and isinstance(self.places, list | tuple) and len(tree) == len(self.places):
            return self._by_place(tree, what)
        if wanted is not None and len(found) == len(wanted):
            entries = dict(zip(wanted, found, strict=True))
            return [entries.get(i) for i in range(self.count)]
        names = f" ({', '.join(self.names)})" if self.names else ""
        raise invalid(
            f"{what} and y_pred have different structures. There must be one entry for each of the model's "
            f"{self.count} outputs{names}.",
            received=f"{len(found)} entries",
            fix=f"pass a list of {self.count}, or a dict by output name." if self.count > 1 else "pass one array.",
        )

    def _by_place(self, tree: Any, what: str) -> list[Any]:
        """Return the entries of a tree that is built like the outputs; a part of it may be missing."""
        found: list[Any] = [None] * self.count

        def put(place: Any, entry: Any, path: str) -> None:
            if isinstance(place, int):
                found[place] = entry
            elif isinstance(place, dict) and isinstance(entry, dict):
                for key, value in entry.items():
                    if key not in place:
                        raise invalid(
                            f"{path}[{key!r}] can't be found in the model's output.",
                            received=f"keys {list(entry)}",
                            fix=did_you_mean(str(key), map(str, place)),
                        )
                    put(place[key], value, f"{path}[{key!r}]")
            elif isinstance(place, list | tuple) and isinstance(entry, list | tuple) and len(place) == len(entry):
                for number, (inner, value) in enumerate(zip(place, entry, strict=True)):
                    put(inner, value, f"{path}[{number}]")
            elif entry is not None:
                raise invalid(
                    f"{path} can't be found in the model's output: the structures differ.",
                    received=f"a {type(entry).__name__} where the output is a {type(place).__name__}",
                    fix="give it the structure of the model's outputs.",
                )

        put(self.places, tree, what)
        return found

    def _by_name(self, tree: dict[str, Any], what: str) -> list[Any]:
        names = self.names
        if names is None:
            if len(tree) == self.count == 1:
                return list(tree.values())
            raise invalid(f"{what} is a dict, but the outputs of the model have no names.", fix="pass a list.")
        for key in tree:
            if key not in names:
                raise invalid(
                    f"{what} has the key {key!r}, but the model has no output of that name.",
                    received=f"keys {list(tree)}",
                    fix=did_you_mean(str(key), names),
                )
        return [tree.get(name) for name in names]
