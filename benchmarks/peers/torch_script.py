"""PyTorch as its users write it for data that fits in memory: resident tensors, shuffled index batches, fused Adam."""

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import Workload


def network(workload: Workload) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, units in zip(workload.widths[:-1], workload.widths[1:], strict=True):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def fit(workload: Workload, wrap: Callable[[Any], Any] = lambda module: module) -> Callable[[int], object]:
    import torch
    from torch import nn

    (x, y), _ = workload.data()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    module = network(workload)
    model, criterion = wrap(module), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(workload.batch):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=workload.policy == "mixed_bfloat16"):
                    loss = criterion(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        loss.item()

    return train


def predict(workload: Workload, wrap: Callable[[Any], Any] = lambda module: module) -> Callable[[], object]:
    import torch

    (x, _), _ = workload.data()
    inputs, model = torch.from_numpy(x), wrap(network(workload).eval())

    def run() -> object:
        with torch.inference_mode():
            return torch.cat([model(part) for part in inputs.split(workload.batch)]).numpy()

    return run
