"""What each way to keep weights small saves and costs, measured on the network of the demo."""

import copy
import time
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from lamina import quantizers
from lamina.demo import job
from lamina.models import Sequential
from lamina.random import set_random_seed

# What is measured: the words of the table, and the settings.
KINDS: dict[str, Any] = {
    "int8": quantizers.Int8QuantizationConfig(),
    "int8, weights only": quantizers.Int8QuantizationConfig(activation_quantizer=None),
    "int4, blocks of 128": quantizers.Int4QuantizationConfig(),
    "int4, blocks of 32": quantizers.Int4QuantizationConfig(block_size=32),
    "int4, scale per unit": quantizers.Int4QuantizationConfig(block_size=None),
    "float8": quantizers.Float8QuantizationConfig(),
}


class Row(NamedTuple):
    """One way to keep the weights.

    Attributes:
        name: Its words.
        weight_bytes: Bytes of all weights.
        accuracy: Share of the test digits that are read right.
        changed: Number of test digits whose answer is another than before.
        seconds: Time to predict the test digits, the best of three.
    """

    name: str
    weight_bytes: int
    accuracy: float
    changed: int
    seconds: float


def run(*, epochs: int = 10, seed: int = 1, data: str = "sample") -> list[Row]:
    """Return one row for each way, after training the demo's network once and printing the table.

    Args:
        epochs: Passes over the training digits.
        seed: The same seed gives the same network on the same machine.
        data: What `lamina.datasets.mnist.load_data` takes.
    """
    train, _, test = job.digits(data, seed)
    set_random_seed(seed)
    model = job.network(epochs, rows=len(train[1]))
    model.fit(*train, batch_size=job.BATCH, epochs=epochs, verbose=0)
    plain = _measured("float32", model, test, None)
    rows = [plain[0]]
    for name, settings in KINDS.items():
        small = copy.deepcopy(model)
        small.quantize(config=settings)
        rows.append(_measured(name, small, test, plain[1])[0])
    _print(rows, len(test[1]))
    return rows


def weight_bytes(model: Sequential) -> int:
    """Return the bytes of all weights of a model."""
    return sum(weight.numpy().nbytes for weight in model.weights)


def _measured(name: str, model: Sequential, test: Any, before: Any) -> tuple[Row, Any]:
    images, labels = test
    answers = np.argmax(model.predict(images, verbose=0, batch_size=1000), axis=-1)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        model.predict(images, verbose=0, batch_size=1000)
        times.append(time.perf_counter() - start)
    changed = 0 if before is None else int(np.sum(answers != before))
    return Row(name, weight_bytes(model), float(np.mean(answers == labels)), changed, min(times)), answers


def _print(rows: list[Row], digits: int) -> None:
    table = Table(title=f"{' - '.join(map(str, job.WIDTHS))}, {digits:,} test digits")
    for heading in ("weights", "kB", "of float32", "accuracy", "changed", "predict, ms"):
        table.add_column(heading, justify="left" if heading == "weights" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.weight_bytes / 1000:,.0f}",
            f"{row.weight_bytes / rows[0].weight_bytes:.0%}",
            f"{row.accuracy:.2%}",
            f"{row.changed}",
            f"{row.seconds * 1000:.0f}",
        )
    Console().print(table)
