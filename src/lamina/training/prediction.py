"""Prediction: batches of a few sizes, the next sent off while the last comes back, outputs written where they stay."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, machine
from lamina._types import Numpy, Tree
from lamina.callbacks import CallbackList
from lamina.layers.host import revision as learned
from lamina.training import engines, forward, repeats
from lamina.training.arrays import device_dtype
from lamina.training.feed import aligned

BUCKETS = (1, 8, 32, 128, 512, 2048, 8192)
BUCKET_BYTES = 32 << 20  # of one batch's input


class Predicting:
    """A model while it predicts.

    Args:
        model: A model that is built.
    """

    def __init__(self, model: Any) -> None:
        config.place_compilation_cache()
        self.names = repeats.variables_of(model, "predict")
        key = ("predict", learned(), tuple(map(id, (*self.names.params, *self.names.stats))))
        self.model, self.turns = model, model.turns
        found = model.programs.get(key)
        if found is None:
            for old in [k for k in list(model.programs) if k[0] == "predict"]:
                model.programs.pop(old, None)
            machine.program_made()
            found = model.programs[key] = engines.predict(model, self.names)
        self.run, self._changed = found

    def __call__(self, x: Tree) -> Tree:
        """Return the outputs for one batch, as device arrays, not waited for, or as arrays of NumPy's."""
        if (found := forward.predict(self.model, x)) is not None:
            return found
        outputs, stats = self.run(*self.turns.read(self.names), x)
        self.turns.keep(self.names, stats, self._changed)
        return outputs


def bucket_for(rows: int, row_bytes: int) -> int:
    """Return the batch size in which so many rows are predicted: the least of a few sizes that holds them."""
    fitting = [b for b in BUCKETS if b * row_bytes <= BUCKET_BYTES] or [1]
    return next((b for b in fitting if b >= rows), fitting[-1])


def rowwise(predicting: Predicting, x: Tree, batch_size: int, callbacks: CallbackList) -> Tree:
    """Return the outputs for all rows of a model whose rows do not depend on each other.

    The rows in a dispatch are the library's choice: it does not show in the numbers. Progress is told in batches of
    `batch_size`. Shapes: as the model's outputs.
    """
    rows = len(jax.tree.leaves(x)[0])
    callbacks.on_predict_begin()
    if (found := _without_xla(predicting.model, x, batch_size, callbacks)) is not None:
        callbacks.on_predict_end()
        return found
    row_bytes = sum(max(1, a[:1].size) * device_dtype(a).itemsize for a in jax.tree.leaves(x))
    size = bucket_for(rows, row_bytes)
    result: Tree = None
    waiting: tuple[int, int, Tree] | None = None
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        if stop - start < size:
            size = bucket_for(stop - start, row_bytes)
        outputs = predicting(jax.tree.map(lambda a: _padded(a[start:stop], size), x))  # noqa: B023 - used at once
        if waiting is not None:
            result = _write(result, rows, *waiting)
        waiting = (start, stop, outputs)
        callbacks.on_block_end(-(-stop // batch_size), dict)
    assert waiting is not None
    result = _write(result, rows, *waiting)
    callbacks.on_predict_end()
    return result


def _without_xla(model: Any, x: Tree, batch_size: int, callbacks: CallbackList) -> Numpy | None:
    """Return the outputs as `training.forward` finds them, a tenth of a second at a time, or None if it does not."""
    if not isinstance(x, np.ndarray) or (found := forward.of(model)) is None:
        return None
    result = np.empty((len(x), found.outputs), np.float32)
    for start in range(0, len(x), found.piece):
        stop = min(start + found.piece, len(x))
        part = forward.as_floats(x[start:stop])
        if part is None or part.shape[1:] != found.inputs or not found(part, result[start:stop]):
            return None
        callbacks.on_block_end(-(-stop // batch_size), dict)
    return result


def _padded(array: Numpy, size: int) -> Numpy:
    """Return the rows in an aligned array of `size` rows; what is missing repeats the first row."""
    buffer = aligned((size, *array.shape[1:]), device_dtype(array))
    buffer[: len(array)] = array
    buffer[len(array) :] = array[:1]
    return buffer


def _write(result: Tree, rows: int, start: int, stop: int, outputs: Tree) -> Tree:
    """Write a batch of outputs into the whole, which is made at the first."""
    if result is None:
        result = jax.tree.map(lambda a: np.empty((rows, *a.shape[1:]), _host_dtype(a)), outputs)
    jax.tree.map(
        lambda whole, part: whole.__setitem__(slice(start, stop), np.asarray(part)[: stop - start]), result, outputs
    )
    return result


def _host_dtype(array: Any) -> Any:
    return np.asarray(jnp.zeros((), array.dtype)).dtype


def batched(model: Any, batches: Iterator[Tree], callbacks: CallbackList) -> Tree:
    """Return the outputs of batches as they come, each in its own shape, one after another."""
    parts: list[Tree] = []
    predicting: Predicting | None = None
    model.stop_predicting = False
    callbacks.on_predict_begin()
    step = 0
    while group := list(islice(batches, model.steps_per_execution)):
        predicting = predicting or Predicting(model)  # the first batch of a stream has built the model
        callbacks.on_predict_batch_begin(step)
        found = [jax.tree.map(np.asarray, predicting(x)) for x in group]
        step += len(group)
        callbacks.on_predict_batch_end(step - 1, {"outputs": _joined(found)})
        callbacks.on_block_end(step, dict)
        parts += found
        if model.stop_predicting:
            break
    callbacks.on_predict_end()
    return _joined(parts) if parts else None


def _joined(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *all_: np.concatenate(all_), *parts)
