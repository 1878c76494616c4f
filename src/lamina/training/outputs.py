"""The outputs of a model by position and by name: what belongs to which in targets, weights, losses and metrics."""

from collections.abc import Callable, Sequence
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
        self.names: list[str] | None = list(names) if names and len(names) == self.count else None
        self.keys: list[str] | None = None
        if isinstance(y_pred, dict) and len(y_pred) == self.count:
            self.keys = sorted(y_pred)  # the order of the leaves
            if self.names is None or set(self.names) != set(self.keys):
                self.names = self.keys
            else:
                self.names = self.keys
        self.single = self.count == 1

    def label(self, index: int) -> str:
        """Return the name of an output, for messages."""
        return f"output `{self.names[index]}`" if self.names else f"output {index}"

    def align(self, tree: Any, what: str, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
        """Return one entry of `tree` for each output; None where it has none.

        Args:
            tree: A list or tuple in the order of the outputs, or a dict by name; for one output, the entry itself.
            what: What to call it in an error, e.g. "`y`".
            is_leaf: Whether a value is an entry rather than a structure.

        Raises:
            InvalidArgumentError: If entries are missing, too many, or for outputs that do not exist.
        """
        if tree is None:
            return [None] * self.count
        if isinstance(tree, dict) and (is_leaf is None or not is_leaf(tree)):
            return self._by_name(tree, what)
        found = jax.tree.leaves(tree, is_leaf=lambda x: x is None or (is_leaf is not None and is_leaf(x)))
        if len(found) == self.count:
            return found
        names = f" ({', '.join(self.names)})" if self.names else ""
        raise invalid(
            f"{what} must have one entry for each of the model's {self.count} outputs{names}.",
            received=f"{len(found)} entries",
            fix=f"pass a list of {self.count}, or a dict by output name." if self.count > 1 else "pass one array.",
        )

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
