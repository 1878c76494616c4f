"""The demo from the digits to the folder with its results."""

import importlib.util
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from lamina import config, machine
from lamina.datasets import mnist
from lamina.datasets.mnist import Digits
from lamina.demo import work
from lamina.demo.progress import Progress
from lamina.errors import invalid, positive_integer
from lamina.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, Input, Rescaling
from lamina.models import Sequential
from lamina.optimizers import AdamW
from lamina.optimizers.schedules import CosineDecay
from lamina.random import set_random_seed

BATCH = 128
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.3  # large: it also wipes the first layer's noise away, so that its pictures show strokes
WIDTHS = (28 * 28, 512, 256, 10)
_PICTURES = ("curves.png", "mistakes.png", "weights.png")


class Result(NamedTuple):
    """What the demo found out, and where it put the rest. Times in seconds, rates in operations per second."""

    accuracy: float
    loss: float
    compile_time: float
    training_time: float
    samples_per_second: float
    rate: float
    machine_rate: float
    folder: Path
    files: tuple[str, ...]


def run(
    *, epochs: int = 20, seed: int = 1, out: str | os.PathLike[str] = "lamina-demo", data: str = "sample"
) -> Result:
    """Return the result of training 784-512-256-10 on handwritten digits, after printing it and writing the folder.

    A tenth of the training digits is held out to watch the training; the test digits are looked at once, at the end.

    Args:
        epochs: Passes over the training digits.
        seed: The same seed gives the same network on the same machine.
        out: Folder for `model.keras`, `curves.png`, `mistakes.png` and `weights.png`. It is made; what is in it under
            these names is replaced.
        data: What `lamina.datasets.mnist.load_data` takes.
    """
    epochs = positive_integer(epochs, "epochs", owner="lamina.demo.run")
    folder = _folder(out)  # before the work, so that a wrong path costs nothing
    console = Console()
    can_draw = importlib.util.find_spec("matplotlib") is not None
    if not can_draw:
        console.print("No matplotlib here, so no pictures: [bold]pip install 'lamina\\[plot]'[/bold] for those.")
    config.place_compilation_cache()
    train, validation, test = digits(data, seed)
    set_random_seed(seed)
    console.print(f"{' - '.join(map(str, WIDTHS))} with ReLU, BatchNormalization and Dropout, {len(train[1]):,} digits")

    rates = [machine.matmul_rate(seconds=0.5)]
    progress = Progress(console, rows=len(train[1]))
    with machine.compiling() as clock, progress:
        model = network(epochs, rows=len(train[1]))
        begin, earlier = time.perf_counter(), clock.seconds
        options: dict[str, Any] = {"batch_size": BATCH, "epochs": epochs, "verbose": 0}
        history = model.fit(*train, validation_data=validation, callbacks=[progress], **options).history
        wall = time.perf_counter() - begin
        compile_time, training_time = clock.seconds, wall - (clock.seconds - earlier)

    rates.append(machine.matmul_rate(seconds=0.5))  # twice: another program can only make it look slower
    loss, accuracy = model.evaluate(*test, verbose=0)
    operations = epochs * work.operations(WIDTHS, training=len(train[1]), inference=len(validation[1]))
    result = Result(
        accuracy=float(accuracy),
        loss=float(loss),
        compile_time=compile_time,
        training_time=training_time,
        samples_per_second=epochs * len(train[1]) / training_time,
        rate=operations / training_time,
        machine_rate=max(rates),
        folder=folder,
        files=("model.keras", *(_PICTURES if can_draw else ())),
    )
    model.save(folder / "model.keras")
    if can_draw:
        _draw(model, history, test, folder)
    _print(console, result, wrong=round((1 - result.accuracy) * len(test[1])), of=len(test[1]))
    return result


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        fix = "name a folder that can be made and written to."
        problem = f"`out` must be a folder, and this one cannot be made ({cause.strerror})."
        raise invalid(problem, owner="lamina.demo.run", received=f"out={str(out)!r}", fix=fix) from cause
    return folder


def digits(data: str, seed: int) -> tuple[Digits, Digits, Digits]:
    """Return training, validation and test digits; the second is a tenth of the training set, drawn by `seed`."""
    (x, y), test = mnist.load_data(data)
    order = np.random.default_rng(seed).permutation(len(y))
    held_out, kept = np.split(order, [max(1, len(y) // 10)])
    return (x[kept], y[kept]), (x[held_out], y[held_out]), test


def network(epochs: int, rows: int) -> Sequential:
    """Return the compiled model. It takes the pixels as they are in the file, 0 to 255."""
    model = Sequential(
        [
            Input((28, 28)),
            Rescaling(1 / 255),
            Flatten(),
            Dropout(0.25),
            Dense(WIDTHS[1]),
            BatchNormalization(),
            Activation("relu"),
            Dropout(0.3),
            Dense(WIDTHS[2]),
            BatchNormalization(),
            Activation("relu"),
            Dropout(0.2),
            Dense(WIDTHS[3], activation="softmax"),
        ]
    )
    steps = epochs * -(-rows // BATCH)
    model.compile(
        optimizer=AdamW(CosineDecay(LEARNING_RATE, steps), weight_decay=WEIGHT_DECAY),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _draw(model: Sequential, history: dict[str, list[float]], test: Digits, folder: Path) -> None:
    from lamina.demo import pictures

    probabilities = np.asarray(model.predict(test[0], batch_size=1024, verbose=0))
    first: Any = next(layer for layer in model.layers if isinstance(layer, Dense))
    pictures.curves(history, folder / _PICTURES[0])
    pictures.mistakes(*test, probabilities, folder / _PICTURES[1])
    pictures.weights(np.asarray(first.kernel), folder / _PICTURES[2])


def _print(console: Console, result: Result, *, wrong: int, of: int) -> None:
    gigaflops = f"{result.rate / 1e9:,.0f} of {result.machine_rate / 1e9:,.0f} GFLOP/s, which a matrix product reaches"
    rows = [
        ("test accuracy", f"{result.accuracy:.2%}", f"{wrong:,} of {of:,} digits wrong"),
        ("compile time", f"{result.compile_time:.2f} s", "tracing, compiling or reading the cache"),
        ("training time", f"{result.training_time:.2f} s", f"{result.samples_per_second:,.0f} samples/s"),
        ("machine's share", f"{result.rate / result.machine_rate:.0%}", gigaflops),
    ]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"Written to [bold]{result.folder}{os.sep}[/bold]: {', '.join(result.files)}")
