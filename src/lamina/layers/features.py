"""What a `FeatureSpace` is made of: single features, and features crossed with each other."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from lamina import names, registry, serialization
from lamina._types import Config, Numpy, Shape
from lamina.errors import did_you_mean, invalid
from lamina.layers.base import Layer
from lamina.layers.category_encoding import CategoryEncoding
from lamina.layers.discretization import Discretization
from lamina.layers.hashing import HashedCrossing, Hashing
from lamina.layers.host import DataLayer, as_array
from lamina.layers.index_lookup import IndexLookup
from lamina.layers.lookups import IntegerLookup, StringLookup
from lamina.layers.merging import Concatenate
from lamina.layers.preprocessing import Normalization, Rescaling
from lamina.layers.traits import same_shape

MODULE = "keras.src.layers.preprocessing.feature_space"
BATCH = 32  # rows at a time from which features learn, as Keras takes them: the bins of `Discretization` depend on it


class _Part(serialization.Configurable):
    """Something with a config that stands in a saved file but is no layer."""

    output_mode: str

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**config)


@registry.export("layers", module=MODULE)
class Cross(_Part):
    """Features that are hashed together. See `FeatureSpace.cross`."""

    def __init__(self, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> None:
        if output_mode not in ("int", "one_hot"):
            raise invalid(
                "Invalid value for argument `output_mode`. Expected one of {'int', 'one_hot'}.",
                owner="FeatureSpace.cross",
                received=f"output_mode={output_mode}",
            )
        self.feature_names = tuple(feature_names)
        super().__init__("_X_".join(self.feature_names))
        self.crossing_dim, self.output_mode = crossing_dim, output_mode

    def get_config(self) -> Config:
        return {
            "feature_names": list(self.feature_names),
            "crossing_dim": self.crossing_dim,
            "output_mode": self.output_mode,
        }


@registry.export("layers", module=MODULE)
class Feature(_Part):
    """One feature: the type of its values, the layer that prepares them, and how they come out. See `FeatureSpace`."""

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        if output_mode not in ("int", "one_hot", "float"):
            raise invalid(
                "Invalid value for argument `output_mode`. Expected one of {'int', 'one_hot', 'float'}.",
                owner="FeatureSpace.feature",
                received=f"output_mode={output_mode}",
            )
        super().__init__("feature")
        if isinstance(preprocessor, dict):
            preprocessor = serialization.deserialize(preprocessor)
        self.dtype, self.preprocessor, self.output_mode = dtype, preprocessor, output_mode

    def get_config(self) -> Config:
        return {
            "dtype": self.dtype,
            "preprocessor": serialization.serialize(self.preprocessor),
            "output_mode": self.output_mode,
        }


@registry.export("layers", module=MODULE)
class TFDIdentity(DataLayer):
    """The input itself: what a feature of kind "float" becomes."""

    rowwise = True
    compute_output_shape = same_shape

    def call(self, x: Any) -> Any:
        return x


@registry.export("layers", module=MODULE)
class TFDConcat(Concatenate):
    """Features side by side."""


class Kinds:
    """The kinds of features, each a way to make a `Feature`."""

    @classmethod
    def cross(cls, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """Return features to be hashed together into one of `crossing_dim` bins."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """Return a feature with a layer of your own."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Return a feature that stays as it is."""
        layer = TFDIdentity(dtype="float32", name=_named(name, "float"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_rescaled(cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None) -> Feature:
        """Return a feature that becomes `x * scale + offset`."""
        return Feature("float32", Rescaling(scale, offset, name=_named(name, "float_rescaled")), "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Return a feature brought to mean 0 and variance 1."""
        return Feature("float32", Normalization(axis=-1, name=_named(name, "float_normalized")), "float")

    @classmethod
    def float_discretized(
        cls, num_bins: int | None, bin_boundaries: Any = None, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Return a feature put into ranges: `num_bins` that `adapt` finds, or those between given boundaries."""
        layer = Discretization(
            num_bins=num_bins if bin_boundaries is None else None,
            bin_boundaries=bin_boundaries,
            name=_named(name, "float_discretized"),
        )
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Return a feature of whole numbers that are names."""
        layer = IntegerLookup(max_tokens, num_oov_indices, name=_named(name, "integer_categorical"))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Return a feature of strings from a vocabulary that `adapt` finds."""
        layer = StringLookup(max_tokens, num_oov_indices, name=_named(name, "string_categorical"))
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Return a feature of strings put into bins by a hash."""
        return Feature("string", Hashing(num_bins, name=_named(name, "string_hashed")), output_mode)

    @classmethod
    def integer_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Return a feature of whole numbers put into bins by a hash."""
        return Feature("int32", Hashing(num_bins, name=_named(name, "integer_hashed")), output_mode)


def _named(name: str | None, kind: str) -> str:
    return f"{name or names.auto_name(kind)}_preprocessor"


def cardinality(name: str, layer: Layer) -> int:
    """Return how many numbers a layer gives.

    Raises:
        InvalidArgumentError: If nobody can know.
    """
    if isinstance(layer, IndexLookup):
        return layer.vocabulary_size()
    if isinstance(layer, CategoryEncoding):
        return layer.num_tokens
    if isinstance(layer, Discretization):
        return layer.num_bins if layer.num_bins is not None else len(layer.bin_boundaries or ()) + 1
    if isinstance(layer, Hashing | HashedCrossing):
        return layer.num_bins
    raise invalid(
        f"Feature '{name}' has `output_mode='one_hot'`. However it isn't a standard feature and the dimensionality of "
        "its output space is not known, thus it cannot be one-hot encoded.",
        owner="FeatureSpace",
        fix="use `output_mode='int'`.",
    )


def learns(layer: Layer) -> bool:
    """Return whether a layer has something to learn from data that it has not been given."""
    if isinstance(layer, Normalization) and layer.input_mean is not None:
        return False
    if isinstance(layer, Discretization) and layer.num_bins is None:
        return False
    return hasattr(layer, "adapt") and not getattr(layer, "_has_input_vocabulary", False)


# ---- columns of what users hand over


def columns_of(data: Any, wanted: Sequence[str]) -> dict[str, Any] | None:
    """Return the wanted columns of a dict, a data frame or a table, or None for anything else.

    Raises:
        InvalidArgumentError: If one is missing, with the nearest name.
    """
    known = list(data) if isinstance(data, dict) else getattr(data, "column_names", getattr(data, "columns", None))
    if known is None or not hasattr(data, "__getitem__"):
        return None
    known = [str(name) for name in known]
    for name in wanted:
        if name not in known:
            raise invalid(
                f"There is no feature {name!r} in the data.",
                owner="FeatureSpace",
                received=f"{known[:20]}",
                fix=f"add it. {did_you_mean(name, known)}",
            )
    return {name: data[name] for name in wanted}


def batches_of_columns(dataset: Any, wanted: Sequence[str]) -> list[dict[str, Numpy]] | None:
    """Return batches with a column `(rows, 1)` for each wanted feature; None if the data set gives no columns."""
    columns = columns_of(dataset, wanted)
    if columns is not None:
        return _cut({name: as_array(value, f"feature '{name}'") for name, value in columns.items()})
    if not hasattr(dataset, "__iter__") or isinstance(dataset, str):
        return None
    batches: list[dict[str, Numpy]] = []
    single: dict[str, list[Any]] = {name: [] for name in wanted}
    for element in dataset:
        columns = columns_of(element[0] if isinstance(element, tuple) else element, wanted)
        if columns is None:
            return None
        arrays = {name: as_array(value, f"feature '{name}'") for name, value in columns.items()}
        if all(array.ndim == 0 for array in arrays.values()):
            for name, array in arrays.items():
                single[name].append(array[()])
        else:
            batches.append({name: column(array) for name, array in arrays.items()})
    if wanted and single[wanted[0]]:
        batches += _cut({name: np.asarray(values) for name, values in single.items()})
    return batches


def column(array: Any) -> Any:
    """Return values with an axis of size 1 at the end, as features come."""
    return array[:, None] if array.ndim == 1 else array.reshape(1, 1) if array.ndim == 0 else array


def _cut(columns: dict[str, Numpy]) -> list[dict[str, Numpy]]:
    rows = min(len(array) for array in columns.values()) if columns else 0
    return [
        {name: column(array[start : start + BATCH]) for name, array in columns.items()}
        for start in range(0, rows, BATCH)
    ]


def spec_shape(shape: Shape, batch: int | None, single: bool) -> Shape:
    """Return the shape of an encoded feature for a batch, or for one sample."""
    return shape[1:] if single else (batch, *shape[1:])
