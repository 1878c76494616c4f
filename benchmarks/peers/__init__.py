"""The competitors, one file each. All have the same four names.

- `NAME`: what the table calls it.
- `REQUIRES`: the packages that must be installed.
- `fit(workload)`: returns `train(epochs)`, the library's ordinary way to train, which returns when the work is done.
- `predict(workload)`: returns a function that predicts all rows of the workload once.

A peer that finds that it cannot run here raises `Absent` with the reason. The libraries are imported inside the
functions, for the names are read in a process that runs none of them.
"""

import importlib
import importlib.util
from types import ModuleType

PEERS = ("lamina", "keras_jax", "keras_tensorflow", "torch_eager", "torch_compiled", "sklearn")


class Absent(Exception):  # noqa: N818 - not an error: a fact for the table
    """The peer cannot run on this machine."""


def load(name: str) -> ModuleType:
    """Return the module of a peer."""
    return importlib.import_module(f"benchmarks.peers.{name}_peer")


def missing(name: str) -> list[str]:
    """Return the packages that the peer needs and that are not installed."""
    return [package for package in load(name).REQUIRES if importlib.util.find_spec(package) is None]
