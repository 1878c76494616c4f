"""Vocabularies: read from a file that the user names, checked, ranked by how often a term occurs."""

import os
from collections import Counter
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import invalid
from lamina.layers import encoding

FILE = "vocabulary.txt"  # in a saved model
_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


def from_file(path: Any, owner: str) -> list[str]:
    """Return the terms in a text file, one a line.

    Raises:
        InvalidArgumentError: If there is no such file, or it is not UTF-8.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise invalid(f"Vocabulary file {name} does not exist.", owner=owner, fix="pass the path of a text file.")
    try:
        with open(name, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except UnicodeDecodeError as error:
        raise invalid(f"Vocabulary file {name} is not UTF-8.", owner=owner, fix="save it as UTF-8.") from error
    return lines[:-1] if lines and not lines[-1] else lines


def check(terms: list[Any], special: list[Any], layer: Any) -> list[Any]:
    """Return the terms of a vocabulary.

    Raises:
        InvalidArgumentError: If one comes twice, a special one is among them, or there are more than the layer takes.
    """
    owner = layer._owner
    repeated = [term for term, count in Counter(terms).items() if count > 1] if len(set(terms)) < len(terms) else []
    if repeated:
        raise invalid(
            "The passed vocabulary has at least one repeated term. Please uniquify your dataset. The repeated terms "
            f"are: {repeated[:20]}",
            owner=owner,
            fix="e.g. `list(dict.fromkeys(vocabulary))`.",
        )
    for kind, token, matters in (("mask", layer.mask_token, True), ("OOV", layer.oov_token, layer.invert)):
        if matters and token is not None and token in terms:
            raise invalid(
                f"Found reserved {kind} token at unexpected location in `vocabulary`. Note that passed `vocabulary` "
                "does not need to include the OOV and mask tokens. Either remove all mask and OOV tokens, or include "
                f"them only at the start of the vocabulary in precisely this order: {special}.",
                owner=owner,
                received=f"{token!r} at vocabulary index {terms.index(token)}",
            )
    size = layer._token_start_index() + len(terms)
    if layer.max_tokens is not None and size > layer.max_tokens:
        raise invalid(
            f"Attempted to set a vocabulary larger than the maximum vocab size. Received vocabulary size is {size}; "
            f"`max_tokens` is {layer.max_tokens}.",
            owner=owner,
        )
    return terms


def check_arguments(layer: Any, sparse: bool, idf_weights: Any) -> None:
    """Raise `InvalidArgumentError` for arguments of a lookup that are not allowed or do not go together."""
    owner, given = layer._owner, layer.__dict__
    encoding.refuse_sparse(sparse, layer.output_mode, owner)
    most = layer.max_tokens
    rules = (
        (most is None or most > 1, "If set, `max_tokens` must be greater than 1.", "max_tokens"),
        (
            not layer.pad_to_max_tokens or most is not None,
            "If pad_to_max_tokens is True, must set `max_tokens`.",
            "max_tokens",
        ),
        (layer.num_oov_indices >= 0, "`num_oov_indices` must be greater than or equal to 0.", "num_oov_indices"),
        (layer.vocabulary_dtype in ("string", "int64", "int32"), "Unknown type of terms.", "vocabulary_dtype"),
        (
            not layer.invert or layer.output_mode == "int",
            "`output_mode` must be `'int'` when `invert` is true.",
            "output_mode",
        ),
    )
    for fine, problem, name in rules:
        if not fine:
            raise invalid(problem, owner=owner, received=f"{name}={given[name]}")
    encoding.one_of(layer.oov_method, ("floormod", "farmhash"), "oov_method", owner)
    encoding.one_of(layer.output_mode, _MODES, "output_mode", owner)
    if idf_weights is not None and layer.output_mode != "tf_idf":
        raise invalid(
            "`idf_weights` should only be set if `output_mode` is `'tf_idf'`.",
            owner=owner,
            received=f"idf_weights={idf_weights} and output_mode={layer.output_mode}",
        )


class Counts:
    """How often terms occur, and in how many documents.

    Args:
        by_document: Whether documents are counted too.
    """

    def __init__(self, by_document: bool) -> None:
        self._by_document = by_document
        self.terms: Counter[Any] = Counter()
        self._documents: Counter[Any] = Counter()
        self._total = 0

    def add(self, terms: list[Any], documents: int) -> None:
        """Count the terms of so many documents of equal length."""
        self.terms.update(terms)
        if self._by_document and terms:
            length = len(terms) // documents
            for start in range(0, len(terms), length):
                self._documents.update(set(terms[start : start + length]))
            self._total += documents

    def ranked(self, without: tuple[Any, ...], most: int | None) -> list[Any]:
        """Return the terms by how often they occur; among equals the later in sorting order comes first."""
        items = [item for item in self.terms.items() if item[0] not in without]
        return [term for term, _ in sorted(items, key=lambda item: (item[1], item[0]), reverse=True)[:most]]

    def idf(self, terms: list[Any]) -> Numpy:
        """Return what each term counts: `log(1 + total / (1 + documents))`, from the documents that have it."""
        return np.log(1 + self._total / (1 + np.asarray([self._documents[term] for term in terms], np.float64)))


def to_folder(folder: Any, terms: list[Any], owner: str) -> None:
    """Write terms to a file in a folder, one a line.

    Raises:
        InvalidArgumentError: If a term has a line break.
    """
    lines = [str(term) for term in terms]
    broken = next((line for line in lines if line and line.splitlines() != [line]), None)
    if broken is not None:
        raise invalid(
            "A term with a line break cannot be saved in a file of one term a line.",
            owner=owner,
            received=repr(broken),
            fix="make the layer with `vocabulary=layer.get_vocabulary()`: it is then saved in the config.",
        )
    with open(os.path.join(folder, FILE), "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write("\n".join(lines))
