"""How many batches go into one dispatch: as many as fit into the time between two looks."""

import time


class Pace:
    """Learns how long a batch takes and says how many may go into the next dispatch.

    Args:
        seconds: Time that a dispatch should take.
        most: Most batches in a dispatch; 1 where somebody wants to see each.
        known: Seconds a batch, from an earlier run of the same program.
    """

    FIRST = 8  # batches of the first dispatch, whose time is mostly compilation

    def __init__(self, seconds: float, most: int | None = None, known: float | None = None) -> None:
        self.seconds, self.most, self.per_batch = seconds, most, known
        self._compiled = known is not None
        self._last = 0.0

    def count(self) -> int:
        """Return how many batches the next dispatch may hold."""
        if self.most is not None:
            return self.most
        if self.per_batch is None:
            return self.FIRST
        return max(1, int(self.seconds / self.per_batch))

    def start(self) -> None:
        """Say that the device begins now."""
        self._last = time.perf_counter()

    def done(self, batches: int) -> None:
        """Say that a dispatch of so many batches has ended."""
        now = time.perf_counter()
        spent, self._last = (now - self._last) / batches, now
        if not self._compiled:
            self._compiled = True
            return
        self.per_batch = spent if self.per_batch is None else 0.5 * (self.per_batch + spent)
