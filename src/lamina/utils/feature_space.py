"""The columns of a table, each prepared in its own way, as one array."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import numpy as np

from lamina import registry, saving, serialization
from lamina._types import Config, Numpy, Tree
from lamina.errors import did_you_mean, invalid
from lamina.graph import KerasTensor
from lamina.layers.base import Layer
from lamina.layers.category_encoding import CategoryEncoding
from lamina.layers.features import (
    Cross,
    Feature,
    Kinds,
    TFDConcat,
    batches_of_columns,
    cardinality,
    column,
    columns_of,
    learns,
    spec_shape,
)
from lamina.layers.hashing import HashedCrossing
from lamina.layers.host import as_array, in_tensorflow_graph, run_in_tensorflow
from lamina.layers.input import Input

_KINDS = (
    "float", "float_normalized", "float_rescaled", "float_discretized", "integer_categorical", "string_categorical",
    "integer_hashed", "string_hashed",
)  # fmt: skip


@registry.export("layers", module="keras.utils")
class FeatureSpace(Kinds, Layer):
    """The columns of a table prepared and encoded: numbers scaled or put into ranges, categories as one-hot rows.

    `adapt` learns what must be learned (means, vocabularies, ranges); then the object is a function of dicts and
    data frames. Numbers may also be prepared inside a model: `get_inputs`, `get_encoded_features`.

    Args:
        features: Names to kinds ("float", "float_normalized", "float_rescaled", "float_discretized",
            "integer_categorical", "string_categorical", "integer_hashed", "string_hashed"), or to what the methods of
            these names give.
        output_mode: "concat" for one array, "dict" for one array for each feature.
        crosses: Names of features that are hashed together, or what `cross` gives.
        crossing_dim: Bins of each cross.
        hashing_dim: Bins of a feature that is hashed.
        num_discretization_bins: Ranges of a feature that is put into ranges.
        name: Its name.

    Shapes:
        each feature: `(batch,)` or `(batch, 1)`; a single number for one sample
        result: `(batch, width)`, features in the order of their names, then crosses; for one sample `(width,)`

    Raises:
        InvalidArgumentError: If a kind is unknown, or a cross names a feature that is not there.
    """

    def __init__(
        self,
        features: dict[str, Any],
        output_mode: str = "concat",
        crosses: Sequence[Any] | None = None,
        crossing_dim: int | None = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        owner = f"FeatureSpace `{self.name}`"
        if not features:
            raise invalid("The `features` argument cannot be None or empty.", owner=owner)
        if output_mode not in ("dict", "concat"):
            raise invalid(
                "Invalid value for argument `output_mode`. Expected one of {'dict', 'concat'}.",
                owner=owner,
                received=f"output_mode={output_mode}",
            )
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins, self.output_mode = num_discretization_bins, output_mode
        self.features: dict[str, Feature] = {key: self._standardize(key, value) for key, value in features.items()}
        self.crosses: list[Cross] = [self._crossed(cross) for cross in crosses or ()]
        self.crosses_by_name = {cross.name: cross for cross in self.crosses}
        self.inputs = {key: Input(shape=(1,), dtype=feature.dtype, name=key) for key, feature in self.features.items()}
        self.preprocessors = {key: feature.preprocessor for key, feature in self.features.items()}
        self.crossers = {cross.name: HashedCrossing(cross.crossing_dim, name=cross.name) for cross in self.crosses}
        self.encoded_features: Tree = None
        self.one_hot_encoders: dict[str, CategoryEncoding] = {}
        self.concat: TFDConcat | None = None
        self._is_adapted = False
        self._built_sublayers = False

    def _standardize(self, name: str, feature: Any) -> Feature:
        if isinstance(feature, Feature):
            return feature
        if isinstance(feature, dict):
            found = serialization.deserialize(feature)
            if isinstance(found, Feature):
                return found
        if feature not in _KINDS:
            raise invalid(
                f"Invalid feature type: {feature}.",
                owner=f"FeatureSpace `{self.name}`, feature '{name}'",
                fix=did_you_mean(str(feature), _KINDS),
            )
        sizes = {
            "float_discretized": self.num_discretization_bins,
            "integer_hashed": self.hashing_dim,
            "string_hashed": self.hashing_dim,
        }
        make = getattr(self, feature)
        return make(sizes[feature], name=name) if feature in sizes else make(name=name)  # type: ignore[no-any-return]

    def _crossed(self, cross: Any) -> Cross:
        owner = f"FeatureSpace `{self.name}`"
        if isinstance(cross, dict):
            cross = serialization.deserialize(cross)
        if not isinstance(cross, Cross):
            if not self.crossing_dim:
                raise invalid(
                    "When specifying `crosses`, the argument `crossing_dim` (dimensionality of the crossing space) "
                    "should be specified as well.",
                    owner=owner,
                )
            cross = Cross(cross, crossing_dim=self.crossing_dim)
        found: Cross = cross
        unknown = [name for name in found.feature_names if name not in self.features]
        if unknown:
            raise invalid(
                "All features referenced in the `crosses` argument should be present in the `features` dict.",
                owner=owner,
                received=f"unknown features: {unknown}",
                fix=did_you_mean(unknown[0], self.features),
            )
        return found

    # ---- learning

    def _list_adaptable_preprocessors(self) -> list[str]:
        return [name for name, layer in self.preprocessors.items() if learns(layer)]

    def adapt(self, dataset: Any) -> None:
        """Learn what the features need: means, vocabularies, ranges.

        Args:
            dataset: A dict of arrays, a data frame, or what gives such, whole or in batches: a `tf.data.Dataset`, a
                loader, a generator. `(x, y)` counts by its `x`.

        Raises:
            InvalidArgumentError: If the data have no such columns.
        """
        names = self._list_adaptable_preprocessors()
        batches = batches_of_columns(dataset, names)
        if batches is None:
            raise invalid(
                "`adapt()` can only be called on a tf.data.Dataset or a dict of arrays/lists.",
                owner=f"FeatureSpace `{self.name}`",
                received=f"{type(dataset).__name__}",
                fix="pass a dict, a data frame, or batches of them.",
            )
        for name in names:
            self.preprocessors[name].adapt(_Column(name, batches))
        self.encoded_features, self.one_hot_encoders, self.concat = None, {}, None
        self._is_adapted, self._built_sublayers = True, False
        self._check_if_built()

    def _check_if_adapted(self) -> None:
        if self._is_adapted:
            return
        if self._list_adaptable_preprocessors():
            raise invalid(
                "You need to call `.adapt(dataset)` on the FeatureSpace before you can start using it.",
                owner=f"FeatureSpace `{self.name}`",
            )
        self._is_adapted = True

    def _check_if_built(self) -> None:
        if not self._built_sublayers:
            self.get_encoded_features()
            self.built = self._built_sublayers = True

    # ---- inside a model

    def get_inputs(self) -> dict[str, KerasTensor]:
        """Return the stand-ins of the features, for a model that takes the raw columns."""
        self._check_if_built()
        return self.inputs

    def get_encoded_features(self) -> Tree:
        """Return the stand-in of the result, or a dict of them: what the layers of a model go on with."""
        self._check_if_adapted()
        if self.encoded_features is None:
            self._make_encoders()
            self.encoded_features = self._encode(self.inputs)
        return self.encoded_features

    def _make_encoders(self) -> None:
        """Make the layers behind the preprocessors: one-hot rows and their joining."""
        specs: dict[str, Feature | Cross] = {**self.features, **self.crosses_by_name}
        prepared = {name: layer(self.inputs[name]) for name, layer in self.preprocessors.items()}
        outputs = {**prepared, **self._cross(prepared)}
        for name, spec in specs.items():
            dtype = str(jax.tree.leaves(outputs[name])[0].dtype)
            encoded = spec.output_mode == "one_hot"
            if encoded and not dtype.startswith("int"):
                raise invalid(
                    f"Feature '{name}' has `output_mode='one_hot'`. Thus its preprocessor should return an integer "
                    f"dtype. Instead it returns a {dtype} dtype.",
                    owner=f"FeatureSpace `{self.name}`",
                )
            if encoded:
                size = cardinality(name, self.preprocessors.get(name) or self.crossers[name])
                self.one_hot_encoders[name] = CategoryEncoding(num_tokens=size, output_mode="multi_hot")
            elif self.output_mode == "concat" and (dtype.startswith("int") or dtype == "string"):
                raise invalid(
                    f"Cannot concatenate features because feature '{name}' has not been encoded (it has dtype "
                    f"{dtype}).",
                    owner=f"FeatureSpace `{self.name}`",
                    fix="consider using `output_mode='dict'`.",
                )
        if self.output_mode == "concat":
            self.concat = TFDConcat(axis=-1)

    def _cross(self, prepared: dict[str, Any]) -> dict[str, Any]:
        return {
            cross.name: self.crossers[cross.name]([prepared[name] for name in cross.feature_names])
            for cross in self.crosses
        }

    def _encode(self, columns: dict[str, Any]) -> Tree:
        prepared = {name: layer(columns[name]) for name, layer in self.preprocessors.items()}
        crossed = self._cross(prepared)
        found = {}
        for name in [*sorted(prepared), *sorted(crossed)]:
            value = prepared[name] if name in prepared else crossed[name]
            encoder = self.one_hot_encoders.get(name)
            found[name] = value if encoder is None else encoder(value)
        if self.concat is None:
            return found
        return self.concat(list(found.values())) if len(found) > 1 else next(iter(found.values()))

    # ---- use

    def __call__(self, data: Any) -> Any:
        """Return the encoded features of a dict of arrays, a data frame or a table."""
        self._check_if_built()
        given = columns_of(data, list(self.features))
        if given is None:
            raise invalid(
                "A FeatureSpace can only be called with a dict.",
                owner=f"FeatureSpace `{self.name}`",
                received=f"data={data} (of type {type(data).__name__})",
                fix="pass names to arrays, or a data frame.",
            )
        if in_tensorflow_graph(given):
            return run_in_tensorflow(self, (given,), {})
        columns = {name: as_array(value, f"feature '{name}'") for name, value in given.items()}
        single = all(array.ndim == 0 for array in columns.values())
        found = self._encode({name: column(array) for name, array in columns.items()})
        if isinstance(found, dict):
            return {name: value[0] if single else value for name, value in found.items()}
        return found[0] if single else found

    def compute_output_spec(self, data: dict[str, Any]) -> Tree:
        """Return stand-ins for the result."""
        shapes = [x.shape for x in data.values()]
        single = all(not len(shape) for shape in shapes)
        batch = None if single else next(shape[0] for shape in shapes if len(shape))
        return jax.tree.map(
            lambda x: KerasTensor(spec_shape(x.shape, batch, single), dtype=x.dtype), self.get_encoded_features()
        )

    # ---- files

    def get_config(self) -> Config:
        return {
            "features": serialization.serialize(self.features),
            "output_mode": self.output_mode,
            "crosses": serialization.serialize(self.crosses),
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**config)

    def get_build_config(self) -> Config:
        return {name: feature.preprocessor.get_build_config() for name, feature in self.features.items()}

    def build_from_config(self, config: Config) -> None:
        """Build the layers of the features; what they learned comes with the weights and files."""
        for name, built in config.items():
            if name in self.features and not self.features[name].preprocessor.built and built:
                self.features[name].preprocessor.build_from_config(built)
        self._is_adapted = self.built = True

    def save(self, filepath: Any, overwrite: bool = True) -> None:
        """Write it to a `.keras` file, which `load_model` reads."""
        saving.save_model(self, filepath, overwrite)


class _Column:
    """The batches of one feature; each `iter` begins anew."""

    def __init__(self, name: str, batches: list[dict[str, Numpy]]) -> None:
        self._name, self._batches = name, batches

    def __iter__(self) -> Iterator[Numpy]:
        return (np.asarray(batch[self._name]) for batch in self._batches)
