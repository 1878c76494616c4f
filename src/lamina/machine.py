"""What this machine has and what it can do: devices, cores, the rate of a matrix product, the time spent compiling."""

import contextlib
import ctypes
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lamina import config
from lamina._version import __version__
from lamina.errors import positive_integer
from lamina.native import library

_COMPILING = "/jax/core/compile/"
_made = 0  # programs so far
_CGROUP = Path("/sys/fs/cgroup")


class Device(NamedTuple):
    """A device that JAX computes on: 'cpu', 'gpu' or 'tpu', its model as the driver calls it, its number."""

    platform: str
    kind: str
    number: int


def devices() -> list[Device]:
    """Return the devices that JAX computes on by default."""
    return [Device(device.platform, device.device_kind, device.id) for device in jax.devices()]


def processor() -> str:
    """Return the processor's model as the system calls it, or its architecture where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores(cgroup: Path = _CGROUP) -> int:
    """Return how many cores this process may use: what the scheduler and a container's quota both allow, at least 1.

    Args:
        cgroup: The folder in which Linux shows the quota of a container.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        allowed = os.cpu_count() or 1
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the cores' worth of time that a container gets, or None without a limit. Control groups 2, then 1."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return float(limit) / float(period) if float(limit) > 0 else None
    except (ValueError, ZeroDivisionError):  # "max"
        return None


def free_memory(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that an array on the default device may have now, at most, or None if nobody says.

    Args:
        cgroup: The folder in which Linux shows the limit of a container.
        meminfo: The file in which Linux shows the memory of the machine.
    """
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:  # an accelerator
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = meminfo.read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # what is used holds caches: it says little
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            found.append(int((cgroup / limit).read_text()))
    if not found:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # macOS shows the whole alone
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) if found else None


def matmul_rate(size: int | None = None, dtype: str = "float32", *, seconds: float = 1.0) -> float:
    """Return the floating-point operations per second of a square matrix product: the median of several.

    A product of `size` by `size` matrices counts as `2 * size**3` operations. It runs through JAX at JAX's default
    precision on the default device, so it is what a layer can hope for here, not the data sheet's number.

    Args:
        size: Rows and columns. Default: 1536 on a CPU (19 MB of operands in float32), 8192 elsewhere.
        dtype: Type of the operands and of the result.
        seconds: Time to spend measuring. At least five products are timed,
            after one that compiles and one that warms up.
    """
    if size is None:
        size = 1536 if jax.default_backend() == "cpu" else 8192
    size = positive_integer(size, "size", owner="matmul_rate")
    left, right = (jax.random.normal(jax.random.key(seed), (size, size), dtype) for seed in (0, 1))
    product = jax.jit(jnp.matmul)
    for _ in range(2):
        product(left, right).block_until_ready()
    return 2.0 * size**3 / _median_time(lambda: product(left, right).block_until_ready(), seconds)


def stream_rate(nbytes: int = 256 << 20, *, seconds: float = 0.5) -> float:
    """Return the bytes per second that `a = a * s + b` reads and writes over arrays of `nbytes` in sum.

    Small sizes measure the caches, large ones the memory. The passes run in one program, so that none is dispatched.

    Args:
        nbytes: Bytes of both arrays together, in float32.
        seconds: Time to spend measuring, beside compiling.
    """
    size = max(16, positive_integer(nbytes, "nbytes", owner="stream_rate") // 8)
    a, b = jnp.zeros(size, "float32"), jnp.ones(size, "float32")
    passes = jax.jit(lambda a, b, n: jax.lax.fori_loop(0, n, lambda _, c: c * 0.5 + b, a))

    def timed(count: int) -> float:
        begin = time.perf_counter()
        passes(a, b, count).block_until_ready()
        return time.perf_counter() - begin

    timed(2)
    count = 2
    while (taken := timed(count)) < seconds / 6 and count < 1 << 20:
        count *= 2 if taken > seconds / 60 else 8
    several = [timed(2 * count) - timed(count) for _ in range(3)]
    rest = statistics.median(several)
    return 12.0 * size * count / (rest if rest > 0 else taken)


def _median_time(work: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median time of `work`, done for about `seconds` and at least five times."""
    times: list[float] = []
    begin = last = clock()
    while len(times) < 5 or last - begin < seconds:
        work()
        now = clock()
        times.append(now - last)
        last = now
    return statistics.median(times)


class CompileClock:
    """Adds up the time in which JAX traces, lowers and compiles, or reads a compiled program from its cache.

    JAX reports a program inside another one too, so the reports overlap: what counts is the time that they cover.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    def record(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Take one report of JAX, which comes when the thing it reports ends."""
        if event.startswith(_COMPILING):
            end = time.perf_counter()
            self.spans.append((end - duration_secs, end))

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        total, reached = 0.0, -math.inf
        for begin, end in sorted(self.spans):
            total += max(0.0, end - max(begin, reached))
            reached = max(reached, end)
        return total


@contextlib.contextmanager
def compiling() -> Iterator[CompileClock]:
    """Return a context with the clock of what is compiled inside it."""
    clock = CompileClock()
    jax.monitoring.register_event_duration_secs_listener(clock.record)
    try:
        yield clock
    finally:
        # Someone may have cleared all listeners in between, and taking off one that is not there is an error.
        with contextlib.suppress(AssertionError, ValueError):
            jax.monitoring.unregister_event_duration_listener(clock.record)


def report() -> list[tuple[str, str]]:
    """Return what `lamina info` prints: pairs of a name and a text. Takes a second, for the rate is measured."""
    config.place_compilation_cache()
    names = ("jax", "jaxlib", "numpy", "optax", "h5py")
    return [
        ("lamina", __version__),
        ("Python", platform.python_version()),
        *((name, metadata.version(name)) for name in names),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("processor", processor()),
        ("cores for this process", str(cores())),
        ("devices", ", ".join(f"{device.platform}:{device.number} ({device.kind})" for device in devices())),
        ("native kernels", library.describe()),
        ("compilation cache", _cache()),
        ("float32 matrix product", f"{matmul_rate() / 1e9:,.0f} GFLOP/s"),
    ]


def _cache() -> str:
    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    if folder is None:
        return f"off (LAMINA_CACHE={os.environ.get('LAMINA_CACHE', '')}); its folder would be {config.cache_folder()}"
    files = [path.stat().st_size for path in Path(folder).glob("*") if path.is_file()]
    return f"{folder} ({sum(files) / 1e6:.1f} MB in {len(files)} files)"


def release_memory() -> None:
    """Give memory that was freed piece by piece back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if platform.system() == "Linux" else None
    if trim is not None:
        trim(0)


def program_made() -> None:
    """Give freed memory back with every eighth call: one for each program that is about to be compiled.

    What XLA's compiler frees stays with the C library in pieces that it does not find again: half a megabyte a program.
    """
    global _made
    _made += 1
    if _made % 8 == 0:
        release_memory()
