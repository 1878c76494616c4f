"""Evaluation with the moving average of the weights that an optimizer keeps."""

from collections.abc import Iterator
from typing import Any

from lamina import registry
from lamina.callbacks.base import Callback, Logs
from lamina.errors import invalid


@registry.export("callbacks")
class SwapEMAWeights(Callback):
    """Lets evaluation and prediction see the moving average of the weights, training the weights themselves.

    The optimizer must keep the average: `SGD(use_ema=True)`. Weights and average change places, so that no more memory
    is needed; other callbacks must not assign weights while they have.

    Args:
        swap_on_epoch: Whether the average is also in place from the end of an epoch to the start of the next, so that
            a `ModelCheckpoint` after this callback saves it.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._ema_weights_in_model = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._let_averages_be_in_place(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch and not self._ema_weights_in_model:
            self._let_averages_be_in_place(True)
            if epoch == self.params["epochs"] - 1:
                for weight, average in self._pairs():
                    average.assign(weight)  # the end of fit copies the averages into the weights

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._let_averages_be_in_place(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._let_averages_be_in_place(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._let_averages_be_in_place(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._let_averages_be_in_place(False)

    def _let_averages_be_in_place(self, wanted: bool) -> None:
        if self._ema_weights_in_model is wanted:
            return
        for weight, average in self._pairs():
            kept = weight.numpy()
            weight.assign(average)
            average.assign(kept)
        self._ema_weights_in_model = wanted

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yield each weight with its average."""
        assert self.model is not None
        outer = self.model.optimizer
        optimizer = getattr(outer, "inner_optimizer", outer)
        inner = [one for one in getattr(optimizer, "optimizers", [optimizer]) if getattr(one, "use_ema", False)]
        if not inner:
            raise invalid(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer, or on at least one of those "
                "inside a MultiOptimizer.",
                received=f"a {type(optimizer).__name__} with use_ema=False",
                fix="compile with e.g. `SGD(use_ema=True)`.",
            )
        for one in inner:
            for weight, average in zip(one._trainable_variables, one._model_variables_moving_average, strict=True):
                if average is not None:
                    yield weight, average
