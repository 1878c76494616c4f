"""PyTorch, eager."""

from collections.abc import Callable

from benchmarks.peers import torch_script
from benchmarks.workloads import Workload

NAME = "PyTorch eager"
REQUIRES = ("torch",)


def fit(workload: Workload) -> Callable[[int], object]:
    return torch_script.fit(workload)


def predict(workload: Workload) -> Callable[[], object]:
    return torch_script.predict(workload)
