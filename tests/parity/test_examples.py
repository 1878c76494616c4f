"""The examples under lamina and under Keras, by the import alone: what they print is the same."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
IMPORT = "import lamina.keras as keras"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if IMPORT in path.read_text(encoding="utf-8"))
# All scripts of one side in one process: what each prints, by name.
RUN = """
import contextlib, io, json, sys
folder, line, *names = sys.argv[1:]
sys.path.insert(0, folder)
found = {}
for name in names:
    source = open(f"{folder}/{name}.py").read().replace("import lamina.keras as keras", line)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, name, "exec"), {"__name__": "__main__"})
    found[name] = printed.getvalue()
print(json.dumps(found))
"""
# How far apart two numbers may be, as a share of them: rounding grows over some hundred steps.
FAR = {"accuracy": 0.015, "recall": 0.05}
# The same to the last bit for ten steps; then eight layers at a high rate make rounding grow.
GROWS = {"self_normalizing": 3}
# What a script must reach for its result to mean something, whoever runs it.
REACHED = {
    "digits_mlp": ("test accuracy", 0.9, 1),
    "newswires": ("test accuracy", 0.8, 1),
    "structured_data": ("test accuracy", 0.8, 1),
    "autoencoder": ("test error", 0, 0.04),
    "variational_autoencoder": ("last loss", 0, 200),
    "residual_mlp": ("test accuracy", 0.9, 1),
    "mlp_mixer": ("test accuracy", 0.85, 1),
    "self_normalizing": ("test accuracy", 0.85, 1),
    "wide_and_deep": ("test accuracy", 0.8, 1),
    "imbalanced": ("recall with weights", 0.6, 1),
}


def started(line):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(EXAMPLES), line, *SCRIPTS]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(process):
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def printed():
    one, other = started(IMPORT), started("import keras")
    return finished(one), finished(other)


def numbers(text):
    return {key: float(value) for key, value in re.findall(r"^(.+): (-?[\d.]+)$", text, re.MULTILINE)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_prints_the_same_under_keras(name, printed):
    ours, theirs = (numbers(side[name]) for side in printed)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 2
    for key, value in ours.items():
        far = next((far for word, far in FAR.items() if word in key), 0.02) * GROWS.get(name, 1)
        assert value == pytest.approx(theirs[key], rel=far, abs=2e-3), f"{key}: {ours} beside {theirs}"
    key, least, most = REACHED[name]
    assert least < ours[key] <= most


def test_every_example_is_short_listed_and_changed_by_one_line():
    listed = (EXAMPLES / "README.md").read_text()
    assert set(SCRIPTS) == set(REACHED)
    for name in SCRIPTS:
        text = (EXAMPLES / f"{name}.py").read_text()
        assert len(text.splitlines()) <= 80
        assert text.count("lamina") == 1
        assert IMPORT in text
        assert f"`{name}.py`" in listed
