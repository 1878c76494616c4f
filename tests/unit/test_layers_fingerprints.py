"""Hashes against those that TensorFlow gave (tests/fixtures/preprocessing/make.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from lamina.layers import fingerprints

KNOWN = json.loads((Path(__file__).parents[1] / "fixtures/preprocessing/hashes.json").read_text())
TEXTS = [text.encode() for text in KNOWN["texts"]]
BINS = 2**63 - 1


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("farm", fingerprints.farmhash64),
        ("sip", lambda texts: fingerprints.siphash64(texts, [133, 137])),
        ("sip_large", lambda texts: fingerprints.siphash64(texts, [2**62 + 5, 7])),
    ],
)
def test_a_string_of_any_length_has_tensorflows_hash(name, hashed):
    found = (hashed(TEXTS) % np.uint64(BINS)).astype(np.int64)
    np.testing.assert_array_equal(found, KNOWN[name])
    assert len({len(text) for text in TEXTS}) > 70


def test_strings_hash_alone_as_they_do_together():
    together = fingerprints.farmhash64(TEXTS)
    assert [fingerprints.farmhash64([text])[0] for text in TEXTS[:20]] == together[:20].tolist()
    assert fingerprints.farmhash64([]).shape == (0,)


def test_the_published_vector_of_siphash_comes_out():
    # Appendix A of the paper: key 00 01 ... 0f, message 00 01 ... 0e
    key = [int.from_bytes(bytes(range(start, start + 8)), "little") for start in (0, 8)]
    assert fingerprints.siphash64([bytes(range(15))], key)[0] == 0xA129CA6149BE45E5


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("cross", lambda farm, ints: [farm[:40], ints]),
        ("cross_three", lambda farm, ints: [farm[:40], ints, farm[40:80]]),
        ("cross_ints", lambda farm, ints: [ints, ints]),
    ],
)
def test_a_crossing_has_tensorflows_bin(name, columns):
    ints = np.array(KNOWN["ints"], np.int64)
    found = fingerprints.crossed(columns(fingerprints.farmhash64(TEXTS), ints), BINS)
    np.testing.assert_array_equal(found, KNOWN[name])
