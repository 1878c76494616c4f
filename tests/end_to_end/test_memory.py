"""Models made in a loop are freed without `clear_session`; predicting in a loop does not grow."""

import json
import subprocess
import sys

import pytest

# Resident bytes, and what `work(i)` adds to them in so many rounds after a start that fills the caches.
HEAD = """
import gc, json, os, sys
import numpy as np
import lamina
from lamina import layers

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def growth(work, start, rounds):
    for i in range(start):
        work(i)
    before = resident()
    for i in range(rounds):
        work(i)
    return (resident() - before) / rounds

x, y = np.ones((16, 64), "float32"), np.ones((16, 1), "float32")

def made():
    model = lamina.Sequential([lamina.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model
"""
LOOPS = {
    # Bytes a round that may stay. Keeping the models costs 54 KB each: one of their weights is 16 KB.
    "built": ("growth(lambda i: kept.append(made()) if leak else made(), 60, 300)", 20_000),
    "predicted": ("growth(lambda i: model.predict(x, verbose=0), 50, 400)", 2_000),
}
BODY = """
leak, kept = {leak}, []
model = made()
print(json.dumps({call}))
"""


def grown(name, leak=False):
    source = HEAD + BODY.format(leak=leak, call=LOOPS[name][0])
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_does_not_grow(name):
    assert grown(name) < LOOPS[name][1]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_models_that_are_kept_are_seen_to_grow():
    assert grown("built", leak=True) > LOOPS["built"][1]
