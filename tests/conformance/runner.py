"""One of Keras's test files in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.files import path_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TIMEOUT = 1500

Outcomes = dict[str, list[str]]


def run_file(name: str, shim: bool = True, extra: tuple[str, ...] = ()) -> tuple[Outcomes, str]:
    """Return the outcome of each case of a file, and what pytest printed.

    Args:
        name: The file, e.g. `losses/losses`.
        shim: Whether lamina answers in Keras's place; otherwise Keras tests itself.
        extra: More arguments for pytest.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable, "-m", "pytest", "-q", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE),
            "--noconftest", "-p", "no:cacheprovider", "-p", "tests.conformance.recorder",
            *(["-p", "tests.conformance.keras_shim"] if shim else ["-p", "tests.conformance.keras_alone"]),
            "-W", "ignore", *extra, str(path_of(name)),
        ]  # fmt: skip
        settings = {"KERAS_BACKEND": "jax", "LAMINA_CACHE": "0", "JAX_PLATFORMS": "cpu", "COLUMNS": "120"}
        environment = {**os.environ, **settings, "CONFORMANCE_REPORT": str(report), "KERAS_HOME": folder}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, text=True, timeout=TIMEOUT,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            printed = done.stdout
        except subprocess.TimeoutExpired as error:
            printed = f"{error.stdout!r}\nstopped after {TIMEOUT} s"
        outcomes = json.loads(report.read_text()) if report.exists() else {}
    return outcomes, printed


def run_files(
    names: list[str], jobs: int, tell: Callable[[str, Outcomes, str], None], shim: bool = True
) -> dict[str, Outcomes]:
    """Return the outcomes of many files; `tell(name, outcomes, printed)` is called for each in order, as it comes."""
    found = {}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [(name, pool.submit(run_file, name, shim)) for name in names]
        for name, future in waiting:
            outcomes, printed = future.result()
            found[name] = outcomes
            tell(name, outcomes, printed)
    return found
