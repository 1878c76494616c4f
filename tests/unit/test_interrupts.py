"""Ctrl-C and SIGTERM at random moments: no broken model, no broken file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).parents[1] / "interrupted_child.py"


@pytest.mark.parametrize(("kind", "trials"), [("small", 240), ("wide", 36)])
def test_interrupts_leave_the_state_of_a_finished_dispatch_and_whole_files(kind, trials, tmp_path):
    command = [sys.executable, str(CHILD), str(trials), str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert {key: entry["wrong"] for key, entry in counts.items() if entry["wrong"]} == {}
    assert {key.split()[0] for key in counts} == {"fit", "evaluate", "predict", "save"}
    assert all(entry["cut off"] > 0 for key, entry in counts.items() if key.endswith("SIGINT"))
