"""A job in a thread of its own, waited for in a way that Ctrl-C does not confuse."""

import threading
from collections.abc import Callable


class Background:
    """A job that runs from now on, in a thread of its own.

    `Thread.join` and `is_alive` are not used: in Python 3.11, once Ctrl-C has interrupted a `join`, both say that
    the thread has ended, though it runs on (`threading.Thread._wait_for_tstate_lock`).

    Args:
        job: What to do.
        name: Of the thread.
        daemon: Whether the process may end before the job does.

    Attributes:
        failure: What the job raised, once it has ended.
    """

    def __init__(self, job: Callable[[], None], *, name: str, daemon: bool = False) -> None:
        self.failure: BaseException | None = None
        self._done = threading.Event()

        def run() -> None:
            try:
                job()
            except BaseException as error:
                self.failure = error
            finally:
                self._done.set()

        threading.Thread(target=run, name=name, daemon=daemon).start()

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._done.is_set()

    def wait(self) -> None:
        """Wait until the job has ended; Ctrl-C ends the waiting, not the job."""
        while not self._done.wait(0.2):  # a limit, so that Ctrl-C comes through everywhere
            pass
