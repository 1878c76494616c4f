"""The order in which the parts of a graph out of a file can be made."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")


def in_order(needs: Mapping[K, Collection[K]]) -> Iterator[K]:
    """Yield each key once all that it needs has been yielded; what waits in a circle, or for no key, never comes.

    Each key is looked at once for each thing that it waits for, however deep the graph is.

    Args:
        needs: What each key waits for, each thing once.
    """
    waiting: dict[K, list[K]] = {}
    for key, needed in needs.items():
        for other in needed:
            waiting.setdefault(other, []).append(key)
    missing = {key: len(needed) for key, needed in needs.items()}
    ready = deque(key for key, count in missing.items() if not count)
    while ready:
        key = ready.popleft()
        yield key
        for other in waiting.pop(key, []):
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
