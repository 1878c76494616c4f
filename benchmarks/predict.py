"""Prediction: how long one call takes for few rows, and how many rows a second go through for very many.

A user who has a trained network calls it again and again. Few rows: the median time of a call, NumPy in and out. Very
many: a million rows of 64 features in one call, or in the loop over batches of 8,192 that a user of PyTorch writes.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.processes import answer
from benchmarks.workloads import Workload

FEW = Workload("few", (784, 512, 256, 10), 256, 256)
MANY = Workload("many", (64, 128, 64, 10), 8192, 1_000_000)
WAYS = {
    "lamina": "lamina `predict`",
    "lamina_call": "lamina `model(x)`",
    "keras_jax": "Keras on JAX, `predict_on_batch`",
    "keras_tensorflow": "Keras on TensorFlow, `predict_on_batch`",
    "torch_eager": "PyTorch eager",
    "onnxruntime": "ONNX Runtime",
}
NEEDS = {"keras_jax": ("keras", "jax"), "keras_tensorflow": ("keras", "tensorflow"), "torch_eager": ("torch",),
         "onnxruntime": ("onnxruntime", "torch", "onnx")}  # fmt: skip
GOALS = {1: (None, 35.0), 32: (0.9, None), 256: (0.9, None)}  # times the best other; microseconds
OWN = ("lamina", "lamina_call")


def rows(row: Callable[..., Any]) -> list[Any]:
    """Return the rows of the table."""
    widths = "-".join(map(str, FEW.widths))
    found = []
    for count, (goal, bound) in GOALS.items():
        title = f"predict {count:,} {'row' if count == 1 else 'rows'}, {widths}"
        one = row(f"predict_{count}", title, "us", False, WAYS, partial(measured, count), goal, bound, own=OWN)
        found.append(one)
    title = f"predict {MANY.rows:,} rows, {'-'.join(map(str, MANY.widths))}"
    ways = {way: name for way, name in WAYS.items() if way != "lamina_call"}
    ways |= {"keras_jax": "Keras on JAX, `predict`", "keras_tensorflow": "Keras on TensorFlow, `predict`"}
    found.append(row("predict_1M", title, "rows/s", True, ways, partial(measured, MANY.rows), 1.5, own=OWN))
    return found


def measured(count: int, way: str, seconds: float, quick: bool = False) -> dict[str, Any]:
    """Return microseconds of a call, or rows a second, as measured in a process of its own."""
    lacking = [name for name in NEEDS.get(way, ()) if find_spec(name) is None]
    if lacking:
        return {"absent": f"{', '.join(lacking)} is not installed"}
    return answer(["-m", "benchmarks.predict", way, str(count // 10 if quick and count > 256 else count), str(seconds)])


def call(way: str, workload: Workload, x: np.ndarray) -> Callable[[], Any]:
    """Return what predicts the rows of `x` once."""
    if way == "torch_eager":
        from benchmarks.peers import torch_script

        return _torch(torch_script.network(workload).eval(), x, workload.batch)
    if way == "onnxruntime":
        return _onnx(workload, x)
    from benchmarks.peers import keras_script, load

    if way in OWN:
        from lamina import keras
    else:
        keras = load(way)._keras()
    model = keras_script.model(keras, workload)
    if way == "lamina_call":
        return lambda: np.asarray(model(x))
    if way == "lamina" or len(x) > workload.batch:
        return lambda: model.predict(x, batch_size=workload.batch, verbose=0)
    return lambda: model.predict_on_batch(x)


def _torch(model: Any, x: np.ndarray, batch: int) -> Callable[[], Any]:
    import torch

    inputs = torch.from_numpy(x)

    def run() -> Any:
        with torch.inference_mode():
            return torch.cat([model(part) for part in inputs.split(batch)]).numpy()

    return run


def _onnx(workload: Workload, x: np.ndarray) -> Callable[[], Any]:
    import tempfile
    from pathlib import Path

    import onnxruntime

    from benchmarks.peers import keras_script
    from lamina import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        keras_script.model(keras, workload).export(str(path), format="onnx")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, batch = session.get_inputs()[0].name, workload.batch
    starts = range(0, len(x), batch)
    return lambda: np.concatenate([session.run(None, {name: x[i : i + batch]})[0] for i in starts])


def main(way: str, count: str, seconds: str) -> None:
    """Print one measurement as JSON."""
    many = int(count) > FEW.rows
    workload = MANY if many else FEW
    x = np.random.default_rng(0).standard_normal((int(count), workload.widths[0]), dtype=np.float32)
    timing = measure.inference(call(way, workload, x), float(seconds))
    value = int(count) / timing.epoch if many else 1e6 * timing.epoch
    print(json.dumps({"value": value, **timing._asdict()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
