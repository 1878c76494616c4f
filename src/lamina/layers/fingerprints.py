"""Hashes of strings that never change: FarmHash64, SipHash-2-4, and how one is joined to another. NumPy alone.

Keras takes them from TensorFlow (`tf.strings.to_hash_bucket_fast`, `to_hash_bucket_strong`, `tf.sparse.cross_hashed`);
the numbers here are the same. Strings of one length are hashed together, a column of bytes at a time.

Sources: FarmHash by Google (`farmhashna::Hash64`, its `Fingerprint64`), https://github.com/google/farmhash;
J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012, https://www.131002.net/siphash/siphash.pdf.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lamina._types import Numpy

CROSS_KEY = 956888297470  # from which a crossing of features starts in TensorFlow

_K0, _K1, _K2 = (np.uint64(k) for k in (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
_CAT = np.uint64(0xC6A4A7935BD1E995)
_SIP = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
Words = tuple[Numpy, Numpy]


def _u(number: int) -> np.uint64:
    return np.uint64(number & 0xFFFFFFFFFFFFFFFF)


def _of_strings(strings: Sequence[bytes], hash_alike: Callable[[Numpy], Numpy]) -> Numpy:
    """Return the hash of each string, where `hash_alike` hashes `(count, length)` bytes of one length."""
    places: dict[int, list[int]] = {}
    for place, string in enumerate(strings):
        places.setdefault(len(string), []).append(place)
    result = np.empty(len(strings), np.uint64)
    with np.errstate(over="ignore"):
        for length, found in places.items():
            joined = b"".join(strings[place] for place in found)
            result[found] = hash_alike(np.frombuffer(joined, np.uint8).reshape(len(found), length))
    return result


def farmhash64(strings: Sequence[bytes]) -> Numpy:
    """Return FarmHash's 64-bit fingerprint of each string. Shapes: `(count,)`, unsigned."""
    return _of_strings(strings, _farm)


def siphash64(strings: Sequence[bytes], key: Sequence[int]) -> Numpy:
    """Return SipHash-2-4 of each string under a key of two 64-bit numbers. Shapes: `(count,)`, unsigned."""
    return _of_strings(strings, lambda data: _sip(data, key))


def join(first: Any, second: Any) -> Any:
    """Return one fingerprint for each pair of fingerprints: TensorFlow's `FingerprintCat64`."""
    with np.errstate(over="ignore"):
        result = first ^ _CAT ^ (_shift_mix(second * _CAT) * _CAT)
        result = _shift_mix(result * _CAT) * _CAT
        return _shift_mix(result)


def crossed(columns: Iterable[Numpy], bins: int) -> Numpy:
    """Return the bin of each row of crossed features, as `tf.sparse.cross_hashed` gives it.

    Args:
        columns: Whole numbers, or the fingerprints of strings, one column for each feature.
        bins: Number of bins.

    Shapes:
        each column: `(rows,)`, 64 bits
        result: `(rows,)`, from 0 to `bins - 1`
    """
    result: Any = _u(CROSS_KEY)
    for column in columns:
        result = join(np.broadcast_to(result, column.shape), column.astype(np.uint64))
    found: Numpy = (result % np.uint64(bins)).astype(np.int64)
    return found


# ---- FarmHash


def _word(data: Numpy, start: int, size: int = 8) -> Numpy:
    """Return the little-endian number in the bytes from `start`."""
    piece = np.ascontiguousarray(data[:, start : start + size])
    words: Numpy = piece.view("<u8" if size == 8 else "<u4")[:, 0].astype(np.uint64)
    return words


def _rotate(value: Any, bits: int) -> Any:
    """Return the bits moved right, those that fall out coming in at the left."""
    return (value >> np.uint64(bits)) | (value << np.uint64(64 - bits))


def _shift_mix(value: Any) -> Any:
    return value ^ (value >> np.uint64(47))


def _hash16(u: Any, v: Any, multiplier: Any) -> Any:
    a = _shift_mix((u ^ v) * multiplier)
    return _shift_mix((v ^ a) * multiplier) * multiplier


def _farm(data: Numpy) -> Any:
    length = data.shape[1]
    if length <= 16:
        return _farm_to_16(data)
    if length <= 32:
        return _farm_to_32(data)
    return _farm_to_64(data) if length <= 64 else _farm_long(data)


