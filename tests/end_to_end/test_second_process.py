"""A second process running the same script compiles nothing: programs are kept in the user's cache folder."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
hits, misses = [], []
def listen(event, **_):
    if event == "/jax/compilation_cache/cache_hits": hits.append(event)
    if event == "/jax/compilation_cache/cache_misses": misses.append(event)
jax.monitoring.register_event_listener(listen)
import lamina
from lamina import layers, models
lamina.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(100, 5)).astype("float32")
model = models.Sequential([layers.Dense(8, activation="relu"), layers.Dropout(0.1), layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
model.fit(x, x[:, 0], epochs=2, validation_split=0.2, verbose=0)
model.evaluate(x, x[:, 0], verbose=0)
model.predict(x, verbose=0)
print(len(hits), len(misses))
"""


def run(folder):
    environment = {**os.environ, "LAMINA_CACHE": str(folder)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert "Error" not in done.stderr, done.stderr
    return [int(n) for n in done.stdout.split()]


def test_the_second_process_compiles_nothing(tmp_path):
    _, misses = run(tmp_path)
    assert misses > 0
    hits_again, misses_again = run(tmp_path)
    assert misses_again == 0
    assert hits_again >= misses


def test_the_cache_can_be_turned_off(tmp_path):
    hits, misses = run("0")
    assert hits == misses == 0
    assert list(tmp_path.iterdir()) == []
