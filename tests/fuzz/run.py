"""Damaged files, one after another, and what must not happen: a crash, a hang, code, memory."""

import pathlib
import random
import signal
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fuzz import mutations, targets

from lamina.errors import LaminaError

_SECONDS = 20  # for one file
_FLOOR = 24 << 20  # bytes: imports, and the stack of HDF5 and JAX
_TIMES = 4
# What no reader does, as Python's audit events name it.
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)
_watching = [False]
_seen: list[str] = []


@dataclass
class Outcome:
    """What came of a run: files that were read, files that were refused, and the first failure."""

    read: int = 0
    refused: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    most: float = 0.0


class _TooLongError(BaseException):
    pass


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watching[0] and event in _FORBIDDEN:
        _seen.append(f"{event} {arguments!r}"[:200])


sys.addaudithook(_hook)


def _alarm(number: int, frame: object) -> None:
    raise _TooLongError


@contextmanager
def _watched() -> Iterator[None]:
    _seen.clear()
    old = signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(_SECONDS)
    tracemalloc.start()
    _watching[0] = True
    try:
        yield
    finally:
        _watching[0] = False
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        tracemalloc.stop()


def once(name: str, seed: int, outcome: Outcome) -> None:
    """Damage the files of a target as `seed` says, read them, and note what happens."""
    rng = random.Random(f"{name} {seed}")
    files = targets.seeds(name)
    chosen = rng.choice(sorted(files))
    with tempfile.TemporaryDirectory() as place:
        folder, size = pathlib.Path(place), 0
        for path, data in files.items():
            content = mutations.mutated(data, rng) if path == chosen else data
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            size += len(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _once(name, seed, folder, size, outcome)


def _once(name: str, seed: int, folder: pathlib.Path, size: int, outcome: Outcome) -> None:
    before = {str(p) for p in folder.rglob("*")}
    peak = 0
    try:
        with _watched():
            try:
                targets.read(name, folder)
                outcome.read += 1
            finally:
                peak = tracemalloc.get_traced_memory()[1]
    except (LaminaError, OSError):
        outcome.refused += 1
    except _TooLongError:
        outcome.failures.append((seed, f"it took more than {_SECONDS} s"))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome.failures.append((seed, f"{type(error).__name__}: {error}"[:300]))
    outcome.most = max(outcome.most, peak / max(size, 1))
    if peak > _TIMES * size + _FLOOR:
        outcome.failures.append((seed, f"it took {peak:,} bytes for a file of {size:,}"))
    if _seen:
        outcome.failures.append((seed, f"it did {_seen[0]}"))
    if {str(p) for p in folder.rglob("*")} != before:
        outcome.failures.append((seed, "it wrote files"))


def run(name: str, count: int | None = None, seconds: float | None = None, first: int = 0) -> Outcome:
    """Return what came of so many damaged files, or of as many as fit into so many seconds."""
    targets.seeds(name)
    outcome = Outcome()
    end = None if seconds is None else time.monotonic() + seconds
    seed = first
    while (count is None or seed < first + count) and (end is None or time.monotonic() < end):
        once(name, seed, outcome)
        seed += 1
    return outcome
