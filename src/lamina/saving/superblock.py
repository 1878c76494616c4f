"""The first block of an HDF5 file made in memory, with the right checksum.

HDF5 before 2.0 takes the mark "open for writing" out of a file image but leaves the checksum that the block had with
the mark, and then refuses to open it. This can go when h5py 3.16 is the oldest that is supported.
"""

_WORD = 0xFFFFFFFF


def sealed(image: bytes) -> tuple[memoryview, ...]:
    """Return an image in pieces, without a copy, whose superblock has the right checksum.

    Layout: HDF5 File Format Specification, II.A.
    """
    view = memoryview(image)
    if image[8] < 3:
        return (view,)  # older superblocks have no such mark
    end = 12 + 4 * image[9]
    return view[:end], memoryview(lookup3(image[:end]).to_bytes(4, "little")), view[end + 4 :]


def lookup3(data: bytes) -> int:
    """Return Bob Jenkins's hash `lookup3` of some bytes: the checksum of HDF5's metadata."""
    a = b = c = 0xDEADBEEF + len(data) & _WORD
    blocks = [data[i : i + 12].ljust(12, b"\0") for i in range(0, len(data), 12)]
    for number, block in enumerate(blocks):
        words = [int.from_bytes(block[i : i + 4], "little") for i in (0, 4, 8)]
        a, b, c = (x + word & _WORD for x, word in zip((a, b, c), words, strict=True))
        if number < len(blocks) - 1:
            for turn in (4, 6, 8, 16, 19, 4):
                a, b, c = b, c + b & _WORD, (a - c & _WORD) ^ _turned(c, turn)
    for turn in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - _turned(b, turn) & _WORD, a
    return b


def _turned(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & _WORD
