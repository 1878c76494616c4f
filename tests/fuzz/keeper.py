"""A reader's run in a process of its own, so that one that crashes or hangs is a failure with a seed and not the end.

The process writes where it is before each file; when it dies, the seed that it was at is noted and the next one begun.
"""

import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from tests.fuzz import run

ROOT = pathlib.Path(__file__).parents[2]
_ASLEEP = 120.0  # seconds without a file and without work of the CPU


def child(name: str, seconds: float, first: int, place: pathlib.Path) -> None:
    """Be the process: read damaged files, and write to `place` which one is next."""
    page = place.open("wb", buffering=0)

    def tell(seed: int, outcome: run.Outcome, over: bool = False) -> None:
        said = {"seed": seed, "over": over, **vars(outcome)}
        os.pwrite(page.fileno(), json.dumps(said).encode() + b"\n", 0)
        os.ftruncate(page.fileno(), len(json.dumps(said)) + 1)
        run.limit_cpu(3 * run.SECONDS)

    run.limit_cpu(3 * run.SECONDS)
    outcome = run.run(name, seconds=seconds, first=first, tell=tell)
    tell(first + outcome.read + outcome.refused + len(outcome.failures), outcome, over=True)


def kept(name: str, seconds: float, first: int, folder: pathlib.Path, before: dict[str, Any] | None) -> dict[str, Any]:
    """Return what came of a reader's run up to so many seconds of the CPU, its crashes included.

    Args:
        name: A target.
        seconds: Of the CPU, those of the runs before included.
        first: The first seed of a new run.
        folder: Where the process may write.
        before: What came of the runs before; this one goes on with their next seed.
    """
    whole = run.Outcome(**{key: before[key] for key in vars(run.Outcome())}) if before else run.Outcome()
    seed = before["next"] if before else first
    while whole.seconds < seconds:
        place = folder / f"{name}.now"
        place.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", f"{seconds - whole.seconds}"]
        process = subprocess.Popen([*command, "--first", str(seed), "--inside", str(place)], cwd=ROOT)
        hung = _wait(process)
        said = (
            json.loads(place.read_text()) if place.exists() and place.stat().st_size else {"seed": seed, "over": False}
        )
        for key in ("read", "refused", "failures", "seconds"):
            setattr(whole, key, getattr(whole, key) + said.get(key, run.Outcome().__dict__[key]))
        seed = said["seed"] + (not said["over"])
        if said["over"]:
            break
        why = "it hung" if hung else f"the process ended with {_ended(process.returncode)}"
        whole.failures.append((said["seed"], why))
        if not said.get("read", 0) + said.get("refused", 0) and len(whole.failures) > 20:
            break
        whole.seconds += run.SECONDS  # so that readers that always crash come to an end
    (folder / f"{name}.now").unlink(missing_ok=True)
    day = datetime.date.today().isoformat()
    return {"name": name, **vars(whole), "next": seed, "date": day}


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"


def _wait(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a process; end it if it sleeps without end. A process that waits for the CPU, or is stopped, does not."""
    last, since = "", time.monotonic()
    while True:
        try:
            process.wait(timeout=5)
            return False
        except subprocess.TimeoutExpired:
            pass
        try:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        now = " ".join(fields[11:13])
        if now != last or fields[0] not in "SD":
            last, since = now, time.monotonic()
        elif time.monotonic() - since > _ASLEEP:
            process.kill()
            process.wait()
            return True
