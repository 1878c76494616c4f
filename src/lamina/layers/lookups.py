"""Terms of a vocabulary as whole numbers: strings, and whole numbers that are names."""

from typing import Any

from lamina import registry
from lamina._types import Config
from lamina.errors import invalid
from lamina.layers.index_lookup import IndexLookup


@registry.export("layers")
class StringLookup(IndexLookup):
    """The place of each string in a vocabulary. Works outside of compiled steps, where strings are.

    Args:
        max_tokens: Most places; None: no limit.
        num_oov_indices: Places for strings that are not in the vocabulary.
        mask_token: A string that stands for nothing.
        oov_token: What an unknown number becomes with `invert=True`.
        vocabulary: The strings, or the path of a text file with one on each line. Without it, call `adapt`.
        idf_weights: What each string counts, for "tf_idf".
        invert: Whether numbers become strings; the result is then an array of NumPy's.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf".
        pad_to_max_tokens: Whether encoded results have `max_tokens` columns.
        sparse: Kept for Keras scripts; the result is an array.
        encoding: Kept for Keras scripts: bytes are read as UTF-8.
        name: Its name.
        salt: A whole number, or two, for another hash.
        **kwargs: See `IndexLookup`, also for shapes and errors.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary_dtype="string",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            sparse=sparse,
            name=name,
            salt=salt,
            **kwargs,
        )

    def get_config(self) -> Config:
        config = {**super().get_config(), "encoding": self.encoding}
        del config["vocabulary_dtype"]
        return config


@registry.export("layers")
class IntegerLookup(IndexLookup):
    """The place of each whole number in a vocabulary of numbers that are names: codes, identifiers.

    Args:
        max_tokens: Most places; None: no limit.
        num_oov_indices: Places for numbers that are not in the vocabulary.
        mask_token: A number that stands for nothing.
        oov_token: What an unknown place becomes with `invert=True`.
        vocabulary: The numbers, or the path of a text file with one on each line. Without it, call `adapt`.
        vocabulary_dtype: "int64".
        idf_weights: What each number counts, for "tf_idf".
        invert: Whether places become numbers.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf".
        sparse: Kept for Keras scripts; the result is an array.
        pad_to_max_tokens: Whether encoded results have `max_tokens` columns.
        oov_method: How a number chooses among several places for unknown ones: "floormod" or "farmhash".
        salt: A whole number, or two, for another hash.
        name: Its name.
        **kwargs: See `IndexLookup`, also for shapes and errors.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if vocabulary_dtype != "int64":
            raise invalid(
                "Only `vocabulary_dtype='int64'` is supported at this time.",
                owner="IntegerLookup layer",
                received=f"vocabulary_dtype={vocabulary_dtype}",
            )
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary_dtype=vocabulary_dtype,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            sparse=sparse,
            pad_to_max_tokens=pad_to_max_tokens,
            oov_method=oov_method,
            salt=salt,
            name=name,
            **kwargs,
        )

    def get_config(self) -> Config:
        config = super().get_config()
        for key in ("oov_token", "mask_token"):
            config[key] = None if config[key] is None else int(config[key])
        if config["vocabulary"] is not None:
            config["vocabulary"] = [int(term) for term in config["vocabulary"]]
        return config
