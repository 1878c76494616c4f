"""The two wire formats: what is written is read again, and no offset leads outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import FileFormatError
from lamina.interop import flatbuffer, protobuf
from lamina.interop.flatbuffer import Array, Many, Number, Table, Text


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_whole_numbers_come_back_with_their_fields(pairs):
    data = b"".join(protobuf.integer(number, value) for number, value in pairs)
    assert [(n, protobuf.signed(v)) for n, v in protobuf.fields(memoryview(data))] == pairs


def test_texts_and_floats_come_back():
    data = protobuf.chunk(3, "Grüße") + protobuf.floating(4, 1.5)
    (three, text), (four, number) = protobuf.fields(memoryview(data))
    assert (three, protobuf.text(text), four, protobuf.real(number)) == (3, "Grüße", 4, 1.5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no number behind the key
        b"\x08" + b"\xff" * 11,  # a number without end
        b"\x0a\x05ab",  # a text that ends too early
        b"\x0d\x00",  # four bytes of which three are missing
        b"\x0b",  # a group
        b"\x00\x01",  # field 0
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length beyond all memory
    ],
)
def test_a_damaged_message_is_refused(data):
    with pytest.raises(FileFormatError, match="damaged"):
        list(protobuf.fields(memoryview(data)))


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_refused(data):
    try:
        for _ in protobuf.fields(memoryview(data)):
            pass
    except FileFormatError:
        pass


def table():
    inner = Table({0: Text("inside"), 2: Number("i", -7)})
    numbers = np.arange(5, dtype=np.int64)
    return Table({0: Number("b", -1), 1: Array(numbers, 8), 3: Many([inner, inner]), 4: inner, 6: Number("?", True)})


def test_tables_come_back():
    view = flatbuffer.root(flatbuffer.encoded(table(), b"TEST"), b"TEST", "a file")
    assert view.number(0, "b") == -1
    assert view.number(2, "i", 42) == 42
    assert view.number(6, "?") is True
    np.testing.assert_array_equal(view.array(1, "<i8"), np.arange(5))
    assert [(one.text(0), one.number(2, "i")) for one in view.tables(3)] == [("inside", -7)] * 2
    assert view.table(4).text(0) == "inside"
    assert view.table(5) is None


def test_the_reference_library_reads_what_is_written():
    flatbuffers = pytest.importorskip("flatbuffers")
    data = flatbuffer.encoded(table(), b"TEST")
    root = flatbuffers.table.Table(bytearray(data), flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0))
    vector = root.Offset(4 + 2 * 1)
    assert root.VectorLen(vector) == 5
    assert root.Vector(vector) % 8 == 0


@given(st.integers(0, 400), st.integers(0, 2**32 - 1))
def test_an_offset_that_leads_outside_is_refused(at, value):
    data = bytearray(flatbuffer.encoded(table(), b"TEST"))
    at %= len(data) - 4
    data[at : at + 4] = value.to_bytes(4, "little")
    try:
        view = flatbuffer.root(bytes(data), b"TEST", "a file")
        view.array(1, "<i8")
        for one in [*view.tables(3), *([view.table(4)] if view.table(4) else [])]:
            one.text(0)
            one.number(2, "i")
    except FileFormatError:
        pass


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(FileFormatError, match="no TFL3 file"):
        flatbuffer.root(b"12345678", b"TFL3", "a file")
