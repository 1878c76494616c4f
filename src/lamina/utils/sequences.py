"""Sequences of different lengths as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import did_you_mean, invalid

_ENDS = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Numpy:
    """Return sequences as one array, the shorter ones filled up and the longer ones cut.

    Args:
        sequences: Lists or arrays of numbers, or of equally shaped samples.
        maxlen: Length of the result. Default: that of the longest.
        dtype: Type of the result; `object` for strings of any length.
        padding: Where to fill up: "pre" or "post".
        truncating: Where to cut: "pre" or "post".
        value: What to fill up with.

    Shapes: result `(sequences, maxlen, *sample)`.

    Raises:
        InvalidArgumentError: If something is no sequence, samples differ in shape, or `value` does not fit `dtype`.
    """
    for name, given in (("Padding", padding), ("Truncating", truncating)):
        if given not in _ENDS:
            raise invalid(
                f'{name} type "{given}" not understood.', owner="`pad_sequences`", fix=did_you_mean(str(given), _ENDS)
            )
    if not hasattr(sequences, "__len__"):
        raise invalid("`sequences` must be iterable.", owner="`pad_sequences`", received=repr(sequences))
    for place, one in enumerate(sequences):
        if not hasattr(one, "__len__"):
            raise invalid(
                f"`sequences` must be a list of iterables. Found non-iterable: {one}",
                owner="`pad_sequences`",
                received=f"{one!r} at position {place}",
            )
    of_text = np.issubdtype(dtype, np.str_) or np.issubdtype(dtype, np.bytes_)
    if isinstance(value, str) and dtype is not object and not of_text:
        raise invalid(
            f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}.",
            owner="`pad_sequences`",
            fix="pass `dtype=object`.",
        )
    sample = next((np.asarray(one).shape[1:] for one in sequences if len(one)), ())
    length = max(map(len, sequences), default=0) if maxlen is None else maxlen
    result = np.full((len(sequences), length, *sample), value, dtype=dtype)
    for place, one in enumerate(sequences):
        if not len(one) or not length:
            continue
        kept = np.asarray(one[-length:] if truncating == "pre" else one[:length], dtype=dtype)
        if kept.shape[1:] != sample:
            raise invalid(
                f"Shape of sample {kept.shape[1:]} of sequence at position {place} is different from expected shape "
                f"{sample}.",
                owner="`pad_sequences`",
            )
        result[place, slice(len(kept)) if padding == "post" else slice(-len(kept), None)] = kept
    return result
