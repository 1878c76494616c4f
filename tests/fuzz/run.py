"""Damaged files, one after another, and what must not happen: a crash, a hang, code, memory."""

import pathlib
import random
import resource
import signal
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.fuzz import mutations, targets

from lamina.errors import LaminaError

SECONDS = 20  # of CPU, for one file
_FLOOR = 24 << 20  # bytes of Python's and NumPy's: the objects of a graph of many small parts
_RESIDENT_FLOOR = 48 << 20  # and of all memory, which C takes from the system in large pieces
_TIMES = 4
# What no reader does, as Python's audit events name it.
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "os.remove",
    "os.rename",
    "shutil.rmtree",
    "subprocess.Popen",
    "socket.connect",
    "socket.getaddrinfo",
    "pickle.find_class",
    "ctypes.dlopen",
    "marshal.loads",
)
_watching: list[pathlib.Path | None] = [None]
_seen: list[str] = []


@dataclass
class Outcome:
    """What came of a run: files that were read, files that were refused, the failures, and the CPU's seconds."""

    read: int = 0
    refused: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0


class _TooLongError(BaseException):
    pass


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watching[0] is None:
        return
    if event in _FORBIDDEN and not _is_an_import():
        _seen.append(f"{event} {arguments!r}"[:200])
    elif event == "open" and _elsewhere(arguments[0]):
        _seen.append(f"open {arguments[0]!r}")


def _is_an_import() -> bool:
    """Return whether Python is loading a module of an installed package, which may do what a reader may not."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _elsewhere(path: object) -> bool:
    """Return whether a file is one that the damaged files may have named, and no part of what is installed."""
    if not isinstance(path, str | bytes):
        return False
    text = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
    return text.startswith(("/etc", "/tmp/", "..")) and not text.startswith(str(_watching[0])) and not _is_an_import()


sys.addaudithook(_hook)


def _alarm(number: int, frame: object) -> None:
    raise _TooLongError


@contextmanager
def _watched(folder: pathlib.Path) -> Iterator[None]:
    _seen.clear()
    old = signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    tracemalloc.start()
    _watching[0] = folder
    try:
        yield
    finally:
        _watching[0] = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        tracemalloc.stop()


def _resident(which: str) -> int:
    """Return bytes of the process's memory: "VmRSS" now, "VmHWM" at most since the last `_forget`."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024
    return 0


def _forget() -> None:
    with suppress(OSError):  # not everywhere: then the most is that of the whole process, which no difference shows
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def once(name: str, seed: int, outcome: Outcome) -> None:
    """Damage the files of a target as `seed` says, read them, and note what happens."""
    rng = random.Random(f"{name} {seed}")
    files = targets.seeds(name)
    chosen = rng.choice(sorted(files))
    with tempfile.TemporaryDirectory() as place:
        folder, size = pathlib.Path(place), 0
        for path, data in files.items():
            content = mutations.mutated(data, rng, path) if path == chosen else data
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            size += len(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _once(name, folder, size)
            if "bytes of memory" in found:  # the first time something is imported or compiled it takes more
                found = _once(name, folder, size)
    if found in ("read", "refused"):
        setattr(outcome, found, getattr(outcome, found) + 1)
    else:
        outcome.failures.append((seed, found))


def _once(name: str, folder: pathlib.Path, size: int) -> str:
    """Return "read", "refused", or what is wrong."""
    before = {str(p) for p in folder.rglob("*")}
    peak, found = 0, "read"
    _forget()
    resident = _resident("VmRSS")
    try:
        with _watched(folder):
            try:
                targets.read(name, folder)
            finally:
                peak = tracemalloc.get_traced_memory()[1]
    except (LaminaError, OSError):
        found = "refused"
    except _TooLongError:
        return f"it took more than {SECONDS} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        found = f"{type(error).__name__}: {error}"[:300]
    if _seen:
        return f"it did {_seen[0]}"
    if {str(p) for p in folder.rglob("*")} != before:
        return "it wrote files"
    if peak > _TIMES * size + _FLOOR:
        return f"it took {peak:,} bytes of memory for a file of {size:,}"
    if (more := _resident("VmHWM") - resident) > _TIMES * size + _RESIDENT_FLOOR:
        return f"it took {more:,} resident bytes of memory for a file of {size:,}"
    return found


def warm(name: str) -> None:
    """Read the good files of a target once, so that what is imported and compiled then is not charged to a bad one."""
    with tempfile.TemporaryDirectory() as place:
        for path, data in targets.seeds(name).items():
            pathlib.Path(place, path).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(place, path).write_bytes(data)
        targets.read(name, pathlib.Path(place))


def run(
    name: str,
    count: int | None = None,
    seconds: float | None = None,
    first: int = 0,
    tell: Callable[[int, Outcome], None] | None = None,
) -> Outcome:
    """Return what came of so many damaged files, or of as many as fit into so many seconds of the CPU.

    Args:
        name: A target.
        count: How many files.
        seconds: Of the CPU: of this process alone, whatever else the machine does.
        first: The first seed.
        tell: Told each seed before its file is read, with what came until then.
    """
    warm(name)
    outcome = Outcome()
    begun = time.process_time()
    seed = first
    while (count is None or seed < first + count) and (seconds is None or outcome.seconds < seconds):
        if tell is not None:
            tell(seed, outcome)
        once(name, seed, outcome)
        outcome.seconds = time.process_time() - begun
        seed += 1
    return outcome


def limit_cpu(seconds: float) -> None:
    """Have the system end this process if it takes so many seconds more: a hang in C lets no signal handler run."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
