"""Reading and assigning variables without changing them: Keras's `StatelessScope`."""

from contextlib import ExitStack
from typing import Any, Self

from lamina import registry
from lamina._types import Array
from lamina.errors import invalid
from lamina.variables import Variable, isolated, to_array


@registry.export("utils", module="keras")
class StatelessScope:
    """A block in which variables have the values of a mapping, and what is assigned to them stays in the scope.

    After the block, `get_current_value(variable)` gives what a variable had at its end, and the variable itself is as
    it was before.

    Args:
        state_mapping: Pairs `(variable, array)`.
        collect_losses: Kept for Keras scripts: `layer.losses` has them.
        initialize_variables: Kept for Keras scripts: variables are always filled.

    Raises:
        InvalidArgumentError: If a key is no variable, or an array has another shape than its variable.
    """

    def __init__(
        self, state_mapping: Any = None, collect_losses: bool = False, initialize_variables: bool = True
    ) -> None:
        self.collect_losses, self.initialize_variables = collect_losses, initialize_variables
        self.losses: list[Any] = []
        self.state_mapping: dict[int, Array] = {}
        self._variables: dict[int, Variable] = {}
        self._open: ExitStack | None = None
        for variable, value in state_mapping or ():
            if not isinstance(variable, Variable):
                raise invalid(
                    "Invalid reference variable in StatelessScope: all keys in argument `mapping` must be Variable "
                    "instances.",
                    received=repr(variable),
                )
            array = to_array(value, variable.dtype)
            if tuple(array.shape) != tuple(variable.shape):
                raise invalid(
                    "Invalid variable value in StatelessScope: all values in argument `mapping` must be tensors with "
                    "a shape that matches the corresponding variable shape.",
                    received=f"shape {tuple(array.shape)} for the variable {variable.path} of shape {variable.shape}",
                )
            self.add_update((variable, array))

    def add_loss(self, loss: Any) -> None:
        """Keep a loss in `losses`."""
        self.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Let a variable have another value in the scope."""
        variable, value = update
        self._variables[id(variable)], self.state_mapping[id(variable)] = variable, value
        if self._open is not None:
            variable.assign(value)

    def get_current_value(self, variable: Variable) -> Array | None:
        """Return the value of a variable in the scope or at its end; None if the scope has none for it."""
        return self.state_mapping.get(id(variable))

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._arrays = self._open.enter_context(isolated())
        for key, variable in self._variables.items():
            variable.assign(self.state_mapping[key])
        return self

    def __exit__(self, *details: Any) -> None:
        assert self._open is not None
        for variable, array in self._arrays.items():
            self._variables[id(variable)], self.state_mapping[id(variable)] = variable, array
        self._open.close()
        self._open = None
