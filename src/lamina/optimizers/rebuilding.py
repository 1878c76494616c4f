"""An optimizer that was built for other variables, built again: what it remembers of those that stay is kept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamina.variables import Variable

if TYPE_CHECKING:
    from lamina.optimizers.base import Optimizer


def rebuild(optimizer: "Optimizer", variables: Sequence[Variable]) -> None:
    """Build `optimizer` for `variables`; iteration, learning rate and the slots of variables that stay are kept."""
    before = list(optimizer._trainable_variables)
    slots = _slots(optimizer, len(before))
    for held in slots.values():
        for slot in held:
            optimizer._variables.pop(slot, None)
    optimizer.built = False
    optimizer._revision += 1
    optimizer.build(variables)
    places = {id(variable): i for i, variable in enumerate(before)}
    for name, held in slots.items():
        for i, variable in enumerate(variables):
            old = held[places[id(variable)]] if id(variable) in places else None
            new = getattr(optimizer, name)[i]
            if old is not None and new is not None and old.shape == new.shape:
                new.assign(old._array)


def _slots(optimizer: "Optimizer", count: int) -> dict[str, list[Any]]:
    """Return the attributes that hold one variable for each trainable one."""
    return {
        name: list(value)
        for name, value in vars(optimizer).items()
        if isinstance(value, list)
        and name != "_trainable_variables"
        and len(value) == count
        and any(value_ is not None for value_ in value)
        and all(slot is None or isinstance(slot, Variable) for slot in value)
    }
