"""A process that saves a model again and again, for tests that kill it or let its system calls fail.

python saving_child.py PATH: for every line on its input it saves another version and answers `saved` or the error.
"""

import sys

import numpy as np

from lamina.files import atomic
from lamina.keras import Sequential, layers

path = sys.argv[1]
if "--fixed-name" in sys.argv:
    atomic.secrets.token_hex = lambda size: "fixed"
model = Sequential([layers.Input((30,)), layers.Dense(40), layers.Dense(20)])
save = model.save_weights if path.endswith(".weights.h5") else model.save
print("ready", flush=True)
for line in sys.stdin:
    version = int(line)
    model.set_weights([np.full(w.shape, version, "float32") for w in model.get_weights()])
    try:
        save(path)
    except OSError as error:
        print(f"OSError {' '.join(str(error).split())}", flush=True)
    else:
        print("saved", flush=True)
