"""Ways to damage a file: in its bytes, and in the parts of an archive, so that its checksums still hold."""

import io
import random
import zipfile

from tests.fuzz import structures

_NUMBERS = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
]
_WORDS = [
    b"null",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"[]",
    b"{}",
    b'"\\u0000"',
    b"[[[[[[",
    b"true",
    b"../../evil",
    b"os",
]


def mutated(data: bytes, rng: random.Random, name: str = "") -> bytes:
    """Return a file that is damaged: in its form half of the time if it has one, else in one to six places.

    A zip archive is mostly changed inside and packed anew.
    """
    if data[:2] == b"PK" and rng.random() < 0.7:
        return _inside(data, rng)
    ways = structures.of(name, data)
    if ways and rng.random() < 0.6:
        return rng.choice(ways)(data, rng)
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3, 6])):
        rng.choice(_WAYS)(content, rng)
    return bytes(content)


def _inside(data: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            member = old.read(name)
            new.writestr(zipfile.ZipInfo(name), mutated(member, rng, name) if name == chosen and member else member)
    return out.getvalue()


def _place(content: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _flip(content: bytearray, rng: random.Random) -> None:
    if content:
        bit = rng.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8


def _number(content: bytearray, rng: random.Random) -> None:
    width, place = rng.choice([1, 2, 4, 8]), _place(content, rng)
    value = rng.choice(_NUMBERS) & ((1 << 8 * width) - 1)
    content[place : place + width] = value.to_bytes(width, rng.choice(["little", "big"]))


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _drop(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    del content[place : place + rng.randint(1, 64)]


def _twice(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    piece = content[place : place + rng.randint(1, 256)]
    content[place:place] = piece * rng.choice([1, 1, 2, 50])


def _word(content: bytearray, rng: random.Random) -> None:
    """Put a word in the place of a number or a text, as a JSON or `.prototxt` has them."""
    place = _place(content, rng)
    end = place
    while end < len(content) and content[end] not in b',:{}[]\n "' and end - place < 32:
        end += 1
    content[place:end] = rng.choice(_WORDS)


def _rubbish(content: bytearray, rng: random.Random) -> None:
    content[_place(content, rng) : _place(content, rng)] = rng.randbytes(rng.randint(1, 40))


_WAYS = [_flip, _flip, _number, _number, _cut, _drop, _twice, _word, _word, _rubbish]
