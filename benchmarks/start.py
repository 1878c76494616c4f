"""From nothing to the first trained epoch: a user's script on iris, as a whole process, with warm caches.

The time is that of the process, from its start to its end; processor seconds are beside it. Each library runs its own
script once before, so that caches of programs and the system's pages are as on the second day.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.processes import LIMIT, ROOT

TITLE = "iris: start to first trained epoch, whole process"
WAYS = {
    "lamina": "lamina",
    "keras_jax": "Keras on JAX",
    "keras_tensorflow": "Keras on TensorFlow",
    "torch_eager": "PyTorch eager",
}
_NEEDS = {"lamina": ("lamina",), "keras_jax": ("keras", "jax"), "keras_tensorflow": ("keras", "tensorflow"),
          "torch_eager": ("torch",)}  # fmt: skip
_BACKENDS = {"keras_jax": "jax", "keras_tensorflow": "tensorflow"}
_LOAD = """
import sys
import numpy as np
table = np.loadtxt(sys.argv[1], delimiter=",", dtype=np.float32)
x, y = table[:, :4], table[:, 4].astype(np.int32)
"""
_KERAS = """
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=1)
"""
_TORCH = """
import torch
from torch import nn
x, y = torch.from_numpy(x), torch.from_numpy(y).long()
model, criterion = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), nn.CrossEntropyLoss()
optimizer, right = torch.optim.Adam(model.parameters()), 0
for rows in torch.randperm(len(x)).split(32):
    optimizer.zero_grad()
    outputs = model(x[rows])
    loss = criterion(outputs, y[rows])
    loss.backward()
    optimizer.step()
    right += (outputs.argmax(1) == y[rows]).sum().item()
print(f"loss {loss.item():.4f}, accuracy {right / len(x):.4f}")
"""
SCRIPTS = {
    "lamina": _LOAD + "from lamina import keras" + _KERAS,
    "keras_jax": _LOAD + "import keras" + _KERAS,
    "keras_tensorflow": _LOAD + "import keras" + _KERAS,
    "torch_eager": _LOAD + _TORCH,
}


@cache
def folder() -> Path:
    """Return a folder with the scripts, the data, and the cache of what lamina compiles."""
    from sklearn.datasets import load_iris

    made = Path(tempfile.mkdtemp(prefix="lamina-start-"))
    for way, script in SCRIPTS.items():
        (made / f"start_{way}.py").write_text(script)
    x, y = load_iris(return_X_y=True)
    lines = [",".join(map(str, (*row, label))) for row, label in zip(x.tolist(), y.tolist(), strict=True)]
    (made / "iris.csv").write_text("\n".join(lines) + "\n")
    return made


def once(way: str) -> dict[str, Any]:
    """Return wall and processor seconds of one process, or why it failed."""
    where = folder()
    source = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
    around = os.environ | {
        "LAMINA_CACHE": str(where / "cache"), "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": source,
        **({"KERAS_BACKEND": _BACKENDS[way]} if way in _BACKENDS else {}),
    }  # fmt: skip
    command = [sys.executable, str(where / f"start_{way}.py"), str(where / "iris.csv")]
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=around, cwd=where, timeout=LIMIT)
    wall, after = time.perf_counter() - begin, os.times()
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"value": wall, "processor": spent}


def measured(way: str, seconds: float, quick: bool = False) -> dict[str, Any]:
    """Return the median of several processes, after one that warms the caches."""
    lacking = [package for package in (*_NEEDS[way], "sklearn") if find_spec(package) is None]
    if lacking:
        return {"absent": f"{', '.join(lacking)} is not installed"}
    first = once(way)
    if "failed" in first:
        return first
    found = [once(way)]
    while not quick and len(found) < 5 and ("failed" in found[-1] or sum(one["value"] for one in found) < seconds):
        found.append(once(way))
    failed = next((one for one in found if "failed" in one), None)
    return failed or {key: statistics.median(one[key] for one in found) for key in ("value", "processor")}
