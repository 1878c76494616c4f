"""All state of a model as nested dicts by the paths of its variables."""

from typing import Any

import numpy as np

from lamina._types import Array, Numpy
from lamina.errors import did_you_mean, invalid
from lamina.variables import Variable

_GROUPS = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")

StateTree = dict[str, dict[str, Any]]


class HasStateTree:
    """The part of a model that gives all its state at once and takes it back."""

    name: str
    optimizer: Any

    def get_state_tree(self, value_format: str = "backend_tensor") -> StateTree:
        """Return the variables by group, each group nested by the parts of the variables' paths.

        The groups are "trainable_variables", "non_trainable_variables", "optimizer_variables" and "metrics_variables".

        Args:
            value_format: "backend_tensor" for JAX arrays, "numpy_array" for copies in NumPy.

        Raises:
            InvalidArgumentError: If two variables have one path.
        """
        if value_format not in ("backend_tensor", "numpy_array"):
            raise invalid(
                "`value_format` must be one of 'backend_tensor', 'numpy_array'.",
                received=f"value_format={value_format!r}",
            )
        return {group: _nested(self._group(group), value_format == "numpy_array", self.name) for group in _GROUPS}

    def set_state_tree(self, state_tree: StateTree) -> None:
        """Assign what `get_state_tree` gave, or a part of it: all of it, or nothing if something does not fit.

        Raises:
            InvalidArgumentError: For a group or path that the model does not have, or a value of another shape.
        """
        found: list[tuple[Variable, Numpy]] = []
        for group, tree in state_tree.items():
            if group not in _GROUPS:
                raise invalid(
                    f"There is no group of variables {group!r}.",
                    owner=f"Model `{self.name}`",
                    fix=did_you_mean(group, _GROUPS),
                )
            own = {variable.path: variable for variable in self._group(group)}
            for path, value in _flat(tree):
                if path not in own:
                    raise invalid(
                        f"There is no variable {path!r} among the {group}.",
                        owner=f"Model `{self.name}`",
                        fix=did_you_mean(path, own),
                    )
                array = np.asarray(value)
                if array.shape != own[path].shape:
                    raise invalid(
                        f"Variable `{path}` has shape {own[path].shape}.", received=f"an array of shape {array.shape}"
                    )
                found.append((own[path], array))
        for variable, array in found:
            variable.assign(array)

    def _group(self, group: str) -> list[Variable]:
        if group == "optimizer_variables":
            return list(self.optimizer.variables) if self.optimizer is not None else []
        return list(getattr(self, group))


def _nested(variables: list[Variable], numpy: bool, owner: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for variable in variables:
        *folders, last = variable.path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        if last in place:
            raise invalid(
                f"The following variable path is found twice in the model: '{variable.path}'.",
                owner=f"Model `{owner}`",
                fix="give its layers names of their own.",
            )
        value: Array | Numpy = variable.numpy() if numpy else variable.value
        place[last] = value
    return tree


def _flat(tree: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in tree.items():
        whole = f"{path}/{key}" if path else key
        pairs.extend(_flat(value, whole) if isinstance(value, dict) else [(whole, value)])
    return pairs