def _farm_to_16(data: Numpy) -> Any:
    count, length = data.shape
    multiplier = _K2 + _u(length * 2)
    if length >= 8:
        a, b = _word(data, 0) + _K2, _word(data, length - 8)
        return _hash16(_rotate(b, 37) * multiplier + a, (_rotate(a, 25) + b) * multiplier, multiplier)
    if length >= 4:
        first = _u(length) + (_word(data, 0, 4) << np.uint64(3))
        return _hash16(first, _word(data, length - 4, 4), multiplier)
    if length:
        wide = data.astype(np.uint64)
        y = wide[:, 0] + (wide[:, length >> 1] << np.uint64(8))
        z = _u(length) + (wide[:, -1] << np.uint64(2))
        return _shift_mix((y * _K2) ^ (z * _K0)) * _K2
    return np.full(count, _K2)


def _farm_to_32(data: Numpy) -> Any:
    length = data.shape[1]
    multiplier = _K2 + _u(length * 2)
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, length - 8) * multiplier, _word(data, length - 16) * _K2
    return _hash16(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, multiplier)


def _farm_to_64(data: Numpy) -> Any:
    length = data.shape[1]
    multiplier = _K2 + _u(length * 2)
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, length - 8) * multiplier, _word(data, length - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _hash16(y, a + _rotate(b + _K2, 18) + c, multiplier)
    e, f = _word(data, 16) * multiplier, _word(data, 24)
    g, h = (y + _word(data, length - 32)) * multiplier, (z + _word(data, length - 24)) * multiplier
    return _hash16(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, multiplier)


def _weak32(data: Numpy, start: int, a: Numpy, b: Numpy) -> Words:
    w, x, y, z = (_word(data, start + place) for place in (0, 8, 16, 24))
    a = a + w
    b = _rotate(b + a + z, 21)
    c = a
    a = a + x + y
    return a + z, b + _rotate(a, 44) + c


def _round(data: Numpy, at: int, state: list[Any], multiplier: Any, nine: Any) -> list[Any]:
    """Return the state after 64 bytes from `at`."""
    x, y, z, (v0, v1), (w0, w1) = state
    x = _rotate(x + y + v0 + _word(data, at + 8), 37) * multiplier
    y = _rotate(y + v1 + _word(data, at + 48), 42) * multiplier
    x = x ^ (w1 * nine)
    y = y + v0 * nine + _word(data, at + 40)
    z = _rotate(z + w0, 33) * multiplier
    v = _weak32(data, at, v1 * multiplier, x + w0)
    w = _weak32(data, at + 32, z + w1, y + _word(data, at + 16))
    return [z, y, x, v, w]


def _farm_long(data: Numpy) -> Any:
    count, length = data.shape
    zero = np.zeros(count, np.uint64)
    seed = zero + _u(81)
    y = seed * _K1 + _u(113)
    z = _shift_mix(y * _K2 + _u(113)) * _K2
    state: list[Any] = [seed * _K2 + _word(data, 0), y, z, (zero, zero), (zero, zero)]
    for at in range(0, (length - 1) // 64 * 64, 64):
        state = _round(data, at, state, _K1, _u(1))
    x, y, z, (v0, v1), (w0, w1) = state
    multiplier = _K1 + ((z & _u(0xFF)) << np.uint64(1))
    w0 = w0 + _u((length - 1) & 63)
    v0 = v0 + w0
    w0 = w0 + v0
    x, y, z, (v0, v1), (w0, w1) = _round(data, length - 64, [x, y, z, (v0, v1), (w0, w1)], multiplier, _u(9))
    first = _hash16(v0, w0, multiplier) + _shift_mix(y) * _K0 + z
    return _hash16(first, _hash16(v1, w1, multiplier) + x, multiplier)


# ---- SipHash: c = 2 rounds a word, d = 4 at the end


def _sip_round(v: list[Numpy]) -> None:
    for a, b, c, d, s, t in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
        v[a] = v[a] + v[b]
        v[b] = _rotate(v[b], 64 - s) ^ v[a]
        v[a] = _rotate(v[a], 32)
        v[c] = v[c] + v[d]
        v[d] = _rotate(v[d], 64 - t) ^ v[c]


def _sip(data: Numpy, key: Sequence[int]) -> Numpy:
    count, length = data.shape
    padded = np.zeros((count, length // 8 * 8 + 8), np.uint8)
    padded[:, :length] = data
    padded[:, -1] = length & 0xFF
    v = [np.full(count, _u(int(key[i % 2]) ^ _SIP[i])) for i in range(4)]
    for at in range(0, padded.shape[1], 8):
        word = _word(padded, at)
        v[3] = v[3] ^ word
        _sip_round(v)
        _sip_round(v)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ _u(0xFF)
    for _ in range(4):
        _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
