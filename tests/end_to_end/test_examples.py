"""The examples run, on less of everything."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_deep_network_is_trained_beside_two_others_and_their_picture_is_drawn(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "examples" / "deep_1200.py"),
        "--depth",
        "16",
        "--epochs",
        "1",
        "--rows",
        "512",
    ]
    command += ["--picture", str(tmp_path / "deep.png")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    shares = [float(share) for share in re.findall(r"([\d.]+)% of the test digits", done.stdout)]
    assert len(shares) == 3
    assert done.stdout.count("before training: The gradient") == 3
    assert (tmp_path / "deep.png").read_bytes().startswith(b"\x89PNG")
