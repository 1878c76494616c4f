"""What a fitted model of a table is without scikit-learn: it predicts, is scored, and goes into one file."""

import json
import os
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from lamina._types import Config, Numpy
from lamina.errors import FileFormatError, invalid, message, warn
from lamina.saving import snapshots
from lamina.tabular import frames, matching, targets
from lamina.tabular.columns import Encoder

if TYPE_CHECKING:
    from lamina.tabular.fitting import Fitted

Task = Literal["classification", "regression"]
_BLOCK = 1 << 16  # rows that are encoded at a time


class Predictor:
    """A fitted model of a table.

    Attributes:
        task: "classification" or "regression".
        encoder: What turns tables into arrays.
        fitted: The networks.
        classes_: The labels, in the order of the columns of `predict_proba`; None for a regression.
        settings: How it was fitted, as JSON has it.
    """

    def __init__(self, task: Task, encoder: Encoder, fitted: "Fitted", classes: Numpy | None, settings: Config) -> None:
        self.task, self.encoder, self.fitted, self.classes_, self.settings = task, encoder, fitted, classes, settings

    @property
    def n_features_in_(self) -> int:
        return len(self.encoder.plans)

    @property
    def feature_names_in_(self) -> Numpy:
        """The columns, in the order of `fit`; `x0`, `x1`, ... for an array."""
        return np.array(self.encoder.names, dtype=object)

    @property
    def owner(self) -> str:
        return "DenseClassifier" if self.task == "classification" else "DenseRegressor"

    def table(self, x: Any) -> frames.Table:
        """The table of `x`, checked against that of `fit`."""
        table = x if isinstance(x, frames.Table) else frames.read(x)
        matching.check(table, self.encoder.names, named=self.encoder.named, owner=self.owner)
        if self.encoder.named and not table.named:
            warn(f"X does not have valid feature names, but {self.owner} was fitted with feature names")
        return table

    def outputs(self, x: Any) -> Numpy:
        """Probabilities, or values in the units of the target.

        Shapes: result `rows outputs`
        """
        table = self.table(x)
        blocks = [
            self.fitted.predict(self.encoder.transform(table.take(np.arange(start, min(start + _BLOCK, table.rows)))))
            for start in range(0, table.rows, _BLOCK)
        ]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def predict(self, x: Any) -> Numpy:
        """The label of each row, or its value in the units of the target."""
        found = self.outputs(x)
        if self.classes_ is None:
            return np.asarray(found[:, 0], np.float64)
        return np.asarray(self.classes_[np.argmax(found, axis=1)])

    def predict_proba(self, x: Any) -> Numpy:
        """The probability of each class for each row.

        Shapes: result `rows classes`

        Raises:
            InvalidArgumentError: For a regression.
        """
        self._classifier("predict_proba")
        found = np.asarray(self.outputs(x), np.float64)
        return np.asarray(found / found.sum(1, keepdims=True))

    def decision_function(self, x: Any) -> Numpy:
        """Logarithms of the probabilities; of two classes, how much that of the second exceeds the first's.

        Shapes: result `rows classes`, or `rows` for two classes

        Raises:
            InvalidArgumentError: For a regression.
        """
        self._classifier("decision_function")
        # Ten digits, as far as a probability in 32 bits goes at its best: equal ones stay equal in their logarithms.
        found = np.log(np.clip(np.round(self.predict_proba(x), 10), 1e-11, 1.0))
        return np.asarray(found[:, 1] - found[:, 0] if found.shape[1] == 2 else found)

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R² for a regression."""
        wanted, found = targets.plain(y), self.predict(x)
        weight = targets.weights(sample_weight, len(wanted))
        if self.classes_ is not None:
            return float(np.average(wanted == found, weights=weight))
        wanted = wanted.astype(np.float64)
        spread = np.average((wanted - np.average(wanted, weights=weight)) ** 2, weights=weight)
        return float(1 - np.average((wanted - found) ** 2, weights=weight) / spread)

    def _classifier(self, method: str) -> None:
        if self.classes_ is None:
            raise invalid(f"A regression has no `{method}`.", fix="call `predict`.")

    def state(self) -> tuple[Config, dict[str, Numpy]]:
        """What `restore` needs: plain values, and arrays by name."""
        columns, scales = self.encoder.state()
        config, arrays = self.fitted.state()
        labels = None if self.classes_ is None else [self.classes_.tolist(), self.classes_.dtype.str]
        values = {
            "kind": "table", "task": self.task, "classes": labels, "settings": self.settings,
            "encoder": columns, "networks": config,
        }  # fmt: skip
        named = {f"encoder/{name}": array for name, array in scales.items()}
        return values, named | {f"networks/{name}": array for name, array in arrays.items()}

    @classmethod
    def restore(cls, values: Config, arrays: dict[str, Numpy]) -> Self:
        """The predictor whose `state` this is."""
        from lamina.tabular.fitting import Fitted

        def under(prefix: str) -> dict[str, Numpy]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        labels = values["classes"]
        classes = None if labels is None else np.array(labels[0], np.dtype(labels[1] if labels[1] != "|O" else object))
        return cls(
            values["task"],
            Encoder.restore(values["encoder"], under("encoder/")),
            Fitted.restore(values["networks"], under("networks/")),
            classes,
            values["settings"],
        )

    def __reduce__(self) -> Any:
        return type(self).restore, self.state()


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to one file: arrays as safetensors has them, the rest as JSON, a digest of both; no pickle.

    Args:
        model: A fitted `DenseClassifier` or `DenseRegressor`, or what `load` returned.
        path: Any name. The file is written in one step: whatever happens, it is the old one or the new one, whole.

    Raises:
        InvalidArgumentError: If the model is not fitted.
        OSError: If it cannot be written.
    """
    found = model if isinstance(model, Predictor) else getattr(model, "predictor_", None)
    if not isinstance(found, Predictor):
        raise invalid(
            "`model` must be a fitted DenseClassifier or DenseRegressor.",
            received=repr(model)[:80],
            fix="call `fit` before.",
        )
    values, arrays = found.state()
    snapshots.write(os.fspath(path), arrays, values)


def holds_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds the model of a table, by its beginning alone."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < 1 << 26 else {}
        return bool(json.loads(header["__metadata__"]["lamina"])["values"]["kind"] == "table")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def load(path: str | os.PathLike[str]) -> Predictor:
    """Return the model of a file: it predicts as the one that was saved does, to the bit, without scikit-learn.

    Raises:
        FileNotFoundError: If there is no file.
        FileFormatError: If it is damaged or holds something else.
    """
    path = os.fspath(path)
    fix = "save the model again; `lamina info FILE` says what another file holds."
    found = snapshots.read(path, kind="model that `lamina.tabular.save` wrote", fix=fix)
    try:
        if found.values["kind"] != "table":
            raise ValueError("it holds something else")
        return Predictor.restore(found.values, found.arrays)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        problem = f"The file is damaged, or no model that `lamina.tabular.save` wrote: {error}."
        raise FileFormatError(message(problem, owner=path, fix=fix)) from error
