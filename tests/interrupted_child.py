"""Ctrl-C and SIGTERM at random moments of fit, evaluate, predict and save, each followed by a look at what is left.

python interrupted_child.py TRIALS FOLDER [wide]: prints what it counted as JSON. A wide network is one whose memory each
dispatch takes over.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from lamina import keras
from lamina.training import endings

WIDE = "wide" in sys.argv
BATCHES, EPOCHS, UNITS = (5, 2, 1500) if WIDE else (40, 6, 32)
trials, folder = int(sys.argv[1]), Path(sys.argv[2])
draws = random.Random(2)
data = np.random.RandomState(0)
x = data.randn(BATCHES * 16, 12).astype("float32")
y = (x @ data.randn(12, 4)).argmax(1)


def network():
    keras.utils.set_random_seed(4)
    parts = [
        keras.layers.Dense(UNITS, "relu"),
        *([keras.layers.Dense(UNITS)] if WIDE else []),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2),
    ]
    model = keras.Sequential([keras.layers.Input((12,)), *parts, keras.layers.Dense(4, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return [np.array(v) for v in (*model.variables, *model.optimizer.variables) if "seed" not in v.path]


def put(model, values):
    kept = [v for v in (*model.variables, *model.optimizer.variables) if "seed" not in v.path]
    for variable, value in zip(kept, values, strict=True):
        variable.assign(value)
    for variable in model.variables:
        if "seed" in variable.path:
            variable.assign(seeds[variable.path])


model = network()
start = state(model)
seeds = {v.path: np.array(v) for v in model.variables if "seed" in v.path}
good = []  # the state after each step: whatever interrupts, one of these must be left


class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        good.append(state(self.model))


model.fit(x, y, batch_size=16, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[Watch()])
good.insert(0, start)
put(model, start)
path = str(folder / "m.keras")
model.save(path)
work = {
    "fit": lambda: model.fit(x, y, batch_size=16, epochs=EPOCHS, shuffle=False, verbose=0, validation_data=(x, y)),
    "evaluate": lambda: [model.evaluate(x, y, batch_size=16, verbose=0) for _ in range(4)],
    "predict": lambda: [model.predict(x, batch_size=16, verbose=0) for _ in range(4)],
    "save": lambda: [model.save(path) for _ in range(2)],
}
spans = {}
for name, run in work.items():
    spans[name] = float("inf")
    for _ in range(5):
        put(model, start)
        begun = time.perf_counter()
        run()
        spans[name] = min(spans[name], time.perf_counter() - begun)
model.save(path)


running = threading.Event()


def strike(wait, number):
    time.sleep(wait)
    # Before and after a fit SIGTERM ends the process, as it should.
    if running.is_set() and (number == signal.SIGINT or signal.getsignal(number) != signal.SIG_DFL):
        os.kill(os.getpid(), number)


def one(name, number):
    """Run, be struck, and return whether the run was cut off and what is wrong afterwards."""
    put(model, start)
    earlier = model.history
    thread = threading.Thread(target=strike, args=(draws.uniform(0, 0.9 * spans[name]), number))
    struck = None
    try:
        thread.start()
        running.set()
        work[name]()
        running.clear()
        thread.join()
    except (KeyboardInterrupt, endings.Terminated) as error:
        struck = type(error).__name__
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"
    running.clear()
    thread.join()
    steps = int(model.optimizer.iterations)
    if any(a.tobytes() != b.tobytes() for a, b in zip(state(model), good[steps], strict=True)):
        return struck, f"not the state after {steps} steps"
    if not np.isfinite(model.predict(x[:3], verbose=0)).all():
        return struck, "predictions are broken"
    if name == "fit" and struck and model.history is not earlier and len(model.history.epoch) > steps // BATCHES:
        return struck, f"the history says {model.history.epoch} after {steps} steps"
    if name == "save":
        keras.models.load_model(path)
        left = [f for f in os.listdir(folder) if f != "m.keras"]
        if left:
            return struck, f"left behind: {left}"
    return struck, None


counts: dict = {}
for trial in range(trials):
    name = ["fit", "fit", "fit", "evaluate", "predict", "save"][trial % 6]
    number = signal.SIGTERM if name == "fit" and trial % 12 == 1 else signal.SIGINT
    try:
        struck, wrong = one(name, number)
    except KeyboardInterrupt:
        struck, wrong = "late", None  # it came after the run had ended
    key = f"{name} {signal.Signals(number).name}"
    entry = counts.setdefault(key, {"trials": 0, "cut off": 0, "wrong": []})
    entry["trials"] += 1
    entry["cut off"] += struck not in (None, "late")
    entry["wrong"] += [wrong] if wrong else []
print(json.dumps(counts))
