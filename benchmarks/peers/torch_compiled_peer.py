"""PyTorch with `torch.compile` around the model, which needs a C++ compiler on a CPU."""

from collections.abc import Callable
from typing import Any

from benchmarks.peers import Absent, torch_script
from benchmarks.workloads import Workload

NAME = "PyTorch compiled"
REQUIRES = ("torch",)


def fit(workload: Workload) -> Callable[[int], object]:
    return torch_script.fit(workload, _compiled)


def predict(workload: Workload) -> Callable[[], object]:
    return torch_script.predict(workload, _compiled)


def _compiled(module: Any) -> Any:
    import torch

    try:
        torch.compile(torch.nn.Linear(2, 2))(torch.zeros(1, 2))
    except Exception as error:
        raise Absent(f"torch.compile does not work here: {str(error).strip().splitlines()[0]}") from error
    return torch.compile(module)
