"""An optimizer as it looks to a step that holds the variables of repeated layers in stacks."""

from collections.abc import Sequence
from typing import Any

from lamina.optimizers.base import Optimizer
from lamina.stacks import Stack
from lamina.variables import Variable


def view(optimizer: Any, stacks: Sequence[Stack]) -> Any:
    """Return the optimizer with stacks in the place of their members, sharing all else; None if it cannot work so.

    It can if its rule treats every parameter by itself and all members of a stack alike.

    Args:
        optimizer: An optimizer that is built.
        stacks: Stacks of parameters and of the optimizer's own variables.
    """
    if not _by_rule(optimizer):
        return None
    home = {member: stack for stack in stacks for member in stack.members}
    trained = optimizer._trainable_variables
    spared = frozenset(home.get(v, v) for v in optimizer._spared[0])
    own = dict(optimizer.__dict__)
    for key, value in own.items():
        if (
            isinstance(value, list)
            and len(value) == len(trained)
            and all(isinstance(v, Variable | None) for v in value)
        ):
            own[key] = _collapsed(value, trained, home)
            if own[key] is None:
                return None
    own["_spared"] = spared, optimizer._spared[1]
    own["_variables"] = dict.fromkeys(home.get(v, v) for v in optimizer._variables)
    own["_trainable_variables_indices"] = {unit: i for i, unit in enumerate(own["_trainable_variables"])}
    twin = object.__new__(type(optimizer))
    twin.__dict__.update(own)
    decays = optimizer._weight_decay_of
    if any(len({decays(v) for v in s.members}) > 1 for s in own["_trainable_variables"] if isinstance(s, Stack)):
        return None
    return twin


def _by_rule(optimizer: Any) -> bool:
    cls = type(optimizer)
    return (
        isinstance(optimizer, Optimizer)
        and optimizer.built
        and cls.__module__.startswith("lamina.optimizers")
        and cls.apply is Optimizer.apply
        and cls._advance is Optimizer._advance
        and cls._apply_rule is Optimizer._apply_rule
        and not optimizer._has_own_update_step()
    )


def _collapsed(values: list[Any], trained: list[Variable], home: dict[Variable, Stack]) -> list[Any] | None:
    """Return a list with an entry for each parameter as one for each unit; None if members of a stack differ."""
    groups: dict[Any, list[Any]] = {}
    for value, variable in zip(values, trained, strict=True):
        groups.setdefault(home.get(variable, variable), []).append(value)
    found = []
    for unit, members in groups.items():
        units = {None if member is None else home.get(member, member) for member in members}
        if isinstance(unit, Stack) and (len(members) != len(unit.members) or len(units) > 1):
            return None
        found.append(units.pop())
    return found


def slot_stacks(optimizer: Any, stacks: Sequence[Stack]) -> list[Stack]:
    """Return stacks of what an optimizer remembers for the members of stacks of parameters."""
    if not _by_rule(optimizer):
        return []
    trained = optimizer._trainable_variables
    place = {variable: i for i, variable in enumerate(trained)}
    found: list[Stack] = []
    for value in list(optimizer.__dict__.values()):
        if value is trained or not isinstance(value, list) or len(value) != len(trained):
            continue
        for stack in stacks:
            members = [value[place[m]] for m in stack.members if m in place]
            if len(members) == len(stack.members) and all(isinstance(m, Variable) for m in members):
                known = members[0]._stack
                whole = known is not None and list(known.members) == members
                found.append(known if whole else Stack(members))
    return found if view(optimizer, [*stacks, *found]) is not None else []
