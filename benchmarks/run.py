"""Runs the peers one after the other, round by round, each measurement in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers

ROOT = Path(__file__).resolve().parent.parent
_LIMIT = 900  # seconds for one measurement


def schedule(names: Sequence[str], workloads: Sequence[str], rounds: int) -> Iterator[tuple[int, str, str]]:
    """Yield (round, workload, peer): the peers side by side, in another order each round."""
    for number in range(rounds):
        for workload in workloads:
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                yield number, workload, name


def measure(name: str, workload: str, *, seconds: float, kind: str, quick: bool) -> dict[str, Any]:
    """Return what the child found: its numbers, or `absent` or `failed` with the reason."""
    lacking = peers.missing(name)
    if lacking:
        return {"absent": f"{', '.join(lacking)} is not installed"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.child",
        name,
        workload,
        str(seconds),
        kind,
        *(["quick"] if quick else []),
    ]
    # Programs that an earlier process compiled would make the time of compiling look like nothing.
    environment = os.environ | {"LAMINA_CACHE": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {_LIMIT} seconds"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"ended with code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def collect(
    names: Sequence[str],
    workloads: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    kind: str = "fit",
    quick: bool = False,
    report: Callable[[int, str, str, dict[str, Any]], None] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Return all measurements in the order in which they were made. What is absent or fails is not tried again."""
    found: list[dict[str, Any]] = []
    without: dict[tuple[str, str], dict[str, Any]] = {}
    for number, workload, name in schedule(names, workloads, rounds):
        result = without.get((workload, name)) or measure(name, workload, seconds=seconds, kind=kind, quick=quick)
        if "samples_per_second" not in result:
            without[workload, name] = result
        found.append({"round": number, "workload": workload, "peer": name, "kind": kind, **result})
        report(number, workload, name, result)
    return found
