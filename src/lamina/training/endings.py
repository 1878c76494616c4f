"""SIGTERM in a fit: the dispatch under way is finished, what is to be saved is saved, and the process ends with 143."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CODE = 128 + int(signal.SIGTERM)


class Terminated(SystemExit):
    """The process was told to end while it trained. If nothing catches it, its exit code is 143, as shells expect."""

    def __init__(self) -> None:
        super().__init__(CODE)


class Request:
    """Whether the process has been told to end."""

    def __init__(self) -> None:
        self.made = False

    def heed(self) -> None:
        """Raise `Terminated` if so."""
        if self.made:
            raise Terminated


@contextmanager
def awaited() -> Iterator[Request]:
    """Inside the block SIGTERM only makes a request, unless the program has a handler of its own for it."""
    request = Request()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield request
        return

    def note(number: int, frame: Any) -> None:
        del number, frame
        request.made = True

    signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    request.heed()
