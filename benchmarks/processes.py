"""A measurement in a process of its own, so that no library meets another one's threads, memory or caches."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600  # seconds for one measurement


def answer(arguments: Sequence[str], **environment: str) -> dict[str, Any]:
    """Return the JSON in the last line that `python ARGUMENTS` prints, or {"failed": reason}.

    Programs that an earlier process compiled would make the time of compiling look like nothing: caches are off,
    unless `environment` says otherwise.
    """
    around = os.environ | {"LAMINA_CACHE": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"} | environment
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=around, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {LIMIT} seconds"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"ended with code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
