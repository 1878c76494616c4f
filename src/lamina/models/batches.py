"""One batch at a time: `train_on_batch`, `test_on_batch`, `predict_on_batch`."""

from typing import Any

import jax
import numpy as np

from lamina._types import Tree
from lamina.models import stepping
from lamina.training import forward, prediction, session
from lamina.training.data import Data
from lamina.training.turns import alone

_INFERENCE = ({"training": False}, {"training": None})


class OnBatch:
    """The part of a model that takes single batches."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for the inputs. A plain network on an array of NumPy's does not wait for XLA."""
        plain = len(args) == 1 and type(args[0]) is np.ndarray and (not kwargs or kwargs in _INFERENCE)
        if plain and (found := forward.call(self, args[0])) is not None:
            return found
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def _data(self, *args: Any, **kwargs: Any) -> Data:
        return Data(self, *args, **kwargs)

    @alone
    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Train on one batch and return the logs: a number, a list in the order of `metrics_names`, or a dict.

        The metrics start anew.

        Raises:
            InvalidArgumentError: If the data cannot be right. Nothing has changed then.
        """
        self._need_compiled("train_on_batch")  # type: ignore[attr-defined]
        data = self._data(x, y, sample_weight, _all(x), False, class_weight)
        feed, padded = data.ready("train")
        data._ready_to_train()
        feed.start_epoch()
        block = feed.block(1)
        assert block is not None
        training = session.Training(self, padded=padded, feed=feed)
        training.reset_totals()
        training.back_up()
        logs, _ = training.finish(training.dispatch(_alone(block)))
        return logs if return_dict else stepping.in_order(self, logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluate one batch and return the logs: a number, a list in the order of `metrics_names`, or a dict."""
        self._need_compiled("test_on_batch")  # type: ignore[attr-defined]
        feed, padded = self._data(x, y, sample_weight, _all(x), False).ready("evaluate")
        feed.start_epoch()
        block = feed.block(1)
        assert block is not None
        testing = session.Testing(self, padded=padded, feed=feed)
        testing.reset_totals()
        logs, _ = session.read(testing.dispatch(_alone(block)))
        return logs if return_dict else stepping.in_order(self, logs)

    def predict_on_batch(self, x: Any) -> Tree:
        """Return the outputs for one batch as NumPy arrays."""
        if (found := forward.predict(self, x)) is not None:
            return found
        data = self._data(x, batch_size=_all(x), predicting=True)
        data.build()
        rows = data.rows or 0
        batch = jax.tree.map(np.ascontiguousarray, data.x)
        if not self.rowwise:  # type: ignore[attr-defined]
            return jax.tree.map(np.asarray, prediction.Predicting(self)(batch))
        row_bytes = sum(a[:1].nbytes for a in jax.tree.leaves(batch))
        size = max(rows, prediction.bucket_for(rows, row_bytes))
        padded = jax.tree.map(lambda a: prediction._padded(a, size), batch)
        return jax.tree.map(lambda a: np.asarray(a)[:rows], prediction.Predicting(self)(padded))


def _alone(block: Any) -> Any:
    """Return a block that holds its first batch only, in copies that are its own."""
    return block._replace(data=jax.tree.map(lambda a: np.array(a[:1]), block.data), rows=np.array(block.rows[:1]))


def _all(x: Any) -> int | None:
    """Return a batch size that holds all of `x`."""
    leaves = [leaf for leaf in jax.tree.leaves(x) if hasattr(leaf, "shape") and len(leaf.shape)]
    if leaves:
        return max(1, int(leaves[0].shape[0]))
    return max(1, len(x)) if hasattr(x, "__len__") and not isinstance(x, dict) else None
