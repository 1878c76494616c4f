"""Where each value lies while a network runs, for targets without a heap: one work area, as small as it can be."""

from dataclasses import dataclass

from lamina.interop.lowered import BINARY, Lowered, Operation, size

_IN_PLACE = (
    "function", "affine", "prelu", "softmax", "log_softmax", "sparsemax", "layer_normalization", "rms_normalization",
    "unit_normalization", *BINARY,
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a value begins: in an input (its name), or in the work area (an empty name)."""

    source: str
    offset: int


@dataclass(frozen=True)
class Plan:
    """The places of all values, and how many numbers the work area has."""

    places: dict[str, Place]
    room: int


def plan(net: Lowered) -> Plan:
    """Return places such that no value is overwritten before its last use.

    A reshape moves nothing; what works entry by entry writes over its input where nobody else needs that.
    """
    last = {name: i for i, op in enumerate(net.operations) for name in op.inputs}
    last.update(dict.fromkeys(net.outputs, len(net.operations)))
    places = {name: Place(name, 0) for name in net.inputs}
    owner = {name: name for name in net.inputs}  # the value whose room a value lies in
    until: dict[str, int] = {}  # an owner in the work area to the last use of it or of what lies in it
    held: dict[str, tuple[int, int]] = {}
    room = 0
    for i, op in enumerate(net.operations):
        host = _host(op, net, places, owner, until, last, i)
        if host is not None:
            places[op.output], owner[op.output] = places[host], owner[host]
            if places[host].source == "":
                until[owner[host]] = max(until[owner[host]], last.get(op.output, i))
            continue
        taken = sorted(span for name, span in held.items() if until[name] >= i)
        need, start = size(net.shapes[op.output]), 0
        for begin, end in taken:
            if start + need <= begin:
                break
            start = max(start, end)
        held[op.output], owner[op.output] = (start, start + need), op.output
        places[op.output], until[op.output] = Place("", start), last.get(op.output, i)
        room = max(room, start + need)
    return Plan(places, room)


def _host(
    op: Operation,
    net: Lowered,
    places: dict[str, Place],
    owner: dict[str, str],
    until: dict[str, int],
    last: dict[str, int],
    now: int,
) -> str | None:
    """Return the input in whose place the output may be written, or None."""
    if op.kind == "reshape" or (op.kind == "function" and op.options["name"] == "linear"):
        return op.inputs[0]
    if op.kind not in _IN_PLACE:
        return None
    for name in op.inputs:
        same = net.shapes[name] == net.shapes[op.output]
        if same and places[name].source == "" and until[owner[name]] <= now and last[name] <= now:
            return name
    return None
