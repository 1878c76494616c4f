"""What the library remembers between models, and how to make it forget."""

import gc
from typing import Any

from lamina import config, dtype_policies, names, random
from lamina.graph import KerasTensor


def clear_session(free_memory: bool = True) -> None:
    """Forget counted names, the global random generator, the default policy and logging settings. Models stay.

    Args:
        free_memory: Whether to collect garbage at once.
    """
    names.reset()
    random._global.clear()
    dtype_policies._default.clear()
    config.enable_interactive_logging()
    config.enable_traceback_filtering()
    if free_memory:
        gc.collect()


def is_keras_tensor(x: Any) -> bool:
    """Return whether a value is a stand-in, as `Input` gives."""
    return isinstance(x, KerasTensor)


def get_source_inputs(tensor: Any) -> list[Any]:
    """Return the stand-ins of inputs that a stand-in is computed from, each once."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        history = getattr(one, "_keras_history", None)
        node = history.operation._inbound_nodes[history.node_index] if history is not None else None
        if node is None or node.is_input:
            found[id(one)] = one
        else:
            stack.extend(reversed(node.input_tensors))
    return list(found.values())
