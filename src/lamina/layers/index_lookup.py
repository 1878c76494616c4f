"""A vocabulary: terms to whole numbers and back. What `StringLookup` and `IntegerLookup` have in common."""

import os
from collections.abc import Iterable
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from lamina import config as settings
from lamina import registry
from lamina._types import Config, Numpy, Shape
from lamina.errors import FileFormatError, invalid, message
from lamina.graph import KerasTensor
from lamina.layers import encoding
from lamina.layers.hashing import as_text, bins_of, salt_of
from lamina.layers.host import HostLayer, as_array, batches_of, strings, whole
from lamina.layers.vocabularies import FILE, Counts, check, check_arguments, from_file, to_folder


@registry.export("layers", module="keras.src.layers.preprocessing.index_lookup")
class IndexLookup(HostLayer):
    """The place of each term in a vocabulary, counted after the places for masked and unknown terms.

    Args:
        max_tokens: Most places, those for masked and unknown terms counted in; None: no limit.
        num_oov_indices: Places for terms that are not in the vocabulary. With several, a hash of the term chooses;
            with none, such a term is an error.
        mask_token: A term that stands for nothing: place 0 for "int", left out for the others.
        oov_token: What an unknown number becomes with `invert=True`.
        vocabulary_dtype: "string" or "int64".
        vocabulary: The terms, or the path of a text file with one on each line. A path is read here and now, never
            from a config or a saved model.
        idf_weights: What each term counts, for "tf_idf".
        invert: Whether numbers become terms.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf" (counts times `idf_weights`).
        sparse: Kept for Keras scripts; the result is an array.
        pad_to_max_tokens: Whether encoded results have `max_tokens` columns whatever the size of the vocabulary.
        oov_method: How a whole number chooses among several places for unknown terms: "floormod" or "farmhash".
        name: Its name.
        salt: A whole number, or two, for another hash.
        **kwargs: `trainable`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, ...)`
        result: as inputs for "int"; `(batch, size)` for "multi_hot", "count", "tf_idf"; `(..., size)` for "one_hot"

    Raises:
        InvalidArgumentError: If an argument is not allowed, or the vocabulary has a term twice.
    """

    rowwise = True
    _reads_itself = True

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary_dtype: str,
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        frozen, has_vocabulary = kwargs.pop("vocabulary_size", None), kwargs.pop("has_input_vocabulary", None)
        for unused in ("trainable", "dtype"):
            kwargs.pop(unused, None)
        if kwargs:
            raise invalid(f"Unrecognized keyword argument(s): {kwargs}", owner=type(self).__name__)
        super().__init__(name=name)
        output_mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        self.invert, self.max_tokens, self.num_oov_indices = bool(invert), max_tokens, num_oov_indices
        self.mask_token, self.oov_token = mask_token, oov_token
        self.output_mode, self.sparse, self.pad_to_max_tokens = output_mode, False, bool(pad_to_max_tokens)
        self.vocabulary_dtype, self.oov_method = str(vocabulary_dtype), oov_method
        check_arguments(self, sparse, idf_weights)
        self.salt = salt_of(
            salt,
            self._owner,
            "The `salt` argument for `IndexLookup` can only be a tuple of 2 integers, or a single integer.",
        )
        if self.salt is not None and self._numeric and oov_method != "farmhash":
            raise invalid(
                "`salt` can only be used when `oov_method='farmhash'`.",
                owner=self._owner,
                received=f"oov_method={oov_method}",
            )
        self._frozen_vocab_size: int | None = None if frozen is None else int(frozen)
        is_path = isinstance(vocabulary, str | os.PathLike)
        self.input_vocabulary = None if is_path else vocabulary
        self.input_idf_weights = idf_weights
        self._has_input_vocabulary = bool(vocabulary is not None if has_vocabulary is None else has_vocabulary)
        self._terms: list[Any] = []
        self._places: dict[Any, int] = {}
        self.idf_weights: Numpy | None = None
        self.reset_state()
        if output_mode == "tf_idf" and self._has_input_vocabulary and idf_weights is None:
            raise invalid(
                "When specifying the `vocabulary` argument, in TF-IDF output mode, the `idf_weights` argument must "
                "also be provided.",
                owner=self._owner,
            )
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    @property
    def _owner(self) -> str:
        return f"{type(self).__name__} layer `{self.name}`"

    @property
    def _numeric(self) -> bool:
        return self.vocabulary_dtype != "string"

    # ---- the vocabulary

    def _oov_start_index(self) -> int:
        return 1 if self.mask_token is not None and self.output_mode == "int" else 0

    def _token_start_index(self) -> int:
        return self._oov_start_index() + self.num_oov_indices

    def vocabulary_size(self) -> int:
        """Return how many places there are, those for masked and unknown terms counted in."""
        return len(self._terms) + self._token_start_index()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the terms by place.

        Args:
            include_special_tokens: Whether the mask token and the token for unknown terms come first.
        """
        special = [self.mask_token] * self._oov_start_index() + [self.oov_token] * self.num_oov_indices
        return [*(special if include_special_tokens else []), *self._terms]

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take these terms in place of those that were there.

        Args:
            vocabulary: The terms, with or without the mask token and the token for unknown terms in front; or the path
                of a text file with one on each line.
            idf_weights: What each term counts, for "tf_idf".

        Raises:
            InvalidArgumentError: If there are none, one comes twice, there are too many, or the file does not exist.
        """
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            must = idf_weights is None
            raise invalid(
                "`idf_weights` must be set if output_mode is 'tf_idf'."
                if must
                else "`idf_weights` should only be set if output_mode is `'tf_idf'`.",
                owner=self._owner,
                received=f"output_mode={self.output_mode} and idf_weights={idf_weights}",
            )
        if isinstance(vocabulary, str | os.PathLike):
            if self.output_mode == "tf_idf":
                raise invalid(
                    "output_mode `'tf_idf'` does not support loading a vocabulary from file.", owner=self._owner
                )
            self._take(check(self._typed(from_file(vocabulary, self._owner)), [], self))
            return
        given = self._typed(as_array(vocabulary, self._owner))
        if not given:
            raise invalid("Cannot set an empty vocabulary.", owner=self._owner, received=f"vocabulary={vocabulary}")
        special = self.get_vocabulary()[: self._token_start_index()]
        found = given[: len(special)] == special
        terms = check(given[len(special) :] if found else given, special, self)
        weights = None if idf_weights is None else self._padded_idf(idf_weights, len(given), found)
        self._take(terms)
        if weights is not None:
            self.idf_weights = weights

    def _typed(self, terms: Any) -> list[Any]:
        """Return terms as strings or as Python's numbers."""
        array = terms if isinstance(terms, np.ndarray) else np.asarray(terms, dtype=object if len(terms) else None)
        if not self._numeric:
            return strings(array, self._owner) if array.dtype.kind in "USOT" else [str(v) for v in array.tolist()]
        if array.dtype.kind in "US" or (array.dtype.kind == "O" and all(isinstance(v, str) for v in array.flat)):
            try:
                return [int(v) for v in array.tolist()]
            except ValueError as error:
                raise invalid("A vocabulary of whole numbers has another term.", owner=self._owner) from error
        return list(whole(array, self._owner).ravel().tolist())

    def _take(self, terms: list[Any]) -> None:
        size = len(terms) + self._token_start_index()
        fixed = self.output_mode == "int" or self.pad_to_max_tokens
        if not fixed and self._called and self._frozen_vocab_size not in (None, size):
            raise RuntimeError(
                message(
                    f"When using `output_mode={self.output_mode}` and `pad_to_max_tokens=False`, the vocabulary size "
                    f"cannot be changed after the layer is called. Old vocab size is {self._frozen_vocab_size}, new "
                    f"vocab size is {size}.",
                    owner=self._owner,
                    fix="make a new layer, or set `max_tokens` and `pad_to_max_tokens=True`.",
                )
            )
        start = self._token_start_index()
        self._terms = terms
        self._places = {term: start + i for i, term in enumerate(terms)}
        self._frozen_vocab_size = size
        self._learned()

    def _padded_idf(self, given: Any, terms: int, special: bool) -> Numpy:
        """Return weights for every place: the mean for unknown terms, 0 for places without a term."""
        weights = np.asarray(given, settings.floatx())
        if weights.ndim != 1:
            raise invalid("TF-IDF data must be a 1-index array.", owner=self._owner, received=f"{weights.shape}")
        if len(weights) != terms:
            raise invalid(
                f"`idf_weights` must be the same length as vocabulary. len(idf_weights) is {len(weights)}; "
                f"len(vocabulary) is {terms}.",
                owner=self._owner,
            )
        front = 0 if special else self._token_start_index()
        back = (self.max_tokens or 0) - front - terms if self.pad_to_max_tokens else 0
        return np.concatenate([np.full(front, np.average(weights)), weights, np.zeros(max(0, back))]).astype(
            weights.dtype
        )

    # ---- learning it

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Make a vocabulary of the terms in data, the most frequent first; an earlier one is forgotten.

        Args:
            data: An array, a list, a column of a data frame, or what gives batches: a generator, a data set.
            steps: At most so many batches.

        Raises:
            InvalidArgumentError: If the vocabulary was given to the constructor.
        """
        self.reset_state()
        for batch in batches_of(data, steps, self._owner, lists=True):
            listed = isinstance(data, list | tuple) or hasattr(data, "__array__") or hasattr(data, "to_numpy")
            self.update_state(batch[:, None] if listed and batch.ndim == 1 else batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the terms of one batch. One axis is one document."""
        if self._has_input_vocabulary:
            raise invalid(
                f"Cannot adapt layer '{self.name}' after setting a static vocabulary via `vocabulary` argument or "
                "`set_vocabulary()` method.",
                fix="make the layer without `vocabulary`.",
            )
        array = as_array(data, self._owner)
        array = array.reshape(1, -1) if array.ndim < 2 else array
        self._counts.add(self._keys(array), len(array))

    def finalize_state(self) -> None:
        """Make the vocabulary of what was counted."""
        if self._has_input_vocabulary or not self._counts.terms:
            if self._terms or not self._frozen_vocab_size:
                self._frozen_vocab_size = self.vocabulary_size()
            return
        room = None if not self.max_tokens else self.max_tokens - self._token_start_index()
        terms = self._counts.ranked((self.mask_token, self.oov_token), room)
        self._take(terms)
        if self.output_mode == "tf_idf":
            self.idf_weights = self._padded_idf(self._counts.idf(terms), len(terms), False)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget what was counted; the vocabulary stays until the next is made."""
        self._counts = Counts(self.output_mode == "tf_idf")

    # ---- use

    def _keys(self, array: Numpy) -> list[Any]:
        """Return inputs as keys of the vocabulary, flat."""
        return strings(array, self._owner) if not self._numeric else whole(array, self._owner).ravel().tolist()

    def _depth(self) -> int | None:
        return self.max_tokens if self.pad_to_max_tokens else self._frozen_vocab_size

    def compute(self, inputs: Any) -> Numpy:
        if self.invert:
            return self._inverted(whole(inputs, self._owner))
        depth = self._depth()
        if self.output_mode != "int" and depth is None:
            raise encoding.unknown_depth(self.output_mode, self._owner)
        keys = self._keys(inputs)
        places = np.fromiter(map(self._places.get, keys, _missing()), np.int64, len(keys))
        unknown = places < 0
        if self.mask_token is not None:
            mask = np.fromiter((key == self.mask_token for key in keys), bool, len(keys))
            places[mask] = 0 if self.output_mode == "int" else -1
            unknown &= ~mask
        if unknown.any():
            places[unknown] = self._oov(np.flatnonzero(unknown), keys)
        places = places.reshape(inputs.shape)
        if self.output_mode == "int":
            return places
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        result: Numpy = encoding.encode(places, mode, depth or 0, settings.floatx())
        return result if self.output_mode != "tf_idf" else result * self._idf()

    def _idf(self) -> Numpy:
        if self.idf_weights is None:
            raise invalid(
                "When `output_mode` is `'tf_idf'`, `idf_weights` must be provided.",
                owner=self._owner,
                fix="call `adapt`, or pass them beside the vocabulary.",
            )
        return self.idf_weights

    def _oov(self, where: Numpy, keys: list[Any]) -> Any:
        """Return places for the unknown terms."""
        if self.num_oov_indices == 0:
            found = sorted({keys[i] for i in where})[:5]
            raise invalid(
                f"When `num_oov_indices=0` all inputs should be in vocabulary, found OOV values {found}, consider "
                "setting `num_oov_indices=1`.",
                owner=self._owner,
            )
        start = self._oov_start_index()
        if self.num_oov_indices == 1:
            return start
        terms = np.asarray([keys[i] for i in where], np.int64 if self._numeric else object)
        if self._numeric and self.oov_method != "farmhash":
            return start + terms % self.num_oov_indices
        return start + bins_of(as_text(terms, self._owner), self.num_oov_indices, self.salt)

    def _inverted(self, numbers: Numpy) -> Numpy:
        table = self.get_vocabulary()
        flat = numbers.ravel().tolist()
        found = [table[i] if 0 <= i < len(table) else self.oov_token for i in flat]
        if self.mask_token is not None:
            found = [self.mask_token if i == 0 else term for i, term in zip(flat, found, strict=True)]
        array = np.asarray(found, np.int64 if self._numeric else object)
        return array.reshape(numbers.shape)

    def call(self, inputs: Any) -> Any:
        if self._numeric and not isinstance(inputs, np.ndarray) and (self.num_oov_indices == 1 or self.invert):
            return self._on_device(inputs)
        return super().call(inputs)

    def _on_device(self, inputs: Any) -> Any:
        """Return what `compute` gives, inside a compiled step: by search in the sorted terms."""
        numbers = inputs.astype(jnp.int32)
        if self.invert:
            table = jnp.asarray(np.asarray([*self.get_vocabulary(), self.oov_token], np.int64))
            inside = (numbers >= 0) & (numbers < len(table) - 1)
            found = table[jnp.where(inside, numbers, len(table) - 1)]
            return found if self.mask_token is None else jnp.where(numbers == 0, self.mask_token, found)
        depth = self._depth()
        if self.output_mode != "int" and depth is None:
            raise encoding.unknown_depth(self.output_mode, self._owner)
        small = sorted(term for term in self._terms if -(2**31) <= term < 2**31) or [0]
        terms = jnp.asarray(np.asarray(small, np.int32))
        places = jnp.asarray(np.asarray([self._places.get(term, -1) for term in small], np.int32))
        at = jnp.clip(jnp.searchsorted(terms, numbers), 0, len(small) - 1)
        found = jnp.where((terms[at] == numbers) & (places[at] >= 0), places[at], self._oov_start_index())
        if self.mask_token is not None:
            found = jnp.where(numbers == self.mask_token, 0 if self.output_mode == "int" else -1, found)
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        dtype = jnp.int32 if mode == "int" else settings.floatx()
        result = encoding.encode(found, mode, depth or 0, dtype, xp=jnp)
        return result if self.output_mode != "tf_idf" else result * jnp.asarray(self._idf())

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoding.shape_of(input_shape, self.output_mode, self._depth())

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        if self.output_mode != "int" and self._depth() is None:
            raise encoding.unknown_depth(self.output_mode, self._owner)
        self.rowwise = self.output_mode in ("int", "one_hot") or len(inputs.shape) > 1
        term = self.vocabulary_dtype if self.invert else "int64"
        dtype = term if self.output_mode == "int" else settings.floatx()
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    # ---- files

    def get_config(self) -> Config:
        vocabulary, weights = self.input_vocabulary, self.input_idf_weights
        return {
            **super().get_config(),
            "invert": self.invert,
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "oov_token": self.oov_token,
            "mask_token": self.mask_token,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "pad_to_max_tokens": self.pad_to_max_tokens,
            "vocabulary_dtype": self.vocabulary_dtype,
            "idf_weights": None if weights is None else np.asarray(weights).tolist(),
            "vocabulary": None if vocabulary is None else as_array(vocabulary, self._owner).tolist(),
            "vocabulary_size": self._frozen_vocab_size,
            "oov_method": self.oov_method,
            "salt": self.salt,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        if isinstance(config.get("vocabulary"), str | os.PathLike):
            raise FileFormatError(
                message(
                    "Requested the loading of a vocabulary file outside of the model archive: a risk of reading "
                    "arbitrary and sensitive files. A config never names a file that is read.",
                    owner=cls.__name__,
                    received=f"Vocabulary file: '{config['vocabulary']}'",
                    fix="make the layer with `vocabulary=path` yourself, or call its `set_vocabulary(path)`.",
                )
            )
        return cls(**config)

    def get_build_config(self) -> Config:
        return {}

    def build_from_config(self, config: Config) -> None:
        """Do nothing: there is nothing to build."""

    def save_own_variables(self, store: Any) -> None:
        """Put the weights of "tf_idf" into `store`."""
        if self.output_mode == "tf_idf":
            store["idf_weights"] = self._idf()

    def load_own_variables(self, store: Any) -> None:
        """Take the weights of "tf_idf" out of `store`."""
        if self.output_mode == "tf_idf":
            self.idf_weights = np.asarray(store["idf_weights"])

    def save_assets(self, dir_path: Any) -> None:
        """Write the vocabulary that is not in the config to `vocabulary.txt` in a folder."""
        if self.input_vocabulary is not None:
            return
        to_folder(dir_path, self.get_vocabulary(), self._owner)

    def load_assets(self, dir_path: Any) -> None:
        """Take the vocabulary out of `vocabulary.txt` in a folder."""
        path = os.path.join(dir_path, FILE)
        if self.input_vocabulary is not None or not os.path.exists(path):
            return
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
        while lines and lines[-1] == "" and len(lines) > (self._frozen_vocab_size or 0):
            lines.pop()  # the size in the config tells an empty term from an empty end of the file
        if lines:
            weights = None if self.idf_weights is None else self.idf_weights[: len(lines)]
            self.set_vocabulary(self._typed(np.asarray(lines, object)), weights)


def _missing() -> Iterable[int]:
    while True:
        yield -1
