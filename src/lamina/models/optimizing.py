"""Which variables the optimizer of a model knows."""

from typing import Any

from lamina.optimizers.rebuilding import rebuild


def build(model: Any) -> None:
    """Build the optimizer for the model's trainable weights; one built for others keeps what still belongs to them."""
    optimizer, wanted = model.optimizer, model.trainable_variables
    if optimizer is None:
        return
    if not optimizer.built:
        optimizer.build(wanted)
        return
    known = {id(v) for v in optimizer._trainable_variables}
    if {id(v) for v in wanted} <= known:
        alive = {id(v) for v in model.variables}
        if all(id(v) in alive for v in optimizer._trainable_variables):
            return  # some may be frozen now: they get no gradient
    rebuild(optimizer, wanted)
