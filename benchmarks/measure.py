"""The one way in which every peer is timed, from outside and without callbacks.

A peer gives `train(epochs)`: its ordinary fit, called again on the same warm object, which returns when the work is
done. What an epoch costs is a difference: the time of a fit of 1 + n epochs less that of a fit of one epoch, over n.
So everything that a fit does once (checks, copies, building) and all compiling cancel, and everything that an epoch
does (shuffling, batches, progress bar, validation where the peer has it) counts. n is such that the long fit takes
about a third of `seconds`; there are three such pairs of fits, and the median counts (where one epoch takes longer
than that, one pair). A fit of several short epochs comes before them, so that nothing is compiled inside the
timed ones.

Compiling is reported apart: the time of the very first fit of one epoch less that of a warm one.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds for an epoch in the steady state, seconds for compiling, and over how many epochs it was measured."""

    epoch: float
    compiling: float
    epochs: int


def training(train: Callable[[int], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> Timing:
    """Return what an epoch of `train` costs."""

    def timed(epochs: int) -> float:
        begin = clock()
        train(epochs)
        return clock() - begin

    first, warm = timed(1), timed(1)
    share = seconds / 3
    several = min(200, max(2, math.ceil(0.9 * share / warm)))
    roughly = timed(several) / several if warm < share else warm
    count = min(5_000, max(2, math.ceil(share / roughly)))
    costs, shorts = [], []
    for _ in range(3 if roughly < share else 1):
        shorts.append(timed(1))
        costs.append((timed(1 + count) - shorts[-1]) / count)
    epoch = statistics.median(costs)
    if epoch <= 0:
        raise RuntimeError("an epoch seems to take no time: measure for more seconds, or on a quieter machine")
    return Timing(epoch=epoch, compiling=max(0.0, first - statistics.median(shorts)), epochs=count)


def inference(predict: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> Timing:
    """Return what a pass of `predict` costs: the median of those that fit into `seconds`, at least three."""
    begin = clock()
    predict()
    first = clock() - begin
    predict()
    times: list[float] = []
    total = 0.0
    while len(times) < 3 or total < seconds:
        begin = clock()
        predict()
        times.append(clock() - begin)
        total += times[-1]
    median = statistics.median(times)
    return Timing(epoch=median, compiling=max(0.0, first - median), epochs=len(times))
