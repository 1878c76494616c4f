"""`lamina demo`, as a user runs it."""

import re
import subprocess
import sys

import pytest

from lamina import models
from lamina.datasets import mnist


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "lamina", "demo", "--epochs", "3", "--seed", "4", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout + done.stderr, folder


def test_it_says_what_it_reached(demo):
    text, _ = demo
    for words in ("test accuracy", "compile time", "training time", "GFLOP/s"):
        assert words in text
    assert float(re.search(r"test accuracy\s+([\d.]+)%", text)[1]) > 90


def test_it_writes_a_model_that_predicts_and_the_pictures(demo):
    _, folder = demo
    model = models.load_model(folder / "model.keras")
    (_, _), (x, y) = mnist.load_data()
    guessed = model.predict(x, verbose=0).argmax(axis=1)
    assert (guessed == y).mean() > 0.9
    for name in ("curves.png", "mistakes.png", "weights.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
