"""What the tests of files share: a small model, its values, and files changed by hand."""

import json
import zipfile

import h5py
import numpy as np

from lamina import Dense, Input, Sequential

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = X[:, :1] * 2


def small(units=3, **kwargs):
    return Sequential([Input((4,)), Dense(units, activation="relu", name="hidden"), Dense(1, name="last")], **kwargs)


def values(model):
    variables = [*model.variables, *(model.optimizer.variables if model.optimizer is not None else [])]
    return [np.asarray(v).copy() for v in variables]


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)
    )


def rewritten(path, target, change=None, **members):
    """Write the archive at `path` anew with some members replaced or, if None, left out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json" and change is not None:
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            key = name.replace(".", "_")
            data = members.get(key, data)
            if data is not None:
                new.writestr(name, data)
    return target


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
